//! The run queue against a naive one: a list that is searched from end to end for everything.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};

use naive::Naive;
use outhaul_core::model::TaskKey;
use outhaul_core::model::constraint::Needs;
use outhaul_core::schedule::{Config, DelayHeap, Entry, LaneId, Schedule, Waiting};
use proptest::prelude::*;

#[path = "schedule/naive.rs"]
mod naive;

const KEYS: u64 = 10;
const LANES: LaneId = 3;

#[derive(Clone, Debug)]
enum Op {
    Push { key: TaskKey, delay_ms: i64, priority: i32, lane: LaneId, needs: Needs },
    Cancel(TaskKey),
    Reschedule { key: TaskKey, delay_ms: i64 },
    Reprioritise { key: TaskKey, priority: i32 },
    SetUnmet(Needs),
    SetLaneLimit { lane: LaneId, running_max: usize },
    Pass { step_ms: i64 },
    Take,
    Release(LaneId),
    Occupy(LaneId),
    PopDue { limit: usize },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let (key, lane, delay_ms, priority) = (0..KEYS, 0..LANES, -2..5_i64, -2..3_i32);
    let push = (key.clone(), delay_ms.clone(), priority.clone(), lane.clone(), 0..4_u32);
    let limits = prop_oneof![Just(0_usize), Just(1), Just(2), Just(usize::MAX)];
    let op = prop_oneof![
        8 => push.prop_map(|(key, delay_ms, priority, lane, needs)| {
            Op::Push { key, delay_ms, priority, lane, needs }
        }),
        2 => key.clone().prop_map(Op::Cancel),
        2 => (key.clone(), delay_ms).prop_map(|(key, delay_ms)| Op::Reschedule { key, delay_ms }),
        2 => (key, priority).prop_map(|(key, priority)| Op::Reprioritise { key, priority }),
        2 => (0..4_u32).prop_map(Op::SetUnmet),
        1 => (lane.clone(), limits)
            .prop_map(|(lane, running_max)| Op::SetLaneLimit { lane, running_max }),
        3 => (0..4_i64).prop_map(|step_ms| Op::Pass { step_ms }),
        5 => Just(Op::Take),
        4 => lane.clone().prop_map(Op::Release),
        1 => lane.prop_map(Op::Occupy),
        1 => (0..4_usize).prop_map(|limit| Op::PopDue { limit }),
    ];
    proptest::collection::vec(op, 0..120)
}

fn configs() -> impl Strategy<Value = Config> {
    let ageing_ms = prop_oneof![Just(0_i64), Just(1), Just(2), Just(60_000)];
    let lane_running_max = prop_oneof![Just(usize::MAX), 0..4_usize];
    (1..8_usize, 0..5_usize, lane_running_max, ageing_ms).prop_map(
        |(capacity, running_max, lane_running_max, ageing_ms)| Config {
            capacity,
            running_max,
            lane_running_max,
            ageing_ms,
        },
    )
}

/// Does `op` to both and compares what they answer.
fn both(real: &mut Schedule, model: &mut Naive, now_ms: &mut i64, op: Op) {
    match op {
        Op::Push { key, delay_ms, priority, lane, needs } => {
            let entry = Entry { key, due_ms: *now_ms + delay_ms, priority, lane, needs };
            assert_eq!(real.push(entry, *now_ms), model.push(entry, *now_ms));
        }
        Op::Cancel(key) => assert_eq!(real.cancel(key), model.cancel(key)),
        Op::Reschedule { key, delay_ms } => {
            let due_ms = *now_ms + delay_ms;
            let expected = model.reschedule(key, due_ms, *now_ms);
            assert_eq!(real.reschedule(key, due_ms, *now_ms), expected);
        }
        Op::Reprioritise { key, priority } => {
            assert_eq!(real.reprioritise(key, priority), model.reprioritise(key, priority));
        }
        Op::SetUnmet(unmet) => {
            real.set_unmet(unmet);
            model.set_unmet(unmet);
        }
        Op::SetLaneLimit { lane, running_max } => {
            real.set_lane_limit(lane, running_max);
            model.set_lane_limit(lane, running_max);
        }
        Op::Pass { step_ms } => {
            *now_ms += step_ms;
            real.advance(*now_ms);
            model.advance(*now_ms);
        }
        Op::Take => assert_eq!(real.take(), model.take().map(|entry| entry.key)),
        Op::Release(lane) => assert_eq!(real.release(lane), model.release(lane)),
        Op::Occupy(lane) => {
            real.occupy(lane);
            model.occupy(lane);
        }
        Op::PopDue { limit } => {
            assert_eq!(real.pop_due(*now_ms, limit), model.pop_due(*now_ms, limit));
        }
    }
}

