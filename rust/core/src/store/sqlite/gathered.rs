//! What a transaction has gathered: rows that are written in numbers, before they are read or
//! committed.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::super::{Body, StoreError};
use super::bulk::Bulk;
use super::rows::{LIVE_COLUMNS, bind_live, sql_key, update_live, write_live};
use crate::engine::{Live, NewTask};
use crate::model::{EventKind, TaskKey, TaskStatus, UnixMillis};

/// A new row of `task`.
pub(super) struct TaskRow {
    pub(super) key: TaskKey,
    pub(super) task: NewTask,
    pub(super) at: UnixMillis,
    pub(super) first_seq: i64,
}

/// A new row of `done`.
pub(super) struct DoneRow {
    pub(super) key: TaskKey,
    pub(super) status: TaskStatus,
    pub(super) at: UnixMillis,
    pub(super) attempt: u32,
    pub(super) end_seq: i64,
    /// What it brought, or why it did not: packed.
    pub(super) success: Option<Vec<u8>>,
    pub(super) failure: Option<Vec<u8>>,
}

/// A new row of `event`.
pub(super) struct EventRow {
    pub(super) seq: i64,
    pub(super) at: UnixMillis,
    pub(super) kind: EventKind,
    pub(super) key: TaskKey,
    /// Packed, where it says anything.
    pub(super) detail: Option<Vec<u8>>,
}

/// What a transaction does to one narrow row.
enum Change {
    /// There is none on disk yet.
    Insert(Live),
    /// There is one on disk.
    Update(Live),
    /// There is one on disk, and it goes.
    Delete,
}

/// What a transaction has made of a narrow row.
pub(super) enum Made<'a> {
    /// It is as it was.
    Nothing,
    /// It is this now.
    Live(&'a Live),
    /// There is none any more.
    Gone,
}

/// The gathered rows, and the statements that write them.
pub(super) struct Gathered {
    /// In order of their keys.
    tasks: Vec<TaskRow>,
    ends: Vec<DoneRow>,
    events: Vec<EventRow>,
    changes: BTreeMap<TaskKey, Change>,
    into_task: Bulk,
    into_done: Bulk,
    into_event: Bulk,
    into_live: Bulk,
}

impl Gathered {
    pub(super) fn new() -> Self {
        Self {
            tasks: Vec::new(),
            ends: Vec::new(),
            events: Vec::new(),
            changes: BTreeMap::new(),
            into_task: Bulk::new("task", "key,task_id,tag,created_at,first_seq,spec,admitted"),
            into_done: Bulk::new("done", "key,status,finished_at,attempt,end_seq,success,failure"),
            // SQLite counts `seq` by itself, and so need not look whether a number is taken.
            into_event: Bulk::new("event", "at,kind,key,detail"),
            into_live: Bulk::new("live", LIVE_COLUMNS),
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.tasks.clear();
        self.ends.clear();
        self.events.clear();
        self.changes.clear();
    }

    pub(super) fn task(&mut self, row: TaskRow, live: Live) {
        self.changes.insert(row.key, Change::Insert(live));
        // Nearly always the last.
        let at = self.tasks.partition_point(|before| before.key < row.key);
        self.tasks.insert(at, row);
    }

    pub(super) fn live(&mut self, live: &Live) {
        let change = match self.changes.get(&live.key) {
            Some(Change::Insert(_)) => Change::Insert(live.clone()),
            _ => Change::Update(live.clone()),
        };
        self.changes.insert(live.key, change);
    }

    pub(super) fn done(&mut self, row: DoneRow) {
        if let Some(Change::Insert(_)) = self.changes.get(&row.key) {
            self.changes.remove(&row.key);
        } else {
            self.changes.insert(row.key, Change::Delete);
        }
        self.ends.push(row);
    }

    pub(super) fn event(&mut self, row: EventRow) {
        self.events.push(row);
    }

    /// What the transaction has made of a narrow row.
    pub(super) fn made_of(&self, key: TaskKey) -> Made<'_> {
        match self.changes.get(&key) {
            None => Made::Nothing,
            Some(Change::Insert(live) | Change::Update(live)) => Made::Live(live),
            Some(Change::Delete) => Made::Gone,
        }
    }

