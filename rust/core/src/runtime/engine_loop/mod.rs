//! The engine loop: takes what has arrived, lets the engine decide, commits it with one fsync,
//! answers, and starts what is due. While one batch is on its way to the disk the next one gathers,
//! so the size of a batch finds itself (natural group commit).

mod batch;
mod closing;
mod election;
mod pruning;
mod publish;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use super::admission_queue::AdmissionQueue;
use super::checkpoints::Checkpoints;
use super::completions::{Completions, Ticket};
use super::inbox::{Inbox, Op};
use super::launcher::Launcher;
use super::lock::LockSlot;
use super::progress_board::ProgressBoard;
use super::readers::Readers;
use super::replies::pack;
use super::situation::SharedSituation;
use crate::engine::{Engine, Limits};
use crate::model::spec::RetrySpec;
use crate::model::{Epoch, Fault, TaskKey};
use crate::store::sqlite::{Retention, SqliteStore};
use crate::store::{RunnerInfo, Store, StoreError};
use pruning::Pruning;

/// A transaction stores at most this many tasks, which bounds how long the last of them waits.
const BATCH_MAX: usize = 1024;

/// How often the loop looks at what others did, when nothing else wakes it.
const POLL: Duration = Duration::from_millis(100);

/// An attempt under way here.
struct RunningAttempt {
    number: u32,
    native: bool,
    retry: RetrySpec,
}

/// What the loop is made of.
pub(super) struct LoopParts {
    pub(super) store: SqliteStore,
    pub(super) path: PathBuf,
    pub(super) limits: Limits,
    pub(super) seed: u64,
    pub(super) keep: Retention,
    pub(super) run: bool,
    pub(super) runner: RunnerInfo,
    pub(super) callbacks: Vec<String>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) completions: Completions,
    pub(super) readers: Arc<Readers>,
    pub(super) launcher: Arc<Launcher>,
    pub(super) board: Arc<ProgressBoard>,
    pub(super) situation: Arc<SharedSituation>,
    pub(super) lock: LockSlot,
    pub(super) checkpoints: Checkpoints,
    pub(super) admissions: Arc<AdmissionQueue>,
}

/// The loop's own state.
pub(super) struct EngineLoop {
    parts: LoopParts,
    engine: Engine,
    /// 0 in a process that does not run tasks.
    epoch: Epoch,
    /// The last key of the open transaction; 0 until it is asked for.
    last_key: TaskKey,
    running: FxHashMap<TaskKey, RunningAttempt>,
    data_version: i64,
    tried_lock: Option<Instant>,
    /// Whether the engine knows what the store does not: a commit has failed.
    is_stale: bool,
    /// Whether this turn has begun a transaction, and so may have decided something.
    has_begun: bool,
    /// Whether attempts may begin; never again after a drain. Kept here, since a failed commit
    /// builds the engine again.
    claims: bool,
    draining: Vec<Ticket>,
    idle: Vec<Ticket>,
    closing: Option<(Ticket, Instant)>,
    pruning: Pruning,
    /// The failures that were reported last, and when.
    reported: FxHashMap<String, Instant>,
    /// When an observer last asked the store how many tasks wait.
    counted: Option<Instant>,
}

impl EngineLoop {
    /// Takes over what the store has, if this process is the one that runs.
    pub(super) fn open(parts: LoopParts) -> Result<Self, Fault> {
        let engine = Engine::observer(parts.limits, parts.seed);
        let mut this = Self {
            engine,
            epoch: 0,
            last_key: 0,
            running: FxHashMap::default(),
            data_version: parts.store.data_version()?,
            tried_lock: None,
            is_stale: false,
            has_begun: false,
            claims: true,
            draining: Vec::new(),
            idle: Vec::new(),
            closing: None,
            pruning: Pruning::new(parts.keep),
            reported: FxHashMap::default(),
            counted: None,
            parts,
        };
        this.try_to_run()?;
        Ok(this)
    }

    fn is_runner(&self) -> bool {
        self.epoch != 0
    }

    /// Runs until it is closed.
    pub(super) fn run(mut self) {
        loop {
            let ops = self.parts.inbox.take(BATCH_MAX, self.sleep_max());
            let is_idle = ops.is_empty();
            match self.turn(ops) {
                Ok(()) => self.prune(is_idle),
                Err(fault) => self.after_failure(&fault),
            }
            if let Err(fault) = self.parts.admissions.replace_hung_thread() {
                self.parts.completions.report(fault);
            }
            if self.is_closed() {
                return self.close();
            }
        }
    }

