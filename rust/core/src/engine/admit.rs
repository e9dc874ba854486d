//! What becomes of a new task: accepted, kept, or put in the place of another.

use super::effect::NewTask;
use super::live::Live;
use crate::model::spec::ExistingPolicy;
use crate::model::{TaskKey, TaskStatus};

/// What becomes of one new task. Pure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is stored.
    Accept,
    /// The task that has its id stays exactly as it is (S-021, C-10).
    Keep(TaskKey),
    /// The task that has its id ends, and this one is stored.
    Replace(TaskKey),
}

/// Decides by the policy and by the live task that has the id, if there is one. Pure.
pub(super) fn admission(task: &NewTask, taken: Option<&Live>) -> Admission {
    match (taken, task.existing_policy) {
        (None, _) => Admission::Accept,
        (Some(live), ExistingPolicy::Keep) => Admission::Keep(live.key),
        (Some(live), ExistingPolicy::Replace) => Admission::Replace(live.key),
    }
}

/// The narrow row of a new task. Pure.
pub(super) fn born(task: &NewTask, key: TaskKey) -> Live {
    Live {
        key,
        status: TaskStatus::Pending,
        priority: task.priority,
        run_at: task.run_at,
        attempt: 0,
        attempts_max: task.attempts_max,
        crashes: 0,
        epoch: 0,
        lane: task.lane,
        needs: task.needs,
        native: task.native,
        mark_percent: 0,
    }
}
