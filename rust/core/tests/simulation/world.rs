//! One runner, one observer, one store, and everything that may befall them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use outhaul_core::engine::{
    Answer, Arrival, Effect, Engine, Input, Limits, NewTask, Scheduled, lane_of_callback,
    lane_of_origin,
};
use outhaul_core::model::spec::{ExistingPolicy, RetrySpec};
use outhaul_core::model::{
    ErrorCode, EventKind, Failure, InterruptReason, Now, Outcome, Success, TaskKey, TaskStatus,
};
use outhaul_core::store::memory::MemoryStore;
use outhaul_core::store::{RunnerInfo, Selection, Store, next_key};

use super::book::Book;
use super::chance::Chance;

const CALLBACKS: [&str; 2] = ["resize", "index"];
const TAGS: [&str; 3] = ["a", "b", "c"];

/// What becomes of a transaction.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Commits,
    Fails,
    /// The process dies before the commit, or after it and before anybody is told.
    Dies {
        committed: bool,
    },
}

/// What a transaction leads to once it is on disk.
#[derive(Default)]
struct Batch {
    effects: Vec<Effect>,
    accepted: Vec<TaskKey>,
    reported: Vec<TaskKey>,
}

pub struct World {
    chance: Chance,
    limits: Limits,
    store: MemoryStore,
    engine: Engine,
    epoch: i64,
    now: i64,
    unmet: u32,
    registered: usize,
    last_key: TaskKey,
    retries: BTreeMap<TaskKey, RetrySpec>,
    /// Attempts that the runner's process makes.
    underway: BTreeMap<TaskKey, u32>,
    /// Attempts that nobody waits for any more.
    superseded: Vec<(TaskKey, u32)>,
    /// What the observer changed and the runner does not know yet.
    foreign: BTreeSet<TaskKey>,
    book: Book,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let limits = Limits {
            running_max: usize::try_from(chance.between(1, 6)).unwrap(),
            per_host_max: usize::try_from(chance.between(1, 3)).unwrap(),
            pending_max: if chance.percent(50) { 12 } else { 1_000 },
        };
        let mut world = Self {
            engine: Engine::observer(limits, seed),
            chance,
            limits,
            store: MemoryStore::default(),
            epoch: 0,
            now: 1_800_000_000_000,
            unmet: 0,
            registered: 0,
            last_key: 0,
            retries: BTreeMap::new(),
            underway: BTreeMap::new(),
            superseded: Vec::new(),
            foreign: BTreeSet::new(),
            book: Book::default(),
        };
        world.restart();
        world
    }

    pub fn tasks(&self) -> usize {
        self.book.tasks.len()
    }

    /// Everything that happened, for comparing two lives.
    pub fn story(&self) -> &[(EventKind, TaskKey)] {
        self.store.committed_events()
    }

    pub fn step(&mut self) {
        self.pass_time();
        match self.chance.below(100) {
            0..=11 => self.observe(),
            12 => self.shut_down(),
            13 => self.crash(),
            14 if self.registered < CALLBACKS.len() => {
                self.engine.register_callback(CALLBACKS[self.registered]);
                self.registered += 1;
                self.transact(1, Fate::Commits);
            }
            _ => {
                let fate = match self.chance.below(100) {
                    0..=5 => Fate::Fails,
                    6..=8 => Fate::Dies { committed: false },
                    9..=10 => Fate::Dies { committed: true },
                    _ => Fate::Commits,
                };
                let ops = self.chance.between(0, 4);
                self.transact(ops, fate);
            }
        }
        self.check();
    }

    /// The faults end, the network is up: now every task has to end.
    pub fn settle(&mut self) {
        self.unmet = 0;
        while self.registered < CALLBACKS.len() {
            self.engine.register_callback(CALLBACKS[self.registered]);
            self.registered += 1;
        }
        for _ in 0..20_000 {
            if self.store.committed_live().next().is_none() && self.foreign.is_empty() {
                break;
            }
            let due = self.engine.next_due_ms().unwrap_or(self.now);
            self.now = due.max(self.now + 1);
            let mut batch = self.begin();
            self.hand(&mut batch, Input::Signals { unmet: 0 });
            for (key, attempt) in self.underway.clone() {
                let outcome = if self.chance.percent(70) {
                    Outcome::Succeeded(Success::default())
                } else {
                    Outcome::Retry(Failure::new(ErrorCode::Timeout, "timed out"))
                };
                self.report(&mut batch, key, attempt, outcome);
            }
            self.end(batch, Fate::Commits);
            self.check();
        }
        let stuck: Vec<_> = self.store.committed_live().collect();
        assert!(stuck.is_empty(), "stuck: {stuck:?}");
        assert!(self.underway.is_empty());
        for (key, known) in &self.book.tasks {
            assert!(known.ended.is_some() && known.ended == self.store.ended(*key), "task {key}");
        }
    }

    fn pass_time(&mut self) {
        self.now += match self.chance.below(100) {
            0..=59 => self.chance.between(0, 5_000),
            60..=89 => self.chance.between(0, 120_000),
            90..=94 => self.chance.between(0, 7 * 3_600_000),
            95..=97 => -self.chance.between(0, 3_600_000),
            _ => 0,
        };
    }

    fn time(&self) -> Now {
        Now::at(self.now)
    }

    /// One transaction of the runner, as the engine loop makes it.
    fn transact(&mut self, ops: i64, fate: Fate) {
        let mut batch = self.begin();
        for _ in 0..ops {
            self.operate(&mut batch);
        }
        self.end(batch, fate);
    }

    fn begin(&mut self) -> Batch {
        self.store.begin().unwrap();
        let mut batch = Batch::default();
        let mut effects = Vec::new();
        for key in &self.foreign {
            let row = self.store.live(*key).unwrap();
            effects.extend(self.engine.catch_up(*key, row, Now::at(self.now)));
        }
        self.store.apply(&effects).unwrap();
        batch.effects = effects;
        batch
    }

    fn end(&mut self, mut batch: Batch, fate: Fate) {
        self.hand(&mut batch, Input::Tick);
        match fate {
            Fate::Commits => {
                let passing = |e: &Effect| matches!(e, Effect::Start { .. } | Effect::Stop { .. });
                if batch.effects.iter().all(passing) {
                    self.store.rollback();
                } else {
                    self.store.commit().unwrap();
                    self.foreign.clear();
                }
                self.publish(batch);
            }
            Fate::Fails => {
                self.store.rollback();
                self.load(self.epoch);
            }
            Fate::Dies { committed } => {
                if committed {
                    self.store.commit().unwrap();
                    self.book.write(&batch.effects, &self.retries, self.now);
                } else {
                    self.store.rollback();
                }
                self.crash();
            }
        }
    }

    /// Lets the engine decide about one input, and stores what it says.
    fn hand(&mut self, batch: &mut Batch, input: Input) -> Answer {
        let before = batch.effects.len();
        let answer = self.engine.handle(input, self.time(), &mut batch.effects);
        self.store.apply(&batch.effects[before..]).unwrap();
        for effect in &batch.effects[before..] {
            if let Effect::Start { key, .. } = effect {
                let live = self.engine.table().get(*key).unwrap();
                assert_eq!(live.needs & self.unmet, 0, "began without what it needs: {live:?}");
            }
        }
        answer
    }

    /// It is on disk: what was decided happens.
    fn publish(&mut self, batch: Batch) {
        self.book.write(&batch.effects, &self.retries, self.now);
        for key in batch.accepted {
            assert!(self.book.tasks.contains_key(&key), "task {key} was acknowledged and is lost");
        }
        let over = batch.reported.iter();
        let over: BTreeMap<_, _> =
            over.filter_map(|key| Some((*key, self.underway.remove(key)?))).collect();
        self.superseded.extend(over.clone());
        for effect in &batch.effects {
            match effect {
                Effect::Start { key, attempt, .. } => {
                    let other = self.underway.insert(*key, *attempt);
                    assert_eq!(other, None, "two attempts of task {key} at once");
                }
                Effect::Stop { key, attempt, .. } => {
                    // It may have ended by itself in this very batch.
                    let stopped = self.underway.remove(key).or(over.get(key).copied());
                    assert_eq!(stopped, Some(*attempt), "of task {key}");
                    self.superseded.push((*key, *attempt));
                }
                _ => {}
            }
        }
    }

    fn operate(&mut self, batch: &mut Batch) {
        match self.chance.below(100) {
            0..=34 => self.enqueue(batch),
            35..=74 => self.report_any(batch),
            75..=79 => self.report_late(batch),
            80..=89 => {
                let selection = self.selection();
                let keys = self.store.select(&selection).unwrap();
                let answer = self.hand(batch, Input::Cancel(keys.clone()));
                assert_eq!(answer, Answer::Cancelled(keys.len()), "{selection:?}");
                assert!(keys.iter().all(|key| self.engine.table().get(*key).is_none()));
            }
            90..=94 => {
                let key = self.underway.keys().copied().collect::<Vec<_>>();
                let Some(key) = self.chance.pick(&key) else { return };
                let percent = u8::try_from(self.chance.below(101)).unwrap();
                let attempt = self.underway[&key];
                self.hand(batch, Input::Progress { key, attempt, percent });
            }
            _ => {
                self.unmet = u32::try_from(self.chance.below(4)).unwrap();
                self.hand(batch, Input::Signals { unmet: self.unmet });
            }
        }
    }

    fn enqueue(&mut self, batch: &mut Batch) {
        let arrivals = self.arrivals();
        let before = batch.effects.len();
        match self.hand(batch, Input::Enqueue(arrivals.clone())) {
            Answer::Scheduled(scheduled) => {
                assert_eq!(scheduled.len(), arrivals.len());
                self.check_scheduled(&arrivals, &scheduled);
                for answer in scheduled {
                    if let Scheduled::Accepted(key) = answer {
                        batch.accepted.push(key);
                    }
                }
            }
            Answer::Full(waiting) => {
                assert!(waiting + arrivals.len() > self.limits.pending_max);
                let stored =
                    batch.effects[before..].iter().any(|e| matches!(e, Effect::Insert { .. }));
                assert!(!stored, "a refused task was stored");
            }
            other => panic!("{other:?}"),
        }
    }

    fn check_scheduled(&self, arrivals: &[Arrival], scheduled: &[Scheduled]) {
        for (new, answer) in arrivals.iter().zip(scheduled) {
            match answer {
                Scheduled::Accepted(key) => assert_eq!(*key, new.key),
                Scheduled::Kept(key) => {
                    assert_eq!(Some(*key), new.taken_by);
                    assert_eq!(new.task.existing_policy, ExistingPolicy::Keep);
                }
            }
        }
    }

    /// New tasks whose ids collide, with those stored and with each other.
    fn arrivals(&mut self) -> Vec<Arrival> {
        let mut named: BTreeMap<Arc<str>, TaskKey> = BTreeMap::new();
        let mut arrivals = Vec::new();
        for _ in 0..self.chance.between(1, 3) {
            let task = self.new_task();
            self.last_key = next_key(self.last_key, self.now);
            let retry = RetrySpec {
                max_retries: task.attempts_max - 1,
                initial_delay_ms: if self.chance.percent(80) { 30_000 } else { 0 },
                multiplier: 2.0,
                max_delay_ms: if self.chance.percent(80) { 3_600_000 } else { 45_000 },
            };
            self.retries.insert(self.last_key, retry);
            let taken_by = task.task_id.clone().and_then(|task_id| {
                let earlier = named.insert(Arc::clone(&task_id), self.last_key);
                earlier.or_else(|| self.store.newest(&task_id).unwrap())
            });
            // A task of the same call that was kept out never took the name.
            arrivals.push(Arrival { task, key: self.last_key, taken_by });
        }
        arrivals
    }

    fn new_task(&mut self) -> NewTask {
        let native = self.chance.percent(60);
        let lane = if native {
            lane_of_origin(self.chance.pick(&["https://a", "https://b", "https://c"]).unwrap())
        } else {
            lane_of_callback(self.chance.pick(&CALLBACKS).unwrap())
        };
        let named = self.chance.percent(70);
        let tagged = self.chance.percent(50);
        let delay = if self.chance.percent(40) { self.chance.between(1, 90_000) } else { 0 };
        NewTask {
            task_id: named.then(|| format!("task-{}", self.chance.below(10)).into()),
            tag: tagged.then(|| self.chance.pick(&TAGS).unwrap().into()),
            spec: Vec::new().into(),
            admitted: Vec::new().into(),
            run_at: self.now + delay,
            priority: i32::try_from(self.chance.between(-1, 1)).unwrap(),
            attempts_max: u32::try_from(self.chance.between(1, 5)).unwrap(),
            lane,
            needs: u32::try_from(self.chance.pick(&[0, 0, 1, 2, 3]).unwrap()).unwrap(),
            native,
            existing_policy: self
                .chance
                .pick(&[ExistingPolicy::Keep, ExistingPolicy::Replace])
                .unwrap(),
        }
    }

    fn report_any(&mut self, batch: &mut Batch) {
        let attempts: Vec<_> = self.underway.iter().map(|(k, a)| (*k, *a)).collect();
        let Some((key, attempt)) = self.chance.pick(&attempts) else { return };
        let outcome = match self.chance.below(100) {
            0..=39 => Outcome::Succeeded(Success::default()),
            40..=74 => {
                let mut failure = Failure::new(ErrorCode::HttpServerError, "HTTP 503");
                let asked = [None, None, Some(-5), Some(7_000), Some(90_000), Some(i64::MAX)];
                failure.retry_after_ms = self.chance.pick(&asked).unwrap();
                Outcome::Retry(failure)
            }
            75..=84 => Outcome::Failed(Failure::new(ErrorCode::HttpClientError, "HTTP 404")),
            _ => Outcome::Interrupted(InterruptReason::ConstraintLost),
        };
        self.report(batch, key, attempt, outcome);
    }

    /// An outcome of an attempt under way. Within one batch it may come twice, or after a cancel.
    fn report(&mut self, batch: &mut Batch, key: TaskKey, attempt: u32, outcome: Outcome) {
        // What can begin has begun, so that all that follows comes of the outcome.
        self.hand(batch, Input::Tick);
        let row = self.engine.table().get(key);
        let awaited = row.is_some_and(|row| {
            row.status == TaskStatus::Running && row.attempt == attempt && row.epoch == self.epoch
        });
        let before = batch.effects.len();
        let retry = self.retries[&key];
        batch.reported.push(key);
        self.hand(batch, Input::Outcome { key, attempt, outcome: outcome.clone(), retry });
        let effects = &batch.effects[before..];
        if awaited {
            self.book.judge(key, &outcome, effects, self.now);
        } else {
            assert_eq!(effects, [], "a superseded attempt {attempt} of task {key}");
        }
    }

    /// An outcome of an attempt that was stopped, or that died with its process.
    fn report_late(&mut self, batch: &mut Batch) {
        let Some((key, attempt)) = self.chance.pick(&self.superseded) else { return };
        self.hand(batch, Input::Tick);
        let (before, retry) = (batch.effects.len(), self.retries[&key]);
        let outcome = Outcome::Succeeded(Success::default());
        self.hand(batch, Input::Outcome { key, attempt, outcome, retry });
        assert_eq!(batch.effects[before..], [], "a late attempt {attempt} of task {key}");
        self.hand(batch, Input::Progress { key, attempt, percent: 100 });
        assert_eq!(batch.effects[before..], [], "a late attempt {attempt} of task {key}");
    }

    fn selection(&mut self) -> Selection {
        match self.chance.below(20) {
            0 => Selection::All,
            1..=4 => Selection::Tag(self.chance.pick(&TAGS).unwrap().to_owned()),
            5..=12 => Selection::TaskId(format!("task-{}", self.chance.below(10))),
            _ => {
                let keys: Vec<_> = self.book.tasks.keys().copied().collect();
                Selection::Key(self.chance.pick(&keys).unwrap_or_default())
            }
        }
    }

    /// Another process enqueues or cancels, and commits.
    fn observe(&mut self) {
        let mut observer = Engine::observer(self.limits, 1);
        self.store.begin().unwrap();
        let (input, touched) = if self.chance.percent(60) {
            let arrivals = self.arrivals();
            let touched = arrivals.iter().filter_map(|new| new.taken_by).collect();
            (Input::Enqueue(arrivals), touched)
        } else {
            let selection = self.selection();
            let keys = self.store.select(&selection).unwrap();
            (Input::Cancel(keys.clone()), keys)
        };
        for key in touched {
            if let Some(live) = self.store.live(key).unwrap() {
                observer.show(live);
            }
        }
        let mut effects = Vec::new();
        observer.handle(input, self.time(), &mut effects);
        let runs = |e: &Effect| matches!(e, Effect::Start { .. } | Effect::Stop { .. });
        assert!(!effects.iter().any(runs), "an observer runs nothing");
        self.store.apply(&effects).unwrap();
        self.store.commit().unwrap();
        self.book.write(&effects, &self.retries, self.now);
        for effect in &effects {
            if let Effect::Record { key, .. } = effect {
                self.foreign.insert(*key);
            }
        }
    }

    /// The process dies, and everything in it.
    fn crash(&mut self) {
        self.superseded.extend(std::mem::take(&mut self.underway));
        self.restart();
    }

    /// The manager is closed in good order, and opened again.
    fn shut_down(&mut self) {
        let mut batch = self.begin();
        let before = batch.effects.len();
        let effects = self.engine.interrupt_all(InterruptReason::Shutdown, self.time());
        batch.effects.extend(effects);
        self.store.apply(&batch.effects[before..]).unwrap();
        self.store.end_epoch(self.epoch, self.now).unwrap();
        self.end(batch, Fate::Commits);
        assert!(self.underway.is_empty(), "{:?}", self.underway);
        self.restart();
    }

    fn restart(&mut self) {
        self.store.begin().unwrap();
        let runner = RunnerInfo { host: "here".to_owned(), pid: 1, at: self.now };
        let epoch = self.store.begin_epoch(&runner).unwrap();
        self.store.commit().unwrap();
        assert!(epoch > self.epoch, "an epoch came again");
        self.load(epoch);
    }

    /// Builds the runner's engine from the store, under an epoch.
    fn load(&mut self, epoch: i64) {
        let mut engine = Engine::runner(self.limits, epoch, self.chance.next());
        for callback in &CALLBACKS[..self.registered] {
            engine.register_callback(callback);
        }
        engine.handle(Input::Signals { unmet: self.unmet }, self.time(), &mut Vec::new());
        self.store.begin().unwrap();
        let mut rows = Vec::new();
        self.store.each_live(&mut |live| rows.push(live)).unwrap();
        let effects = engine.recover(rows, self.time());
        self.store.apply(&effects).unwrap();
        (self.engine, self.epoch) = (engine, epoch);
        self.foreign.clear();
        // What another process ended in between, the loop has to stop by itself.
        let table = self.engine.table();
        let gone = |key: &TaskKey, attempt: &mut u32| {
            table.get(*key).is_none_or(|row| row.epoch != epoch || row.attempt != *attempt)
        };
        self.superseded.extend(self.underway.extract_if(.., gone));
        self.store.commit().unwrap();
        self.publish(Batch { effects, ..Batch::default() });
    }

    /// What has to hold between any two steps.
    fn check(&self) {
        let live: BTreeMap<_, _> = self.store.committed_live().map(|row| (row.key, row)).collect();
        assert_eq!(live.len() + self.store.done_len(), self.book.tasks.len());
        for key in live.keys() {
            assert_eq!(self.book.tasks[key].ended, None, "task {key} lives and has ended");
            assert_eq!(self.store.ended(*key), None, "task {key} lives and has ended");
        }
        if !self.foreign.is_empty() {
            return; // The runner has still to hear of it.
        }
        assert_eq!(self.engine.table().len(), live.len());
        for row in live.values() {
            assert_eq!(self.engine.table().get(row.key), Some(*row));
        }
        let running: BTreeMap<_, _> = live
            .values()
            .filter(|row| row.status == TaskStatus::Running)
            .map(|row| (row.key, row.attempt))
            .collect();
        assert_eq!(running, self.underway);
        self.check_limits(&live);
    }

    fn check_limits(&self, live: &BTreeMap<TaskKey, &outhaul_core::engine::Live>) {
        let counts = self.engine.counts();
        assert_eq!(counts.running, self.underway.len());
        assert_eq!(
            counts.delayed + counts.ready + counts.parked + counts.running,
            live.len(),
            "a task is in no queue"
        );
        assert!(self.underway.len() <= self.limits.running_max);
        let mut lanes: BTreeMap<u32, usize> = BTreeMap::new();
        for key in self.underway.keys() {
            *lanes.entry(live[key].lane).or_default() += 1;
        }
        for (lane, running) in lanes {
            match CALLBACKS.iter().position(|callback| lane_of_callback(callback) == lane) {
                Some(at) => assert!(at < self.registered, "{} is unknown", CALLBACKS[at]),
                None => assert!(running <= self.limits.per_host_max),
            }
        }
    }
}
