//! One runner, one observer, one store, and everything that may befall them.

use std::collections::{BTreeMap, BTreeSet};

use outhaul_core::engine::{Decision, Effect, Engine, Input, Limits, Live};
use outhaul_core::model::spec::RetrySpec;
use outhaul_core::model::{
    ErrorCode, EventKind, Failure, InterruptReason, Now, Outcome, Success, TaskKey, TaskStatus,
};
use outhaul_core::store::memory::MemoryStore;
use outhaul_core::store::{RunnerInfo, Store};

use super::book::Book;
use super::chance::Chance;

pub const CALLBACKS: [&str; 2] = ["resize", "index"];

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
pub struct Batch {
    pub effects: Vec<Effect>,
    pub accepted: Vec<TaskKey>,
    pub reported: Vec<TaskKey>,
}

pub struct World {
    pub chance: Chance,
    pub limits: Limits,
    pub store: MemoryStore,
    pub engine: Engine,
    pub epoch: i64,
    pub now: i64,
    pub unmet: u32,
    pub registered: usize,
    pub last_key: TaskKey,
    pub retries: BTreeMap<TaskKey, RetrySpec>,
    /// Attempts that the runner's process makes.
    pub underway: BTreeMap<TaskKey, u32>,
    /// Attempts that nobody waits for any more.
    pub superseded: Vec<(TaskKey, u32)>,
    /// What the observer changed and the runner does not know yet.
    pub foreign: BTreeSet<TaskKey>,
    pub book: Book,
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

    pub fn time(&self) -> Now {
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

    pub fn begin(&mut self) -> Batch {
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
    pub fn hand(&mut self, batch: &mut Batch, input: Input) -> Decision {
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
    pub fn publish(&mut self, batch: Batch) {
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
        // What another process ended in between, the loop has to stop by itself.
        let ours = |row: &&Live| row.status == TaskStatus::Running && row.epoch == epoch;
        let ours: BTreeMap<_, _> =
            rows.iter().filter(ours).map(|row| (row.key, row.attempt)).collect();
        let gone = |key: &TaskKey, attempt: &mut u32| ours.get(key) != Some(attempt);
        self.superseded.extend(self.underway.extract_if(.., gone));
        let effects = engine.recover(rows, self.time());
        self.store.apply(&effects).unwrap();
        (self.engine, self.epoch) = (engine, epoch);
        self.foreign.clear();
        self.store.commit().unwrap();
        self.publish(Batch { effects, ..Batch::default() });
    }
}
