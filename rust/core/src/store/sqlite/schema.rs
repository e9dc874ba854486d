//! The tables, by numbered forward migrations. Tables come with the feature that uses them.

use rusqlite::{Connection, TransactionBehavior};

use super::super::StoreError;
use super::errors::explain;

/// Marks the file as ours (`PRAGMA application_id`): "outh".
const APPLICATION_ID: i64 = 0x6f75_7468;

/// Each step leads from the version of its position to the next; a released step never changes.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE runner(                  -- who ran tasks; for people, but for the epoch
        epoch INTEGER PRIMARY KEY AUTOINCREMENT,
        host TEXT NOT NULL, pid INTEGER NOT NULL,
        started_at INTEGER NOT NULL, ended_at INTEGER) STRICT;

    CREATE TABLE task(                    -- immutable body: inserted once, never updated
        key INTEGER PRIMARY KEY,
        task_id TEXT, tag TEXT, created_at INTEGER NOT NULL,
        first_seq INTEGER NOT NULL,       -- no event of it is older
        spec BLOB NOT NULL, admitted BLOB NOT NULL) STRICT;
    CREATE INDEX task_by_tag ON task(tag) WHERE tag IS NOT NULL;

    CREATE TABLE live(                    -- narrow, hot: the only row that changes
        key INTEGER PRIMARY KEY,
        status INTEGER NOT NULL, priority INTEGER NOT NULL, run_at INTEGER NOT NULL,
        attempt INTEGER NOT NULL, attempts_max INTEGER NOT NULL, crashes INTEGER NOT NULL,
        epoch INTEGER NOT NULL,           -- who runs it; 0 is nobody
        lane INTEGER NOT NULL, needs INTEGER NOT NULL,
        native INTEGER NOT NULL, mark_percent INTEGER NOT NULL) STRICT;

    CREATE TABLE done(                    -- narrow; the body stays in `task`
        key INTEGER PRIMARY KEY,
        status INTEGER NOT NULL, finished_at INTEGER NOT NULL, attempt INTEGER NOT NULL,
        success BLOB, failure BLOB) STRICT;

    CREATE TABLE name(                    -- the newest task with an id that its user chose
        task_id TEXT PRIMARY KEY, key INTEGER NOT NULL) WITHOUT ROWID, STRICT;

    CREATE TABLE event(
        seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind INTEGER NOT NULL,
        key INTEGER NOT NULL, detail BLOB) STRICT;
"];

/// Refuses what is not ours, or newer than we know, before anything is written to it.
pub(super) fn refuse_foreign(connection: &Connection, path: &str) -> Result<(), StoreError> {
    let application_id = pragma(connection, "application_id", path)?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|error| explain(&error, path))?;
    let found = pragma(connection, "user_version", path)?;
    let is_new = application_id == 0 && tables == 0 && found == 0;
    if application_id != APPLICATION_ID && !is_new {
        return Err(StoreError::Foreign(path.to_owned()));
    }
    let known = newest();
    if found > known { Err(StoreError::TooNew { found, known }) } else { Ok(()) }
}

/// Brings the file to the newest version; a new file gets all its tables.
pub(super) fn migrate(connection: &mut Connection, path: &str) -> Result<(), StoreError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|error| explain(&error, path))?;
    let found = pragma(&transaction, "user_version", path)?;
    let missing = MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or_default());
    for step in missing {
        transaction.execute_batch(step).map_err(|error| explain(&error, path))?;
    }
    let known = newest();
    if found < known {
        let stamp = format!("PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={known};");
        transaction.execute_batch(&stamp).map_err(|error| explain(&error, path))?;
    }
    transaction.commit().map_err(|error| explain(&error, path))
}

/// The newest version of the tables.
fn newest() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

fn pragma(connection: &Connection, name: &str, path: &str) -> Result<i64, StoreError> {
    connection
        .pragma_query_value(None, name, |row| row.get(0))
        .map_err(|error| explain(&error, path))
}
