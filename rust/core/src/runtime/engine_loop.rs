//! The engine loop: takes what has arrived, lets the engine decide, commits it with one fsync,
//! answers, and starts what is due. While one batch is on its way to the disk the next one gathers,
//! so the size of a batch finds itself (natural group commit).

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::checkpoints::Checkpoints;
use super::completions::{Completions, Ticket};
use super::inbox::{Inbox, Op};
use super::launcher::{Attempt, Launcher};
use super::lock::RunnerLock;
use super::progress_board::ProgressBoard;
use super::readers::{Readers, pack};
use super::situation::SharedSituation;
use crate::engine::{
    Answer, Arrival, Effect, Engine, Input, Limits, NewTask, Scheduled, StopReason,
};
use crate::model::spec::{RetrySpec, TaskSpec, WorkerSpec};
use crate::model::{ErrorCode, Failure, Fault, FaultCode, InterruptReason, Now, Outcome, TaskKey};
use crate::store::sqlite::SqliteStore;
use crate::store::{Body, RunnerInfo, Selection, Store, StoreError, generated_id, next_key};

/// At most this many calls in one transaction, which bounds how long the last of them waits.
const BATCH_MAX: usize = 1024;

/// How often the loop looks at what others did, when nothing else wakes it.
const POLL: Duration = Duration::from_millis(100);

/// How often a standby tries to become the runner, and progress is remembered.
const SECOND: Duration = Duration::from_secs(1);

/// How long the loop waits after a commit that failed.
const AFTER_FAILURE: Duration = Duration::from_millis(500);

/// An attempt under way here.
struct Underway {
    number: u32,
    native: bool,
    retry: RetrySpec,
}

/// What the loop is made of.
pub(super) struct Parts {
    pub(super) store: SqliteStore,
    pub(super) path: PathBuf,
    pub(super) limits: Limits,
    pub(super) seed: u64,
    pub(super) run: bool,
    pub(super) runner: RunnerInfo,
    pub(super) callbacks: Vec<String>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) completions: Completions,
    pub(super) readers: Arc<Readers>,
    pub(super) launcher: Arc<Launcher>,
    pub(super) board: Arc<ProgressBoard>,
    pub(super) situation: Arc<SharedSituation>,
    pub(super) lock: Arc<Mutex<Option<RunnerLock>>>,
    pub(super) checkpoints: Checkpoints,
}

/// The loop's own state.
pub(super) struct EngineLoop {
    parts: Parts,
    engine: Engine,
    epoch: i64,
    last_key: TaskKey,
    underway: HashMap<TaskKey, Underway>,
    data_version: i64,
    tried_lock: Option<Instant>,
    saved_progress: Instant,
    draining: Vec<Ticket>,
    idle: Vec<Ticket>,
    closing: Option<(Ticket, Instant)>,
}

/// What one batch leads to, once it is on disk.
#[derive(Default)]
struct Publication {
    replies: Vec<(Ticket, Result<Vec<u8>, Fault>)>,
    starts: Vec<Claim>,
    stops: Vec<(TaskKey, u32, StopReason)>,
    /// Attempts whose outcome is on disk.
    outcomes: Vec<TaskKey>,
    ended: Vec<TaskKey>,
    durable: bool,
}

impl EngineLoop {
    /// Takes over what the store has, if this process is the one that runs.
    pub(super) fn open(parts: Parts) -> Result<Self, Fault> {
        let engine = Engine::observer(parts.limits, parts.seed);
        let mut this = Self {
            engine,
            epoch: 0,
            last_key: 0,
            underway: HashMap::new(),
            data_version: parts.store.data_version()?,
            tried_lock: None,
            saved_progress: Instant::now(),
            draining: Vec::new(),
            idle: Vec::new(),
            closing: None,
            parts,
        };
        this.try_to_run()?;
        Ok(this)
    }

    /// Runs until it is closed.
    pub(super) fn run(mut self) {
        loop {
            let ops = self.parts.inbox.take(BATCH_MAX, self.patience());
            if let Err(error) = self.turn(ops) {
                self.recover_from(&error);
            }
            if self.is_closed() {
                return self.close();
            }
        }
    }

    /// How long the loop may sleep.
    fn patience(&self) -> Duration {
        let now = self.parts.situation.now();
        let due = self.engine.next_due_ms().map_or(POLL, |due| {
            let wait = due.saturating_sub(now.wall_ms);
            Duration::from_millis(u64::try_from(wait).unwrap_or_default())
        });
        due.min(POLL)
    }