    /// The body of a new task whose row is not written yet.
    pub(super) fn body_of(&self, key: TaskKey) -> Option<Body> {
        let at = self.tasks.binary_search_by_key(&key, |row| row.key).ok()?;
        self.tasks.get(at).map(|row| Body::of(&row.task))
    }

    /// Writes everything.
    pub(super) fn write(&mut self, connection: &Connection) -> Result<(), StoreError> {
        self.write_fixed(connection)?;
        self.write_live(connection)
    }

    /// Writes the rows that never change again.
    pub(super) fn write_fixed(&mut self, connection: &Connection) -> Result<(), StoreError> {
        self.into_task.add(connection, &self.tasks, |row, to| {
            to.put(sql_key(row.key)?)?;
            to.put(row.task.task_id.as_deref())?;
            to.put(row.task.tag.as_deref())?;
            to.put(row.at)?;
            to.put(row.first_seq)?;
            to.put(&*row.task.spec)?;
            Ok(to.put(&*row.task.admitted)?)
        })?;
        self.tasks.clear();
        self.into_done.add(connection, &self.ends, |row, to| {
            to.put(sql_key(row.key)?)?;
            to.put(row.status.code())?;
            to.put(row.at)?;
            to.put(row.attempt)?;
            to.put(row.end_seq)?;
            to.put(row.success.as_deref())?;
            Ok(to.put(row.failure.as_deref())?)
        })?;
        self.ends.clear();
        self.into_event.add(connection, &self.events, |row, to| {
            to.put(row.at)?;
            to.put(row.kind.code())?;
            to.put(sql_key(row.key)?)?;
            Ok(to.put(row.detail.as_deref())?)
        })?;
        // Others have been told these numbers, in `first_seq` and `end_seq`.
        if let Some(last) = self.events.last()
            && connection.last_insert_rowid() != last.seq
        {
            return Err(StoreError::Internal(format!("event {} has another number", last.seq)));
        }
        self.events.clear();
        Ok(())
    }

    /// Writes the narrow rows.
    ///
    /// A change of a row that is not there is refused, and with it the transaction: then the engine
    /// knows something that the store does not, and has to be built anew.
    fn write_live(&mut self, connection: &Connection) -> Result<(), StoreError> {
        let mut update = connection.prepare_cached(&update_live())?;
        let mut delete = connection.prepare_cached("DELETE FROM live WHERE key=?1")?;
        let mut added = Vec::with_capacity(self.changes.len());
        for (key, change) in std::mem::take(&mut self.changes) {
            let rows = match change {
                Change::Insert(live) => {
                    added.push(live);
                    continue;
                }
                Change::Update(live) => write_live(&mut update, &live)?,
                Change::Delete => delete.execute([sql_key(key)?])?,
            };
            if rows != 1 {
                return Err(StoreError::Internal(format!("task {key} does not live")));
            }
        }
        self.into_live.add(connection, &added, bind_live)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_would_get_another_number_than_was_told_is_refused() {
        let connection = Connection::open_in_memory().unwrap();
        let table = "CREATE TABLE event(
            seq INTEGER PRIMARY KEY, at INTEGER, kind INTEGER, key INTEGER, detail BLOB)";
        connection.execute_batch(table).unwrap();
        let mut gathered = Gathered::new();
        let mut write = |seq| {
            gathered.event(EventRow {
                seq,
                at: 0,
                kind: EventKind::Enqueued,
                key: 1,
                detail: None,
            });
            gathered.write_fixed(&connection)
        };
        write(1).unwrap();
        write(2).unwrap();
        let refused = write(4).unwrap_err();
        assert!(refused.to_string().contains("event 4"), "{refused}");
    }
}
