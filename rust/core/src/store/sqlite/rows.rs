//! Rows to values and back.

use std::sync::Arc;

use rusqlite::{Row, Statement};

use crate::engine::Live;
use crate::model::{Failure, TaskKey, TaskStatus};

use super::super::StoreError;
use super::bulk::Values;

/// The columns of `live`, in the order of [`live_row`] and [`write_live`].
pub(super) const LIVE_COLUMNS: &str = "key, status, priority, run_at, attempt, attempts_max, \
    crashes, epoch, lane, needs, native, mark_percent, failure";

/// Changes a row of `live`; the values are those of [`write_live`].
pub(super) fn update_live() -> String {
    let changing = LIVE_COLUMNS.trim_start_matches("key, ");
    format!("UPDATE live SET ({changing}) = (?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13) WHERE key=?1")
}

pub(super) fn live_row(row: &Row<'_>) -> rusqlite::Result<Live> {
    let code: u8 = row.get(1)?;
    let status = TaskStatus::from_code(code)
        .ok_or_else(|| rusqlite::Error::IntegralValueOutOfRange(1, i64::from(code)))?;
    Ok(Live {
        key: key_at(row, 0)?,
        status,
        priority: row.get(2)?,
        run_at: row.get(3)?,
        attempt: row.get(4)?,
        attempts_max: row.get(5)?,
        crashes: row.get(6)?,
        epoch: row.get(7)?,
        lane: row.get(8)?,
        needs: row.get(9)?,
        native: row.get(10)?,
        mark_percent: row.get(11)?,
        failure: failure_at(row, 12)?,
    })
}

/// Changes a row; says how many it touched.
pub(super) fn write_live(statement: &mut Statement<'_>, live: &Live) -> Result<usize, StoreError> {
    bind_live(live, &mut Values::of(statement))?;
    Ok(statement.raw_execute()?)
}

/// The values of a row, in the order of the columns.
pub(super) fn bind_live(live: &Live, to: &mut Values<'_, '_>) -> Result<(), StoreError> {
    to.put(sql_key(live.key)?)?;
    to.put(live.status.code())?;
    to.put(live.priority)?;
    to.put(live.run_at)?;
    to.put(live.attempt)?;
    to.put(live.attempts_max)?;
    to.put(live.crashes)?;
    to.put(live.epoch)?;
    to.put(live.lane)?;
    to.put(live.needs)?;
    to.put(live.native)?;
    to.put(live.mark_percent)?;
    Ok(to.put(live.failure.as_deref().map(pack).transpose()?)?)
}

/// A failure that cannot be read is none: it only informs, and must not keep its task from running.
fn failure_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Arc<Failure>>> {
    let packed = row.get_ref(column)?.as_blob_or_null()?;
    Ok(packed.and_then(|packed| unpack(packed).ok()).map(Arc::new))
}

/// SQLite's integers are signed; keys never reach the last bit.
pub(super) fn sql_key(key: TaskKey) -> Result<i64, StoreError> {
    i64::try_from(key).map_err(|_| StoreError::Internal(format!("key {key} is out of range")))
}

pub(super) fn key_at(row: &Row<'_>, column: usize) -> rusqlite::Result<TaskKey> {
    let key: i64 = row.get(column)?;
    u64::try_from(key).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, key))
}

/// MessagePack, for columns that SQL never looks into.
pub(super) fn pack<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    rmp_serde::to_vec_named(value).map_err(|error| StoreError::Internal(error.to_string()))
}

pub(super) fn unpack<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, StoreError> {
    rmp_serde::from_slice(bytes).map_err(|error| StoreError::Corrupt(error.to_string()))
}