/// Lets everything run, so that every case ends with the order of all that is left.
fn drain() -> impl Iterator<Item = Op> {
    let lanes = (0..LANES).map(|lane| Op::SetLaneLimit { lane, running_max: usize::MAX });
    let releases = (0..LANES).flat_map(|lane| std::iter::repeat_n(Op::Release(lane), 120));
    let last = [Op::SetUnmet(0), Op::Pass { step_ms: 100 }, Op::PopDue { limit: usize::MAX }];
    lanes.chain(releases).chain(last)
}

/// `(key, due, priority, lane)`: keys that don't follow arrival, few values, many ties.
fn arrivals() -> impl Strategy<Value = Vec<Entry>> {
    let one = (0..200_u64, 0..6_i64, -2..3_i32, 0..LANES);
    proptest::collection::vec(one, 0..60).prop_map(|all| {
        let mut seen = BTreeSet::new();
        let fresh = all.into_iter().filter(|(key, ..)| seen.insert(*key));
        let entry = |(key, due_ms, priority, lane)| Entry { key, due_ms, priority, lane, needs: 0 };
        fresh.map(entry).collect()
    })
}

fn filled(entries: &[Entry], ageing_ms: i64, running_max: usize) -> Schedule {
    let mut schedule =
        Schedule::new(Config { capacity: 1_000, running_max, ageing_ms, ..Config::default() });
    for entry in entries {
        schedule.push(*entry, -1).unwrap();
    }
    schedule
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn it_never_disagrees_with_the_naive_one(config in configs(), ops in ops()) {
        let (mut real, mut model, mut now_ms) = (Schedule::new(config), Naive::new(config), 0);
        for op in ops {
            both(&mut real, &mut model, &mut now_ms, op);
            assert_eq!(real.next_due_ms(), model.next_due_ms());
            assert_eq!(real.counts(), model.counts());
            assert_eq!(real.len(), model.len());
            for key in 0..KEYS {
                assert_eq!(real.waiting(key), model.waiting(key));
            }
        }
        for op in drain() {
            both(&mut real, &mut model, &mut now_ms, op);
        }
        prop_assert!(real.is_empty() || config.running_max == 0);
    }

    #[test]
    fn a_lane_drains_by_aged_due_time_then_by_who_became_due_first(
        mut entries in arrivals(), ageing_ms in 1..4_i64,
    ) {
        for entry in &mut entries {
            entry.lane = 0;
        }
        let real = filled(&entries, ageing_ms, 1).pop_due(9, usize::MAX);
        let mut expected = entries.clone(); // sorting is stable: arrival decides what is left
        expected.sort_by_key(|e| (e.due_ms - i64::from(e.priority) * ageing_ms, e.due_ms));
        prop_assert_eq!(real, expected.iter().map(|e| e.key).collect::<Vec<_>>());
    }

    #[test]
    fn a_strict_lane_drains_by_priority_then_due_time_then_arrival(mut entries in arrivals()) {
        for entry in &mut entries {
            entry.lane = 0;
        }
        let real = filled(&entries, 0, 1).pop_due(9, usize::MAX);
        let mut expected = entries.clone();
        expected.sort_by_key(|e| (-e.priority, e.due_ms));
        prop_assert_eq!(real, expected.iter().map(|e| e.key).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_is_lost_and_nothing_comes_twice(entries in arrivals(), limit in 1..7_usize) {
        let mut schedule = filled(&entries, 60_000, 1);
        let mut popped: Vec<TaskKey> = Vec::new();
        for now_ms in 0..70 {
            popped.extend(schedule.pop_due(now_ms, limit));
        }
        popped.sort_unstable();
        let mut pushed: Vec<TaskKey> = entries.iter().map(|entry| entry.key).collect();
        pushed.sort_unstable();
        prop_assert_eq!(popped, pushed);
        prop_assert!(schedule.is_empty());
    }

    #[test]
    fn lanes_that_have_work_never_differ_by_more_than_one_task(entries in arrivals()) {
        let mut schedule = filled(&entries, 60_000, usize::MAX);
        schedule.advance(9);
        let mut left: BTreeMap<LaneId, usize> = BTreeMap::new();
        for entry in &entries {
            *left.entry(entry.lane).or_default() += 1;
        }
        let lane_of: BTreeMap<TaskKey, LaneId> = entries.iter().map(|e| (e.key, e.lane)).collect();
        let mut taken: BTreeMap<LaneId, usize> = left.keys().map(|lane| (*lane, 0)).collect();
        while let Some(key) = schedule.take() {
            let lane = lane_of[&key];
            *left.get_mut(&lane).unwrap() -= 1;
            *taken.get_mut(&lane).unwrap() += 1;
            let busy = taken.iter().filter(|(lane, _)| left[lane] > 0).map(|(_, n)| *n);
            let (least, most) = (busy.clone().min().unwrap_or(0), busy.max().unwrap_or(0));
            prop_assert!(most - least <= 1, "{taken:?} with {left:?} left");
        }
    }

    #[test]
    fn limits_hold_however_tasks_come_and_go(
        entries in arrivals(),
        running_max in 1..5_usize,
        lane_max in 0..3_usize,
        releases in proptest::collection::vec(0..LANES, 0..40),
    ) {
        let mut schedule = filled(&entries, 60_000, running_max);
        for lane in 0..LANES {
            schedule.set_lane_limit(lane, lane_max);
        }
        schedule.advance(9);
        let lane_of: BTreeMap<TaskKey, LaneId> = entries.iter().map(|e| (e.key, e.lane)).collect();
        let mut running: BTreeMap<LaneId, usize> = BTreeMap::new();
        for lane in releases {
            while let Some(key) = schedule.take() {
                *running.entry(lane_of[&key]).or_default() += 1;
            }
            prop_assert!(running.values().all(|n| *n <= lane_max), "{running:?}");
            prop_assert_eq!(schedule.running(), running.values().sum::<usize>());
            prop_assert!(schedule.running() <= running_max);
            let held = running.entry(lane).or_default();
            prop_assert_eq!(schedule.release(lane), *held > 0);
            *held = held.saturating_sub(1);
        }
    }

    #[test]
    fn the_delay_heap_is_a_sorted_list(
        ops in proptest::collection::vec((0..4_u8, 0..12_u32, -3..4_i64), 0..200),
    ) {
        let (mut heap, mut list) = (DelayHeap::new(), BTreeMap::<u32, (i64, u64)>::new());
        for ((op, slot, due_ms), turn) in ops.into_iter().zip(0_u64..) {
            match op {
                0 => prop_assert_eq!(heap.remove(slot), list.remove(&slot).is_some()),
                1 => {
                    let known = list.contains_key(&slot);
                    prop_assert_eq!(heap.reschedule(slot, due_ms, turn), known);
                    list.entry(slot).and_modify(|at| *at = (due_ms, turn));
                }
                2 => {
                    let first = list.iter().min_by_key(|(_, at)| **at).map(|(slot, at)| (*slot, at.0));
                    let due = first.filter(|(_, at)| *at <= due_ms).map(|(slot, _)| slot);
                    prop_assert_eq!(heap.pop_due(due_ms), due);
                    due.and_then(|slot| list.remove(&slot));
                }
                _ => {
                    let fresh = !list.contains_key(&slot);
                    prop_assert_eq!(heap.push(slot, due_ms, turn), fresh);
                    list.entry(slot).or_insert((due_ms, turn));
                }
            }
            prop_assert_eq!(heap.next_due_ms(), list.values().map(|at| at.0).min());
            prop_assert_eq!(heap.len(), list.len());
        }
    }
}

fn entry(key: TaskKey, due_ms: i64) -> Entry {
    Entry { key, due_ms, priority: 0, lane: 0, needs: 0 }
}

#[test]
fn the_extremes_of_every_number_keep_their_order() {
    let mut schedule = Schedule::new(Config { ageing_ms: i64::MAX, ..Config::default() });
    let (lane, needs) = (LaneId::MAX, Needs::MAX);
    for (key, due_ms, priority) in [
        (1, i64::MAX, i32::MIN),
        (0, i64::MIN, i32::MAX),
        (2, 0, i32::MIN),
        (u64::MAX, 0, 0),
        (3, i64::MIN, 0),
    ] {
        schedule.push(Entry { key, due_ms, priority, lane, needs }, 0).unwrap();
    }
    assert_eq!(schedule.pop_due(i64::MAX, usize::MAX), [0, 3, u64::MAX, 2, 1]);
}

#[test]
fn a_rescheduled_task_ranks_by_its_new_time() {
    let mut schedule = Schedule::new(Config::default());
    for (key, due_ms) in [(1, 10), (2, 20), (3, 30)] {
        schedule.push(entry(key, due_ms), 0).unwrap();
    }
    assert!(schedule.reschedule(1, 40, 0));
    assert_eq!(schedule.next_due_ms(), Some(20));
    assert_eq!(schedule.pop_due(99, usize::MAX), [2, 3, 1]);
}

#[test]
fn a_low_priority_waits_no_longer_than_its_levels_are_worth() {
    let mut schedule = Schedule::new(Config { running_max: 1, ..Config::default() });
    schedule.push(entry(999_999, 0), 0).unwrap();
    for key in 0.. {
        let now_ms = i64::try_from(key).unwrap() * 1_000;
        schedule.push(Entry { priority: 2, ..entry(key, now_ms) }, now_ms).unwrap();
        if schedule.pop_due(now_ms, 1) == [999_999] {
            // One task comes and one goes each second: it goes when a fresh rival's lead is used
            // up.
            assert_eq!(now_ms, 2 * 60_000);
            return;
        }
        assert!(now_ms < 1_000_000, "it starves");
    }
}

#[test]
fn with_strict_priority_the_lower_one_waits() {
    let mut schedule = Schedule::new(Config { ageing_ms: 0, ..Config::default() });
    schedule.push(entry(1, 0), 0).unwrap();
    schedule.push(Entry { priority: 1, ..entry(2, i64::MAX) }, i64::MAX).unwrap();
    assert_eq!(schedule.pop_due(i64::MAX, 2), [2, 1]);
}

#[test]
fn a_parked_task_keeps_its_place_when_its_constraint_comes_back() {
    let mut schedule = Schedule::new(Config::default());
    schedule.push(Entry { needs: 1, ..entry(7, 0) }, 0).unwrap();
    schedule.push(entry(3, 0), 0).unwrap();
    schedule.set_unmet(1);
    assert_eq!(schedule.waiting(7), Some(Waiting::Constraint(1)));
    schedule.set_unmet(0);
    assert_eq!(schedule.pop_due(0, 2), [7, 3]);
}

#[test]
fn the_default_limits_are_those_that_are_documented() {
    let Config { capacity, running_max, lane_running_max, ageing_ms } = Config::default();
    assert_eq!((capacity, running_max, ageing_ms), (1_000_000, 64, 60_000));
    assert_eq!(lane_running_max, usize::MAX);
}