    /// One turn: a batch, or what time and others brought.
    fn turn(&mut self, mut ops: Vec<Op>) -> Result<(), StoreError> {
        let now = self.parts.situation.now();
        ops.retain_mut(|op| !self.without_store(op));
        let due = self.engine.next_due_ms().is_some_and(|due| due <= now.wall_ms);
        let news = self.foreign_news()?;
        let marks = self.marks_due();
        if !ops.is_empty() || due || news || !marks.is_empty() {
            self.batch(ops, marks, now)?;
        }
        if self.tried_lock.is_none_or(|at| at.elapsed() >= SECOND)
            && let Err(fault) = self.try_to_run()
        {
            return Err(StoreError::Unavailable(fault.message));
        }
        self.answer_the_patient();
        Ok(())
    }

    /// Does what needs no transaction; says whether the op is done with.
    fn without_store(&mut self, op: &mut Op) -> bool {
        match op {
            Op::Drain { ticket } => {
                self.engine.stop_claiming();
                self.draining.push(*ticket);
            }
            Op::WaitIdle { ticket } => self.idle.push(*ticket),
            Op::Close { ticket, grace } => self.begin_to_close(*ticket, *grace),
            Op::Outcome { key, attempt, .. } => {
                self.parts.launcher.forget(*key, *attempt);
                return false;
            }
            Op::Poke => {}
            Op::Register { callback_id } => {
                self.parts.callbacks.push(std::mem::take(callback_id));
                self.engine.register_callback(self.parts.callbacks.last().map_or("", |id| id));
                // A tick follows, which claims what waited for it.
                *op = Op::Signals { unmet: self.parts.situation.unmet() };
                return false;
            }
            Op::Enqueue { .. } | Op::Cancel { .. } | Op::Signals { .. } => return false,
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
        Ok(news && self.epoch != 0)
    }

    /// The progress that the store should remember by now.
    fn marks_due(&mut self) -> Vec<(TaskKey, u32, u8)> {
        if self.underway.is_empty() || self.saved_progress.elapsed() < SECOND {
            return Vec::new();
        }
        self.saved_progress = Instant::now();
        self.parts.board.take_marks()
    }

    /// One transaction. What it leads to happens only once it is on disk.
    fn batch(
        &mut self,
        ops: Vec<Op>,
        marks: Vec<(TaskKey, u32, u8)>,
        now: Now,
    ) -> Result<(), StoreError> {
        let mut publication = Publication::default();
        let done = self.transact(&ops, marks, now, &mut publication);
        match done {
            Ok(()) => {
                self.publish(publication);
                Ok(())
            }
            Err(error) => {
                self.parts.store.rollback();
                self.refuse(ops, &error);
                Err(error)
            }
        }
    }

    fn transact(
        &mut self,
        ops: &[Op],
        marks: Vec<(TaskKey, u32, u8)>,
        now: Now,
        publication: &mut Publication,
    ) -> Result<(), StoreError> {
        self.parts.store.begin()?;
        let mut fresh = HashMap::new();
        let mut effects = Vec::new();
        for key in self.parts.store.foreign_changes()? {
            if self.epoch != 0 {
                let row = self.parts.store.live(key)?;
                effects.extend(self.engine.catch_up(key, row, now));
            }
        }
        for (key, attempt, percent) in marks {
            let input = Input::Progress { key, attempt, percent };
            self.engine.handle(input, now, &mut effects);
        }
        self.store(&mut effects, &mut fresh, publication)?;
        for op in ops {
            self.decide(op, now, &mut effects, publication)?;
            self.store(&mut effects, &mut fresh, publication)?;
        }
        self.engine.handle(Input::Tick, now, &mut effects);
        self.store(&mut effects, &mut fresh, publication)?;
        if publication.durable {
            self.parts.store.commit()
        } else {
            self.parts.store.rollback();
            Ok(())
        }
    }

    /// Lets the engine decide about one op.
    fn decide(
        &mut self,
        op: &Op,
        now: Now,
        effects: &mut Vec<Effect>,
        publication: &mut Publication,
    ) -> Result<(), StoreError> {
        match op {
            Op::Enqueue { ticket, tasks } => {
                let arrivals = self.arrivals(tasks, now)?;
                let ids: Vec<Option<Arc<str>>> =
                    tasks.iter().map(|task| task.task_id.clone()).collect();
                let answer = self.engine.handle(Input::Enqueue(arrivals), now, effects);
                publication.replies.push((*ticket, scheduled(answer, &ids)));
            }
            Op::Cancel { ticket, selection } => {
                let keys = self.meant(selection)?;
                let answer = self.engine.handle(Input::Cancel(keys), now, effects);
                let Answer::Cancelled(number) = answer else { return Ok(()) };
                publication.replies.push((*ticket, pack(&number)));
            }
            Op::Outcome { key, attempt, outcome } => {
                let Some(underway) = self.underway.get(key).filter(|u| u.number == *attempt) else {
                    return Ok(());
                };
                publication.outcomes.push(*key);
                let (key, attempt, outcome) = (*key, *attempt, outcome.clone());
                let input = Input::Outcome { key, attempt, outcome, retry: underway.retry };
                self.engine.handle(input, now, effects);
            }
            Op::Signals { unmet } => {
                self.engine.handle(Input::Signals { unmet: *unmet }, now, effects);
            }
            Op::Register { .. }
            | Op::Drain { .. }
            | Op::WaitIdle { .. }
            | Op::Close { .. }
            | Op::Poke => {}
        }
        Ok(())
    }

    /// New tasks with their keys, and the live tasks that have their ids.
    ///
    /// Within one call two tasks may share an id: the second finds the first by its key.
    fn arrivals(&mut self, tasks: &[NewTask], now: Now) -> Result<Vec<Arrival>, StoreError> {
        if self.last_key == 0 || self.epoch == 0 {
            self.last_key = self.last_key.max(self.parts.store.last_key()?);
        }
        let mut named: HashMap<Arc<str>, TaskKey> = HashMap::new();
        let mut arrivals = Vec::with_capacity(tasks.len());
        for task in tasks {
            self.last_key = next_key(self.last_key, now.wall_ms);
            let mut taken_by = None;
            if let Some(task_id) = &task.task_id {
                taken_by = match named.insert(Arc::clone(task_id), self.last_key) {
                    Some(earlier) => Some(earlier),
                    None => self.parts.store.newest(task_id)?,
                };
                self.show(taken_by)?;
            }
            arrivals.push(Arrival { task: task.clone(), key: self.last_key, taken_by });
        }
        Ok(arrivals)
    }

    /// The live tasks that a cancel means.
    fn meant(&mut self, selection: &Selection) -> Result<Vec<TaskKey>, StoreError> {
        let keys = self.parts.store.select(selection)?;
        for key in &keys {
            self.show(Some(*key))?;
        }
        Ok(keys)
    }

    /// Shows an observer's engine the row that a rule touches. A runner's engine has them all.
    fn show(&mut self, key: Option<TaskKey>) -> Result<(), StoreError> {
        if self.epoch == 0
            && let Some(key) = key
            && self.engine.table().get(key).is_none()
            && let Some(live) = self.parts.store.live(key)?
        {
            self.engine.show(live);
        }
        Ok(())
    }

    /// Stores effects, and notes what they lead to after the commit.
    fn store(
        &mut self,
        effects: &mut Vec<Effect>,
        fresh: &mut HashMap<TaskKey, Body>,
        publication: &mut Publication,
    ) -> Result<(), StoreError> {
        self.parts.store.apply(effects)?;
        for effect in effects.drain(..) {
            match effect {
                Effect::Start { key, attempt, mark_percent, .. } => {
                    let body = match fresh.remove(&key) {
                        Some(body) => Some(body),
                        None => self.parts.store.body(key)?,
                    };
                    publication.starts.push(Claim { key, number: attempt, mark_percent, body });
                }
                Effect::Stop { key, attempt, why } => publication.stops.push((key, attempt, why)),
                Effect::Insert { live, task, .. } => {
                    publication.durable = true;
                    fresh.insert(
                        live.key,
                        Body {
                            task_id: task.task_id,
                            tag: task.tag,
                            spec: task.spec,
                            admitted: task.admitted,
                        },
                    );
                }
                Effect::Finish { key, .. } => {
                    publication.durable = true;
                    publication.ended.push(key);
                }
                Effect::Update(_) | Effect::Record { .. } => publication.durable = true,
            }
        }
        Ok(())
    }

    /// It is on disk: answers, starts, stops, tells.
    fn publish(&mut self, publication: Publication) {
        if self.epoch == 0 {
            self.engine.forget();
        }
        for key in &publication.outcomes {
            self.underway.remove(key);
        }
        for (key, number, why) in publication.stops {
            let native = self.underway.remove(&key).is_none_or(|underway| underway.native);
            self.parts.launcher.stop(key, number, native, why);
        }
        for key in &publication.ended {
            self.parts.board.retire(*key);
        }
        let replies = publication.replies;
        self.parts.completions.push(|batch| batch.replies.extend(replies));
        for attempt in publication.starts {
            self.start(attempt);
        }
        if publication.durable {
            self.parts.readers.committed(Some(publication.ended));
            self.parts.checkpoints.after_commit(self.parts.store.wal_pages());
        }
    }

    /// Begins an attempt whose claim is on disk. A body that cannot be read fails its own task only.
    fn start(&mut self, claim: Claim) {
        let (key, number) = (claim.key, claim.number);
        match claim.attempt() {
            Ok(attempt) => {
                let native = matches!(attempt.spec.worker, WorkerSpec::HttpUpload(_));
                let underway = Underway { number, native, retry: attempt.spec.retry };
                self.underway.insert(key, underway);
                self.parts.launcher.start(attempt);
            }
            Err(message) => {
                let retry = RetrySpec {
                    max_retries: 0,
                    initial_delay_ms: 0,
                    multiplier: 1.0,
                    max_delay_ms: 0,
                };
                self.underway.insert(key, Underway { number, native: true, retry });
                let outcome = Outcome::Failed(Failure::new(ErrorCode::Unknown, message));
                self.parts.inbox.push(Op::Outcome { key, attempt: number, outcome });
            }
        }
    }

    /// The transaction failed: calls are told, outcomes are kept for the next one.
    fn refuse(&mut self, ops: Vec<Op>, error: &StoreError) {
        let mut again = Vec::new();
        for op in ops {
            match op {
                Op::Enqueue { ticket, .. } | Op::Cancel { ticket, .. } => {
                    self.parts.completions.reply(ticket, Err(error.clone().into()));
                }
                other => again.push(other),
            }
        }
        self.parts.inbox.put_back(again);
    }

    /// After a failed commit the engine knows what the store does not: it is built anew from disk.
    fn recover_from(&mut self, error: &StoreError) {
        self.parts.completions.push(|batch| batch.errors.push(error.to_string()));
        std::thread::sleep(AFTER_FAILURE);
        if self.epoch == 0 {
            self.engine.forget();
        } else if let Err(error) = self.load(self.epoch) {
            self.parts.store.rollback();
            self.parts.completions.push(|batch| batch.errors.push(error.to_string()));
        }
    }

    /// Becomes the runner, if this process is meant to run tasks and nobody else does.
    fn try_to_run(&mut self) -> Result<(), Fault> {
        if !self.parts.run || self.epoch != 0 || self.closing.is_some() {
            return Ok(());
        }
        self.tried_lock = Some(Instant::now());
        let Some(lock) = RunnerLock::try_take(&self.parts.path)? else { return Ok(()) };
        *self.parts.lock.lock().unwrap_or_else(PoisonError::into_inner) = Some(lock);
        self.parts.store.begin()?;
        let epoch = self.parts.store.begin_epoch(&self.parts.runner)?;
        self.parts.store.commit()?;
        self.load(epoch)?;
        Ok(())
    }

    /// Builds the engine from the store, under an epoch.
    fn load(&mut self, epoch: i64) -> Result<(), StoreError> {
        let now = self.parts.situation.now();
        let mut engine = Engine::runner(self.parts.limits, epoch, self.parts.seed);
        for callback_id in &self.parts.callbacks {
            engine.register_callback(callback_id);
        }
        let mut ignored = Vec::new();
        engine.handle(Input::Signals { unmet: self.parts.situation.unmet() }, now, &mut ignored);
        self.parts.store.begin()?;
        let mut rows = Vec::new();
        self.parts.store.each_live(&mut |live| rows.push(live))?;
        let mut effects = engine.recover(rows, now);
        let mut publication = Publication::default();
        self.store(&mut effects, &mut HashMap::new(), &mut publication)?;
        self.parts.store.commit()?;
        self.engine = engine;
        self.epoch = epoch;
        self.publish(publication);
        Ok(())
    }

    /// Answers those who wait for quiet.
    fn answer_the_patient(&mut self) {
        let counts = self.engine.counts();
        if counts.running != 0 {
            return;
        }
        for ticket in self.draining.drain(..) {
            self.parts.completions.reply(ticket, pack(&()));
        }
        if counts.ready == 0 {
            for ticket in self.idle.drain(..) {
                self.parts.completions.reply(ticket, pack(&()));
            }
        }
    }

    /// Claims no more, stops transfers at once, and asks callbacks to stop.
    fn begin_to_close(&mut self, ticket: Ticket, grace: Duration) {
        self.engine.stop_claiming();
        self.closing = Some((ticket, Instant::now() + grace));
        let why = StopReason::Interrupted(InterruptReason::Shutdown);
        for (key, underway) in &self.underway {
            self.parts.launcher.stop(*key, underway.number, underway.native, why);
            if underway.native {
                let outcome = Outcome::Interrupted(InterruptReason::Shutdown);
                self.parts.inbox.push(Op::Outcome { key: *key, attempt: underway.number, outcome });
            }
        }
    }

    fn is_closed(&self) -> bool {
        let counts = self.engine.counts();
        self.closing
            .as_ref()
            .is_some_and(|(_, deadline)| counts.running == 0 || Instant::now() >= *deadline)
    }

    /// The last transaction: what still runs is released, and the runner signs off.
    fn close(mut self) {
        let now = self.parts.situation.now();
        let effects = self.engine.interrupt_all(InterruptReason::Shutdown, now);
        if let Err(error) = self.sign_off(&effects, now) {
            // What still ran is rescued by the next runner, as after a crash.
            self.parts.store.rollback();
            self.parts.completions.push(|batch| batch.errors.push(error.to_string()));
        }
        for op in self.parts.inbox.take(usize::MAX, Duration::ZERO) {
            if let Op::Enqueue { ticket, .. }
            | Op::Cancel { ticket, .. }
            | Op::Drain { ticket }
            | Op::WaitIdle { ticket } = op
            {
                self.parts.completions.reply(ticket, Err(closed()));
            }
        }
        for ticket in self.draining.drain(..).chain(self.idle.drain(..)) {
            self.parts.completions.reply(ticket, Err(closed()));
        }
        // The write connection goes last: it moves what is left of the WAL into the file.
        let Parts { store, completions, readers, launcher, checkpoints, lock, .. } = self.parts;
        readers.stop();
        drop((launcher, checkpoints));
        drop(store);
        *lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if let Some((ticket, _)) = self.closing {
            completions.reply(ticket, pack(&()));
        }
    }

    fn sign_off(&mut self, effects: &[Effect], now: Now) -> Result<(), StoreError> {
        if self.epoch == 0 {
            return Ok(());
        }
        self.parts.store.begin()?;
        self.parts.store.apply(effects)?;
        self.parts.store.end_epoch(self.epoch, now.wall_ms)?;
        self.parts.store.commit()
    }
}

/// An attempt that begins once its claim is on disk.
struct Claim {
    key: TaskKey,
    number: u32,
    mark_percent: u8,
    body: Option<Body>,
}

impl Claim {
    fn attempt(self) -> Result<Attempt, String> {
        let Self { key, number, mark_percent, body } = self;
        let body = body.ok_or("Unknown error: the stored task has lost its body")?;
        let spec: TaskSpec = rmp_serde::from_slice(&body.spec)
            .map_err(|error| format!("Unknown error: the stored task cannot be read ({error})"))?;
        let task_id = body.task_id.as_deref().map_or_else(|| generated_id(key), str::to_owned);
        Ok(Attempt { key, number, mark_percent, task_id, spec, body })
    }
}

pub(super) fn closed() -> Fault {
    Fault::new(FaultCode::Closed, "", "the manager is closed; open a new one")
}

/// The answer to an enqueue: key, whether it was accepted, and the id, for each task.
fn scheduled(answer: Answer, ids: &[Option<Arc<str>>]) -> Result<Vec<u8>, Fault> {
    match answer {
        Answer::Scheduled(tasks) => {
            let row = |(task, id): (&Scheduled, &Option<Arc<str>>)| {
                let (key, accepted) = match task {
                    Scheduled::Accepted(key) => (*key, true),
                    Scheduled::Kept(key) => (*key, false),
                };
                (key, accepted, id.as_deref().map_or_else(|| generated_id(key), str::to_owned))
            };
            pack(&tasks.iter().zip(ids).map(row).collect::<Vec<_>>())
        }
        Answer::Full(waiting) => Err(Fault::new(
            FaultCode::QueueFull,
            "",
            format!("{waiting} tasks wait already; enqueue fewer, or later"),
        )),
        Answer::None | Answer::Cancelled(_) => {
            Err(Fault::new(FaultCode::Internal, "", "an enqueue got no answer"))
        }
    }
}
