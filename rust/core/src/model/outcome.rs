//! How an attempt ends. A transfer or a callback says it; the engine decides what follows.

use serde::{Deserialize, Serialize};

use super::ErrorCode;

/// How one attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The work is done.
    Succeeded(Success),
    /// It did not work, and another attempt might.
    Retry(Failure),
    /// It did not work, and no attempt will.
    Failed(Failure),
    /// It was cut short through no fault of its own; the attempt is not counted.
    Interrupted(InterruptReason),
}

/// What a successful attempt brought.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Success {
    /// The HTTP status, where there is one.
    pub http_status: Option<u16>,
    /// The response's media type, where there is one.
    pub content_type: Option<String>,
    /// The response body, at most [`RESPONSE_BYTES_MAX`] of it; or the callback's encoded result.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
    /// Whether the body was longer than what is kept.
    pub body_truncated: bool,
    /// Bytes of the request body that were sent.
    pub bytes_sent: u64,
}

/// At most this much of a response body is kept.
pub const RESPONSE_BYTES_MAX: usize = 64 * 1024;

/// A server may ask for at most this wait; what is longer is cut to it (7 days).
pub const RETRY_AFTER_MS_MAX: i64 = 7 * 24 * 60 * 60 * 1000;

/// Why an attempt did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The reason, for programs.
    pub code: ErrorCode,
    /// The HTTP status, where there was an answer.
    pub http_status: Option<u16>,
    /// The reason, for people: English, stable phrases, never empty, no secrets.
    pub message: String,
    /// How long the server asked us to wait, in milliseconds.
    pub retry_after_ms: Option<i64>,
}

impl Failure {
    /// A failure without an HTTP answer.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let message = message.into();
        let message = if message.is_empty() { "Unknown error".to_owned() } else { message };
        Self { code, http_status: None, message, retry_after_ms: None }
    }
}

/// Why an attempt was cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InterruptReason {
    /// The manager closes.
    Shutdown,
    /// A constraint no longer holds.
    ConstraintLost,
    /// The process died.
    Crash,
}

impl InterruptReason {
    /// The reason, for people.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Shutdown => "interrupted: the manager closed",
            Self::ConstraintLost => "interrupted: a constraint no longer holds",
            Self::Crash => "rescued: the process that ran it died",
        }
    }
}
