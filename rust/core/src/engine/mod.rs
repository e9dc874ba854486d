//! Every rule of a task's life, without I/O: `handle(input, now)` says what is to be done.
//!
//! The engine opens no file, no socket and no clock, and draws randomness from a seeded generator,
//! so a simulation can drive it through years and crashes in seconds. What it decides is *effects*:
//! the durable ones go into one transaction, the others are done once that is on disk. If the
//! transaction fails, the engine is rebuilt from what the store has ([`Engine::recover`]).
//!
//! A runner keeps every live row in the table. Any other process loads the rows that an input
//! touches, asks the same rules, and forgets them again ([`Engine::observer`]).

mod admit;
mod dice;
mod effect;
mod lanes;
mod live;
mod retry;

pub use effect::{Arrival, Effect, End, Input, NewTask, Scheduled, StopReason};
pub use lanes::{lane_of_callback, lane_of_origin};
pub use live::{Live, LiveTable};
pub use retry::{CRASHES_MAX, RETRY_AFTER_MAX_MS};

use crate::model::event::EventDetail;
use crate::model::spec::RetrySpec;
use crate::model::{
    Epoch, ErrorCode, EventKind, Failure, InterruptReason, Now, Outcome, Step, Success, TaskKey,
    TaskStatus,
};
use crate::schedule::{Config as ScheduleConfig, Counts, Schedule, Waiting};
use admit::{Admission, admission, born};
use dice::Dice;
use lanes::LaneLimits;
use retry::{Next, after_attempt};

/// The bounds an engine keeps.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Attempts under way at once.
    pub running_max: usize,
    /// Of these, to one host.
    pub per_host_max: usize,
    /// Tasks that wait at once; one more is refused.
    pub pending_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { running_max: 8, per_host_max: 4, pending_max: 10_000_000 }
    }
}

/// What the caller of an input is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing.
    None,
    /// What became of each task of an enqueue, in order.
    Scheduled(Vec<Scheduled>),
    /// How many tasks a cancel ended.
    Cancelled(usize),
    /// Nothing was stored: so many tasks wait already.
    Full(usize),
}

/// The rules, with what they need to know.
pub struct Engine {
    table: LiveTable,
    schedule: Schedule,
    lanes: LaneLimits,
    limits: Limits,
    dice: Dice,
    epoch: Epoch,
    claims: bool,
}

impl Engine {
    /// An engine that runs tasks under `epoch`. `seed` is for the jitter of retries.
    pub fn runner(limits: Limits, epoch: Epoch, seed: u64) -> Self {
        Self { claims: true, epoch, ..Self::observer(limits, seed) }
    }

    /// An engine that decides about the rows it is shown and never claims one.
    pub fn observer(limits: Limits, seed: u64) -> Self {
        let config = ScheduleConfig {
            capacity: limits.pending_max,
            running_max: limits.running_max,
            ..ScheduleConfig::default()
        };
        Self {
            table: LiveTable::default(),
            schedule: Schedule::new(config),
            lanes: LaneLimits::new(limits.per_host_max),
            limits,
            dice: Dice::new(seed),
            epoch: 0,
            claims: false,
        }
    }

    /// The rows of the tasks that live, as far as this engine knows them.
    pub fn table(&self) -> &LiveTable {
        &self.table
    }

    /// How many wait for what.
    pub fn counts(&self) -> Counts {
        self.schedule.counts()
    }

    /// When a tick is next of use: the earliest time a delayed task is due.
    pub fn next_due_ms(&self) -> Option<i64> {
        self.schedule.next_due_ms()
    }

    /// What a pending task waits for.
    pub fn waiting(&self, key: TaskKey) -> Option<Waiting> {
        self.schedule.waiting(key)
    }

    /// Lets the tasks of a callback run: it is registered now.
    pub fn register_callback(&mut self, callback_id: &str) {
        let lane = self.lanes.register(callback_id);
        self.schedule.set_lane_limit(lane, self.lanes.of(lane));
    }

    /// From now on no attempt begins; what runs goes on.
    pub fn stop_claiming(&mut self) {
        self.claims = false;
    }

    /// Shows an observer a row that an input touches.
    pub fn show(&mut self, live: Live) {
        self.table.put(live);
    }

    /// Makes an observer forget the rows it was shown.
    pub fn forget(&mut self) {
        self.table.clear();
    }

    /// Takes up what the store has: at the start of a runner, or after a failed commit.
    ///
    /// A row that another epoch runs belongs to a process that died: it is rescued. A row of our own
    /// epoch is still run by us.
    pub fn recover(&mut self, rows: impl IntoIterator<Item = Live>, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        for live in rows {
            self.take_up(live, now, &mut effects);
        }
        self.claim(now, &mut effects);
        effects
    }

