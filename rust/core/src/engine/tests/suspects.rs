//! The process dies under what it runs, and something of that is to blame.

use super::*;

/// What a process leaves that died while it ran these: rows of another epoch.
fn left(rows: impl IntoIterator<Item = Live>) -> Vec<Live> {
    rows.into_iter().map(|live| Live { epoch: 1, ..live }).collect()
}

fn callback(key: TaskKey, name: &str) -> Live {
    let lane = lane_of_callback(name);
    Live { native: false, lane, ..row(key, TaskStatus::Running, 1) }
}

fn runner_of_callbacks() -> Engine {
    let mut engine = runner(8);
    engine.register_callback("good");
    engine.register_callback("bad");
    engine
}

/// Restarts until nothing is left; the process dies whenever the task `poison` runs, and else ends
/// what runs.
fn restart_until_all_ended(mut rows: Vec<Live>, poison: TaskKey) -> Vec<(TaskKey, TaskStatus)> {
    let mut ends = Vec::new();
    for _ in 0..100 {
        let mut engine = runner_of_callbacks();
        let mut heard = Heard::of(engine.recover(rows, NOW));
        loop {
            ends.extend(heard.ends().iter().map(|(key, status, _)| (*key, *status)));
            let runs = |live: &&Live| live.status == TaskStatus::Running;
            let running: Vec<_> =
                engine.table().iter().filter(runs).map(|live| (live.key, live.attempt)).collect();
            if running.iter().any(|(key, _)| *key == poison) {
                break;
            }
            let Some((key, attempt)) = running.first() else { return ends };
            ends.push((*key, TaskStatus::Completed));
            let success = Outcome::Succeeded(Success::default());
            heard = tell(&mut engine, ended(*key, *attempt, success), NOW);
        }
        rows = left(engine.table().iter().cloned());
    }
    panic!("{ends:?}, and no end");
}

#[test]
fn what_kills_the_process_takes_none_of_those_beside_it_with_it() {
    let beside = (1..=7).map(|key| callback(key, "good"));
    let ends = restart_until_all_ended(beside.chain([callback(8, "bad")]).collect(), 8);
    let failed: Vec<_> = ends.iter().filter(|(_, status)| *status == TaskStatus::Failed).collect();
    assert_eq!(failed, [&(8, TaskStatus::Failed)]);
    assert_eq!(ends.len(), 8, "{ends:?}");
}

#[test]
fn of_those_that_are_suspected_one_runs_at_a_time_and_all_others_beside_it() {
    let suspected = |key, name| Live { crashes: 1, ..callback(key, name) };
    let rows =
        [suspected(1, "good"), suspected(2, "bad"), suspected(3, "good"), callback(4, "bad")];
    let mut engine = runner_of_callbacks();
    let mut begun = Heard::of(engine.recover(rows, NOW)).starts();
    begun.sort_unstable();
    assert_eq!(begun, [(1, 2), (4, 2)]);
    // Whatever ends it, the next one follows.
    let interrupted = Outcome::Interrupted(InterruptReason::ConstraintLost);
    assert_eq!(tell(&mut engine, ended(1, 2, broken()), NOW).starts(), [(2, 2)]);
    assert_eq!(tell(&mut engine, Input::Cancel(vec![2]), NOW).starts(), [(3, 2)]);
    assert_eq!(tell(&mut engine, ended(3, 2, interrupted), NOW).starts(), [(3, 3)]);
    let success = Outcome::Succeeded(Success::default());
    tell(&mut engine, ended(3, 3, success), NOW);
    let later = Now::at(NOW.wall_ms + 33_000);
    assert_eq!(tell(&mut engine, Input::Tick, later).starts(), [(1, 3)]);
}

#[test]
fn one_that_runs_already_keeps_the_others_waiting_when_the_engine_is_built_anew() {
    let runs = Live { crashes: 2, epoch: EPOCH, ..callback(1, "good") };
    let waits = Live { crashes: 2, ..callback(2, "good") };
    let waits = Live { status: TaskStatus::Pending, epoch: 0, ..waits };
    let mut engine = runner_of_callbacks();
    assert_eq!(Heard::of(engine.recover([waits, runs], NOW)).starts(), []);
    let success = Outcome::Succeeded(Success::default());
    assert_eq!(tell(&mut engine, ended(1, 1, success), NOW).starts(), [(2, 2)]);
}

#[test]
fn a_transfer_is_never_suspected() {
    let rows = (1..=3).map(|key| Live { crashes: 9, ..row(key, TaskStatus::Running, 1) });
    assert_eq!(Heard::of(runner(8).recover(rows, NOW)).starts().len(), 3);
}
