//! One table, one rule.

mod bounds;
mod holds;
mod outages;
mod recovery;
mod suspects;

use super::*;
use crate::model::spec::{ExistingPolicy, RetrySpec};
use crate::model::{ErrorCode, InterruptReason, Outcome, Success, TaskStatus};

const NOW: Now = Now::at(1_000_000);
const EPOCH: Epoch = 7;
const RETRY: RetrySpec = RetrySpec {
    max_retries: 3,
    initial_delay_ms: 30_000,
    multiplier: 2.0,
    max_delay_ms: 3_600_000,
};

fn limits(running_max: usize, pending_max: usize) -> Limits {
    Limits { running_max, per_host_max: 4, pending_max }
}

fn runner(running_max: usize) -> Engine {
    Engine::runner(limits(running_max, 100), EPOCH, 1)
}

fn task() -> NewTask {
    NewTask {
        task_id: None,
        tag: None,
        spec: Vec::new().into(),
        admitted: Vec::new().into(),
        run_at: NOW.wall_ms,
        priority: 0,
        attempts_max: 4,
        lane: 1,
        needs: 0,
        native: true,
        existing_policy: ExistingPolicy::Keep,
    }
}

fn python() -> NewTask {
    NewTask { native: false, lane: lane_of_callback("resize"), ..task() }
}

fn row(key: TaskKey, status: TaskStatus, epoch: Epoch) -> Live {
    Live {
        key,
        status,
        priority: 0,
        run_at: NOW.wall_ms,
        attempt: u32::from(status == TaskStatus::Running),
        attempts_max: 4,
        crashes: 0,
        epoch,
        lane: 1,
        needs: 0,
        native: true,
        mark_percent: 0,
        failure: None,
    }
}

fn add(engine: &mut Engine, task: NewTask, key: TaskKey, taken_by: Option<TaskKey>) -> Heard {
    let mut effects = Vec::new();
    let arrival = Arrival { task, key, taken_by };
    let answer = engine.handle(Input::Enqueue(vec![arrival]), NOW, &mut effects);
    Heard { answer, effects }
}

fn tell(engine: &mut Engine, input: Input, now: Now) -> Heard {
    let mut effects = Vec::new();
    let answer = engine.handle(input, now, &mut effects);
    Heard { answer, effects }
}

fn ended(key: TaskKey, attempt: u32, outcome: Outcome) -> Input {
    Input::Outcome { key, attempt, outcome, retry: RETRY }
}

fn broken() -> Outcome {
    Outcome::Retry(Failure::new(ErrorCode::HttpServerError, "HTTP 503"))
}

/// What an engine said.
struct Heard {
    answer: Decision,
    effects: Vec<Effect>,
}

impl Heard {
    fn of(effects: Vec<Effect>) -> Self {
        Self { answer: Decision::None, effects }
    }

    fn starts(&self) -> Vec<(TaskKey, u32)> {
        let start = |effect: &Effect| match effect {
            Effect::Start { key, attempt, .. } => Some((*key, *attempt)),
            _ => None,
        };
        self.effects.iter().filter_map(start).collect()
    }

    fn stops(&self) -> Vec<(TaskKey, u32, StopReason)> {
        let stop = |effect: &Effect| match effect {
            Effect::Stop { key, attempt, why } => Some((*key, *attempt, *why)),
            _ => None,
        };
        self.effects.iter().filter_map(stop).collect()
    }

    fn kinds(&self) -> Vec<EventKind> {
        let kind = |effect: &Effect| match effect {
            Effect::Record { kind, .. } => Some(*kind),
            _ => None,
        };
        self.effects.iter().filter_map(kind).collect()
    }

    fn ends(&self) -> Vec<(TaskKey, TaskStatus, ErrorCode)> {
        let end = |effect: &Effect| match effect {
            Effect::Finish { key, status, end: End::Failure(failure), .. } => {
                Some((*key, *status, failure.code))
            }
            _ => None,
        };
        self.effects.iter().filter_map(end).collect()
    }
}

#[test]
fn a_new_task_is_stored_and_begins_in_the_same_batch() {
    let heard = add(&mut runner(1), task(), 1, None);
    assert_eq!(heard.answer, Decision::Scheduled(vec![Scheduled::Accepted(1)]));
    assert_eq!(heard.kinds(), [EventKind::Enqueued, EventKind::Started]);
    assert_eq!(heard.starts(), [(1, 1)]);
}

#[test]
fn keep_leaves_the_stored_task_exactly_as_it_is() {
    let mut engine = runner(1);
    add(&mut engine, task(), 1, None);
    let heard = add(&mut engine, NewTask { priority: 9, ..task() }, 2, Some(1));
    assert_eq!(heard.answer, Decision::Scheduled(vec![Scheduled::Kept(1)]));
    assert_eq!(heard.effects, []);
}

