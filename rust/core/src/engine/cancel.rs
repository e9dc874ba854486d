//! The user ends a task, or puts another in its place.

use super::effect::{Effect, End, StopReason};
use super::{Engine, failed, record};
use crate::model::{ErrorCode, EventKind, Failure, Now, Step, TaskKey, TaskStatus};

impl Engine {
    pub(super) fn cancel(
        &mut self,
        key: TaskKey,
        kind: EventKind,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let Some(live) = self.table.get(key) else { return false };
        if live.status.after(Step::Cancel).is_none() {
            return false;
        }
        let attempt = live.attempt;
        let message = match kind {
            EventKind::Replaced => "replaced by a new task with the same id",
            _ => "cancelled",
        };
        let failure = Failure::new(ErrorCode::Cancelled, message);
        self.finish(key, Step::Cancel, End::Failure(failure.clone()), now, effects);
        record(effects, now, kind, key, failed(attempt, &failure));
        self.drop_row(key, StopReason::Cancelled, effects);
        true
    }

    /// Forgets a task wherever it stands, and stops it if it runs here.
    pub(super) fn drop_row(&mut self, key: TaskKey, why: StopReason, effects: &mut Vec<Effect>) {
        let Some(live) = self.table.remove(key) else { return };
        if live.status != TaskStatus::Running {
            self.schedule.cancel(key);
        } else if live.epoch == self.epoch && self.is_runner() {
            self.give_back(&live);
            effects.push(Effect::Stop { key, attempt: live.attempt, why });
        }
    }
}
