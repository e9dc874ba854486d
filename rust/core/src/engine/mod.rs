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
mod attempts;
mod cancel;
mod effect;
mod holds;
mod jitter;
mod lanes;
mod live;
mod outages;
mod recovery;
mod retry;
mod suspects;

pub use effect::{Arrival, Effect, End, Input, NewTask, Scheduled, StopReason};
pub use lanes::{lane_of_callback, lane_of_origin};
pub use live::{Live, LiveTable};
pub use retry::{CRASHES_MAX, longest_wait_ms};

use crate::model::constraint::{Needs, SIGNALS_KNOWN};
use crate::model::event::EventDetail;
use crate::model::{Epoch, EventKind, Failure, Now, Step, TaskKey};
#[cfg(test)]
use crate::schedule::Waiting;
use crate::schedule::{Config as ScheduleConfig, Counts, Schedule};
use holds::Holds;
use jitter::Jitter;
use lanes::Callbacks;
use outages::Outages;

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
pub enum Decision {
    /// Nothing.
    None,
    /// What became of each task of an enqueue, in order.
    Scheduled(Vec<Scheduled>),
    /// How many tasks a cancel ended.
    Cancelled(usize),
    /// Nothing was stored: that many tasks wait already.
    Full(usize),
}

/// The rules, with what they need to know.
pub struct Engine {
    table: LiveTable,
    schedule: Schedule,
    callbacks: Callbacks,
    limits: Limits,
    jitter: Jitter,
    epoch: Epoch,
    claims: bool,
    /// The constraint bits that do not hold.
    unmet: Needs,
    outages: Outages,
    holds: Holds,
    suspects_running: usize,
    /// Tasks that wait and that an observer does not have.
    waiting_elsewhere: usize,
}

impl Engine {
    /// An engine that runs tasks under `epoch`. `seed` is for the jitter of retries.
    pub fn runner(limits: Limits, epoch: Epoch, seed: u64) -> Self {
        Self { claims: true, epoch, ..Self::observer(limits, seed) }
    }

    /// An engine that decides about the rows it is shown and never claims one.
    pub fn observer(limits: Limits, seed: u64) -> Self {
        // `pending_max` refuses new tasks. One that is stored is always taken in: an attempt that
        // goes back to waiting, or a row of another process, must not be lost to a bound.
        let config = ScheduleConfig {
            capacity: usize::MAX,
            running_max: limits.running_max,
            lane_running_max: limits.per_host_max,
            ..ScheduleConfig::default()
        };
        Self {
            table: LiveTable::default(),
            schedule: Schedule::new(config),
            callbacks: Callbacks::default(),
            limits,
            jitter: Jitter::new(seed),
            epoch: 0,
            claims: false,
            unmet: SIGNALS_KNOWN,
            outages: Outages::default(),
            holds: Holds::default(),
            suspects_running: 0,
            waiting_elsewhere: 0,
        }
    }

    /// Whether it runs tasks; an observer has no epoch.
    fn is_runner(&self) -> bool {
        self.epoch != 0
    }

    /// The rows of the tasks that live, as far as this engine knows them.
    pub fn table(&self) -> &LiveTable {
        &self.table
    }

    /// How many wait for what.
    pub fn counts(&self) -> Counts {
        self.schedule.counts()
    }

    /// When a tick is next of use: a delayed task is due, or a host may be asked again.
    pub fn next_due_ms(&self) -> Option<i64> {
        [self.schedule.next_due_ms(), self.holds.next_ms()].into_iter().flatten().min()
    }

    /// What a pending task waits for.
    #[cfg(test)]
    fn waiting(&self, key: TaskKey) -> Option<Waiting> {
        self.schedule.waiting(key)
    }

    /// Lets the tasks of a callback run: it is registered now.
    pub fn register_callback(&mut self, callback_id: &str) {
        let lane = self.callbacks.register(callback_id);
        self.schedule.set_lane_limit(lane, usize::MAX);
    }

    /// From now on no attempt begins; what runs goes on.
    pub fn stop_claiming(&mut self) {
        self.claims = false;
    }

    /// Tells an observer how many tasks the store has, for `pending_max`.
    pub fn set_waiting_elsewhere(&mut self, tasks: usize) {
        self.waiting_elsewhere = tasks;
    }

    /// Shows an observer a row that an input touches.
    pub fn show(&mut self, live: Live) {
        self.table.put(live);
    }

    /// Makes an observer forget the rows it was shown.
    pub fn forget(&mut self) {
        self.table.clear();
    }

    /// Decides about one input. The effects stand in the order they must be stored in.
    pub fn handle(&mut self, input: Input, now: Now, effects: &mut Vec<Effect>) -> Decision {
        let answer = match input {
            Input::Enqueue(arrivals) => self.enqueue(arrivals, now, effects),
            Input::Cancel(keys) => {
                let cancelled =
                    |key: &TaskKey| self.cancel(*key, EventKind::Cancelled, now, effects);
                Decision::Cancelled(keys.iter().copied().filter(cancelled).count())
            }
            Input::Outcome { key, attempt, outcome, retry } => {
                self.outcome(key, attempt, outcome, &retry, now, effects);
                Decision::None
            }
            Input::Progress { key, attempt, percent } => {
                self.progress(key, attempt, percent, effects);
                Decision::None
            }
            Input::Signals { unmet } => {
                self.signals(unmet, now, effects);
                Decision::None
            }
            Input::Tick => Decision::None,
        };
        self.claim(now, effects);
        answer
    }

    /// Puts a pending row into the table and, where tasks are run, into the schedule.
    fn wait(&mut self, live: Live, now: Now) {
        if self.is_runner() {
            if self.callbacks.lacks(live.lane) {
                self.schedule.set_lane_limit(live.lane, 0);
            }
            let pushed = self.schedule.push(live.entry(), now.wall_ms);
            debug_assert!(pushed.is_ok(), "{pushed:?}");
        }
        self.table.put(live);
    }

    /// Ends a task by a step that its status allows.
    fn finish(&self, key: TaskKey, step: Step, end: End, now: Now, effects: &mut Vec<Effect>) {
        let Some(live) = self.table.get(key) else { return };
        let Some(status) = live.status.after(step) else { return };
        let attempt = live.attempt;
        effects.push(Effect::Finish { key, status, at: now.wall_ms, attempt, end });
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

#[cfg(test)]
mod tests;
