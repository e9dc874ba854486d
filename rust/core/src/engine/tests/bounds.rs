//! How many may wait.

use super::*;

fn named(task_id: &str, existing_policy: ExistingPolicy) -> NewTask {
    NewTask { task_id: Some(task_id.into()), existing_policy, ..task() }
}

fn enqueue(engine: &mut Engine, tasks: Vec<(NewTask, TaskKey, Option<TaskKey>)>) -> Decision {
    let arrivals =
        tasks.into_iter().map(|(task, key, taken_by)| Arrival { task, key, taken_by }).collect();
    tell(engine, Input::Enqueue(arrivals), NOW).answer
}

#[test]
fn what_takes_the_place_of_a_waiting_task_needs_no_room() {
    let mut engine = Engine::runner(limits(1, 2), EPOCH, 1);
    for key in 1..=3 {
        let new = named(&key.to_string(), ExistingPolicy::Keep);
        let accepted = Decision::Scheduled(vec![Scheduled::Accepted(key)]);
        assert_eq!(enqueue(&mut engine, vec![(new, key, None)]), accepted);
    }
    // The first one runs: what replaces it waits for its slot.
    let of_running = (named("1", ExistingPolicy::Replace), 4, Some(1));
    assert_eq!(enqueue(&mut engine, vec![of_running]), Decision::Full(2));
    let of_waiting = (named("2", ExistingPolicy::Replace), 5, Some(2));
    let accepted = Decision::Scheduled(vec![Scheduled::Accepted(5)]);
    assert_eq!(enqueue(&mut engine, vec![of_waiting.clone()]), accepted);
    let another = (named("x", ExistingPolicy::Keep), 6, None);
    assert_eq!(enqueue(&mut engine, vec![of_waiting, another]), Decision::Full(2));
}

#[test]
fn a_replacement_that_waits_beside_the_running_one_needs_room_whatever_came_before_it() {
    let mut engine = Engine::runner(limits(1, 1), EPOCH, 1);
    let first = (named("x", ExistingPolicy::Keep), 1, None);
    assert!(matches!(enqueue(&mut engine, vec![first]), Decision::Scheduled(_)));
    let other = (named("y", ExistingPolicy::Keep), 2, None);
    assert!(matches!(enqueue(&mut engine, vec![other]), Decision::Scheduled(_)));
    let kept = (named("x", ExistingPolicy::Keep), 3, Some(1));
    let replaces = (named("x", ExistingPolicy::Replace), 4, Some(1));
    assert_eq!(enqueue(&mut engine, vec![kept, replaces]), Decision::Full(1));
}

#[test]
fn two_of_one_id_in_one_call_need_room_for_one() {
    for policy in [ExistingPolicy::Keep, ExistingPolicy::Replace] {
        let mut engine = Engine::runner(limits(0, 1), EPOCH, 1);
        let twice = vec![(named("x", policy), 1, None), (named("x", policy), 2, None)];
        assert!(matches!(enqueue(&mut engine, twice), Decision::Scheduled(_)), "{policy:?}");
        assert_eq!(engine.counts().ready, 1);
    }
}
