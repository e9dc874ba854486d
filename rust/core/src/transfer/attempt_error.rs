//! Why an attempt did not succeed, and whether another one may.

use crate::model::{ErrorCode, Failure, Outcome};
use crate::source::SourceError;

/// Why an attempt did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AttemptError {
    /// Another attempt might work.
    Retry(Failure),
    /// No attempt will.
    Failed(Failure),
}

impl AttemptError {
    /// The connection failed, which another attempt may not meet.
    pub(crate) fn network(message: impl Into<String>) -> Self {
        Self::Retry(Failure::new(ErrorCode::NetworkError, message))
    }

    /// Nothing came, or nothing went, for too long, which another attempt may not meet.
    pub(crate) fn timeout(message: &str) -> Self {
        Self::Retry(Failure::new(ErrorCode::Timeout, message))
    }

    /// Something that stays as it is.
    pub(crate) fn failed(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::Failed(Failure::new(code, message))
    }
}

impl From<AttemptError> for Outcome {
    fn from(ended: AttemptError) -> Self {
        match ended {
            AttemptError::Retry(failure) => Self::Retry(failure),
            AttemptError::Failed(failure) => Self::Failed(failure),
        }
    }
}

impl From<SourceError> for AttemptError {
    fn from(error: SourceError) -> Self {
        let failure = Failure::new(error.code(), error.to_string());
        match error {
            SourceError::Io { .. } => Self::Retry(failure),
            _ => Self::Failed(failure),
        }
    }
}
