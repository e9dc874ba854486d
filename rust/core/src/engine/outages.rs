//! A network that is lost and comes back.
//!
//! The loss is noticed only after the first transfers have failed: those failures do not count.
//! When the network is back, tasks that wait for a retry after a network error are due at once.

use std::collections::VecDeque;

use super::Engine;
use super::effect::Effect;
use super::live::Live;
use crate::model::constraint::NETWORK;
use crate::model::{ErrorCode, Failure, Now, TaskKey, TaskStatus};

/// A loss is noticed at most this long after it. SOURCE: a host that tells nothing by itself is
/// asked every five seconds.
const NOTICED_MS: i64 = 6_000;

/// At most this many failures are remembered.
const REMEMBERED_MAX: usize = 4_096;

/// Whether a network that is gone would explain a failure: the connection was refused or lost, or,
/// since a network that fades first loses packets, nothing came for too long.
fn is_of_network(failure: &Failure) -> bool {
    matches!(failure.code, ErrorCode::NetworkError | ErrorCode::Timeout)
}

/// An attempt that failed because there was no connection.
struct RecentFailure {
    key: TaskKey,
    attempt: u32,
    mono_ms: i64,
}

/// The failures of the last moments that an outage would explain.
#[derive(Default)]
pub(super) struct Outages {
    recent: VecDeque<RecentFailure>,
}

impl Outages {
    /// An attempt is to be made again.
    pub(super) fn note(&mut self, live: &Live, failure: &Failure, now: Now) {
        if !is_of_network(failure) || live.needs & NETWORK == 0 {
            return;
        }
        self.forget_old(now);
        if self.recent.len() == REMEMBERED_MAX {
            self.recent.pop_front();
        }
        let (key, attempt) = (live.key, live.attempt);
        self.recent.push_back(RecentFailure { key, attempt, mono_ms: now.mono_ms });
    }

    fn forget_old(&mut self, now: Now) {
        let oldest = now.mono_ms.saturating_sub(NOTICED_MS);
        while self.recent.front().is_some_and(|failed| failed.mono_ms < oldest) {
            self.recent.pop_front();
        }
    }
}

impl Engine {
    /// The network is gone: what failed just before is due again, and has its attempt back.
    pub(super) fn refund_recent_failures(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.outages.forget_old(now);
        for RecentFailure { key, attempt, .. } in std::mem::take(&mut self.outages.recent) {
            let Some(live) = self.table.get_mut(key) else { continue };
            if live.status == TaskStatus::Pending && live.attempt == attempt {
                live.attempts_max = live.attempts_max.saturating_add(1);
                self.bring_forward(key, now, effects);
            }
        }
    }

    /// The network is back: what failed for want of it is due, the longest waiting first.
    pub(super) fn retry_waiting_now(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let waits = |live: &&Live| {
            live.status == TaskStatus::Pending
                && live.needs & NETWORK != 0
                && live.run_at > now.wall_ms
                && live.failure.as_deref().is_some_and(is_of_network)
        };
        let mut waiting: Vec<_> =
            self.table.iter().filter(waits).map(|live| (live.run_at, live.key)).collect();
        waiting.sort_unstable();
        for (_, key) in waiting {
            self.bring_forward(key, now, effects);
        }
    }

    fn bring_forward(&mut self, key: TaskKey, now: Now, effects: &mut Vec<Effect>) {
        let Some(live) = self.table.get_mut(key) else { return };
        live.run_at = live.run_at.min(now.wall_ms);
        effects.push(Effect::Update(live.clone()));
        self.schedule.reschedule(key, live.run_at, now.wall_ms);
    }
}
