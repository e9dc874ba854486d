//! What a transaction has gathered: rows that are written in numbers, before they are read or
//! committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::Connection;

use super::super::{Body, StoreError};
use super::bulk::{Bulk, IntoRow, Values};
use super::names::Names;
use super::rows::{LIVE_COLUMNS, sql_key, update_live, write_live};
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

/// A new row of `event`: what happened to a task, or in the same words to several whose keys follow
/// each other, one after the other.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EventRow {
    /// The number of its first event.
    pub(super) seq: i64,
    pub(super) at: UnixMillis,
    pub(super) kind: EventKind,
    /// The task of its first event.
    pub(super) key: TaskKey,
    /// How many events follow the first. Small, which bounds what a look at one row costs.
    pub(super) more: u8,
    /// Packed, where it says anything.
    pub(super) detail: Option<Vec<u8>>,
}

impl EventRow {
    /// Takes the next event in, where it says the same of the next task and there is room.
    fn takes_in(&mut self, next: &Self) -> bool {
        let Some(more) = self.more.checked_add(1) else { return false };
        let follows = self.seq + i64::from(more) == next.seq
            && self.key + TaskKey::from(more) == next.key
            && (self.at, self.kind, next.more) == (next.at, next.kind, 0)
            && self.detail == next.detail;
        if follows {
            self.more = more;
        }
        follows
    }
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
    names: Names,
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
            names: Names::new(),
            into_task: Bulk::new("task", "key", "task_id,tag,created_at,first_seq,spec,admitted"),
            into_done: Bulk::new(
                "done",
                "key",
                "status,finished_at,attempt,end_seq,success,failure",
            ),
            into_event: Bulk::new("event", "seq", "at,kind,key,more,detail"),
            into_live: Bulk::new("live", "key", LIVE_COLUMNS),
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.tasks.clear();
        self.ends.clear();
        self.events.clear();
        self.changes.clear();
        self.names.clear();
    }

    pub(super) fn task(&mut self, row: TaskRow, live: Live) {
        if let Some(task_id) = &row.task.task_id {
            self.names.add(Arc::clone(task_id), row.key);
        }
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
        if !self.events.last_mut().is_some_and(|last| last.takes_in(&row)) {
            self.events.push(row);
        }
    }

    /// What the transaction has made of a narrow row.
    pub(super) fn made_of(&self, key: TaskKey) -> Made<'_> {
        match self.changes.get(&key) {
            None => Made::Nothing,
            Some(Change::Insert(live) | Change::Update(live)) => Made::Live(live),
            Some(Change::Delete) => Made::Gone,
        }
    }

    /// The newest task with that id, gathered or stored.
    pub(super) fn newest(
        &self,
        connection: &Connection,
        task_id: &str,
    ) -> Result<Option<TaskKey>, StoreError> {
        self.names.newest(connection, task_id)
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
        // A new task has the highest key of all.
        self.into_task.append(connection, &self.tasks)?;
        self.tasks.clear();
        self.names.write(connection)?;
        self.into_done.add(connection, &self.ends)?;
        self.ends.clear();
        self.into_event.add(connection, &self.events)?;
        self.events.clear();
        Ok(())
    }

    /// Writes the narrow rows.
    ///
    /// A change of a row that is not there is refused, and with it the transaction: then the engine
    /// knows something that the store does not, and has to be built again.
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
        self.into_live.append(connection, &added)
    }
}

impl IntoRow for TaskRow {
    fn key(&self) -> Result<i64, StoreError> {
        sql_key(self.key)
    }

    fn bind(&self, to: &mut Values<'_, '_>) -> Result<(), StoreError> {
        to.put(self.task.task_id.as_deref())?;
        to.put(self.task.tag.as_deref())?;
        to.put(self.at)?;
        to.put(self.first_seq)?;
        to.put(&*self.task.spec)?;
        Ok(to.put(&*self.task.admitted)?)
    }
}

impl IntoRow for DoneRow {
    fn key(&self) -> Result<i64, StoreError> {
        sql_key(self.key)
    }

    fn bind(&self, to: &mut Values<'_, '_>) -> Result<(), StoreError> {
        to.put(self.status.code())?;
        to.put(self.at)?;
        to.put(self.attempt)?;
        to.put(self.end_seq)?;
        to.put(self.success.as_deref())?;
        Ok(to.put(self.failure.as_deref())?)
    }
}

impl IntoRow for EventRow {
    fn key(&self) -> Result<i64, StoreError> {
        Ok(self.seq)
    }

    fn bind(&self, to: &mut Values<'_, '_>) -> Result<(), StoreError> {
        to.put(self.at)?;
        to.put(self.kind.code())?;
        to.put(sql_key(self.key)?)?;
        to.put(self.more)?;
        Ok(to.put(self.detail.as_deref())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: i64, key: TaskKey) -> EventRow {
        EventRow { seq, at: 5, kind: EventKind::Started, key, more: 0, detail: Some(vec![1]) }
    }

    fn rows_of(events: impl IntoIterator<Item = EventRow>) -> Vec<(i64, TaskKey, u8)> {
        let mut gathered = Gathered::new();
        for row in events {
            gathered.event(row);
        }
        gathered.events.iter().map(|row| (row.seq, row.key, row.more)).collect()
    }

    #[test]
    fn the_same_event_of_tasks_that_follow_each_other_is_one_row() {
        let run = rows_of((0..5).map(|at| event(10 + at, 7 + at.unsigned_abs())));
        assert_eq!(run, [(10, 7, 4)]);
        let long = rows_of((0..600).map(|at| event(at, at.unsigned_abs())));
        assert_eq!(long, [(0, 0, 255), (256, 256, 255), (512, 512, 87)]);
    }

    #[test]
    fn an_event_that_differs_in_anything_is_a_row_of_its_own() {
        let first = || event(10, 7);
        assert_eq!(rows_of([first(), event(11, 8)]).len(), 1);
        for other in [
            event(12, 8),
            event(11, 9),
            event(11, 7),
            EventRow { at: 6, ..event(11, 8) },
            EventRow { kind: EventKind::Completed, ..event(11, 8) },
            EventRow { detail: Some(vec![2]), ..event(11, 8) },
            EventRow { detail: None, ..event(11, 8) },
        ] {
            let shown = format!("{other:?}");
            assert_eq!(rows_of([first(), other]).len(), 2, "{shown}");
        }
    }
}
