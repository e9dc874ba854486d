//! Moves the WAL into the file, off the writer's thread.

use std::path::Path;

use rusqlite::Connection;

use super::super::StoreError;
use super::open::open_checkpointer;

/// Every so many pages (16 MiB) the WAL is moved into the file while others read and write.
const PASSIVE_PAGES: i32 = 4 * 1024;

/// Past this many pages (64 MiB) the WAL is also begun anew, for which others pause for a moment.
const RESTART_PAGES: i32 = 16 * 1024;

/// When a checkpoint is worth while.
///
/// Where commits follow each other closely no checkpoint catches up with the WAL, so that it goes on
/// growing: what has been moved once is no reason to move the rest at once.
#[derive(Debug, Default)]
pub struct CheckpointsDue {
    /// How long the WAL was when the last one was due.
    moved: i32,
}

impl CheckpointsDue {
    /// Whether one is due after a commit that left a WAL of so many pages.
    pub fn after_commit(&mut self, pages: i32) -> bool {
        if pages < self.moved {
            self.moved = 0; // it has begun anew
        }
        let is_due = pages > self.moved.saturating_add(PASSIVE_PAGES);
        if is_due {
            self.moved = pages;
        }
        is_due
    }
}

/// A connection that does nothing but checkpoints.
pub struct Checkpointer {
    connection: Connection,
}

impl Checkpointer {
    /// A second connection to an open store.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { connection: open_checkpointer(path)? })
    }

    /// Moves a WAL of so many pages into the file.
    pub fn run(&self, pages: i32) -> Result<(), StoreError> {
        self.checkpoint("PASSIVE")?;
        if pages > RESTART_PAGES {
            // Nobody writes meanwhile, so little must be left to move.
            self.checkpoint("RESTART")?;
        }
        Ok(())
    }

    fn checkpoint(&self, mode: &str) -> Result<(), StoreError> {
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        Ok(self.connection.query_row(&sql, [], |_| Ok(()))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_due_every_so_many_pages_and_anew_with_a_new_wal() {
        let mut due = CheckpointsDue::default();
        let mut asked = |pages| due.after_commit(pages);
        assert!(!asked(PASSIVE_PAGES));
        assert!(asked(PASSIVE_PAGES + 1));
        assert!(!asked(PASSIVE_PAGES + 2));
        assert!(!asked(2 * PASSIVE_PAGES));
        assert!(asked(2 * PASSIVE_PAGES + 2));
        assert!(!asked(5));
        assert!(asked(PASSIVE_PAGES + 1));
    }
}
