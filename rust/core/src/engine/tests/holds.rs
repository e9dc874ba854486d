//! A host that has asked to be left alone for a while.

use super::*;

const LATER: Now = Now::at(NOW.wall_ms + 60_000);

fn asked(wait_ms: i64) -> Outcome {
    let failure = Failure::new(ErrorCode::HttpClientError, "HTTP 429 Too Many Requests");
    Outcome::Retry(Failure { retry_after_ms: Some(wait_ms), ..failure })
}

/// A runner with a task whose host has just asked for a minute.
fn asked_for_a_minute(native: bool) -> Engine {
    let mut engine = runner(4);
    add(&mut engine, NewTask { native, ..task() }, 1, None);
    assert_eq!(tell(&mut engine, ended(1, 1, asked(60_000)), NOW).starts(), []);
    engine
}

#[test]
fn nobody_is_sent_to_it_and_everybody_elsewhere() {
    let mut engine = asked_for_a_minute(true);
    assert_eq!(add(&mut engine, task(), 2, None).starts(), []);
    let elsewhere = NewTask { lane: task().lane + 1, ..task() };
    assert_eq!(add(&mut engine, elsewhere, 3, None).starts(), [(3, 1)]);
    assert_eq!(engine.next_due_ms(), Some(LATER.wall_ms));
    let early = Now::at(LATER.wall_ms - 1);
    assert_eq!(tell(&mut engine, Input::Tick, early).starts(), []);
    assert_eq!(tell(&mut engine, Input::Tick, LATER).starts(), [(2, 1)]);
}

#[test]
fn the_longer_of_two_waits_counts() {
    for (first, second) in [(60_000, 30_000), (30_000, 60_000)] {
        let mut engine = runner(4);
        add(&mut engine, task(), 1, None);
        add(&mut engine, task(), 2, None);
        tell(&mut engine, ended(1, 1, asked(first)), NOW);
        tell(&mut engine, ended(2, 1, asked(second)), NOW);
        add(&mut engine, task(), 3, None);
        let half = Now::at(NOW.wall_ms + 30_000);
        assert!(!tell(&mut engine, Input::Tick, half).starts().contains(&(3, 1)));
        assert!(tell(&mut engine, Input::Tick, LATER).starts().contains(&(3, 1)));
    }
}

#[test]
fn a_callback_s_failure_holds_up_no_other() {
    let mut engine = asked_for_a_minute(false);
    let other = NewTask { native: false, ..task() };
    assert_eq!(add(&mut engine, other, 2, None).starts(), [(2, 1)]);
}

#[test]
fn it_is_left_alone_by_who_takes_over_too() {
    let before = asked_for_a_minute(true);
    let left = before.table().get(1).unwrap().clone();
    let mut engine = runner(4);
    engine.recover([left], NOW);
    assert_eq!(add(&mut engine, task(), 2, None).starts(), []);
    assert_eq!(tell(&mut engine, Input::Tick, LATER).starts(), [(2, 1)]);
}