#[test]
fn replace_ends_the_stored_task_and_stops_its_attempt() {
    let mut engine = runner(1);
    add(&mut engine, task(), 1, None);
    let replacing = NewTask { existing_policy: ExistingPolicy::Replace, ..task() };
    let heard = add(&mut engine, replacing, 2, Some(1));
    assert_eq!(heard.ends(), [(1, TaskStatus::Cancelled, ErrorCode::Cancelled)]);
    assert_eq!(heard.stops(), [(1, 1, StopReason::Cancelled)]);
    let kinds = [EventKind::Replaced, EventKind::Enqueued, EventKind::Started];
    assert_eq!(heard.kinds(), kinds);
    assert_eq!(heard.starts(), [(2, 1)]);
}

#[test]
fn an_id_whose_task_has_ended_is_free() {
    let heard = add(&mut runner(1), task(), 2, Some(1));
    assert_eq!(heard.answer, Decision::Scheduled(vec![Scheduled::Accepted(2)]));
}

#[test]
fn what_is_kept_needs_no_room() {
    let mut engine = Engine::runner(limits(0, 1), EPOCH, 1);
    add(&mut engine, task(), 1, None);
    let kept = add(&mut engine, task(), 2, Some(1));
    assert_eq!(kept.answer, Decision::Scheduled(vec![Scheduled::Kept(1)]));
    assert_eq!(add(&mut engine, task(), 3, None).answer, Decision::Full(1));
}

#[test]
fn a_call_is_stored_wholly_or_not_at_all() {
    let mut engine = Engine::runner(limits(0, 2), EPOCH, 1);
    add(&mut engine, task(), 1, None);
    let two = [2, 3].map(|key| Arrival { task: task(), key, taken_by: None });
    let heard = tell(&mut engine, Input::Enqueue(two.to_vec()), NOW);
    assert_eq!((heard.answer, heard.effects), (Decision::Full(1), Vec::new()));
    let heard = add(&mut engine, task(), 2, None);
    assert_eq!(heard.answer, Decision::Scheduled(vec![Scheduled::Accepted(2)]));
}

#[test]
fn a_stored_task_is_taken_in_however_many_wait() {
    let mut engine = Engine::runner(limits(1, 1), EPOCH, 1);
    add(&mut engine, task(), 1, None);
    add(&mut engine, task(), 2, None);
    let heard = tell(&mut engine, ended(1, 1, broken()), NOW);
    assert_eq!(heard.starts(), [(2, 1)]);
    tell(&mut engine, ended(2, 1, Outcome::Succeeded(Success::default())), NOW);
    let heard = tell(&mut engine, Input::Tick, Now::at(NOW.wall_ms + 33_000));
    assert_eq!(heard.starts(), [(1, 2)]);
    let rows = (10..20).map(|key| row(key, TaskStatus::Pending, 0));
    let mut engine = Engine::runner(Limits { per_host_max: 20, ..limits(20, 1) }, EPOCH, 1);
    assert_eq!(Heard::of(engine.recover(rows, NOW)).starts().len(), 10);
}

#[test]
fn the_larger_priority_begins_first_then_who_was_due_first() {
    let rows = [(1, 0, 5), (2, 1, 9), (3, 0, 3), (4, 1, 9)].map(|(key, priority, run_at)| Live {
        priority,
        run_at,
        ..row(key, TaskStatus::Pending, 0)
    });
    let mut engine = runner(4);
    let begun: Vec<_> =
        Heard::of(engine.recover(rows, NOW)).starts().iter().map(|start| start.0).collect();
    assert_eq!(begun, [2, 4, 3, 1]);
}

#[test]
fn no_host_gets_more_than_its_share_and_no_more_run_than_may() {
    let mut engine =
        Engine::runner(Limits { running_max: 3, per_host_max: 2, pending_max: 9 }, 7, 1);
    let rows = [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2)]
        .map(|(key, lane)| Live { lane, ..row(key, TaskStatus::Pending, 0) });
    let begun = Heard::of(engine.recover(rows, NOW)).starts();
    assert_eq!(begun, [(1, 1), (4, 1), (2, 1)]);
}

#[test]
fn a_task_of_an_unknown_callback_waits_until_it_is_registered() {
    let mut engine = runner(4);
    assert_eq!(add(&mut engine, python(), 1, None).starts(), []);
    engine.register_callback("another");
    assert_eq!(tell(&mut engine, Input::Tick, NOW).starts(), []);
    engine.register_callback("resize");
    assert_eq!(tell(&mut engine, Input::Tick, NOW).starts(), [(1, 1)]);
    assert_eq!(add(&mut engine, python(), 2, None).starts(), [(2, 1)]);
}

