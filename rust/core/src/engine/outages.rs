//! A network that goes and comes back: who failed because of that does not pay for it.
//!
//! That it is gone is known a moment after the first transfers have failed: those failures do not count.
//! When it is back, whoever failed for want of it need not wait for a retry any more.

use std::collections::VecDeque;

use super::Engine;
use super::effect::Effect;
use super::live::Live;
use crate::model::spec::CONNECTED;
use crate::model::{ErrorCode, Failure, Now, TaskKey, TaskStatus};
use crate::schedule::Needs;

/// The constraint bit that stands for: nothing has been said yet of what holds.
pub const UNKNOWN: Needs = 1 << 30;

/// A signal comes at most so long after what it is about. SOURCE: where the host tells nothing by
/// itself, it is asked every five seconds.
const NOTICED_MS: i64 = 6_000;

/// So many failures are remembered.
const REMEMBERED_MAX: usize = 4_096;

/// An attempt that failed because there was no connection.
struct Broken {
    key: TaskKey,
    attempt: u32,
    mono_ms: i64,
}

/// The failures of the last moments that an outage would explain.
#[derive(Default)]
pub(super) struct Outages {
    recent: VecDeque<Broken>,
}

impl Outages {
    /// An attempt is to be made again.
    pub(super) fn note(&mut self, live: &Live, failure: &Failure, now: Now) {
        if failure.code != ErrorCode::NetworkError || live.needs & CONNECTED == 0 {
            return;
        }
        self.forget_old(now);
        if self.recent.len() == REMEMBERED_MAX {
            self.recent.pop_front();
        }
        let (key, attempt) = (live.key, live.attempt);
        self.recent.push_back(Broken { key, attempt, mono_ms: now.mono_ms });
    }

    fn forget_old(&mut self, now: Now) {
        let oldest = now.mono_ms.saturating_sub(NOTICED_MS);
        while self.recent.front().is_some_and(|broken| broken.mono_ms < oldest) {
            self.recent.pop_front();
        }
    }
}

impl Engine {
    /// The network is gone: what failed just before is due again, and has its attempt back.
    pub(super) fn excuse(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.outages.forget_old(now);
        for Broken { key, attempt, .. } in std::mem::take(&mut self.outages.recent) {
            let Some(live) = self.table.get_mut(key) else { continue };
            if live.status == TaskStatus::Pending && live.attempt == attempt {
                live.attempts_max = live.attempts_max.saturating_add(1);
                self.bring_forward(key, now, effects);
            }
        }
    }

    /// The network is back: whoever failed for want of it is due, the longest waiting first.
    pub(super) fn hurry(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let waits = |live: &&Live| {
            live.status == TaskStatus::Pending
                && live.needs & CONNECTED != 0
                && live.run_at > now.wall_ms
                && live.failure.as_ref().is_some_and(|f| f.code == ErrorCode::NetworkError)
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
