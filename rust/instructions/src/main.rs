//! Ten operations of the core, each as often as it is told: for counting instructions.
//!
//! ```text
//! instructions NAME TIMES
//! ```
//!
//! What is prepared does not depend on TIMES, so the difference of two counts is that of the
//! operation alone. Fixed seeds, no clock, one thread.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot be made has to stop")]
#![allow(missing_docs, reason = "nobody calls it")]

use bytes::Bytes;
use outhaul_core::engine::{Arrival, Effect, End, Engine, Input, Limits, Live, NewTask};
use outhaul_core::model::event::EventDetail;
use outhaul_core::model::spec::{
    ConstraintsSpec, ExistingPolicy, PythonSpec, RetrySpec, TaskSpec, TriggerSpec, WorkerSpec,
};
use outhaul_core::model::task_id::generated_id;
use outhaul_core::model::{EventKind, Now, Outcome, Success, TaskKey, TaskStatus};
use outhaul_core::multipart::{Boundary, Encoder, Escape, Part};
use outhaul_core::progress::Meter;
use outhaul_core::schedule::{Config, DelayHeap, Entry, Schedule, Slot};
use outhaul_core::store::Store;
use outhaul_core::store::sqlite::{Durability, SqliteStore};
use std::hint::black_box;

const WAITING: Slot = 10_000;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (name, times) = (arguments.next().unwrap(), arguments.next().unwrap());
    let times: u32 = times.parse().unwrap();
    match name.as_str() {
        "delay_push_pop" => delay_push_pop(times),
        "delay_cancel" => delay_cancel(times),
        "schedule_take" => schedule_take(times),
        "engine_task" => engine_task(times),
        "store_enqueue" => store_batches(times, false),
        "store_task" => store_batches(times, true),
        "spec_read" => spec_read(times),
        "multipart_plan" => multipart_plan(times),
        "multipart_read" => multipart_read(times),
        "progress_sent" => progress_sent(times),
        _ => panic!("no operation is called {name}"),
    }
}

/// A number that has nothing to do with the one before it.
fn scattered(number: u32) -> u32 {
    number.wrapping_mul(2_654_435_761)
}

fn heap() -> DelayHeap {
    let mut heap = DelayHeap::new();
    for slot in 0..WAITING {
        assert!(heap.push(slot, i64::from(scattered(slot)), u64::from(slot)));
    }
    heap
}

fn delay_push_pop(times: u32) {
    let mut heap = heap();
    for number in WAITING..WAITING + times {
        assert!(heap.push(number, i64::from(scattered(number)), u64::from(number)));
        assert!(heap.pop_due(i64::MAX).is_some());
    }
}

fn delay_cancel(times: u32) {
    let mut heap = heap();
    for number in 0..times {
        let slot = scattered(number) % WAITING;
        assert!(heap.remove(slot));
        assert!(heap.push(slot, i64::from(scattered(number)), u64::from(number)));
    }
}

fn schedule_take(times: u32) {
    let mut schedule = Schedule::new(Config { running_max: 8, ..Config::default() });
    let entry =
        |key: u32| Entry { key: u64::from(key), due_ms: 0, priority: 0, lane: key % 64, needs: 0 };
    for key in 1..=WAITING {
        assert!(schedule.push(entry(key), 1).is_ok());
    }
    for key in WAITING + 1..=WAITING + times {
        assert!(schedule.push(entry(key), 1).is_ok());
        let taken = schedule.take().unwrap();
        assert!(schedule.release(entry(u32::try_from(taken).unwrap()).lane));
    }
}

const NOW: Now = Now { wall_ms: 1_800_000_000_000, mono_ms: 0 };

fn spec() -> TaskSpec {
    TaskSpec {
        task_id: None,
        worker: WorkerSpec::Python(PythonSpec {
            callback_id: "resize".to_owned(),
            input: vec![7; 272],
        }),
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
        priority: 0,
    }
}

