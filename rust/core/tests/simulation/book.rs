//! What must be true of every task, kept apart from the engine and as naive as can be.

use std::collections::BTreeMap;

use outhaul_core::engine::{CRASHES_MAX, Effect, End, Live};
use outhaul_core::model::constraint::NETWORK;
use outhaul_core::model::outcome::RETRY_AFTER_MS_MAX;
use outhaul_core::model::spec::RetrySpec;
use outhaul_core::model::{ErrorCode, EventKind, Failure, Outcome, TaskKey, TaskStatus};

/// One task that was committed.
#[derive(Debug)]
pub struct Known {
    pub native: bool,
    pub retry: RetrySpec,
    pub ended: Option<TaskStatus>,
    terminal_events: u32,
    attempt: u32,
    retries: u32,
    crashes: u32,
    interruptions: u32,
    /// Failures that an outage explained: they do not count.
    excused: u32,
    /// Not before this time, and how many times had been read when that was said.
    not_before: (i64, usize),
}

/// Every task that was ever committed.
#[derive(Default)]
pub struct Book {
    pub tasks: BTreeMap<TaskKey, Known>,
    /// Every reading of the clock: what was due once stays due when the clock goes back.
    times: Vec<i64>,
}

impl Book {
    /// Takes down one committed batch, and objects to what may not be.
    pub fn write(&mut self, effects: &[Effect], retries: &BTreeMap<TaskKey, RetrySpec>, now: i64) {
        self.times.push(now);
        let read = self.times.len() - 1;
        for effect in effects {
            match effect {
                Effect::Insert { live, .. } => {
                    let known = Known {
                        native: live.native,
                        retry: retries[&live.key],
                        ended: None,
                        terminal_events: 0,
                        attempt: 0,
                        retries: 0,
                        crashes: 0,
                        interruptions: 0,
                        excused: 0,
                        not_before: (live.run_at, read),
                    };
                    assert!(self.tasks.insert(live.key, known).is_none(), "{} twice", live.key);
                }
                Effect::Update(live) => {
                    let known = self.living(live.key);
                    assert!(live.attempt >= known.attempt, "an attempt number fell: {live:?}");
                    assert!(!live.status.is_terminal(), "{live:?}");
                    let is_cut_off = live.needs & NETWORK != 0
                        && live.failure.as_ref().is_some_and(|f| f.code == ErrorCode::NetworkError);
                    known.check_bound(live, is_cut_off);
                    if live.run_at < known.not_before.0 {
                        assert!(is_cut_off, "brought forward: {live:?}");
                        known.not_before = (live.run_at, read);
                    }
                }
                Effect::Finish { key, status, attempt, end, .. } => {
                    let known = self.living(*key);
                    assert!(status.is_terminal() && *attempt >= known.attempt);
                    known.ended = Some(*status);
                    check_end(known, *status, end);
                }
                Effect::Record { kind, key, detail, at } => {
                    assert_eq!(*at, now);
                    self.hear(*kind, *key, detail.retry_at_ms);
                }
                Effect::Start { key, attempt, .. } => {
                    let known = self.living(*key);
                    assert_eq!(*attempt, known.attempt + 1, "task {key}");
                    known.attempt = *attempt;
                    let (not_before, since) = known.not_before;
                    let due = self.times[since..].iter().any(|time| *time >= not_before);
                    assert!(due, "task {key} began too early");
                }
                Effect::Stop { .. } => {}
            }
        }
        for effect in effects {
            if let Effect::Finish { key, .. } = effect {
                assert_eq!(self.tasks[key].terminal_events, 1, "one last word of task {key}");
            }
        }
    }

    fn living(&mut self, key: TaskKey) -> &mut Known {
        let known = self.tasks.get_mut(&key).expect("a task that was stored");
        assert_eq!(known.ended, None, "task {key} came back");
        known
    }

