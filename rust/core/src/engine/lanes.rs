//! Which lane a task stands in, and which lanes nobody can run.

use std::collections::HashSet;

use crate::schedule::LaneId;

/// Set in the lanes of Python callbacks, clear in the lanes of hosts.
const CALLBACK_LANE: LaneId = 1 << 31;

/// The lane of an origin such as `https://example.com:443`.
///
/// A 31-bit hash: the same in every process and after every restart. Two origins that share one by
/// chance share a limit, which is harmless.
pub fn lane_of_origin(origin: &str) -> LaneId {
    hash(origin) & !CALLBACK_LANE
}

/// The lane of a Python callback.
pub fn lane_of_callback(callback_id: &str) -> LaneId {
    hash(callback_id) | CALLBACK_LANE
}

/// FNV-1a, 32 bits.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The callbacks that are registered here.
#[derive(Debug, Default)]
pub(super) struct Callbacks {
    lanes: HashSet<LaneId>,
}

impl Callbacks {
    /// Lets the tasks of a callback run: it is registered now. Returns its lane.
    pub(super) fn register(&mut self, callback_id: &str) -> LaneId {
        let lane = lane_of_callback(callback_id);
        self.lanes.insert(lane);
        lane
    }

    /// Whether it is the lane of a callback that nobody has registered: there is none to run it.
    pub(super) fn lacks(&self, lane: LaneId) -> bool {
        lane & CALLBACK_LANE != 0 && !self.lanes.contains(&lane)
    }
}