fn new_task() -> NewTask {
    NewTask {
        task_id: None,
        tag: None,
        spec: rmp_serde::to_vec(&spec()).unwrap().into(),
        admitted: Bytes::new(),
        run_at: 0,
        priority: 0,
        attempts_max: 4,
        lane: 1,
        needs: 0,
        native: true,
        existing_policy: ExistingPolicy::Keep,
    }
}

fn engine_task(times: u32) {
    let mut engine = Engine::runner(Limits::default(), 1, 7);
    let (task, retry) = (new_task(), spec().retry);
    let mut effects = Vec::new();
    for key in 1..=TaskKey::from(times) {
        let arrival = Arrival { task: task.clone(), key, taken_by: None };
        engine.handle(Input::Enqueue(vec![arrival]), NOW, &mut effects);
        let outcome = Outcome::Succeeded(Success::default());
        engine.handle(Input::Outcome { key, attempt: 1, outcome, retry }, NOW, &mut effects);
        assert!(matches!(effects.last(), Some(Effect::Record { .. })), "{effects:?}");
        effects.clear();
    }
}

fn live(key: TaskKey) -> Live {
    Live {
        key,
        status: TaskStatus::Pending,
        priority: 0,
        run_at: NOW.wall_ms,
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

/// Transactions of 64 tasks; with `ends`, another ends them.
fn store_batches(times: u32, ends: bool) {
    const BATCH: u64 = 64;
    let folder = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(&folder.path().join("work.db"), Durability::Os).unwrap();
    let task = new_task();
    let record = |key, kind| {
        let detail = EventDetail::default();
        Effect::Record { at: NOW.wall_ms, kind, key, detail }
    };
    for batch in 0..u64::from(times) {
        let keys = batch * BATCH + 1..(batch + 1) * BATCH + 1;
        store.begin().unwrap();
        for key in keys.clone() {
            let insert = Effect::Insert { live: live(key), task: task.clone(), at: NOW.wall_ms };
            store.apply(&[insert, record(key, EventKind::Enqueued)]).unwrap();
        }
        store.commit().unwrap();
        if !ends {
            continue;
        }
        store.begin().unwrap();
        for key in keys {
            let end = End::Success(Success::default());
            let status = TaskStatus::Completed;
            let finish = Effect::Finish { key, status, at: NOW.wall_ms, attempt: 1, end };
            store.apply(&[finish, record(key, EventKind::Completed)]).unwrap();
        }
        store.commit().unwrap();
    }
}

fn spec_read(times: u32) {
    let packed = rmp_serde::to_vec(&spec()).unwrap();
    for number in 0..times {
        let read = TaskSpec::read(black_box(&packed)).unwrap();
        assert_eq!(read.priority, 0);
        assert_eq!(generated_id(u64::from(number)).len(), 16);
    }
}

fn encoder() -> Encoder {
    let boundary = Boundary::from_random([7; 16]);
    let file = Part::file("file", "img \"1\".jpg", "image/jpeg", 1 << 30);
    let parts = vec![Part::text("title", "Über"), Part::text("note", "x".repeat(100)), file];
    Encoder::multipart(&boundary, parts, Escape::Html5).unwrap()
}

fn multipart_plan(times: u32) {
    for _ in 0..times {
        assert!(black_box(encoder()).content_length() > 1 << 30);
    }
}

/// Where the bytes of a frame come from; the file's own are not read here.
fn multipart_read(times: u32) {
    let encoder = encoder();
    let mut buffer = [0; 1024];
    for number in 0..u64::from(times) {
        let offset = number % 1000;
        let read = encoder.read_at::<()>(offset, &mut buffer, |_, _, to| Ok(to.len()));
        assert!(read.is_ok_and(|read| read == 1024));
    }
}

fn progress_sent(times: u32) {
    let mut meter = Meter::new(u64::from(times.max(1)) * 524_288, 0, 100);
    let mut updates = 0;
    meter.begin(0);
    for frame in 1..=u64::from(times) {
        let now_ms = i64::try_from(frame).unwrap();
        updates += u32::from(meter.sent(frame * 524_288, now_ms).is_some());
    }
    assert!(updates <= 101, "{updates}");
}
