//! Hosts that have asked to be left alone for a while: `Retry-After` is about all that is sent
//! there, and who does not wait loses an attempt.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use super::Engine;
use super::live::Live;
use crate::model::{Failure, Now, TaskKey, UnixMillis};
use crate::schedule::LaneId;

/// No host is left alone for longer than this by one answer, which may be about one address there
/// only: then the next task asks anew. The task that was answered waits for as long as it was told.
const HOLD_MAX_MS: i64 = 3_600_000;

/// The lanes of these hosts, each with the time from which on it is open again. It counts by
/// whichever clock comes first: the wall clock may be set back.
#[derive(Default)]
pub(super) struct Holds {
    until: FxHashMap<LaneId, Until>,
    by_wall: BTreeSet<(UnixMillis, LaneId)>,
    by_mono: BTreeSet<(i64, LaneId)>,
}

#[derive(Clone, Copy)]
struct Until {
    wall_ms: UnixMillis,
    mono_ms: i64,
}

impl Holds {
    /// Holds a lane for so long, or for longer where it is held already.
    fn add(&mut self, lane: LaneId, wait_ms: i64, now: Now) {
        let until = Until {
            wall_ms: now.wall_ms.saturating_add(wait_ms),
            mono_ms: now.mono_ms.saturating_add(wait_ms),
        };
        let held = self.remove(lane).unwrap_or(until);
        let until = if held.mono_ms > until.mono_ms { held } else { until };
        self.until.insert(lane, until);
        self.by_wall.insert((until.wall_ms, lane));
        self.by_mono.insert((until.mono_ms, lane));
    }

    fn remove(&mut self, lane: LaneId) -> Option<Until> {
        let held = self.until.remove(&lane)?;
        self.by_wall.remove(&(held.wall_ms, lane));
        self.by_mono.remove(&(held.mono_ms, lane));
        Some(held)
    }

    /// A lane that is to be opened.
    fn over(&self, now: Now) -> Option<LaneId> {
        let by_wall = self.by_wall.first().filter(|(until, _)| *until <= now.wall_ms);
        let by_mono = self.by_mono.first().filter(|(until, _)| *until <= now.mono_ms);
        by_wall.or(by_mono).map(|(_, lane)| *lane)
    }

    /// When the next lane opens by the wall clock.
    pub(super) fn next_ms(&self) -> Option<UnixMillis> {
        self.by_wall.first().map(|(until, _)| *until)
    }
}

impl Engine {
    /// A server has said when to come back: nobody is sent to its host before that, if it spoke of
    /// the host. SOURCE: RFC 9110 §10.2.3, RFC 6585 §4.
    pub(super) fn hold(&mut self, key: TaskKey, failure: &Failure, now: Now) {
        let Some(lane) = self.table.get(key).and_then(|live| lane_meant(live, failure)) else {
            return;
        };
        let asked = failure.retry_after_ms.unwrap_or_default();
        self.hold_for(lane, asked.min(HOLD_MAX_MS), now);
    }

    /// The same for a task that waits for what a server has said to another process, or before a
    /// failed commit: for what is left of it.
    pub(super) fn hold_again(&mut self, live: &Live, now: Now) {
        let Some(failure) = &live.failure else { return };
        let Some(lane) = lane_meant(live, failure) else { return };
        let asked = failure.retry_after_ms.unwrap_or_default();
        // At the earliest, since up to a tenth was added: never for longer than was asked.
        let answered_at = live.run_at.saturating_sub(asked).saturating_sub(asked / 10);
        let gone = now.wall_ms.saturating_sub(answered_at);
        let left = asked.min(HOLD_MAX_MS).saturating_sub(gone);
        self.hold_for(lane, left.min(HOLD_MAX_MS), now);
    }

    fn hold_for(&mut self, lane: LaneId, wait_ms: i64, now: Now) {
        if wait_ms > 0 && self.is_runner() {
            self.holds.add(lane, wait_ms, now);
            self.schedule.set_lane_limit(lane, 0);
        }
    }

    /// Opens the lanes whose time has come.
    pub(super) fn open_lanes(&mut self, now: Now) {
        while let Some(lane) = self.holds.over(now) {
            self.holds.remove(lane);
            self.schedule.set_lane_limit(lane, self.limits.per_host_max);
        }
    }

    /// Whether a tick is of use: a task is due, or a host may be asked again.
    pub fn is_due(&self, now: Now) -> bool {
        self.schedule.next_due_ms().is_some_and(|due| due <= now.wall_ms)
            || self.holds.over(now).is_some()
    }
}

/// The lane that an answer was about, if it asked for time. A 409 or a 425 with a time is about the
/// one request.
fn lane_meant(live: &Live, failure: &Failure) -> Option<LaneId> {
    let is_of_host = matches!(failure.http_status, Some(413 | 429 | 500..=599));
    let asks = failure.retry_after_ms.is_some_and(|wait| wait > 0);
    (live.native && is_of_host && asks).then_some(live.lane)
}
