//! A process has died, another has changed something, or this one ends.

use super::*;

#[test]
fn a_native_task_is_rescued_however_often_its_process_dies() {
    let mut live = row(1, TaskStatus::Running, 1);
    for epoch in 2..30 {
        let mut engine = Engine::runner(limits(1, 9), epoch, 1);
        let heard = Heard::of(engine.recover([live.clone()], NOW));
        assert_eq!(heard.kinds(), [EventKind::Rescued, EventKind::Started]);
        live = engine.table().get(1).unwrap().clone();
        assert_eq!(i64::from(live.attempt), epoch);
        assert_eq!(live.attempts_max, 4 + live.crashes);
    }
}

#[test]
fn a_python_task_is_given_up_at_its_fourth_crash() {
    for (crashes, kinds) in
        [(2, vec![EventKind::Rescued, EventKind::Started]), (3, vec![EventKind::Failed])]
    {
        let lane = lane_of_callback("resize");
        let live = Live { crashes, native: false, lane, ..row(1, TaskStatus::Running, EPOCH - 1) };
        let mut engine = runner(1);
        engine.register_callback("resize");
        let heard = Heard::of(engine.recover([live], NOW));
        assert_eq!(heard.kinds(), kinds);
        if crashes == CRASHES_MAX {
            assert_eq!(heard.ends(), [(1, TaskStatus::Failed, ErrorCode::Crashed)]);
            assert!(engine.table().is_empty());
        }
    }
}

#[test]
fn what_runs_here_goes_on_when_the_engine_is_built_anew() {
    let mut engine = runner(1);
    let running = row(1, TaskStatus::Running, EPOCH);
    let heard = Heard::of(engine.recover([running, row(2, TaskStatus::Pending, 0)], NOW));
    assert_eq!(heard.effects, []);
    assert_eq!(engine.counts().running, 1);
    let success = Outcome::Succeeded(Success::default());
    assert_eq!(tell(&mut engine, ended(1, 1, success), NOW).starts(), [(2, 1)]);
}

#[test]
fn a_foreign_cancel_stops_the_attempt_and_frees_its_slot() {
    let mut engine = runner(1);
    add(&mut engine, task(), 1, None);
    add(&mut engine, task(), 2, None);
    let heard = Heard::of(engine.catch_up(1, None, NOW));
    assert_eq!(heard.stops(), [(1, 1, StopReason::Cancelled)]);
    assert_eq!(tell(&mut engine, Input::Tick, NOW).starts(), [(2, 1)]);
}

#[test]
fn a_foreign_task_begins_once_with_the_next_tick_even_if_it_is_told_of_twice() {
    let mut engine = runner(2);
    for key in [1, 2, 1, 2] {
        assert_eq!(engine.catch_up(key, Some(row(key, TaskStatus::Pending, 0)), NOW), []);
    }
    assert_eq!(tell(&mut engine, Input::Tick, NOW).starts(), [(1, 1), (2, 1)]);
}

#[test]
fn news_of_a_task_that_runs_here_unchanged_does_not_stop_it() {
    let mut engine = runner(1);
    add(&mut engine, task(), 1, None);
    let row = engine.table().get(1).cloned();
    assert_eq!(engine.catch_up(1, row, NOW), []);
    assert_eq!(engine.counts().running, 1);
}

#[test]
fn a_shutdown_releases_what_runs_and_counts_no_attempt() {
    let mut engine = runner(2);
    for key in 1..=3 {
        add(&mut engine, task(), key, None);
    }
    let heard = Heard::of(engine.interrupt_all(InterruptReason::Shutdown, NOW));
    let why = StopReason::Interrupted(InterruptReason::Shutdown);
    assert_eq!(heard.stops(), [(1, 1, why), (2, 1, why)]);
    assert_eq!(heard.kinds(), [EventKind::Interrupted; 2]);
    let released = engine.table().get(1).unwrap();
    assert_eq!((released.status, released.attempts_max), (TaskStatus::Pending, 5));
    assert_eq!((released.crashes, released.epoch), (0, 0));
    assert_eq!(tell(&mut engine, Input::Tick, NOW).starts(), []);
}
