//! The life of a task, as one table. Everything that changes a status asks [`TaskStatus::after`].

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TaskStatus {
    /// Waits for its time, a constraint, a retry or a slot.
    Pending,
    /// An attempt is under way.
    Running,
    /// Held by the user.
    Paused,
    /// Waits for a predecessor.
    Blocked,
    /// Done, with success.
    Completed,
    /// Done, without success: retries used up, or a failure that no retry can mend.
    Failed,
    /// Ended by the user.
    Cancelled,
    /// Its deadline passed before it could end otherwise.
    Expired,
}

/// What can happen to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A runner takes it: an attempt begins.
    Claim,
    /// The attempt did the work.
    Succeed,
    /// The attempt failed and another one follows.
    Retry,
    /// The attempt failed and no other follows.
    Fail,
    /// The attempt was cut short through no fault of the task (shutdown, lost constraint).
    Interrupt,
    /// The runner died in the middle of the attempt.
    Rescue,
    /// The user ended it.
    Cancel,
}

/// Every legal change: `(from, step, to)`. What is not here does not happen.
pub const TRANSITIONS: &[(TaskStatus, Step, TaskStatus)] = &[
    (TaskStatus::Pending, Step::Claim, TaskStatus::Running),
    (TaskStatus::Running, Step::Succeed, TaskStatus::Completed),
    (TaskStatus::Running, Step::Retry, TaskStatus::Pending),
    (TaskStatus::Running, Step::Fail, TaskStatus::Failed),
    (TaskStatus::Running, Step::Interrupt, TaskStatus::Pending),
    (TaskStatus::Running, Step::Rescue, TaskStatus::Pending),
    (TaskStatus::Pending, Step::Cancel, TaskStatus::Cancelled),
    (TaskStatus::Running, Step::Cancel, TaskStatus::Cancelled),
    (TaskStatus::Paused, Step::Cancel, TaskStatus::Cancelled),
    (TaskStatus::Blocked, Step::Cancel, TaskStatus::Cancelled),
];

impl TaskStatus {
    /// Every status, live ones first.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Running,
        Self::Paused,
        Self::Blocked,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
    ];

    /// The status after `step`, or `None` where that step is not legal.
    pub fn after(self, step: Step) -> Option<Self> {
        TRANSITIONS
            .iter()
            .find(|(from, taken, _)| *from == self && *taken == step)
            .map(|(_, _, to)| *to)
    }

    /// Whether nothing can happen to the task any more.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled | Self::Expired)
    }

    /// The number the store writes.
    pub const fn code(self) -> u8 {
        match self {
            Self::Pending => 0,
            Self::Running => 1,
            Self::Paused => 2,
            Self::Blocked => 3,
            Self::Completed => 10,
            Self::Failed => 11,
            Self::Cancelled => 12,
            Self::Expired => 13,
        }
    }

    /// The status with that number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.code() == code)
    }

    /// The word for it, the same in Python, JSON and the documentation.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Blocked => "blocked",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_a_terminal_status() {
        for (from, step, to) in TRANSITIONS {
            assert!(!from.is_terminal(), "{from:?} --{step:?}--> {to:?}");
        }
    }

    #[test]
    fn a_step_has_at_most_one_end() {
        for (i, (from, step, _)) in TRANSITIONS.iter().enumerate() {
            let same = TRANSITIONS.iter().skip(i + 1).any(|(f, s, _)| f == from && s == step);
            assert!(!same, "{from:?} --{step:?}--> twice");
        }
    }

    #[test]
    fn a_status_survives_its_number() {
        for status in TaskStatus::ALL {
            assert_eq!(TaskStatus::from_code(status.code()), Some(status));
        }
        assert_eq!(TaskStatus::from_code(99), None);
    }
}
