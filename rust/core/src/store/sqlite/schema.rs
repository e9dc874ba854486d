//! The tables, by numbered forward migrations. Tables come with the feature that uses them.

use rusqlite::{Connection, Transaction, TransactionBehavior};

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
        native INTEGER NOT NULL, mark_percent INTEGER NOT NULL,
        failure BLOB) STRICT;             -- of the last attempt

    CREATE TABLE done(                    -- narrow; the body stays in `task`
        key INTEGER PRIMARY KEY,
        status INTEGER NOT NULL, finished_at INTEGER NOT NULL, attempt INTEGER NOT NULL,
        end_seq INTEGER NOT NULL,         -- the event that says so: its last
        success BLOB, failure BLOB) STRICT;

    CREATE TABLE name(                    -- the newest task with an id that its user chose
        task_id TEXT PRIMARY KEY, key INTEGER NOT NULL) WITHOUT ROWID, STRICT;

    CREATE TABLE event(
        seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind INTEGER NOT NULL,
        key INTEGER NOT NULL, detail BLOB) STRICT;
    CREATE TABLE log(                     -- one row: the last event that retention has removed
        pruned_seq INTEGER NOT NULL) STRICT;
    INSERT INTO log VALUES (0);
", "
    -- A row says `kind` of `more` tasks after its own, too, whose keys follow it: numbered likewise.
    ALTER TABLE event ADD COLUMN more INTEGER NOT NULL DEFAULT 0;
", "
    -- By stretches of the log, so that what is new goes to one end: see `tags`.
    DROP INDEX task_by_tag;
    CREATE INDEX task_by_tag ON task(first_seq >> 12, tag) WHERE tag IS NOT NULL;
"];

/// How far a file is that is ours, or may become so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It is empty.
    New,
    /// It was made by an older outhaul.
    Older,
    /// It is as `migrate` leaves it.
    Newest,
}

/// How far a file is. Changes nothing: what is not ours stays as it is.
pub(super) fn inspect(connection: &mut Connection, path: &str) -> Result<Found, StoreError> {
    // One transaction, so that another process which makes the tables is seen wholly or not at all.
    let look = |connection: &mut Connection| {
        let transaction = connection.transaction()?;
        let number = |sql| transaction.query_row(sql, [], |row| row.get::<_, i64>(0));
        Ok((
            number("PRAGMA application_id")?,
            number("SELECT count(*) FROM sqlite_schema")?,
            number("PRAGMA user_version")?,
        ))
    };
    let (mark, tables, found) = look(connection).map_err(|e| explain(&e, path))?;
    if mark != APPLICATION_ID && (mark != 0 || tables != 0 || found != 0) {
        return Err(StoreError::Foreign(path.to_owned()));
    }
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    match found {
        0 => Ok(Found::New),
        _ if found > known => Err(StoreError::TooNew { found, known }),
        _ if found < known => Ok(Found::Older),
        _ => Ok(Found::Newest),
    }
}

/// Errors where another process, of a newer outhaul, has changed the tables since the file was
/// opened.
pub(super) fn is_known(connection: &Connection) -> Result<(), StoreError> {
    let found = connection
        .prepare_cached("PRAGMA user_version")?
        .query_row([], |row| row.get::<_, i64>(0))?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known { Err(StoreError::TooNew { found, known }) } else { Ok(()) }
}

/// Brings the file to the newest version; a new file gets all its tables.
pub(super) fn migrate(connection: &mut Connection, path: &str) -> Result<(), StoreError> {
    let done = connection.transaction_with_behavior(TransactionBehavior::Immediate);
    done.and_then(upgrade).map_err(|e| explain(&e, path))
}

fn upgrade(transaction: Transaction<'_>) -> rusqlite::Result<()> {
    let found: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let found = usize::try_from(found).unwrap_or(usize::MAX);
    for step in MIGRATIONS.iter().skip(found) {
        transaction.execute_batch(step)?;
    }
    if found < MIGRATIONS.len() {
        let known = MIGRATIONS.len();
        let stamp = format!("PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={known};");
        transaction.execute_batch(&stamp)?;
    }
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_any_earlier_version_is_brought_to_the_newest_with_what_it_holds() {
        let newest: Vec<String> = columns(&made_by(MIGRATIONS.len()));
        for version in 1..MIGRATIONS.len() {
            let mut connection = made_by(version);
            assert_eq!(inspect(&mut connection, "test").unwrap(), Found::Older);
            let held = "INSERT INTO event(seq, at, kind, key) VALUES (7, 600, 0, 3)";
            connection.execute_batch(held).unwrap();
            migrate(&mut connection, "test").unwrap();
            assert_eq!(columns(&connection), newest);
            let event = connection.query_row("SELECT seq, key, more FROM event", [], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
            });
            assert_eq!(event.unwrap(), (7, 3, 0));
            assert_eq!(inspect(&mut connection, "test").unwrap(), Found::Newest);
        }
    }

    /// A file as the outhaul of that version made it.
    fn made_by(version: usize) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        for step in MIGRATIONS.iter().take(version) {
            connection.execute_batch(step).unwrap();
        }
        let stamp =
            format!("PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={version}");
        connection.execute_batch(&stamp).unwrap();
        connection
    }

    /// Every column of every table, and every index, as SQLite describes it.
    fn columns(connection: &Connection) -> Vec<String> {
        let sql = "SELECT t.name || '.' || c.name || ' ' || c.type || ' ' || c.\"notnull\"
            FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table'
            UNION ALL SELECT sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL
            ORDER BY 1";
        let mut statement = connection.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }
}
