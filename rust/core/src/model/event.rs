//! A durable, numbered record of what happened to a task.

use serde::{Deserialize, Serialize};

use super::ErrorCode;
use super::clock::UnixMillis;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// Stored.
    Enqueued,
    /// An attempt began.
    Started,
    /// An attempt failed and another follows.
    RetryScheduled,
    /// An attempt was cut short; it is not counted.
    Interrupted,
    /// The process died in the middle of an attempt.
    Rescued,
    /// Done, with success.
    Completed,
    /// Done, without success.
    Failed,
    /// Ended by the user.
    Cancelled,
    /// Ended because a new task took its id.
    Replaced,
}

impl EventKind {
    /// Every kind; the position is the number the store writes.
    pub const ALL: [Self; 9] = [
        Self::Enqueued,
        Self::Started,
        Self::RetryScheduled,
        Self::Interrupted,
        Self::Rescued,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Replaced,
    ];

    /// The number the store writes.
    pub fn code(self) -> u8 {
        let at = Self::ALL.iter().position(|kind| *kind == self).unwrap_or_default();
        u8::try_from(at).unwrap_or(u8::MAX)
    }

    /// The kind with that number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// Whether it is the last one of its task.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled | Self::Replaced)
    }
}

/// What an event says beyond its kind. Absent members take no room in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventDetail {
    /// The attempt it is about, from 1; 0 where it is about none.
    pub attempt: u32,
    /// The reason, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<ErrorCode>,
    /// The HTTP status, where there was an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// What happened, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When the next attempt is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_at_ms: Option<UnixMillis>,
}
