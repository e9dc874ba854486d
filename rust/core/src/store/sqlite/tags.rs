//! Tasks by their tag.
//!
//! The index begins with the stretch of the log a task is in (`first_seq >> 12`): new entries go to
//! its end, so that a batch with many tags writes few pages. A query by tag visits every stretch.
//! Keys and stretches have the same order, since both are assigned in one transaction.

use rusqlite::{Connection, OptionalExtension};

use super::super::StoreError;
use super::rows::sql_key;
use crate::model::TaskKey;

/// The stretch that a task is in, as the index has it: of 4096 events.
pub(super) const STRETCH: &str = "first_seq >> 12";

/// Calls `look` with each stretch in which there are tagged tasks, beginning with that of the first
/// task whose key is above `after`, until it says that it has seen enough.
pub(super) fn each_stretch(
    connection: &Connection,
    after: Option<TaskKey>,
    mut look: impl FnMut(i64) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let first = format!("SELECT {STRETCH} FROM task WHERE key > ?1 ORDER BY key LIMIT 1");
    let mut first = connection.prepare_cached(&first)?;
    let first = first.query_row([after.map_or(Ok(-1), sql_key)?], |row| row.get(0)).optional()?;
    let following = format!(
        "SELECT min({STRETCH}) FROM task INDEXED BY task_by_tag \
         WHERE {STRETCH} >= ?1 AND tag IS NOT NULL"
    );
    let mut following = connection.prepare_cached(&following)?;
    let mut from: Option<i64> = first;
    while let Some(at) = from {
        let Some(stretch) = following.query_row([at], |row| row.get::<_, Option<i64>>(0))? else {
            break;
        };
        from = look(stretch)?.then_some(stretch.saturating_add(1));
    }
    Ok(())
}
