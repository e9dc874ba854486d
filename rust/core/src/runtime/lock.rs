//! The lock that elects the one process that runs tasks. The kernel drops it when the process dies.

use std::fs::{File, OpenOptions, TryLockError as TryFileLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, TryLockError, Weak};

use crate::model::{Fault, FaultCode};
use crate::sync;

/// Held by the runner of a store.
#[derive(Debug)]
struct RunnerLock {
    // Closing the descriptor is what drops the lock.
    _file: File,
}

impl RunnerLock {
    /// Tries to become the runner; `None` if another process is.
    fn try_take(store: &Path) -> Result<Option<Self>, Fault> {
        let path = lock_path(store);
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let unusable = |error: &dyn std::fmt::Display| {
            let message = format!("the lock {} cannot be used: {error}", path.display());
            Fault::new(FaultCode::StoreUnavailable, "path", message)
        };
        let file = options.open(&path).map_err(|error| unusable(&error))?;
        match file.try_lock() {
            // Else somebody has taken the file away since: a lock on it keeps nobody out.
            Ok(()) => Ok(is_at(&file, &path).then_some(Self { _file: file })),
            Err(TryFileLockError::WouldBlock) => Ok(None),
            Err(TryFileLockError::Error(error)) => Err(unusable(&error)),
        }
    }
}

/// Where a manager holds the lock, if it does: a forked child finds it here.
#[derive(Clone, Debug)]
pub(super) struct LockSlot(Arc<Mutex<Option<RunnerLock>>>);

/// Those of the whole process, from before they hold a lock until they are gone.
static SLOTS: Mutex<Vec<Weak<Mutex<Option<RunnerLock>>>>> = Mutex::new(Vec::new());

impl LockSlot {
    /// One that holds none.
    pub(super) fn new() -> Self {
        let slot = Arc::default();
        let mut slots = sync::lock(&SLOTS);
        slots.retain(|slot| slot.strong_count() > 0);
        slots.push(Arc::downgrade(&slot));
        Self(slot)
    }

    /// Tries to hold the lock of a store; says whether it does.
    pub(super) fn take(&self, store: &Path) -> Result<bool, Fault> {
        // Before it is taken, so that no fork comes in between.
        let mut slot = sync::lock(&self.0);
        *slot = RunnerLock::try_take(store)?;
        Ok(slot.is_some())
    }

    /// Lets go of it.
    pub(super) fn free(&self) {
        *sync::lock(&self.0) = None;
    }

    #[cfg(test)]
    pub(super) fn is_taken(&self) -> bool {
        self.0.lock().unwrap().is_some()
    }
}

/// In a forked child: lets go of every lock, which the parent keeps. The kernel counts a lock as
/// held for as long as anybody has the descriptor, so that a child would keep others from running
/// tasks.
pub fn release_locks_after_fork() {
    // What a thread of the parent was about to change at the fork cannot be reached any more: for
    // those microseconds the child keeps it until it exits or execs.
    let slots = match SLOTS.try_lock() {
        Ok(slots) => slots,
        Err(TryLockError::Poisoned(slots)) => slots.into_inner(),
        Err(TryLockError::WouldBlock) => return,
    };
    for slot in slots.iter().filter_map(Weak::upgrade) {
        match slot.try_lock() {
            Ok(mut lock) => *lock = None,
            Err(TryLockError::Poisoned(lock)) => *lock.into_inner() = None,
            Err(TryLockError::WouldBlock) => {}
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