#[test]
fn a_task_waits_for_what_it_needs() {
    let mut engine = runner(4);
    tell(&mut engine, Input::Signals { unmet: 1 }, NOW);
    assert_eq!(add(&mut engine, NewTask { needs: 1, ..task() }, 1, None).starts(), []);
    assert_eq!(engine.waiting(1), Some(Waiting::Constraint(1)));
    assert_eq!(tell(&mut engine, Input::Signals { unmet: 0 }, NOW).starts(), [(1, 1)]);
}

#[test]
fn nothing_begins_once_claiming_has_stopped() {
    let mut engine = runner(4);
    engine.stop_claiming();
    assert_eq!(add(&mut engine, task(), 1, None).starts(), []);
}

#[test]
fn an_observer_stores_and_cancels_and_never_begins() {
    let mut engine = Engine::observer(limits(4, 9), 1);
    assert_eq!(add(&mut engine, task(), 1, None).kinds(), [EventKind::Enqueued]);
    engine.forget();
    engine.show(row(1, TaskStatus::Running, EPOCH));
    let heard = tell(&mut engine, Input::Cancel(vec![1]), NOW);
    assert_eq!(heard.kinds(), [EventKind::Cancelled]);
    assert_eq!(heard.stops(), []);
}

#[test]
fn a_cancelled_task_is_gone_whether_it_waits_or_runs() {
    let mut engine = runner(1);
    add(&mut engine, task(), 1, None);
    add(&mut engine, task(), 2, None);
    let heard = tell(&mut engine, Input::Cancel(vec![2, 1, 1, 9]), NOW);
    assert_eq!(heard.answer, Decision::Cancelled(2));
    let cancelled = |key| (key, TaskStatus::Cancelled, ErrorCode::Cancelled);
    assert_eq!(heard.ends(), [cancelled(2), cancelled(1)]);
    assert_eq!(heard.stops(), [(1, 1, StopReason::Cancelled)]);
    assert_eq!((engine.table().len(), engine.counts()), (0, Counts::default()));
}

#[test]
fn a_late_outcome_changes_nothing() {
    let mut engine = runner(1);
    add(&mut engine, task(), 1, None);
    let interrupted = Outcome::Interrupted(InterruptReason::ConstraintLost);
    assert_eq!(tell(&mut engine, ended(1, 1, interrupted), NOW).starts(), [(1, 2)]);
    for (key, attempt) in [(1, 1), (1, 3), (2, 1)] {
        let success = Outcome::Succeeded(Success::default());
        assert_eq!(tell(&mut engine, ended(key, attempt, success), NOW).effects, []);
        let progress = Input::Progress { key, attempt, percent: 50 };
        assert_eq!(tell(&mut engine, progress, NOW).effects, []);
    }
}

#[test]
fn an_observer_believes_no_outcome() {
    for (status, attempt) in [(TaskStatus::Running, 1), (TaskStatus::Pending, 0)] {
        let mut engine = Engine::observer(limits(4, 9), 1);
        let epoch = if status == TaskStatus::Running { EPOCH } else { 0 };
        engine.show(row(1, status, epoch));
        let success = Outcome::Succeeded(Success::default());
        assert_eq!(tell(&mut engine, ended(1, attempt, success), NOW).effects, []);
    }
}

#[test]
fn an_interrupted_attempt_is_not_counted() {
    let mut engine = runner(1);
    add(&mut engine, NewTask { attempts_max: 1, ..task() }, 1, None);
    for attempt in 1..=9 {
        let interrupted = Outcome::Interrupted(InterruptReason::ConstraintLost);
        let heard = tell(&mut engine, ended(1, attempt, interrupted), NOW);
        assert_eq!(heard.starts(), [(1, attempt + 1)]);
        assert_eq!(heard.kinds(), [EventKind::Interrupted, EventKind::Started]);
    }
    assert_eq!(tell(&mut engine, ended(1, 10, broken()), NOW).kinds(), [EventKind::Failed]);
}

#[test]
fn the_mark_of_progress_only_rises() {
    let mut engine = runner(1);
    add(&mut engine, task(), 1, None);
    for (percent, mark) in [(40, 40), (30, 40), (40, 40), (41, 41)] {
        tell(&mut engine, Input::Progress { key: 1, attempt: 1, percent }, NOW);
        assert_eq!(engine.table().get(1).unwrap().mark_percent, mark);
    }
    tell(&mut engine, ended(1, 1, broken()), NOW);
    let later = tell(&mut engine, Input::Tick, Now::at(NOW.wall_ms + 33_000));
    let start = Effect::Start { key: 1, attempt: 2, mark_percent: 41 };
    assert!(later.effects.contains(&start));
}