    /// Takes up a change that another process made: the row as it is now, or that it is gone.
    pub fn catch_up(&mut self, key: TaskKey, row: Option<Live>, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.drop_row(key, StopReason::Cancelled, &mut effects);
        if let Some(live) = row {
            self.take_up(live, now, &mut effects);
        }
        self.claim(now, &mut effects);
        effects
    }

    /// Decides about one input. The effects stand in the order they must be stored in.
    pub fn handle(&mut self, input: Input, now: Now, effects: &mut Vec<Effect>) -> Answer {
        let answer = match input {
            Input::Enqueue(arrivals) => self.enqueue(arrivals, now, effects),
            Input::Cancel(keys) => {
                let cancelled =
                    |key: &TaskKey| self.cancel(*key, EventKind::Cancelled, now, effects);
                Answer::Cancelled(keys.iter().copied().filter(cancelled).count())
            }
            Input::Outcome { key, attempt, outcome, retry } => {
                self.outcome(key, attempt, outcome, &retry, now, effects);
                Answer::None
            }
            Input::Progress { key, attempt, percent } => {
                self.progress(key, attempt, percent, effects);
                Answer::None
            }
            Input::Signals { unmet } => {
                self.schedule.set_unmet(unmet);
                Answer::None
            }
            Input::Tick => Answer::None,
        };
        self.claim(now, effects);
        answer
    }

    /// Cuts every attempt short (shutdown): each is released and will be made again.
    pub fn interrupt_all(&mut self, why: InterruptReason, now: Now) -> Vec<Effect> {
        self.claims = false;
        let running = |live: &&Live| live.status == TaskStatus::Running && live.epoch == self.epoch;
        let mut keys: Vec<(TaskKey, u32)> =
            self.table.iter().filter(running).map(|live| (live.key, live.attempt)).collect();
        keys.sort_unstable();
        let mut effects = Vec::new();
        for (key, attempt) in keys {
            effects.push(Effect::Stop { key, attempt, why: StopReason::Interrupted(why) });
            self.release(key, why, now, &mut effects);
        }
        effects
    }

    fn enqueue(&mut self, arrivals: Vec<Arrival>, now: Now, effects: &mut Vec<Effect>) -> Answer {
        if self.schedule.len().saturating_add(arrivals.len()) > self.limits.pending_max {
            return Answer::Full(self.schedule.len());
        }
        let scheduled = arrivals.into_iter().map(|new| self.enqueue_one(new, now, effects));
        Answer::Scheduled(scheduled.collect())
    }

    fn enqueue_one(&mut self, new: Arrival, now: Now, effects: &mut Vec<Effect>) -> Scheduled {
        let taken = new.taken_by.and_then(|key| self.table.get(key));
        match admission(&new.task, taken) {
            Admission::Keep(key) => return Scheduled::Kept(key),
            Admission::Replace(key) => {
                self.cancel(key, EventKind::Replaced, now, effects);
            }
            Admission::Accept => {}
        }
        let live = born(&new.task, new.key);
        let key = live.key;
        self.wait(live.clone(), now);
        effects.push(Effect::Insert { live, task: new.task, at: now.wall_ms });
        record(effects, now, EventKind::Enqueued, key, EventDetail::default());
        Scheduled::Accepted(key)
    }

    fn cancel(
        &mut self,
        key: TaskKey,
        kind: EventKind,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let Some(live) = self.table.get(key) else { return false };
        let (attempt, Some(status)) = (live.attempt, live.status.after(Step::Cancel)) else {
            return false;
        };
        let message = match kind {
            EventKind::Replaced => "replaced by a new task with the same id",
            _ => "cancelled",
        };
        let failure = Failure::new(ErrorCode::Cancelled, message);
        self.finish(key, status, End::Failure(failure.clone()), now, effects);
        record(effects, now, kind, key, failed(attempt, &failure));
        self.drop_row(key, StopReason::Cancelled, effects);
        true
    }

    fn outcome(
        &mut self,
        key: TaskKey,
        attempt: u32,
        outcome: Outcome,
        retry: &RetrySpec,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let dice = self.dice.roll();
        let Some(live) = self.fenced(key, attempt) else { return };
        match after_attempt(live, outcome, retry, dice, now.wall_ms) {
            Next::Complete(success) => self.complete(key, success, now, effects),
            Next::Fail(failure) => self.fail(key, failure, now, effects),
            Next::Retry { at, failure } => self.retry(key, at, &failure, now, effects),
            Next::Release(why) => self.release(key, why, now, effects),
        }
    }

    /// The row, if that attempt of it is the one under way here: the fence against late results.
    fn fenced(&self, key: TaskKey, attempt: u32) -> Option<&Live> {
        self.table.get(key).filter(|live| {
            live.status == TaskStatus::Running
                && live.attempt == attempt
                && live.epoch == self.epoch
        })
    }

