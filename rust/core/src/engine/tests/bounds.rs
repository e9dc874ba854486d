//! How many may wait, and for how long.

use super::*;
use crate::model::next_key;

fn named(task_id: &str, existing_policy: ExistingPolicy) -> NewTask {
    NewTask { task_id: Some(task_id.into()), existing_policy, ..task() }
}

fn enqueue(engine: &mut Engine, tasks: Vec<(NewTask, TaskKey, Option<TaskKey>)>) -> Answer {
    let arrivals =
        tasks.into_iter().map(|(task, key, taken_by)| Arrival { task, key, taken_by }).collect();
    tell(engine, Input::Enqueue(arrivals), NOW).answer
}

#[test]
fn what_takes_the_place_of_a_waiting_task_needs_no_room() {
    let mut engine = Engine::runner(limits(1, 2), EPOCH, 1);
    for key in 1..=3 {
        let new = named(&key.to_string(), ExistingPolicy::Keep);
        let accepted = Answer::Scheduled(vec![Scheduled::Accepted(key)]);
        assert_eq!(enqueue(&mut engine, vec![(new, key, None)]), accepted);
    }
    // The first one runs: what replaces it waits for its slot.
    let of_running = (named("1", ExistingPolicy::Replace), 4, Some(1));
    assert_eq!(enqueue(&mut engine, vec![of_running]), Answer::Full(2));
    let of_waiting = (named("2", ExistingPolicy::Replace), 5, Some(2));
    let accepted = Answer::Scheduled(vec![Scheduled::Accepted(5)]);
    assert_eq!(enqueue(&mut engine, vec![of_waiting.clone()]), accepted);
    let another = (named("x", ExistingPolicy::Keep), 6, None);
    assert_eq!(enqueue(&mut engine, vec![of_waiting, another]), Answer::Full(2));
}

#[test]
fn two_of_one_id_in_one_call_need_room_for_one() {
    for policy in [ExistingPolicy::Keep, ExistingPolicy::Replace] {
        let mut engine = Engine::runner(limits(0, 1), EPOCH, 1);
        let twice = vec![(named("x", policy), 1, None), (named("x", policy), 2, None)];
        assert!(matches!(enqueue(&mut engine, twice), Answer::Scheduled(_)), "{policy:?}");
        assert_eq!(engine.counts().ready, 1);
    }
}

#[test]
fn what_was_made_while_the_clock_was_ahead_waits_as_long_as_was_said() {
    let ahead = NOW.wall_ms + 365 * 86_400_000;
    let key = next_key(0, ahead);
    // Due at once; due in an hour; made after the clock was set right, due in an hour.
    for (key, run_at, due_in) in [
        (key, ahead, 0),
        (key, ahead + 3_600_000, 3_600_000),
        (next_key(key, NOW.wall_ms), NOW.wall_ms + 3_600_000, 3_600_000),
    ] {
        let mut engine = runner(1);
        let waits = Live { run_at, ..row(key, TaskStatus::Pending, 0) };
        let effects = engine.recover([waits], NOW);
        let due = engine.table().get(key).unwrap().run_at;
        assert_eq!(due - NOW.wall_ms, due_in);
        let is_stored = |effect: &Effect| matches!(effect, Effect::Update(l) if l.run_at == due);
        assert_eq!(effects.iter().any(is_stored), due != run_at);
    }
}
