//! The read side: a connection of its own, so that a query never waits for a commit.

mod events;
mod tasks;

use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, Row};

use super::super::StoreError;
use super::open::open_reader;
use super::rows::{sql_key, unpack};
use crate::model::TaskKey;
use crate::model::task_id::{id_of, keys_of_generated_prefix};

pub use events::EventFilter;
pub use tasks::{Situation, TaskFilter};

/// A connection that only reads.
pub struct Reader {
    connection: Connection,
}

impl Reader {
    /// A connection to an open store.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { connection: open_reader(path)? })
    }
}

/// Adds the condition that the id of a task, as its user sees it, begins with `prefix`.
fn begins_so(prefix: &str, sql: &mut String, values: &mut Vec<Value>) -> Result<(), StoreError> {
    sql.push_str(" AND (substr(t.task_id, 1, length(?)) = ?");
    values.extend([Value::Text(prefix.to_owned()), Value::Text(prefix.to_owned())]);
    if let Some((first, last)) = keys_of_generated_prefix(prefix) {
        sql.push_str(" OR t.task_id IS NULL AND t.key BETWEEN ? AND ?");
        values.extend([Value::Integer(sql_key(first)?), Value::Integer(sql_key(last)?)]);
    }
    sql.push(')');
    Ok(())
}

fn id_at(row: &Row<'_>, column: usize, key: TaskKey) -> rusqlite::Result<String> {
    let chosen: Option<String> = row.get(column)?;
    Ok(id_of(key, chosen.as_deref()))
}

fn packed_at<T: for<'a> serde::Deserialize<'a>>(
    row: &Row<'_>,
    column: usize,
) -> Result<Option<T>, StoreError> {
    row.get_ref(column)?
        .as_blob_or_null()
        .map_err(|error| StoreError::Corrupt(error.to_string()))?
        .map(unpack)
        .transpose()
}
