//! What follows an attempt: done, another one at a time, or the end.

use super::live::Live;
use crate::model::outcome::RETRY_AFTER_MS_MAX;
use crate::model::spec::RetrySpec;
use crate::model::{Failure, InterruptReason, Outcome, Success, UnixMillis};

/// The part of a wait that may be added to it, so that many tasks do not return together.
const JITTER_SHARE: f64 = 0.10;

/// How often a process may die under a Python worker before the task is given up.
pub const CRASHES_MAX: u32 = 3;

/// What follows an attempt.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Next {
    /// The task is done.
    Complete(Success),
    /// Another attempt, at a time.
    Retry { at: UnixMillis, failure: Failure },
    /// The task is given up.
    Fail(Failure),
    /// The attempt is not counted; the task is due again at once.
    Release(InterruptReason),
}

/// What becomes of a task whose attempt has just ended. Pure; `jitter` is in `0.0..1.0`, the part
/// of the longest jitter that is added.
pub(super) fn after_attempt(
    task: &Live,
    outcome: Outcome,
    retry: &RetrySpec,
    jitter: f64,
    now_ms: UnixMillis,
) -> Next {
    match outcome {
        Outcome::Succeeded(success) => Next::Complete(success),
        Outcome::Retry(failure) if task.attempt < task.attempts_max => {
            let wait = wait_ms(retry, counted(task, retry), failure.retry_after_ms, jitter);
            Next::Retry { at: now_ms.saturating_add(wait), failure }
        }
        Outcome::Retry(failure) | Outcome::Failed(failure) => Next::Fail(failure),
        Outcome::Interrupted(why) => Next::Release(why),
    }
}

/// How many attempts at a task have counted, the last one among them.
fn counted(task: &Live, retry: &RetrySpec) -> u32 {
    let uncounted = task.attempts_max.saturating_sub(retry.max_retries.saturating_add(1));
    task.attempt.saturating_sub(uncounted).max(1)
}

/// The longest that a task may have been made to wait after its last attempt, in milliseconds.
pub fn longest_wait_ms(task: &Live, retry: &RetrySpec) -> i64 {
    let asked = task.failure.as_ref().and_then(|failure| failure.retry_after_ms);
    wait_ms(retry, counted(task, retry), asked, 1.0)
}

/// The wait before the retry that follows the `attempt`-th counted attempt, in milliseconds:
/// `initial * multiplier^(attempt-1)`, capped, never earlier than the server asked, with up to 10 %
/// added so that it is never shorter than said.
pub(super) fn wait_ms(
    retry: &RetrySpec,
    attempt: u32,
    retry_after_ms: Option<i64>,
    jitter: f64,
) -> i64 {
    let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
    // Kept finite, since nothing times infinity is no number.
    let factor = retry.multiplier.powi(exponent).min(f64::MAX);
    let planned = to_float(retry.initial_delay_ms) * factor;
    let planned = planned.min(to_float(retry.max_delay_ms));
    let asked = to_float(retry_after_ms.unwrap_or(0).clamp(0, RETRY_AFTER_MS_MAX));
    let wait = planned.max(asked);
    to_millis(wait + wait * JITTER_SHARE * jitter)
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "days fit in 53 bits")]
fn to_float(ms: i64) -> f64 {
    ms as f64
}

#[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "`as` saturates")]
fn to_millis(ms: f64) -> i64 {
    ms.max(0.0) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ErrorCode, TaskStatus};

    const DEFAULT: RetrySpec = RetrySpec {
        max_retries: 3,
        initial_delay_ms: 30_000,
        multiplier: 2.0,
        max_delay_ms: 3_600_000,
    };

    fn task(attempt: u32, attempts_max: u32) -> Live {
        Live {
            key: 1,
            status: TaskStatus::Running,
            priority: 0,
            run_at: 0,
            attempt,
            attempts_max,
            crashes: 0,
            epoch: 1,
            lane: 0,
            needs: 0,
            native: true,
            mark_percent: 0,
            failure: None,
        }
    }

    fn broken() -> Failure {
        Failure::new(ErrorCode::HttpServerError, "HTTP 503")
    }

    #[test]
    fn the_default_waits_are_30_60_and_120_seconds() {
        let waits: Vec<i64> = (1..=3).map(|n| wait_ms(&DEFAULT, n, None, 0.0)).collect();
        assert_eq!(waits, [30_000, 60_000, 120_000]);
    }

    #[test]
    fn jitter_only_adds_and_at_most_a_tenth() {
        for (jitter, wait) in [(0.0, 30_000), (0.5, 31_500), (0.999_999, 32_999)] {
            assert_eq!(wait_ms(&DEFAULT, 1, None, jitter), wait);
        }
    }

    #[test]
    fn no_wait_is_longer_than_the_cap_unless_the_server_asks() {
        assert_eq!(wait_ms(&DEFAULT, 40, None, 0.0), 3_600_000);
        assert_eq!(wait_ms(&DEFAULT, 1, Some(7_200_000), 0.0), 7_200_000);
    }

    #[test]
    fn a_retry_is_never_earlier_than_the_server_asked() {
        assert_eq!(wait_ms(&DEFAULT, 1, Some(45_000), 0.0), 45_000);
        assert_eq!(wait_ms(&DEFAULT, 1, Some(7_000), 0.0), 30_000);
        assert_eq!(wait_ms(&DEFAULT, 1, Some(i64::MAX), 0.0), RETRY_AFTER_MS_MAX);
    }

    #[test]
    fn no_wait_stays_no_wait_however_many_attempts_there_were() {
        let at_once = RetrySpec { initial_delay_ms: 0, ..DEFAULT };
        assert_eq!(wait_ms(&at_once, 5_000, None, 0.5), 0);
    }

    #[test]
    fn the_failure_of_the_last_attempt_is_final() {
        let next = after_attempt(&task(4, 4), Outcome::Retry(broken()), &DEFAULT, 0.0, 0);
        assert_eq!(next, Next::Fail(broken()));
    }

    #[test]
    fn an_attempt_that_was_not_counted_does_not_lengthen_the_wait() {
        // Two attempts were interrupted, so attempts_max grew from 4 to 6; the third is the first
        // that counts.
        let next = after_attempt(&task(3, 6), Outcome::Retry(broken()), &DEFAULT, 0.0, 0);
        assert_eq!(next, Next::Retry { at: 30_000, failure: broken() });
    }

    #[test]
    fn a_failure_that_no_retry_mends_ends_the_task_at_once() {
        let next = after_attempt(&task(1, 4), Outcome::Failed(broken()), &DEFAULT, 0.0, 0);
        assert_eq!(next, Next::Fail(broken()));
    }
}
