//! Questions about the log.

use rusqlite::types::Value;
use rusqlite::{OptionalExtension, Row, params_from_iter};

use super::{Reader, begins_so, id_at, packed_at};
use crate::model::event::EventDetail;
use crate::model::task_id::key_of_generated_id;
use crate::model::{EventKind, TaskKey};
use crate::store::StoreError;
use crate::store::record::EventRecord;
use crate::store::sqlite::rows::{LAST_EVENT, key_at, sql_key};

/// Which events are asked for.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Those of one task.
    pub key: Option<TaskKey>,
    /// Those of tasks with this id.
    pub task_id: Option<String>,
    /// Those of tasks with this tag.
    pub tag: Option<String>,
    /// Those of tasks whose id begins so.
    pub prefix: Option<String>,
    /// Whether what retention has removed is passed over in silence.
    pub skip_pruned: bool,
    /// At most this many.
    pub limit: u32,
}

/// An event with its task `t`, of those that its row `e` is about. Without its task none is left.
const EVENT_COLUMNS: &str = "e.seq + (t.key - e.key), e.at, e.kind, t.key, e.detail, t.task_id, \
    t.tag, d.success";

/// An answer ends with the event that fills this: details and results are up to 64 KiB each.
const EVENTS_BYTES_MAX: usize = 1024 * 1024;

const TERMINAL_KINDS: &str = "(5, 6, 7, 8)";

impl Reader {
    /// The events after `after` that match, and how far the log was looked through. There are more
    /// unless none is given.
    pub fn events(
        &self,
        after: u64,
        want: &EventFilter,
    ) -> Result<(Vec<EventRecord>, u64), StoreError> {
        // One state of the log for all that follows: retention goes on meanwhile.
        let _transaction = self.connection.unchecked_transaction()?;
        let last = self.last_event()?;
        if after > last {
            return Err(StoreError::CursorAhead { after, last });
        }
        if after > 0 && !want.skip_pruned && want.key.is_none() && after < self.pruned()? {
            return Err(StoreError::CursorPruned(after));
        }
        let (first, end) = match want.key {
            Some(key) => self.span(key)?,
            None => (0, last),
        };
        let from = after.max(first.saturating_sub(1));
        let (sql, values) = event_query(from, end.min(last), want)?;
        let mut query = self.connection.prepare_cached(&sql)?;
        let mut rows = query.query(params_from_iter(values))?;
        let (mut events, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            events.push(event_record(row)?);
            bytes += blob_len(row, 4)? + blob_len(row, 7)?;
            if bytes >= EVENTS_BYTES_MAX {
                break;
            }
        }
        let full = u32::try_from(events.len()).unwrap_or(u32::MAX) >= want.limit
            || bytes >= EVENTS_BYTES_MAX;
        let seen = events.last().filter(|_| full).map_or(last, |event| event.seq);
        Ok((events, seen))
    }

    /// The event that ended a task, if it has ended.
    pub fn terminal_event(&self, key: TaskKey) -> Result<Option<EventRecord>, StoreError> {
        let sql = format!(
            "SELECT {EVENT_COLUMNS} FROM done d JOIN task t USING(key) \
             JOIN event e ON e.seq = (SELECT max(seq) FROM event WHERE seq <= d.end_seq) \
             WHERE d.key = ?1"
        );
        let mut query = self.connection.prepare_cached(&sql)?;
        let mut rows = query.query([sql_key(key)?])?;
        rows.next()?.map(event_record).transpose()
    }

    /// The number of the last event.
    pub fn last_event(&self) -> Result<u64, StoreError> {
        let mut query = self.connection.prepare_cached(LAST_EVENT)?;
        Ok(query.query_row([], |row| key_at(row, 0)).optional()?.unwrap_or_default())
    }

    /// The last event that retention has removed; 0 where there is none.
    fn pruned(&self) -> Result<u64, StoreError> {
        let mut query = self.connection.prepare_cached("SELECT max(pruned_seq) FROM log")?;
        Ok(query.query_row([], |row| key_at(row, 0))?)
    }

    /// The numbers of the first and of the last event that a task has, or can have.
    fn span(&self, key: TaskKey) -> Result<(u64, u64), StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT first_seq, end_seq FROM task LEFT JOIN done USING(key) WHERE key=?1",
        )?;
        let span = query
            .query_row([sql_key(key)?], |row| Ok((key_at(row, 0)?, row.get::<_, Option<i64>>(1)?)));
        let (first, end) = span.optional()?.unwrap_or_default();
        Ok((first, end.and_then(|end| u64::try_from(end).ok()).unwrap_or(u64::MAX)))
    }
}