    /// How long the loop may sleep.
    fn sleep_max(&self) -> Duration {
        let now = self.parts.situation.now();
        let due = self.engine.next_due_ms().map_or(POLL, |due| {
            let wait = due.saturating_sub(now.wall_ms);
            Duration::from_millis(u64::try_from(wait).unwrap_or_default())
        });
        due.min(POLL)
    }

    /// One turn: a batch, or what time and others brought.
    fn turn(&mut self, mut ops: Vec<Op>) -> Result<(), Fault> {
        self.has_begun = false;
        ops.retain_mut(|op| !self.handle_without_store(op));
        if let Err(fault) = self.work(&ops) {
            self.parts.store.rollback();
            self.refuse(ops, &fault);
            return Err(fault);
        }
        Ok(self.answer_idle_waiters()?)
    }

    /// The part of a turn that needs the store. Does all of it or nothing.
    fn work(&mut self, ops: &[Op]) -> Result<(), Fault> {
        if self.is_stale {
            self.load(self.epoch)?;
        }
        self.try_to_run()?;
        let now = self.parts.situation.now();
        let due = self.engine.is_due(now);
        // Where there is something to do its transaction looks, which has to lock anyway.
        let news = ops.is_empty() && self.foreign_news()?;
        let held = self.parts.board.held(|key, number| {
            self.running.get(&key).is_some_and(|running| running.number == number)
        });
        if !ops.is_empty() || due || news || !held.is_empty() {
            self.batch(ops, &held, now)?;
        }
        Ok(())
    }

    /// Does what needs no transaction; says whether the op is done with.
    fn handle_without_store(&mut self, op: &mut Op) -> bool {
        match op {
            Op::Drain { ticket } => {
                self.stop_claiming();
                self.draining.push(*ticket);
            }
            Op::WaitIdle { ticket } => self.idle.push(*ticket),
            Op::Abandon { ticket } => {
                self.draining.retain(|waiting| waiting != ticket);
                self.idle.retain(|waiting| waiting != ticket);
            }
            Op::Close { ticket, grace } => self.begin_to_close(*ticket, *grace),
            Op::Outcome { key, attempt, .. } => {
                self.parts.launcher.forget(*key, *attempt);
                return false;
            }
            Op::Wake => {}
            Op::Register { callback_id } => {
                self.parts.callbacks.push(std::mem::take(callback_id));
                self.engine.register_callback(self.parts.callbacks.last().map_or("", |id| id));
                // A tick follows, which claims what waited for it.
                *op = Op::Signals { unmet: self.parts.situation.unmet() };
                return false;
            }
            Op::Enqueue { .. }
            | Op::EnqueueAll { .. }
            | Op::Cancel { .. }
            | Op::CancelStored { .. }
            | Op::Signals { .. } => {
                return false;
            }
        }
        true
    }

    /// Whether another process has committed since the last look.
    fn foreign_news(&mut self) -> Result<bool, StoreError> {
        let version = self.parts.store.data_version()?;
        let news = version != self.data_version;
        self.data_version = version;
        if news {
            self.parts.readers.committed(None);
        }
        Ok(news && self.is_runner())
    }

    /// Answers those who wait for quiet.
    ///
    /// Where nothing runs, nothing that is due can run: the engine claims all that may be claimed.
    /// A process that does not run tasks asks the store about the one that does.
    fn answer_idle_waiters(&mut self) -> Result<(), StoreError> {
        // Closing answers them otherwise: what ran was cut short.
        if self.engine.counts().running != 0 || self.closing.is_some() {
            return Ok(());
        }
        for ticket in self.draining.drain(..) {
            self.parts.completions.reply(ticket, pack(&()));
        }
        let now_ms = self.parts.situation.now().wall_ms;
        if self.idle.is_empty() || (!self.is_runner() && self.parts.store.has_due(now_ms)?) {
            return Ok(());
        }
        for ticket in self.idle.drain(..) {
            self.parts.completions.reply(ticket, pack(&()));
        }
        Ok(())
    }
}
