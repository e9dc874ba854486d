//! Which lane a task stands in, and how many of a lane may run at once.

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

/// How many tasks of a lane may run at once.
#[derive(Debug)]
pub(super) struct LaneLimits {
    per_host: usize,
    callbacks: HashSet<LaneId>,
}

impl LaneLimits {
    pub(super) fn new(per_host: usize) -> Self {
        Self { per_host, callbacks: HashSet::new() }
    }

    /// Lets the tasks of a callback run: it is registered now. Returns its lane.
    pub(super) fn register(&mut self, callback_id: &str) -> LaneId {
        let lane = lane_of_callback(callback_id);
        self.callbacks.insert(lane);
        lane
    }

    /// The limit of a lane. A callback that nobody has registered has none to run it.
    pub(super) fn of(&self, lane: LaneId) -> usize {
        if lane & CALLBACK_LANE == 0 {
            self.per_host
        } else if self.callbacks.contains(&lane) {
            usize::MAX
        } else {
            0
        }
    }
}