fn event_query(
    from: u64,
    last: u64,
    want: &EventFilter,
) -> Result<(String, Vec<Value>), StoreError> {
    // The first row may begin before what is asked for, so each event is asked, too.
    let mut sql = format!(
        "SELECT {EVENT_COLUMNS} FROM event e CROSS JOIN task t \
         ON t.key BETWEEN e.key AND e.key + e.more \
         LEFT JOIN done d ON d.key = t.key AND e.kind IN {TERMINAL_KINDS} \
         WHERE e.seq >= coalesce((SELECT max(seq) FROM event WHERE seq <= ?1), 0) AND e.seq <= ?2 \
         AND e.seq + (t.key - e.key) > ?1 AND e.seq + (t.key - e.key) <= ?2"
    );
    let mut values = vec![Value::Integer(sql_key(from)?), Value::Integer(sql_key(last)?)];
    if let Some(key) = want.key {
        sql.push_str(" AND t.key = ?");
        values.push(Value::Integer(sql_key(key)?));
    }
    if let Some(task_id) = &want.task_id {
        if let Some(key) = key_of_generated_id(task_id) {
            sql.push_str(" AND t.key = ?");
            values.push(Value::Integer(sql_key(key)?));
        } else {
            sql.push_str(" AND t.task_id = ?");
            values.push(Value::Text(task_id.clone()));
        }
    }
    if let Some(tag) = &want.tag {
        sql.push_str(" AND t.tag = ?");
        values.push(Value::Text(tag.clone()));
    }
    if let Some(prefix) = &want.prefix {
        begins_so(prefix, &mut sql, &mut values)?;
    }
    sql.push_str(" ORDER BY e.seq, t.key LIMIT ?");
    values.push(Value::Integer(i64::from(want.limit)));
    Ok((sql, values))
}

fn blob_len(row: &Row<'_>, column: usize) -> Result<usize, StoreError> {
    Ok(row.get_ref(column)?.as_blob_or_null().ok().flatten().map_or(0, <[u8]>::len))
}

fn event_record(row: &Row<'_>) -> Result<EventRecord, StoreError> {
    let code: u8 = row.get(2)?;
    let kind = EventKind::from_code(code)
        .ok_or_else(|| StoreError::Corrupt(format!("event kind {code} is unknown")))?;
    let key = key_at(row, 3)?;
    Ok(EventRecord {
        seq: key_at(row, 0)?,
        at_ms: row.get(1)?,
        kind,
        key,
        detail: packed_at::<EventDetail>(row, 4)?.unwrap_or_default(),
        task_id: id_at(row, 5, key)?,
        tag: row.get(6)?,
        result: packed_at(row, 7)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::task_id::id_of;
    use crate::store::sqlite::{Durability, SqliteStore};

    #[test]
    fn the_kinds_that_a_result_is_read_for_are_those_that_end_a_task() {
        let terminal = EventKind::ALL.into_iter().filter(|kind| kind.is_terminal());
        let codes: Vec<String> = terminal.map(|kind| kind.code().to_string()).collect();
        assert_eq!(TERMINAL_KINDS, format!("({})", codes.join(", ")));
    }

    /// What an answer costs is bounded by its limit only where the log is walked in order.
    #[test]
    fn events_are_read_in_order_with_no_sorting_and_no_index_made_for_it_whatever_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("work.db");
        let _store = SqliteStore::open(&path, Durability::Os).unwrap();
        let reader = Reader::open(&path).unwrap();
        for want in [
            EventFilter::default(),
            EventFilter { key: Some(3), ..EventFilter::default() },
            EventFilter { task_id: Some("x".to_owned()), ..EventFilter::default() },
            EventFilter { task_id: Some(id_of(3, None)), ..EventFilter::default() },
            EventFilter { tag: Some("x".to_owned()), ..EventFilter::default() },
            EventFilter { prefix: Some("x".to_owned()), ..EventFilter::default() },
        ] {
            let (sql, values) = event_query(5, 9, &want).unwrap();
            let mut plan = reader.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let steps: Vec<String> = plan
                .query_map(params_from_iter(values), |row| row.get(3))
                .unwrap()
                .map(Result::unwrap)
                .collect();
            assert!(steps[0].starts_with("SEARCH e USING INTEGER PRIMARY KEY"), "{steps:?}");
            let costly = ["AUTOMATIC", "TEMP B-TREE", "SCAN"];
            assert!(
                !steps.iter().any(|step| costly.iter().any(|word| step.contains(word))),
                "{want:?}: {steps:?}"
            );
        }
    }
}
