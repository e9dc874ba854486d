//! The network goes, and comes back (S-047, C-20).

use super::*;
use crate::model::constraint::{BATTERY_NOT_LOW, NETWORK, SIGNALS_KNOWN};

fn needs_network() -> NewTask {
    NewTask { needs: NETWORK, ..task() }
}

fn cut_off() -> Outcome {
    Outcome::Retry(Failure::new(ErrorCode::NetworkError, "no route to host"))
}

/// A network that fades loses packets first.
fn too_slow() -> Outcome {
    Outcome::Retry(Failure::new(ErrorCode::Timeout, "timeout while connecting"))
}

fn signals(engine: &mut Engine, unmet: Needs, at_ms: i64) -> Heard {
    let now = Now { wall_ms: NOW.wall_ms + at_ms, mono_ms: NOW.mono_ms + at_ms };
    tell(engine, Input::Signals { unmet }, now)
}

/// A runner whose network is there, with a task whose first attempt has just failed for want of
/// one.
fn failed_once(new: NewTask, outcome: Outcome) -> Engine {
    let mut engine = runner(4);
    signals(&mut engine, 0, 0);
    assert_eq!(add(&mut engine, new, 1, None).starts(), [(1, 1)]);
    assert_eq!(tell(&mut engine, ended(1, 1, outcome), NOW).kinds(), [EventKind::RetryScheduled]);
    engine
}

fn attempts_max(engine: &Engine) -> u32 {
    engine.table().get(1).unwrap().attempts_max
}

#[test]
fn who_failed_for_want_of_a_network_is_tried_again_when_it_is_back() {
    let late = failed_once(needs_network(), too_slow());
    for mut engine in [failed_once(needs_network(), cut_off()), late] {
        is_tried_again_when_it_is_back(&mut engine);
    }
}

fn is_tried_again_when_it_is_back(engine: &mut Engine) {
    // Long after, so that the failure counts.
    assert_eq!(signals(engine, NETWORK, 20_000).effects, []);
    let back = signals(engine, 0, 25_000);
    assert_eq!(back.starts(), [(1, 2)]);
    let woken = Live { run_at: NOW.wall_ms + 25_000, ..row(1, TaskStatus::Pending, 0) };
    let stored = |effect: &Effect| match effect {
        Effect::Update(live) => (live.status, live.run_at) == (woken.status, woken.run_at),
        _ => false,
    };
    assert!(back.effects.iter().any(stored), "{:?}", back.effects);
    assert_eq!(attempts_max(engine), 4);
}

#[test]
fn whoever_else_waits_for_a_retry_waits_on_when_the_network_is_back() {
    for (new, outcome) in [(needs_network(), broken()), (task(), cut_off())] {
        let mut engine = failed_once(new, outcome);
        signals(&mut engine, NETWORK, 20_000);
        assert_eq!(signals(&mut engine, 0, 25_000).effects, []);
    }
}

#[test]
fn what_fails_just_before_the_network_is_known_to_be_gone_has_its_attempt_back() {
    let mut engine = failed_once(needs_network(), cut_off());
    let lost = signals(&mut engine, NETWORK, 5_000);
    assert_eq!((lost.starts(), attempts_max(&engine)), (vec![], 5));
    assert_eq!(engine.waiting(1), Some(Waiting::Constraint(NETWORK)));
    assert_eq!(signals(&mut engine, 0, 60_000).starts(), [(1, 2)]);
    // The first attempt that counts: its retry comes after the first wait.
    let mut effects = Vec::new();
    engine.handle(ended(1, 2, cut_off()), NOW, &mut effects);
    let wait = engine.table().get(1).unwrap().run_at - NOW.wall_ms;
    assert!((30_000..=33_000).contains(&wait), "{wait}");
}

#[test]
fn a_failure_is_excused_once_and_only_if_nothing_came_of_it_since() {
    let mut engine = failed_once(needs_network(), cut_off());
    signals(&mut engine, NETWORK, 1_000);
    assert_eq!(signals(&mut engine, 0, 1_500).starts(), [(1, 2)]);
    signals(&mut engine, NETWORK, 2_000); // which interrupts the second attempt
    assert_eq!(attempts_max(&engine), 6);
}

#[test]
fn a_failure_of_long_ago_counts() {
    let mut engine = failed_once(needs_network(), cut_off());
    signals(&mut engine, NETWORK, 10_000);
    assert_eq!(attempts_max(&engine), 4);
}

#[test]
fn what_is_first_known_of_the_host_is_no_change() {
    let failure = Failure::new(ErrorCode::NetworkError, "no route to host");
    let waits = Live {
        needs: NETWORK,
        run_at: NOW.wall_ms + 30_000,
        attempt: 1,
        failure: Some(failure.into()),
        ..row(1, TaskStatus::Pending, 0)
    };
    let mut engine = runner(4);
    signals(&mut engine, NETWORK | BATTERY_NOT_LOW | SIGNALS_KNOWN, 0);
    engine.recover([waits], NOW);
    assert_eq!(signals(&mut engine, 0, 0).effects, []);
}

#[test]
fn an_attempt_that_is_cut_short_says_what_was_lost() {
    for (bit, said) in [(NETWORK, "no network"), (BATTERY_NOT_LOW, "a low battery")] {
        let mut engine = runner(4);
        signals(&mut engine, 0, 0);
        let both = NewTask { needs: NETWORK | BATTERY_NOT_LOW, ..task() };
        assert_eq!(add(&mut engine, both, 1, None).starts(), [(1, 1)]);
        let heard = signals(&mut engine, bit, 5_000);
        let message = |effect: &Effect| match effect {
            Effect::Record { kind: EventKind::Interrupted, detail, .. } => {
                Some(detail.message.clone())
            }
            _ => None,
        };
        let messages: Vec<_> = heard.effects.iter().filter_map(message).collect();
        assert_eq!(messages, [format!("interrupted: a constraint no longer holds ({said})")]);
    }
}
