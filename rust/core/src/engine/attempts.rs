//! An attempt: it begins, gets further, and ends.

use std::sync::Arc;

use super::effect::{Effect, End, StopReason};
use super::live::Live;
use super::retry::{Next, after_attempt};
use super::{Engine, failed, record};
use crate::model::constraint::{BATTERY_NOT_LOW, NETWORK, Needs, SIGNALS_KNOWN};
use crate::model::event::EventDetail;
use crate::model::spec::RetrySpec;
use crate::model::{
    EventKind, Failure, InterruptReason, Now, Outcome, Step, Success, TaskKey, TaskStatus,
};

impl Engine {
    /// Begins every attempt that may begin now.
    pub(super) fn claim(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.open_lanes(now);
        self.schedule.advance(now.wall_ms);
        while self.claims
            && let Some(key) = self.schedule.take()
        {
            let Some(live) = self.table.get_mut(key) else { continue };
            let Some(status) = live.status.after(Step::Claim) else { continue };
            live.status = status;
            live.attempt = live.attempt.saturating_add(1);
            live.epoch = self.epoch;
            let (attempt, mark_percent) = (live.attempt, live.mark_percent);
            let live = live.clone();
            self.note_begin(&live);
            effects.push(Effect::Update(live));
            let detail = EventDetail { attempt, ..EventDetail::default() };
            record(effects, now, EventKind::Started, key, detail);
            effects.push(Effect::Start { key, attempt, mark_percent });
        }
    }

    pub(super) fn outcome(
        &mut self,
        key: TaskKey,
        attempt: u32,
        outcome: Outcome,
        retry: &RetrySpec,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let jitter = self.jitter.next();
        if self.fenced(key, attempt).is_none() {
            return;
        }
        if let Outcome::Retry(failure) = &outcome {
            self.hold(key, failure, now);
        }
        let Some(live) = self.table.get(key) else { return };
        match after_attempt(live, outcome, retry, jitter, now.wall_ms) {
            Next::Complete(success) => self.complete(key, success, now, effects),
            Next::Fail(failure) => self.fail(key, failure, now, effects),
            Next::Retry { at, failure } => self.retry(key, at, &failure, now, effects),
            Next::Release(why) => self.release(key, why, now, effects),
        }
    }

    pub(super) fn progress(
        &mut self,
        key: TaskKey,
        attempt: u32,
        percent: u8,
        effects: &mut Vec<Effect>,
    ) {
        if self.fenced(key, attempt).is_none() {
            return;
        }
        if let Some(live) = self.table.get_mut(key)
            && percent > live.mark_percent
        {
            live.mark_percent = percent;
            effects.push(Effect::Update(live.clone()));
        }
    }

    /// Cuts every attempt short (shutdown): each is released and will be made again.
    pub fn interrupt_all(&mut self, why: InterruptReason, now: Now) -> Vec<Effect> {
        self.claims = false;
        let mut effects = Vec::new();
        self.interrupt(why, &|_| true, now, &mut effects);
        effects
    }

    /// These constraint bits do not hold now. An attempt that needs one of them is cut short and
    /// made again when it holds.
    pub(super) fn signals(&mut self, unmet: Needs, now: Now, effects: &mut Vec<Effect>) {
        let before = std::mem::replace(&mut self.unmet, unmet);
        self.judge_by_unmet();
        let has_changed = |bit: Needs| before & SIGNALS_KNOWN == 0 && (before ^ unmet) & bit != 0;
        if self.is_runner() && has_changed(NETWORK) {
            if unmet & NETWORK == 0 {
                self.retry_waiting_now(now, effects);
            } else {
                self.refund_recent_failures(now, effects);
            }
        }
        if unmet != 0 {
            let starved = |live: &Live| live.needs & unmet != 0;
            self.interrupt(InterruptReason::ConstraintLost, &starved, now, effects);
        }
    }

