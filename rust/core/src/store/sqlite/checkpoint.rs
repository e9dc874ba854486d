//! Moves the WAL into the file: most of it off the writer's thread, the rest on it.
//!
//! A checkpoint is whole only where nobody has written since it began, and only after a whole one
//! does the next commit begin the WAL again. While commits follow each other closely another
//! connection's never is, so that the WAL grows, and a commit that makes a file longer waits longer
//! for the disk. The writer itself writes nothing while it moves the rest.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::super::StoreError;
use super::open::{BUSY_TIMEOUT, open_checkpointer};
use super::writer::SqliteStore;

/// The WAL is moved into the file every time it has this many more pages (4 MiB): that takes a
/// millisecond.
const DUE_PAGES: i32 = 1024;

/// Once this many pages (64 MiB) could not be moved, since somebody always reads, readers are
/// waited for.
const INSIST_PAGES: i32 = 16 * 1024;

/// How long to wait for the checkpoint of another connection.
const OTHERS_CHECKPOINT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait for readers, while nobody may write.
const INSIST_FOR: Duration = Duration::from_millis(100);

/// When a checkpoint is worth while, and how much.
#[derive(Debug, Default)]
pub struct CheckpointsDue {
    /// How long the WAL was when the last one was due.
    moved: i32,
    /// How long it was when readers were last waited for.
    insisted: i32,
}

impl CheckpointsDue {
    /// Whether one is due after a commit that left a WAL of that many pages.
    pub fn after_commit(&mut self, pages: i32) -> bool {
        if pages < self.moved {
            *self = Self::default(); // it has begun anew
        }
        let is_due = pages > self.moved.saturating_add(DUE_PAGES);
        if is_due {
            self.moved = pages;
        }
        is_due
    }

    /// Whether readers are worth waiting for, with a WAL of that many pages.
    pub fn insists(&mut self, pages: i32) -> bool {
        let insists = pages > self.insisted.saturating_add(INSIST_PAGES);
        if insists {
            self.insisted = pages;
        }
        insists
    }
}

/// A connection that does nothing but checkpoints.
pub struct Checkpointer {
    connection: Connection,
    is_doubtful: Cell<bool>,
}

impl Checkpointer {
    /// A second connection to an open store.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { connection: open_checkpointer(path)?, is_doubtful: Cell::new(false) })
    }

    /// Moves what is in the WAL now into the file, while others read and write.
    pub fn run(&self) -> Result<(), StoreError> {
        wholly(&self.connection, &self.is_doubtful, OTHERS_CHECKPOINT_TIMEOUT, || {
            checkpoint(&self.connection, "PASSIVE")?;
            // SQLite waits for the disk only where it has moved all, and then the writer would have
            // to.
            Ok(outhaul_vfs::sync(&self.connection)?)
        })
    }
}

impl SqliteStore {
    /// Moves the rest of the WAL, after a `Checkpointer` has moved the most: the next commit begins
    /// it again, unless somebody reads what is in it. Who insists waits a moment for readers, who
    /// may go on for longer.
    pub fn finish_checkpoint(&self, insists: bool) -> Result<(), StoreError> {
        let connection = self.connection();
        let moved = |mode| {
            wholly(connection, &self.is_doubtful, INSIST_FOR, || checkpoint(connection, mode))
        };
        if !insists {
            return moved("PASSIVE");
        }
        connection.busy_timeout(INSIST_FOR)?;
        let done = moved("RESTART");
        connection.busy_timeout(BUSY_TIMEOUT)?;
        done
    }
}

/// Moves and syncs. Where that fails nothing counts as moved any more: a sync that fails is told
/// once, and what was written before may never reach the disk. SOURCE: "fsyncgate", 2018.
///
/// That others are in the way of this is waited for; where it takes longer it is doubtful, and done
/// first the next time.
fn wholly(
    connection: &Connection,
    is_doubtful: &Cell<bool>,
    patience: Duration,
    moves: impl FnOnce() -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let forget = || outhaul_vfs::forget_moves(connection, patience);
    if is_doubtful.get() {
        forget()?;
        is_doubtful.set(false);
    }
    let done = moves();
    if done.is_err() {
        is_doubtful.set(forget().is_err());
    }
    done
}

/// Readers make it incomplete, which is no error: the next one goes on from there.
fn checkpoint(connection: &Connection, mode: &str) -> Result<(), StoreError> {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    Ok(connection.query_row(&sql, [], |_| Ok(()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many frames there are, and how many of them count as moved.
    fn moved(connection: &Connection) -> (i64, i64) {
        let sql = "PRAGMA wal_checkpoint(NOOP)";
        connection.query_row(sql, [], |row| Ok((row.get(1)?, row.get(2)?))).unwrap()
    }

    #[test]
    fn after_a_checkpoint_that_failed_nothing_counts_as_moved() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.db");
        let connection = Connection::open(&path).unwrap();
        let fill = "PRAGMA journal_mode=WAL; CREATE TABLE t(a); INSERT INTO t VALUES (1)";
        connection.execute_batch(fill).unwrap();
        let fails = || {
            checkpoint(&connection, "PASSIVE")?;
            Err(StoreError::Internal("the sync failed".to_owned()))
        };
        let (is_doubtful, at_once) = (Cell::new(false), Duration::ZERO);
        assert!(wholly(&connection, &is_doubtful, at_once, fails).is_err());
        let (frames, none) = moved(&connection);
        assert_eq!((none, is_doubtful.get()), (0, false));
        let moves = || checkpoint(&connection, "PASSIVE");
        wholly(&connection, &is_doubtful, at_once, moves).unwrap();
        assert_eq!(moved(&connection), (frames, frames));
        // As if nothing could be done about it then: now that comes first.
        is_doubtful.set(true);
        let looks = || {
            assert_eq!(moved(&connection), (frames, 0));
            Ok(())
        };
        wholly(&connection, &is_doubtful, at_once, looks).unwrap();
        assert!(!is_doubtful.get());
    }

    #[test]
    fn a_checkpoint_is_due_every_so_many_pages_and_anew_with_a_new_wal() {
        let mut due = CheckpointsDue::default();
        let mut asked = |pages| due.after_commit(pages);
        assert!(!asked(DUE_PAGES));
        assert!(asked(DUE_PAGES + 1));
        assert!(!asked(DUE_PAGES + 2));
        assert!(!asked(2 * DUE_PAGES));
        assert!(asked(2 * DUE_PAGES + 2));
        assert!(!asked(5));
        assert!(asked(DUE_PAGES + 1));
    }

    #[test]
    fn readers_are_waited_for_every_so_many_pages_and_anew_with_a_new_wal() {
        let mut due = CheckpointsDue::default();
        assert!(!due.insists(INSIST_PAGES));
        assert!(due.insists(INSIST_PAGES + 1));
        assert!(!due.insists(INSIST_PAGES + 2));
        assert!(due.insists(2 * INSIST_PAGES + 2));
        due.after_commit(3 * INSIST_PAGES);
        due.after_commit(5);
        assert!(due.insists(INSIST_PAGES + 1));
    }
}
