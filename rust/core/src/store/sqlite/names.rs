//! Which task an id means: the newest one that was given it.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};

use super::super::StoreError;
use super::bulk::{self, Statements};
use super::rows::{key_at, sql_key};
use crate::model::TaskKey;
use crate::model::task_id::key_of_generated_id;

/// The newest stored task with that id. One that outhaul made tells its key itself.
pub(super) fn newest(
    connection: &Connection,
    task_id: &str,
) -> Result<Option<TaskKey>, StoreError> {
    if let Some(key) = key_of_generated_id(task_id) {
        return Ok(Some(key));
    }
    let mut query = connection.prepare_cached("SELECT key FROM name WHERE task_id=?1")?;
    Ok(query.query_row([task_id], |row| key_at(row, 0)).optional()?)
}

/// The rows of `name` that a transaction has gathered: in the order of the table, which is
/// quickest.
pub(super) struct Names {
    new: BTreeMap<Arc<str>, TaskKey>,
    into_name: Statements,
}

impl Names {
    pub(super) fn new() -> Self {
        let into_name = bulk::statements("INSERT OR REPLACE", "name", "task_id,key");
        Self { new: BTreeMap::new(), into_name }
    }

    /// From now on that id means this task.
    pub(super) fn add(&mut self, task_id: Arc<str>, key: TaskKey) {
        self.new.insert(task_id, key);
    }

    pub(super) fn clear(&mut self) {
        self.new.clear();
    }

    /// The newest task with that id, gathered or stored.
    pub(super) fn newest(
        &self,
        connection: &Connection,
        task_id: &str,
    ) -> Result<Option<TaskKey>, StoreError> {
        match self.new.get(task_id) {
            Some(key) => Ok(Some(*key)),
            None => newest(connection, task_id),
        }
    }

    /// Writes them.
    pub(super) fn write(&mut self, connection: &Connection) -> Result<(), StoreError> {
        let rows: Vec<_> = std::mem::take(&mut self.new).into_iter().collect();
        bulk::in_few(&self.into_name, connection, &rows, |(task_id, key), to| {
            to.put(&**task_id)?;
            Ok(to.put(sql_key(*key)?)?)
        })
    }
}
