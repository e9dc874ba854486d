//! Rows, effects and stores to try things with.

use std::path::Path;

pub use outhaul_core::engine::NewTask;
use outhaul_core::engine::{Effect, End, Live};
use outhaul_core::model::event::EventDetail;
use outhaul_core::model::spec::{
    ConstraintsSpec, ExistingPolicy, PythonSpec, RetrySpec, TaskSpec, TriggerSpec, WorkerSpec,
};
use outhaul_core::model::{EventKind, Success, TaskKey, TaskStatus};
use outhaul_core::store::Store;
use outhaul_core::store::memory::MemoryStore;
use outhaul_core::store::sqlite::{Durability, SqliteStore};

pub fn memory() -> MemoryStore {
    MemoryStore::default()
}

pub fn sqlite(dir: &Path) -> SqliteStore {
    SqliteStore::open(&dir.join("work.db"), Durability::Os).unwrap()
}

pub fn txn(store: &mut dyn Store, effects: &[Effect]) {
    store.begin().unwrap();
    store.apply(effects).unwrap();
    store.commit().unwrap();
}

pub fn live(key: TaskKey) -> Live {
    Live {
        key,
        status: TaskStatus::Pending,
        priority: 0,
        run_at: 1_000,
        attempt: 0,
        attempts_max: 4,
        crashes: 0,
        epoch: 0,
        lane: 1,
        needs: 0,
        native: true,
        mark_percent: 0,
        failure: None,
    }
}

pub fn running(live: Live, attempt: u32, epoch: i64) -> Live {
    Live { status: TaskStatus::Running, attempt, epoch, ..live }
}

/// Every number at its edge, each field with another value.
pub fn extreme() -> Live {
    Live {
        key: u64::MAX >> 1,
        status: TaskStatus::Blocked,
        priority: i32::MIN,
        run_at: i64::MAX,
        attempt: u32::MAX,
        attempts_max: u32::MAX - 1,
        crashes: u32::MAX - 2,
        epoch: i64::MAX - 3,
        lane: u32::MAX - 4,
        needs: u32::MAX - 5,
        native: false,
        mark_percent: 100,
        failure: None,
    }
}

pub fn new_task() -> NewTask {
    let spec = TaskSpec {
        task_id: None,
        worker: WorkerSpec::Python(PythonSpec { callback_id: "cb".to_owned(), input: vec![1] }),
        trigger: TriggerSpec::OneTime { initial_delay_ms: 0 },
        constraints: ConstraintsSpec { network_type: None, battery_not_low: false },
        existing_policy: ExistingPolicy::Keep,
        retry: RetrySpec {
            max_retries: 3,
            initial_delay_ms: 30_000,
            multiplier: 2.0,
            max_delay_ms: 3_600_000,
        },
        tag: None,
        priority: 5,
    };
    NewTask {
        task_id: None,
        tag: None,
        spec: rmp_serde::to_vec(&spec).unwrap().into(),
        admitted: vec![2, 3].into(),
        run_at: 1_000,
        priority: 5,
        attempts_max: 4,
        lane: 1,
        needs: 0,
        native: true,
        existing_policy: ExistingPolicy::Keep,
    }
}

pub fn named(task_id: &str) -> NewTask {
    NewTask { task_id: Some(task_id.into()), ..new_task() }
}

pub fn tagged(tag: &str) -> NewTask {
    NewTask { tag: Some(tag.into()), ..new_task() }
}

pub fn insert(live: Live, task: NewTask) -> Effect {
    Effect::Insert { live, task, at: 500 }
}

pub fn record(kind: EventKind, key: TaskKey) -> Effect {
    Effect::Record { at: 600, kind, key, detail: EventDetail::default() }
}

pub fn enqueued(key: TaskKey) -> Effect {
    record(EventKind::Enqueued, key)
}

pub fn completed(key: TaskKey) -> Effect {
    let success = Success { http_status: Some(201), body: b"ok".to_vec(), ..Success::default() };
    let end = End::Success(success);
    Effect::Finish { key, status: TaskStatus::Completed, at: 700, attempt: 1, end }
}
