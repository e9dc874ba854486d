//! The read side: a connection of its own, so that a query never waits for a commit.

use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};

use super::super::record::{Counts, EventRecord, TaskRecord};
use super::super::{StoreError, id_of, key_of_generated_id, keys_of_generated_prefix};
use super::open::open_reader;
use super::rows::{LAST_EVENT, key_at, sql_key, unpack};
use crate::model::event::EventDetail;
use crate::model::spec::{BATTERY_NOT_LOW, CONNECTED, TaskSpec, WorkerSpec};
use crate::model::{EventKind, Failure, Success, TaskKey, TaskStatus, UnixMillis};

/// Which tasks are asked for.
#[derive(Clone, Debug, Default)]
pub struct TaskFilter {
    /// Those that stand here; empty means everywhere.
    pub statuses: Vec<TaskStatus>,
    /// Those with this tag.
    pub tag: Option<String>,
    /// Those whose id begins so.
    pub prefix: Option<String>,
    /// Those with a key above this.
    pub after: TaskKey,
    /// At most so many.
    pub limit: u32,
}

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
    /// At most so many.
    pub limit: u32,
}

/// What a pending task is judged by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Situation {
    /// The time.
    pub now_ms: UnixMillis,
    /// The constraint bits that do not hold.
    pub unmet: u32,
}

/// A connection that only reads.
pub struct Reader {
    connection: Connection,
}

const TASK_COLUMNS: &str = "t.key, t.task_id, t.tag, t.created_at, t.spec, \
    l.status, l.attempt, l.run_at, l.needs, d.status, d.attempt, d.finished_at, d.success, coalesce(d.failure, l.failure)";

/// An event with its task `t`, of those that its row `e` is about. Without its task none is left.
const EVENT_COLUMNS: &str = "e.seq + (t.key - e.key), e.at, e.kind, t.key, e.detail, t.task_id, \
    t.tag, d.success";

/// An answer ends with the event that fills this: details and results are up to 64 KiB each.
const EVENTS_BYTES_MAX: usize = 1024 * 1024;

const TERMINAL_KINDS: &str = "(5, 6, 7, 8)";

impl Reader {
    /// A connection to an open store.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { connection: open_reader(path)? })
    }

    /// The newest task with that id.
    pub fn key_of(&self, task_id: &str) -> Result<Option<TaskKey>, StoreError> {
        if let Some(key) = key_of_generated_id(task_id) {
            return Ok(Some(key));
        }
        let mut query = self.connection.prepare_cached("SELECT key FROM name WHERE task_id=?1")?;
        Ok(query.query_row([task_id], |row| key_at(row, 0)).optional()?)
    }

    /// One task.
    pub fn task(&self, key: TaskKey, now: Situation) -> Result<Option<TaskRecord>, StoreError> {
        let sql = format!(
            "SELECT {TASK_COLUMNS} FROM task t LEFT JOIN live l USING(key) \
             LEFT JOIN done d USING(key) WHERE t.key=?1"
        );
        let mut query = self.connection.prepare_cached(&sql)?;
        let mut rows = query.query([sql_key(key)?])?;
        rows.next()?.map(|row| task_record(row, now)).transpose()
    }

    /// Whether there is a task with that key.
    pub fn is_stored(&self, key: TaskKey) -> Result<bool, StoreError> {
        let mut query =
            self.connection.prepare_cached("SELECT EXISTS(SELECT 1 FROM task WHERE key=?1)")?;
        Ok(query.query_row([sql_key(key)?], |row| row.get(0))?)
    }

    /// The tasks that match, oldest first.
    pub fn tasks(&self, want: &TaskFilter, now: Situation) -> Result<Vec<TaskRecord>, StoreError> {
        let mut sql = format!(
            "SELECT {TASK_COLUMNS} FROM task t LEFT JOIN live l USING(key) \
             LEFT JOIN done d USING(key) WHERE t.key > ?"
        );
        let mut values = vec![Value::Integer(sql_key(want.after)?)];
        if let Some(tag) = &want.tag {
            sql.push_str(" AND t.tag = ?");
            values.push(Value::Text(tag.clone()));
        }
        if let Some(prefix) = &want.prefix {
            begins_so(prefix, &mut sql, &mut values)?;
        }
        if !want.statuses.is_empty() {
            let codes: Vec<String> =
                want.statuses.iter().map(|status| status.code().to_string()).collect();
            let list = codes.join(",");
            sql.push_str(" AND coalesce(l.status, d.status) IN (");
            sql.push_str(&list);
            sql.push(')');
        }
        sql.push_str(" ORDER BY t.key LIMIT ?");
        values.push(Value::Integer(i64::from(want.limit)));
        let mut query = self.connection.prepare_cached(&sql)?;
        let mut rows = query.query(params_from_iter(values))?;
        let mut records = Vec::new();
        while let Some(row) = rows.next()? {
            records.push(task_record(row, now)?);
        }
        Ok(records)
    }

    /// Every tag that a stored task has, sorted.
    pub fn tags(&self) -> Result<Vec<String>, StoreError> {
        // Walks the index from tag to tag: the cost is the number of tags, not of tasks.
        let mut query = self.connection.prepare_cached(
            "WITH RECURSIVE tags(tag) AS ( \
                SELECT min(tag) FROM task WHERE tag IS NOT NULL \
                UNION ALL \
                SELECT (SELECT min(tag) FROM task WHERE tag IS NOT NULL AND tag > tags.tag) \
                FROM tags WHERE tags.tag IS NOT NULL) \
             SELECT tag FROM tags WHERE tag IS NOT NULL",
        )?;
        let rows = query.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The events after `after` that match, and how far the log was looked through. There are more
    /// unless none is given.
    pub fn events(
        &self,
        after: u64,
        want: &EventFilter,
    ) -> Result<(Vec<EventRecord>, u64), StoreError> {
        let last = self.last_event()?;
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
        Ok((events, seen.max(after)))
    }

    /// The event that ended a task, if it has ended.
    pub fn last_word(&self, key: TaskKey) -> Result<Option<EventRecord>, StoreError> {
        let sql = format!(
            "SELECT {EVENT_COLUMNS} FROM done d JOIN task t USING(key) \
             JOIN event e ON e.seq = (SELECT max(seq) FROM event WHERE seq <= d.end_seq) \
             WHERE d.key = ?1"
        );
        let mut query = self.connection.prepare_cached(&sql)?;
        let mut rows = query.query([sql_key(key)?])?;
        rows.next()?.map(event_record).transpose()
    }

    /// How many tasks stand where.
    pub fn counts(&self) -> Result<Counts, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT status, count(*) FROM live GROUP BY status \
             UNION ALL SELECT status, count(*) FROM done GROUP BY status",
        )?;
        let mut counts = Counts { last_event: self.last_event()?, ..Counts::default() };
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let number = u64::try_from(row.get::<_, i64>(1)?).unwrap_or_default();
            match TaskStatus::from_code(row.get(0)?) {
                Some(TaskStatus::Pending) => counts.pending = number,
                Some(TaskStatus::Running) => counts.running = number,
                Some(TaskStatus::Paused) => counts.paused = number,
                Some(TaskStatus::Blocked) => counts.blocked = number,
                Some(TaskStatus::Completed) => counts.completed = number,
                Some(TaskStatus::Failed) => counts.failed = number,
                Some(TaskStatus::Cancelled) => counts.cancelled = number,
                Some(TaskStatus::Expired) => counts.expired = number,
                None => {}
            }
        }
        Ok(counts)
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

