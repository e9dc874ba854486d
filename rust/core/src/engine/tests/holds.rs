//! A host that has asked to be left alone for a while.

use super::*;

const LATER: Now = Now::at(NOW.wall_ms + 60_000);

fn asked(wait_ms: i64) -> Outcome {
    let failure = Failure::new(ErrorCode::HttpClientError, "HTTP 429 Too Many Requests");
    let http_status = Some(429);
    Outcome::Retry(Failure { retry_after_ms: Some(wait_ms), http_status, ..failure })
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

#[test]
fn an_hour_is_an_hour_however_often_somebody_takes_over() {
    let mut engine = runner(4);
    add(&mut engine, task(), 1, None);
    tell(&mut engine, ended(1, 1, asked(24 * 3_600_000)), NOW);
    let left = engine.table().get(1).unwrap().clone();
    for (minutes, is_held) in [(60, false), (67, false), (600, false)] {
        let now = Now::at(NOW.wall_ms + minutes * 60_000);
        let mut engine = runner(4);
        engine.recover([left.clone()], now);
        let started = tell(&mut engine, Input::Tick, now);
        assert_eq!(started.starts(), []);
        let arrival = vec![Arrival { task: task(), key: 2, taken_by: None }];
        let starts = tell(&mut engine, Input::Enqueue(arrival), now).starts();
        assert_eq!(starts.is_empty(), is_held, "after {minutes} minutes");
    }
}

#[test]
fn a_clock_that_is_set_back_keeps_no_host_shut() {
    let mut engine = asked_for_a_minute(true);
    add(&mut engine, task(), 2, None);
    let back = |ms: i64| Now { wall_ms: NOW.wall_ms - 900_000_000, mono_ms: NOW.mono_ms + ms };
    assert!(!engine.is_due(back(59_999)));
    assert!(engine.is_due(back(60_000)));
    // Its own time is by the wall clock.
    let mut due = task();
    due.run_at = 0;
    add(&mut engine, due, 3, None);
    assert_eq!(tell(&mut engine, Input::Tick, back(59_999)).starts(), []);
    assert!(tell(&mut engine, Input::Tick, back(60_000)).starts().contains(&(3, 1)));
}

#[test]
fn an_answer_about_the_one_request_holds_up_no_other() {
    for status in [409, 425] {
        let mut engine = runner(4);
        add(&mut engine, task(), 1, None);
        let failure = Failure::new(ErrorCode::HttpClientError, "busy");
        let (retry_after_ms, http_status) = (Some(60_000), Some(status));
        let busy = Outcome::Retry(Failure { http_status, retry_after_ms, ..failure });
        tell(&mut engine, ended(1, 1, busy), NOW);
        assert_eq!(add(&mut engine, task(), 2, None).starts(), [(2, 1)]);
    }
}

#[test]
fn a_host_that_asks_in_the_last_attempt_is_left_alone_too() {
    let mut engine = runner(4);
    add(&mut engine, NewTask { attempts_max: 1, ..task() }, 1, None);
    assert_eq!(tell(&mut engine, ended(1, 1, asked(60_000)), NOW).kinds(), [EventKind::Failed]);
    assert_eq!(add(&mut engine, task(), 2, None).starts(), []);
}