    /// Cuts short the attempts under way here that are meant, in order of key.
    fn interrupt(
        &mut self,
        why: InterruptReason,
        meant: &dyn Fn(&Live) -> bool,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let runs_here = |live: &Live| {
            live.status == TaskStatus::Running && live.epoch == self.epoch && self.is_runner()
        };
        let under_way = self.table.iter().filter(|live| runs_here(live) && meant(live));
        let mut keys: Vec<(TaskKey, u32)> =
            under_way.map(|live| (live.key, live.attempt)).collect();
        keys.sort_unstable();
        for (key, attempt) in keys {
            effects.push(Effect::Stop { key, attempt, why: StopReason::Interrupted(why) });
            self.release(key, why, now, effects);
        }
    }

    /// The row, if that attempt of it is the one under way here: the fence against late results.
    pub(super) fn fenced(&self, key: TaskKey, attempt: u32) -> Option<&Live> {
        self.table.get(key).filter(|live| {
            live.status == TaskStatus::Running
                && live.attempt == attempt
                && live.epoch == self.epoch
        })
    }

    fn complete(&mut self, key: TaskKey, success: Success, now: Now, effects: &mut Vec<Effect>) {
        let attempt = self.table.get(key).map_or(0, |live| live.attempt);
        let http_status = success.http_status;
        self.finish(key, Step::Succeed, End::Success(success), now, effects);
        let detail = EventDetail { attempt, http_status, ..EventDetail::default() };
        record(effects, now, EventKind::Completed, key, detail);
        self.forget_run(key);
    }

    fn fail(&mut self, key: TaskKey, failure: Failure, now: Now, effects: &mut Vec<Effect>) {
        let attempt = self.table.get(key).map_or(0, |live| live.attempt);
        self.finish(key, Step::Fail, End::Failure(failure.clone()), now, effects);
        record(effects, now, EventKind::Failed, key, failed(attempt, &failure));
        self.forget_run(key);
    }

    fn retry(
        &mut self,
        key: TaskKey,
        at: i64,
        failure: &Failure,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(mut live) = self.back_to_pending(key, Step::Retry) else { return };
        live.run_at = at;
        live.failure = Some(Arc::new(failure.clone()));
        self.outages.note(&live, failure, now);
        let detail = EventDetail { retry_at_ms: Some(at), ..failed(live.attempt, failure) };
        record(effects, now, EventKind::RetryScheduled, key, detail);
        effects.push(Effect::Update(live.clone()));
        self.wait(live, now);
    }

    /// Puts a task back without counting the attempt.
    fn release(&mut self, key: TaskKey, why: InterruptReason, now: Now, out: &mut Vec<Effect>) {
        let Some(mut live) = self.back_to_pending(key, Step::Interrupt) else { return };
        live.attempts_max = live.attempts_max.saturating_add(1);
        let lost = live.needs & self.unmet;
        let which = match why {
            InterruptReason::ConstraintLost if lost & NETWORK != 0 => " (no network)",
            InterruptReason::ConstraintLost if lost & BATTERY_NOT_LOW != 0 => " (a low battery)",
            _ => "",
        };
        let message = format!("{}{which}", why.message());
        let detail = EventDetail { attempt: live.attempt, message, ..EventDetail::default() };
        record(out, now, EventKind::Interrupted, key, detail);
        out.push(Effect::Update(live.clone()));
        self.wait(live, now);
    }

    /// Takes a running row out of the table as pending, and gives its slot back.
    fn back_to_pending(&mut self, key: TaskKey, step: Step) -> Option<Live> {
        let mut live = self.table.remove(key)?;
        let Some(status) = live.status.after(step) else {
            self.table.put(live);
            return None;
        };
        self.give_back(&live);
        live.status = status;
        live.epoch = 0;
        Some(live)
    }

    /// Forgets a task whose attempt has ended: its slot is free.
    fn forget_run(&mut self, key: TaskKey) {
        if let Some(live) = self.table.remove(key) {
            self.give_back(&live);
        }
    }
}