fn status_at(row: &Row<'_>, column: usize) -> Result<Option<TaskStatus>, StoreError> {
    Ok(row.get::<_, Option<u8>>(column)?.and_then(TaskStatus::from_code))
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

fn blob_len(row: &Row<'_>, column: usize) -> Result<usize, StoreError> {
    Ok(row.get_ref(column)?.as_blob_or_null().ok().flatten().map_or(0, <[u8]>::len))
}

fn task_record(row: &Row<'_>, now: Situation) -> Result<TaskRecord, StoreError> {
    let key = key_at(row, 0)?;
    let spec: TaskSpec = unpack(row.get_ref(4)?.as_blob().unwrap_or_default())?;
    let live = status_at(row, 5)?;
    let status = live
        .or(status_at(row, 9)?)
        .ok_or_else(|| StoreError::Corrupt(format!("task {key} is neither live nor done")))?;
    let attempt = row.get::<_, Option<u32>>(6)?.or(row.get(10)?).unwrap_or_default();
    let run_at: Option<UnixMillis> = row.get(7)?;
    let needs: u32 = row.get::<_, Option<u32>>(8)?.unwrap_or_default();
    let waiting_on = run_at
        .filter(|_| live == Some(TaskStatus::Pending))
        .map(|run_at| waiting_on(run_at, attempt, needs, now));
    let success: Option<Success> = packed_at(row, 12)?;
    let failure: Option<Failure> = packed_at(row, 13)?;
    Ok(TaskRecord {
        task_id: id_at(row, 1, key)?,
        key,
        status: status.name(),
        tag: row.get(2)?,
        worker: match spec.worker {
            WorkerSpec::HttpUpload(_) => "http_upload".to_owned(),
            WorkerSpec::Python(_) => "python".to_owned(),
        },
        priority: spec.priority,
        attempt,
        created_at_ms: row.get(3)?,
        run_at_ms: run_at,
        waiting_on,
        finished_at_ms: row.get(11)?,
        error_code: failure.as_ref().map(|failure| failure.code),
        http_status: match &failure {
            Some(failure) => failure.http_status,
            None => success.and_then(|success| success.http_status),
        },
        message: failure.map(|failure| failure.message).unwrap_or_default(),
    })
}

/// What a pending task waits for (spec/store.md, section 4).
fn waiting_on(run_at: UnixMillis, attempt: u32, needs: u32, now: Situation) -> &'static str {
    if run_at > now.now_ms {
        if attempt > 0 { "retry" } else { "time" }
    } else if needs & now.unmet & CONNECTED != 0 {
        "network"
    } else if needs & now.unmet & BATTERY_NOT_LOW != 0 {
        "battery"
    } else {
        "limit"
    }
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
    use crate::store::sqlite::{Durability, SqliteStore};

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
