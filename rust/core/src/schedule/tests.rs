//! White-box: the parts agree with each other, and memory stays where it should.

use super::*;

fn entry(key: TaskKey, due_ms: i64) -> Entry {
    Entry { key, due_ms, priority: 0, lane: 0, needs: 0 }
}

fn schedule(running_max: usize) -> Schedule {
    Schedule::new(Config { running_max, ..Config::default() })
}

impl Schedule {
    fn is_sound(&self) -> bool {
        self.delay.is_sound()
            && self.lanes.is_sound(self.parked.unmet())
            && self.tasks.len() == self.delay.len() + self.lanes.len()
    }
}

#[test]
fn a_million_delayed_tasks_cost_under_100_bytes_each() {
    let mut schedule = schedule(1);
    for key in 0..1_000_000 {
        schedule.push(entry(key, i64::try_from(key % 1_000).unwrap() + 1), 0).unwrap();
    }
    let each = schedule.allocated_bytes() / schedule.len();
    assert!(each < 100, "{each} bytes a task");
}

#[test]
fn an_emptied_schedule_gives_its_memory_back() {
    let mut schedule = schedule(1);
    for key in 0..50_000 {
        schedule.push(entry(key, 5), 0).unwrap();
    }
    assert_eq!(schedule.pop_due(5, usize::MAX).len(), 50_000);
    assert!(schedule.allocated_bytes() < 128 * 1024, "{}", schedule.allocated_bytes());
    schedule.push(entry(1, 5), 0).unwrap();
    assert_eq!(schedule.pop_due(5, 9), [1]);
}

#[test]
fn lanes_that_come_and_go_leave_nothing_behind() {
    let mut schedule = schedule(8);
    for lane in 0..10_000 {
        let key = u64::from(lane);
        schedule.push(Entry { lane, ..entry(key, 0) }, 0).unwrap();
        schedule.push(Entry { lane, needs: 1, ..entry(key + 20_000, 0) }, 0).unwrap();
        schedule.take().unwrap();
        schedule.cancel(key);
        schedule.cancel(key + 20_000);
        schedule.release(lane);
        schedule.occupy(lane);
        schedule.release(lane);
        schedule.set_lane_limit(lane, 3);
        schedule.set_lane_limit(lane, usize::MAX);
        assert!(schedule.is_sound());
    }
    schedule.pop_due(0, usize::MAX);
    assert_eq!(schedule.lanes.known(), 0);
    assert!(schedule.lanes.allocated_bytes() < 128 * 1024);
}

#[test]
fn every_part_agrees_after_any_mixture() {
    let mut schedule = schedule(3);
    let mut state = 7_u64;
    let mut next = |bound: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    let mut now_ms = 0;
    for _ in 0..20_000 {
        let key = next(40);
        let due_ms = now_ms + i64::try_from(next(6)).unwrap();
        let lane = u32::try_from(next(4)).unwrap();
        let needs = u32::try_from(next(4)).unwrap();
        match next(10) {
            0..=3 => _ = schedule.push(Entry { lane, needs, ..entry(key, due_ms) }, now_ms),
            4 => _ = schedule.cancel(key),
            5 => _ = schedule.reschedule(key, due_ms, now_ms),
            6 => schedule.set_unmet(needs),
            7 => _ = schedule.take(),
            8 => _ = schedule.release(lane),
            _ => {
                now_ms += 1;
                schedule.advance(now_ms);
            }
        }
        assert!(schedule.is_sound());
    }
}
