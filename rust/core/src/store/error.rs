//! What can go wrong with a store.

use crate::model::{Fault, FaultCode};

/// Why a store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The file is a database of something else, or no database at all.
    Foreign(String),
    /// The file is damaged.
    Corrupt(String),
    /// The file was written by a newer outhaul.
    TooNew {
        /// The version it has.
        found: i64,
        /// The newest version this outhaul knows.
        known: i64,
    },
    /// The file cannot be opened or written where it is.
    Unavailable(String),
    /// The disk is full.
    Full(String),
    /// Events after this one have been removed by retention.
    CursorPruned(u64),
    /// The log ends before this event: it is another one, or an older copy.
    CursorAhead {
        /// What was asked for.
        after: u64,
        /// The last event there is.
        last: u64,
    },
    /// A statement of ours is wrong.
    Internal(String),
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Foreign(path) => write!(
                f,
                "{path} is not an outhaul store; give the path of a new or an outhaul file"
            ),
            Self::Corrupt(what) => write!(
                f,
                "the store is damaged ({what}); restore a backup, or move the file away to begin anew"
            ),
            Self::TooNew { found, known } => write!(
                f,
                "the store has version {found}, and this outhaul knows versions up to {known}; \
                 upgrade outhaul"
            ),
            Self::Unavailable(what) => f.write_str(what),
            Self::Full(what) => {
                write!(f, "no space left for the store ({what}); nothing was stored; free some")
            }
            Self::CursorPruned(after) => write!(
                f,
                "events after {after} have been removed by retention; start again from after=0"
            ),
            Self::CursorAhead { after, last } => write!(
                f,
                "the log ends at {last}, before {after}: the store was restored, or is another one; \
                 start again from after=0"
            ),
            Self::Internal(what) => write!(f, "a mistake of outhaul's own: {what}"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        let code = match error {
            StoreError::Foreign(_) | StoreError::Corrupt(_) => FaultCode::StoreCorrupt,
            StoreError::TooNew { .. } => FaultCode::StoreTooNew,
            StoreError::Unavailable(_) => FaultCode::StoreUnavailable,
            StoreError::Full(_) => FaultCode::StoreFull,
            StoreError::CursorPruned(_) | StoreError::CursorAhead { .. } => FaultCode::CursorPruned,
            StoreError::Internal(_) => FaultCode::Internal,
        };
        Self::new(code, "", error.to_string())
    }
}
