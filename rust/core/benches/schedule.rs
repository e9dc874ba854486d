//! The delay heap alone, and the whole run queue beside it. Fixed seed, fresh state, the work
//! checked.
//!
//! `cargo bench -p outhaul-core --bench schedule`; each figure is for one operation.

#![allow(missing_docs, reason = "the macros of criterion make undocumented functions")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use outhaul_core::schedule::{Config, DelayHeap, Entry, Schedule, Slot};

const SIZES: [Slot; 3] = [10_000, 100_000, 1_000_000];

/// `0..n` in an order that has nothing to do with its values.
fn shuffled(n: Slot) -> Vec<Slot> {
    let mut all: Vec<Slot> = (0..n).collect();
    let mut state = 7_u64;
    for at in (1..all.len()).rev() {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bound = u64::try_from(at).map_or(1, |at| at + 1);
        all.swap(at, usize::try_from((state >> 33) % bound).unwrap_or(0));
    }
    all
}

fn heap(due: &[Slot]) -> DelayHeap {
    let mut heap = DelayHeap::new();
    for (slot, due_ms) in (0..).zip(due) {
        heap.push(slot, i64::from(*due_ms), u64::from(slot));
    }
    heap
}

fn entry(key: u64, due: Slot) -> Entry {
    Entry { key, due_ms: i64::from(due) + 1, priority: 0, lane: due % 64, needs: due % 2 }
}

fn schedule(due: &[Slot]) -> Schedule {
    let config = Config { capacity: due.len(), running_max: 1, ..Config::default() };
    let mut schedule = Schedule::new(config);
    for (key, due) in (0..).zip(due) {
        assert!(schedule.push(entry(key, *due), 0).is_ok());
    }
    schedule
}

/// Times `work` over fresh states and says it per element. Dropping the state is not counted.
fn measure<S>(
    c: &mut Criterion,
    name: &str,
    fresh: impl Fn(&[Slot]) -> S,
    work: impl Fn(&mut S, &[Slot], &[Slot]) -> usize,
) {
    let mut group = c.benchmark_group(name);
    group.sample_size(10).warm_up_time(Duration::from_millis(200));
    group.measurement_time(Duration::from_secs(1));
    for n in SIZES {
        let (due, order) = (shuffled(n), shuffled(n).into_iter().rev().collect::<Vec<_>>());
        group.throughput(Throughput::Elements(u64::from(n)));
        group.bench_function(BenchmarkId::from_parameter(n), |b| {
            b.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                for _ in 0..rounds {
                    let mut state = fresh(&due);
                    let start = Instant::now();
                    let done = work(black_box(&mut state), &due, &order);
                    spent += start.elapsed();
                    assert_eq!(done, due.len());
                }
                spent
            });
        });
    }
    group.finish();
}

fn delay_heap(c: &mut Criterion) {
    measure(
        c,
        "delay/push",
        |_| DelayHeap::new(),
        |state, due, _| {
            *state = heap(due);
            state.len()
        },
    );
    measure(c, "delay/pop", heap, |state, _, _| {
        std::iter::from_fn(|| state.pop_due(i64::MAX)).count()
    });
    measure(c, "delay/cancel", heap, |state, _, order| {
        order.iter().filter(|slot| state.remove(**slot)).count()
    });
}

fn whole(c: &mut Criterion) {
    measure(
        c,
        "schedule/push",
        |_| schedule(&[]),
        |state, due, _| {
            *state = schedule(due);
            state.len()
        },
    );
    measure(c, "schedule/pop_due", schedule, |state, due, _| {
        state.pop_due(i64::MAX, due.len()).len()
    });
    measure(c, "schedule/cancel", schedule, |state, _, order| {
        order.iter().filter(|key| state.cancel(u64::from(**key))).count()
    });
    measure(c, "schedule/reschedule", schedule, |state, due, order| {
        let moved = order.iter().zip(due);
        moved.filter(|(key, due)| state.reschedule(u64::from(**key), i64::from(**due), 0)).count()
    });
    measure(c, "schedule/signal_flip", due_now, |state, due, _| {
        for unmet in 0..due.len() {
            state.set_unmet(Slot::from(unmet % 2 == 0));
        }
        due.len()
    });
}

fn due_now(due: &[Slot]) -> Schedule {
    let mut schedule = schedule(due);
    schedule.advance(i64::MAX);
    schedule
}

criterion_group!(benches, delay_heap, whole);
criterion_main!(benches);
