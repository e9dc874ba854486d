//! What users, workers and other processes do.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;

use outhaul_core::engine::{
    Arrival, Decision, Effect, Engine, Input, NewTask, Scheduled, lane_of_callback, lane_of_origin,
};
use outhaul_core::model::spec::{ExistingPolicy, RetrySpec};
use outhaul_core::model::task_id::next_key;
use outhaul_core::model::{
    ErrorCode, Failure, InterruptReason, Outcome, Success, TaskKey, TaskStatus,
};
use outhaul_core::store::{Selection, Store};

use super::world::{Batch, CALLBACKS, World};

const TAGS: [&str; 3] = ["a", "b", "c"];

impl World {
    pub fn operate(&mut self, batch: &mut Batch) {
        match self.chance.below(100) {
            0..=34 => self.enqueue(batch),
            35..=74 => self.report_any(batch),
            75..=79 => self.report_late(batch),
            80..=89 => {
                let selection = self.selection();
                let keys = self.store.select(&selection).unwrap();
                let answer = self.hand(batch, Input::Cancel(keys.clone()));
                assert_eq!(answer, Decision::Cancelled(keys.len()), "{selection:?}");
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
            Decision::Scheduled(scheduled) => {
                assert_eq!(scheduled.len(), arrivals.len());
                check_scheduled(&arrivals, &scheduled);
                for answer in scheduled {
                    if let Scheduled::Accepted(key) = answer {
                        batch.accepted.push(key);
                    }
                }
            }
            Decision::Full(waiting) => {
                assert!(waiting + arrivals.len() > self.limits.pending_max);
                let stored =
                    batch.effects[before..].iter().any(|e| matches!(e, Effect::Insert { .. }));
                assert!(!stored, "a refused task was stored");
            }
            other => panic!("{other:?}"),
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
                let codes = [ErrorCode::HttpServerError, ErrorCode::NetworkError];
                let mut failure = Failure::new(self.chance.pick(&codes).unwrap(), "it failed");
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
    pub fn report(&mut self, batch: &mut Batch, key: TaskKey, attempt: u32, outcome: Outcome) {
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
    pub fn observe(&mut self) {
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
}

/// An id may come more than once in one call: who holds it then is whoever the call gave it to
/// last.
fn check_scheduled(arrivals: &[Arrival], scheduled: &[Scheduled]) {
    let mut holders = HashMap::new();
    for (new, answer) in arrivals.iter().zip(scheduled) {
        let task_id = new.task.task_id.as_ref();
        let holder = task_id.and_then(|id| holders.get(id).copied()).or(new.taken_by);
        let key = match answer {
            Scheduled::Accepted(key) => {
                assert_eq!(*key, new.key);
                key
            }
            Scheduled::Kept(key) => {
                assert_eq!(Some(*key), holder);
                assert_eq!(new.task.existing_policy, ExistingPolicy::Keep);
                key
            }
        };
        if let Some(id) = task_id {
            holders.insert(id, *key);
        }
    }
}
