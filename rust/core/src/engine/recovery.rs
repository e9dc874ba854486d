//! What the store says, taken up: at the start, after a failed commit, after somebody else's
//! commit.

use super::effect::{Effect, End, StopReason};
use super::live::Live;
use super::retry::CRASHES_MAX;
use super::{Engine, failed, record};
use crate::model::event::EventDetail;
use crate::model::{
    ErrorCode, EventKind, Failure, InterruptReason, Now, Step, TaskKey, TaskStatus,
};

impl Engine {
    /// Takes up what the store has: at the start of a runner, or after a failed commit.
    ///
    /// A row that another epoch runs belongs to a process that died: it is rescued. A row of our
    /// own epoch is still run by us.
    pub fn recover(&mut self, rows: impl IntoIterator<Item = Live>, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        for live in rows {
            self.take_up(live, now, &mut effects);
        }
        self.claim(now, &mut effects);
        effects
    }

    /// Takes up a change that another process made: the row as it is now, or that it is gone.
    ///
    /// Claims nothing, so that every change can be taken up before a tick follows: a claim in
    /// between could begin a task whose row is still to come, and begin it once more after that.
    pub fn catch_up(&mut self, key: TaskKey, row: Option<Live>, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        match row {
            Some(live) if self.runs(&live) => self.table.put(live),
            Some(live) => {
                self.drop_row(key, StopReason::Cancelled, &mut effects);
                self.take_up(live, now, &mut effects);
            }
            None => self.drop_row(key, StopReason::Cancelled, &mut effects),
        }
        effects
    }

    /// Whether a row of the store is about the attempt that is under way here.
    fn runs(&self, live: &Live) -> bool {
        live.status == TaskStatus::Running
            && live.epoch == self.epoch
            && self.fenced(live.key, live.attempt).is_some()
    }

    /// Takes up a row from the store: it waits, or we run it, or its runner died.
    fn take_up(&mut self, live: Live, now: Now, effects: &mut Vec<Effect>) {
        match live.status {
            TaskStatus::Running if live.epoch == self.epoch => {
                self.schedule.occupy(live.lane);
                self.note_begin(&live);
                self.table.put(live);
            }
            TaskStatus::Running => self.rescue(live, now, effects),
            TaskStatus::Pending => {
                self.hold_again(&live, now);
                self.wait(live, now);
            }
            _ => self.table.put(live),
        }
    }

    /// The process that ran it died. A native transfer goes on however often that happens; a Python
    /// worker is given up after [`CRASHES_MAX`], since it may be what kills the process.
    fn rescue(&mut self, mut live: Live, now: Now, effects: &mut Vec<Effect>) {
        let Some(status) = live.status.after(Step::Rescue) else { return };
        live.crashes = live.crashes.saturating_add(1);
        if !live.native && live.crashes > CRASHES_MAX {
            let message = format!("the process died {} times while it ran this", live.crashes);
            let failure = Failure::new(ErrorCode::Crashed, message);
            let (key, attempt) = (live.key, live.attempt);
            self.table.put(live);
            self.finish(key, Step::Fail, End::Failure(failure.clone()), now, effects);
            record(effects, now, EventKind::Failed, key, failed(attempt, &failure));
            self.table.remove(key);
            return;
        }
        live.status = status;
        live.epoch = 0;
        live.attempts_max = live.attempts_max.saturating_add(1);
        let message = InterruptReason::Crash.message().to_owned();
        let detail = EventDetail { attempt: live.attempt, message, ..EventDetail::default() };
        record(effects, now, EventKind::Rescued, live.key, detail);
        effects.push(Effect::Update(live.clone()));
        self.wait(live, now);
    }
}