    fn complete(&mut self, key: TaskKey, success: Success, now: Now, effects: &mut Vec<Effect>) {
        let attempt = self.table.get(key).map_or(0, |live| live.attempt);
        let http_status = success.http_status;
        self.finish(key, TaskStatus::Completed, End::Success(success), now, effects);
        let detail = EventDetail { attempt, http_status, ..EventDetail::default() };
        record(effects, now, EventKind::Completed, key, detail);
        self.forget_run(key);
    }

    fn fail(&mut self, key: TaskKey, failure: Failure, now: Now, effects: &mut Vec<Effect>) {
        let attempt = self.table.get(key).map_or(0, |live| live.attempt);
        self.finish(key, TaskStatus::Failed, End::Failure(failure.clone()), now, effects);
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
        let detail = EventDetail { retry_at_ms: Some(at), ..failed(live.attempt, failure) };
        record(effects, now, EventKind::RetryScheduled, key, detail);
        effects.push(Effect::Update(live.clone()));
        self.wait(live, now);
    }

    /// Puts a task back without counting the attempt.
    fn release(&mut self, key: TaskKey, why: InterruptReason, now: Now, out: &mut Vec<Effect>) {
        let Some(mut live) = self.back_to_pending(key, Step::Interrupt) else { return };
        live.attempts_max = live.attempts_max.saturating_add(1);
        let message = why.message().to_owned();
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
        self.schedule.release(live.lane);
        live.status = status;
        live.epoch = 0;
        Some(live)
    }

    fn progress(&mut self, key: TaskKey, attempt: u32, percent: u8, effects: &mut Vec<Effect>) {
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

    /// Takes up a row from the store: it waits, or we run it, or its runner died.
    fn take_up(&mut self, live: Live, now: Now, effects: &mut Vec<Effect>) {
        match live.status {
            TaskStatus::Running if live.epoch == self.epoch => {
                self.schedule.occupy(live.lane);
                self.table.put(live);
            }
            TaskStatus::Running => self.rescue(live, now, effects),
            TaskStatus::Pending => self.wait(live, now),
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
            self.finish(key, TaskStatus::Failed, End::Failure(failure.clone()), now, effects);
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

    /// Puts a pending row into the table and, where tasks are run, into the schedule.
    fn wait(&mut self, live: Live, now: Now) {
        if self.epoch != 0 {
            self.schedule.set_lane_limit(live.lane, self.lanes.of(live.lane));
            let pushed = self.schedule.push(live.entry(), now.wall_ms);
            debug_assert!(pushed.is_ok(), "{pushed:?}");
        }
        self.table.put(live);
    }

    /// Begins every attempt that may begin now.
    fn claim(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.schedule.advance(now.wall_ms);
        while self.claims
            && let Some(key) = self.schedule.take()
        {
            let Some(live) = self.table.get_mut(key) else { continue };
            let Some(status) = live.status.after(Step::Claim) else { continue };
            live.status = status;
            live.attempt = live.attempt.saturating_add(1);
            live.epoch = self.epoch;
            let (attempt, native, mark_percent) = (live.attempt, live.native, live.mark_percent);
            effects.push(Effect::Update(live.clone()));
            let detail = EventDetail { attempt, ..EventDetail::default() };
            record(effects, now, EventKind::Started, key, detail);
            effects.push(Effect::Start { key, attempt, native, mark_percent });
        }
    }

    fn finish(
        &self,
        key: TaskKey,
        status: TaskStatus,
        end: End,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let attempt = self.table.get(key).map_or(0, |live| live.attempt);
        effects.push(Effect::Finish { key, status, at: now.wall_ms, attempt, end });
    }

    /// Forgets a task whose attempt has ended: its slot is free.
    fn forget_run(&mut self, key: TaskKey) {
        if let Some(live) = self.table.remove(key) {
            self.schedule.release(live.lane);
        }
    }

    /// Forgets a task wherever it stands, and stops it if it runs here.
    fn drop_row(&mut self, key: TaskKey, why: StopReason, effects: &mut Vec<Effect>) {
        let Some(live) = self.table.remove(key) else { return };
        if live.status != TaskStatus::Running {
            self.schedule.cancel(key);
        } else if live.epoch == self.epoch && self.epoch != 0 {
            self.schedule.release(live.lane);
            effects.push(Effect::Stop { key, attempt: live.attempt, why });
        }
    }
}

fn failed(attempt: u32, failure: &Failure) -> EventDetail {
    EventDetail {
        attempt,
        error_code: Some(failure.code),
        http_status: failure.http_status,
        message: failure.message.clone(),
        retry_at_ms: None,
    }
}

fn record(effects: &mut Vec<Effect>, now: Now, kind: EventKind, key: TaskKey, detail: EventDetail) {
    effects.push(Effect::Record { at: now.wall_ms, kind, key, detail });
}
