//! Rows to values and back.

use std::sync::Arc;

use rusqlite::{Row, Statement};

use super::super::StoreError;
use super::bulk::{IntoRow, Values};
use crate::engine::Live;
use crate::model::{Failure, TaskKey, TaskStatus};

/// The columns of `live` beside its key, in the order of [`live_row`] and of what is written.
pub(super) const LIVE_COLUMNS: &str = "status, priority, run_at, attempt, attempts_max, \
    crashes, epoch, lane, needs, native, mark_percent, failure";

/// Changes a row of `live`; the values are those of [`write_live`].
pub(super) fn update_live() -> String {
    let values = "?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13";
    format!("UPDATE live SET ({LIVE_COLUMNS}) = ({values}) WHERE key=?1")
}

/// The number of the last event; no row where there is none.
pub(super) const LAST_EVENT: &str = "SELECT seq + more FROM event ORDER BY seq DESC LIMIT 1";

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
    let mut values = Values::of(statement);
    values.put(IntoRow::key(live)?)?;
    live.bind(&mut values)?;
    Ok(statement.raw_execute()?)
}

impl IntoRow for Live {
    fn key(&self) -> Result<i64, StoreError> {
        sql_key(self.key)
    }

    fn bind(&self, to: &mut Values<'_, '_>) -> Result<(), StoreError> {
        to.put(self.status.code())?;
        to.put(self.priority)?;
        to.put(self.run_at)?;
        to.put(self.attempt)?;
        to.put(self.attempts_max)?;
        to.put(self.crashes)?;
        to.put(self.epoch)?;
        to.put(self.lane)?;
        to.put(self.needs)?;
        to.put(self.native)?;
        to.put(self.mark_percent)?;
        Ok(to.put(self.failure.as_deref().map(pack).transpose()?)?)
    }
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
