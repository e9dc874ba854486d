//! What SQLite says, in our words.

use rusqlite::ffi::{ErrorCode as Code, SQLITE_IOERR_SHMSIZE};

use super::super::StoreError;

/// Our word for an error of SQLite's. `what` is the path, or what was being done.
pub(super) fn explain(error: &rusqlite::Error, what: &str) -> StoreError {
    let text = format!("{what}: {error}");
    let extended = error.sqlite_error().map(|error| error.extended_code);
    match error.sqlite_error_code() {
        Some(Code::NotADatabase) => StoreError::Foreign(what.to_owned()),
        Some(Code::DatabaseCorrupt) => StoreError::Corrupt(text),
        Some(Code::DiskFull) => StoreError::Full(text),
        // The shared memory beside the file cannot grow: nothing else makes that fail.
        _ if extended == Some(SQLITE_IOERR_SHMSIZE) => StoreError::Full(text),
        Some(
            Code::CannotOpen
            | Code::ReadOnly
            | Code::PermissionDenied
            | Code::SystemIoFailure
            | Code::FileLockingProtocolFailed,
        ) => StoreError::Unavailable(format!(
            "the store cannot be used ({text}); check that the directory exists and can be written"
        )),
        Some(Code::DatabaseBusy) => StoreError::Unavailable(format!(
            "another process has been writing to the store for seconds ({text}); try again"
        )),
        None if is_about_a_value(error) => StoreError::Corrupt(text),
        _ => StoreError::Internal(text),
    }
}

/// Whether a column holds what we never write there.
fn is_about_a_value(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType};
    matches!(
        error,
        FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..)
    )
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        explain(&error, "store")
    }
}