    fn hear(&mut self, kind: EventKind, key: TaskKey, retry_at_ms: Option<i64>) {
        let read = self.times.len() - 1;
        let known = self.tasks.get_mut(&key).expect("a task that was stored");
        if kind.is_terminal() {
            known.terminal_events += 1;
            let said = match known.ended.expect("a last word follows the end") {
                TaskStatus::Completed => kind == EventKind::Completed,
                TaskStatus::Failed => kind == EventKind::Failed,
                _ => matches!(kind, EventKind::Cancelled | EventKind::Replaced),
            };
            assert!(said, "{kind:?} of {known:?}");
            return;
        }
        assert_eq!(known.ended, None, "{kind:?} after the end of task {key}");
        match kind {
            EventKind::RetryScheduled => {
                known.retries += 1;
                known.not_before = (retry_at_ms.expect("a retry has a time"), read);
                assert!(known.retries <= known.retry.max_retries);
            }
            EventKind::Rescued => {
                known.crashes += 1;
                assert!(known.native || known.crashes <= CRASHES_MAX);
            }
            EventKind::Interrupted => known.interruptions += 1,
            _ => {}
        }
    }

    /// What an outcome of the attempt under way led to, before it is committed.
    pub fn judge(&self, key: TaskKey, outcome: &Outcome, effects: &[Effect], now: i64) {
        let known = &self.tasks[&key];
        let ended = effects.iter().find_map(|effect| match effect {
            Effect::Finish { key: of, status, .. } if *of == key => Some(*status),
            _ => None,
        });
        let said: Vec<EventKind> = events_of(key, effects);
        match outcome {
            Outcome::Succeeded(_) => assert_eq!(ended, Some(TaskStatus::Completed)),
            Outcome::Failed(_) => assert_eq!(ended, Some(TaskStatus::Failed)),
            Outcome::Interrupted(_) => {
                assert_eq!(ended, None);
                assert_eq!(said.first(), Some(&EventKind::Interrupted));
            }
            Outcome::Retry(_) if known.retries >= known.retry.max_retries => {
                assert_eq!(ended, Some(TaskStatus::Failed), "{known:?}");
            }
            Outcome::Retry(failure) => {
                assert_eq!(ended, None, "{known:?}");
                check_wait(known, failure, effects, key, now);
            }
        }
    }
}

impl Known {
    /// The failures that count are as many as was said; each that an outage explains is one more.
    fn check_bound(&mut self, live: &Live, is_cut_off: bool) {
        let free = self.interruptions + self.crashes;
        let excused = live.attempts_max - (1 + self.retry.max_retries) - free;
        if excused != self.excused {
            assert!(is_cut_off && excused == self.excused + 1, "{live:?} of {self:?}");
            self.excused = excused;
            self.retries -= 1;
        }
    }
}

fn events_of(of: TaskKey, effects: &[Effect]) -> Vec<EventKind> {
    let kind = |effect: &Effect| match effect {
        Effect::Record { kind, key, .. } if *key == of => Some(*kind),
        _ => None,
    };
    effects.iter().filter_map(kind).collect()
}

/// 30, 60, 120 seconds and so on, never earlier than the server asked, at most a tenth later.
fn check_wait(known: &Known, failure: &Failure, effects: &[Effect], of: TaskKey, now: i64) {
    let planned = (0..known.retries).fold(known.retry.initial_delay_ms, |wait, _| wait * 2);
    let planned = planned.min(known.retry.max_delay_ms);
    let least = planned.max(failure.retry_after_ms.unwrap_or(0).min(RETRY_AFTER_MS_MAX));
    let at = effects.iter().find_map(|effect| match effect {
        Effect::Record { kind: EventKind::RetryScheduled, key, detail, .. } if *key == of => {
            detail.retry_at_ms
        }
        _ => None,
    });
    let wait = at.expect("a retry has a time") - now;
    assert!((least..=least + least / 10).contains(&wait), "{wait} for {known:?}, {failure:?}");
}

fn check_end(known: &Known, status: TaskStatus, end: &End) {
    match end {
        End::Success(_) => assert_eq!(status, TaskStatus::Completed),
        End::Failure(failure) => {
            assert_eq!(status == TaskStatus::Cancelled, failure.code == ErrorCode::Cancelled);
            if failure.code == ErrorCode::Crashed {
                assert!(!known.native && known.crashes == CRASHES_MAX, "{known:?}");
            }
        }
    }
}
