//! Moves the WAL into the file, off the writer's thread.

use std::path::Path;

use rusqlite::Connection;

use super::super::StoreError;
use super::open::open_checkpointer;

/// Past this many pages (16 MiB) the WAL is moved into the file while others read and write.
const PASSIVE_PAGES: i32 = 4 * 1024;

/// Past this many pages (64 MiB) the WAL is also begun anew, for which readers pause for a moment.
const RESTART_PAGES: i32 = 16 * 1024;

/// Whether a checkpoint is worth while.
pub const fn checkpoint_due(pages: i32) -> bool {
    pages > PASSIVE_PAGES
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
        let mode = if pages > RESTART_PAGES { "RESTART" } else { "PASSIVE" };
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        Ok(self.connection.query_row(&sql, [], |_| Ok(()))?)
    }
}
