//! Hosts that have asked to be left alone for a while: `Retry-After` is about all that is sent
//! there, and who does not wait loses an attempt.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use super::Engine;
use super::live::Live;
use crate::model::{Failure, Now, UnixMillis};
use crate::schedule::LaneId;

/// No host is left alone for longer than this by one answer, which may be about one address there
/// only: then the next task asks anew. The task that was answered waits for as long as it was told.
const HOLD_MAX_MS: i64 = 3_600_000;

/// The lanes of these hosts, each with the time from which on it is open again.
#[derive(Default)]
pub(super) struct Holds {
    until: FxHashMap<LaneId, UnixMillis>,
    order: BTreeSet<(UnixMillis, LaneId)>,
}

impl Holds {
    /// Holds a lane until a time, or for longer than it is held already.
    fn add(&mut self, lane: LaneId, until: UnixMillis) {
        let held = self.until.entry(lane).or_insert(until);
        self.order.remove(&(*held, lane));
        *held = until.max(*held);
        self.order.insert((*held, lane));
    }

    /// A lane that is not held any more at `now`.
    fn pop(&mut self, now: UnixMillis) -> Option<LaneId> {
        let &(until, lane) = self.order.first().filter(|(until, _)| *until <= now)?;
        self.order.remove(&(until, lane));
        self.until.remove(&lane);
        Some(lane)
    }

    /// When the next lane opens.
    pub(super) fn next_ms(&self) -> Option<UnixMillis> {
        self.order.first().map(|(until, _)| *until)
    }
}

impl Engine {
    /// A server has said when to come back: nobody is sent to its host before that.
    pub(super) fn hold(&mut self, live: &Live, failure: &Failure, now: Now) {
        if let Some(wait) = failure.retry_after_ms.filter(|wait| *wait > 0 && live.native) {
            self.hold_until(live, now.wall_ms.saturating_add(wait.min(HOLD_MAX_MS)), now);
        }
    }

    /// A task that waits for what a server has said, from before this process ran it.
    pub(super) fn hold_again(&mut self, live: &Live, now: Now) {
        let asked = live.failure.as_ref().and_then(|failure| failure.retry_after_ms);
        if let Some(wait) = asked.filter(|_| live.native) {
            let most = now.wall_ms.saturating_add(wait.min(HOLD_MAX_MS));
            self.hold_until(live, live.run_at.min(most), now);
        }
    }

    fn hold_until(&mut self, live: &Live, until: UnixMillis, now: Now) {
        if until > now.wall_ms && self.is_runner() {
            self.holds.add(live.lane, until);
            self.schedule.set_lane_limit(live.lane, 0);
        }
    }

    /// Opens the lanes whose time has come.
    pub(super) fn open_lanes(&mut self, now: Now) {
        while let Some(lane) = self.holds.pop(now.wall_ms) {
            self.schedule.set_lane_limit(lane, self.limits.per_host_max);
        }
    }
}
