//! The lock that elects the one process that runs tasks. The kernel drops it when the process dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use crate::model::{Fault, FaultCode};

/// Held by the runner of a store.
#[derive(Debug)]
pub(super) struct RunnerLock {
    // Closing the descriptor is what drops the lock.
    _file: File,
}

impl RunnerLock {
    /// Tries to become the runner; `None` if another process is.
    pub(super) fn try_take(store: &Path) -> Result<Option<Self>, Fault> {
        let path = lock_path(store);
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let unusable = |error: &dyn std::fmt::Display| {
            let message = format!("the lock {} cannot be used: {error}", path.display());
            Fault::new(FaultCode::StoreUnavailable, "path", message)
        };
        let file = options.open(&path).map_err(|error| unusable(&error))?;
        match file.try_lock() {
            // Else somebody has taken the file away since: a lock on it keeps nobody out.
            Ok(()) => Ok(is_at(&file, &path).then_some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(unusable(&error)),
        }
    }
}

/// Whether that file is the one that is there.
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |found: std::fs::Metadata| (found.dev(), found.ino());
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(ours), Ok(there)) => identity(ours) == identity(there),
        _ => false,
    }
}

/// Where the lock of a store is.
fn lock_path(store: &Path) -> PathBuf {
    let mut path = store.as_os_str().to_owned();
    path.push(".runner");
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_on_a_file_that_was_taken_away_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.db.runner");
        let file = File::create(&path).unwrap();
        assert!(is_at(&file, &path));
        std::fs::remove_file(&path).unwrap();
        assert!(!is_at(&file, &path));
        let _another = File::create(&path).unwrap();
        assert!(!is_at(&file, &path));
    }
}
