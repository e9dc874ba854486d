//! What can go wrong: with a task ([`ErrorCode`]) and with a call ([`Fault`]).

use serde::{Deserialize, Serialize};

/// Why an attempt did not succeed, for programs. Set where it is known, never read from a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// No connection, a lost one, or a name that does not resolve.
    NetworkError,
    /// A phase took too long: connecting, sending (stalled), or the answer.
    Timeout,
    /// The server answered 4xx, or redirected where a body may not follow.
    HttpClientError,
    /// The server answered 5xx.
    HttpServerError,
    /// The source is gone.
    FileNotFound,
    /// The source may not be read.
    PermissionDenied,
    /// The source is not the file that was enqueued: it grew, shrank, was rewritten or replaced.
    SourceChanged,
    /// The disk is full.
    InsufficientStorage,
    /// A path or an address that policy forbids.
    SecurityViolation,
    /// A certificate or protocol failure that no retry mends.
    TlsError,
    /// The user ended it.
    Cancelled,
    /// The user's own callback raised, or answered `False`.
    WorkerException,
    /// A secret that the task names could not be resolved.
    SecretUnavailable,
    /// The process died under it more often than is allowed.
    Crashed,
    /// Nothing better is known.
    Unknown,
}

/// What kind of refusal a call got. The binding maps each to one Python class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultCode {
    /// An argument has a value that means nothing here.
    InvalidArgument,
    /// The file to send does not exist.
    FileNotFound,
    /// The file to send may not be read.
    PermissionDenied,
    /// The file is not the one that was opened.
    SourceChanged,
    /// A path outside the allowed roots, or an address that policy forbids.
    SecurityViolation,
    /// A credential in plain text where only a reference is stored.
    PlainSecret,
    /// No such callback is registered.
    UnknownCallback,
    /// No such task.
    NotFound,
    /// A bound is reached; try later.
    QueueFull,
    /// The id is already there.
    AlreadyQueued,
    /// The events after that cursor have been pruned.
    CursorPruned,
    /// The manager is closed.
    Closed,
    /// The file is not an outhaul store, or is damaged.
    StoreCorrupt,
    /// The store was written by a newer outhaul.
    StoreTooNew,
    /// The store cannot be opened or written where it is.
    StoreUnavailable,
    /// The disk is full: nothing was stored.
    StoreFull,
    /// Our own mistake.
    Internal,
}

/// One refusal: what kind, which argument, and a sentence that says what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The kind, for programs.
    pub code: FaultCode,
    /// The argument it is about, as the caller spells it; empty where it is about none.
    pub argument: String,
    /// What happened and what to do, for people. Holds no secret.
    pub message: String,
}

impl Fault {
    /// A refusal of `argument`.
    pub fn new(code: FaultCode, argument: &str, message: impl Into<String>) -> Self {
        Self { code, argument: argument.to_owned(), message: message.into() }
    }

    /// A refusal of an argument's value.
    pub fn invalid(argument: &str, message: impl Into<String>) -> Self {
        Self::new(FaultCode::InvalidArgument, argument, message)
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.argument.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.argument, self.message)
        }
    }
}

impl std::error::Error for Fault {}
