//! Questions about tasks.

use rusqlite::types::Value;
use rusqlite::{Row, Rows, params, params_from_iter};
use rustc_hash::FxHashSet;

use super::{Reader, begins_so, id_at, packed_at};
use crate::model::constraint::{BATTERY_NOT_LOW, NETWORK};
use crate::model::spec::{TaskSpec, WorkerSpec};
use crate::model::{Failure, Success, TaskKey, TaskStatus, UnixMillis};
use crate::store::StoreError;
use crate::store::record::{Counts, TaskRecord};
use crate::store::sqlite::names::newest;
use crate::store::sqlite::rows::{key_at, sql_key, unpack};
use crate::store::sqlite::tags::{STRETCH, each_stretch};

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
    /// At most this many.
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

const TASK_COLUMNS: &str = "t.key, t.task_id, t.tag, t.created_at, t.spec, \
    l.status, l.attempt, l.run_at, l.needs, d.status, d.attempt, d.finished_at, d.success, coalesce(d.failure, l.failure)";

impl Reader {
    /// The newest task with that id.
    pub fn key_of(&self, task_id: &str) -> Result<Option<TaskKey>, StoreError> {
        newest(&self.connection, task_id)
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
        let mut found = Vec::new();
        if want.tag.is_none() {
            self.add_tasks(want, None, now, &mut found)?;
            return Ok(found);
        }
        // One state of the store for all stretches.
        let _transaction = self.connection.unchecked_transaction()?;
        let full = usize::try_from(want.limit).unwrap_or(usize::MAX);
        each_stretch(&self.connection, Some(want.after), |stretch| {
            self.add_tasks(want, Some(stretch), now, &mut found)?;
            Ok(found.len() < full)
        })?;
        Ok(found)
    }

    /// Adds the tasks that match to those that were found: of one stretch, or of all.
    fn add_tasks(
        &self,
        want: &TaskFilter,
        stretch: Option<i64>,
        now: Situation,
        found: &mut Vec<TaskRecord>,
    ) -> Result<(), StoreError> {
        let mut sql = format!(
            "SELECT {TASK_COLUMNS} FROM task t LEFT JOIN live l USING(key) \
             LEFT JOIN done d USING(key) WHERE t.key > ?"
        );
        let mut values = vec![Value::Integer(sql_key(want.after)?)];
        if let (Some(stretch), Some(tag)) = (stretch, &want.tag) {
            sql.push_str(" AND t.");
            sql.push_str(STRETCH);
            sql.push_str(" = ? AND t.tag = ?");
            values.extend([Value::Integer(stretch), Value::Text(tag.clone())]);
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
        let room = i64::from(want.limit) - i64::try_from(found.len()).unwrap_or(i64::MAX);
        values.push(Value::Integer(room));
        let mut query = self.connection.prepare_cached(&sql)?;
        let mut rows = query.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            found.push(task_record(row, now)?);
        }
        Ok(())
    }

    /// Every tag that a stored task has, sorted.
    ///
    /// Walks along the index, and past a tag that many tasks of a stretch have: the cost is that of
    /// the tasks, or of the tags in each stretch, whichever is less.
    pub fn tags(&self) -> Result<Vec<String>, StoreError> {
        let mut query = self.connection.prepare_cached(&format!(
            "SELECT tag FROM task INDEXED BY task_by_tag WHERE {STRETCH} = ?1 AND tag >= ?2 ORDER BY tag"
        ))?;
        let _transaction = self.connection.unchecked_transaction()?;
        let mut tags = FxHashSet::default();
        each_stretch(&self.connection, None, |stretch| {
            let mut from = Some(String::new());
            while let Some(tag) = from.take() {
                from = add_tags(query.query(params![stretch, tag])?, &mut tags)?;
            }
            Ok(true)
        })?;
        let mut tags: Vec<String> = tags.into_iter().collect();
        tags.sort_unstable();
        Ok(tags)
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
}

fn status_at(row: &Row<'_>, column: usize) -> Result<Option<TaskStatus>, StoreError> {
    Ok(row.get::<_, Option<u8>>(column)?.and_then(TaskStatus::from_code))
}

/// A tag that comes this often is walked past.
const SAME_TAG_MAX: u32 = 8;

/// Adds what the rows say, until a tag has come often: where the next one may begin.
fn add_tags(
    mut rows: Rows<'_>,
    tags: &mut FxHashSet<String>,
) -> Result<Option<String>, StoreError> {
    let (mut last, mut times) = (String::new(), 0);
    while let Some(row) = rows.next()? {
        let tag =
            row.get_ref(0)?.as_str().map_err(|error| StoreError::Corrupt(error.to_string()))?;
        if times == 0 || tag != last {
            tag.clone_into(&mut last);
            times = 0;
            if !tags.contains(tag) {
                tags.insert(tag.to_owned());
            }
        }
        times += 1;
        if times == SAME_TAG_MAX {
            last.push('\0');
            return Ok(Some(last));
        }
    }
    Ok(None)
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
    let (worker, file_path, callback_id) = match spec.worker {
        WorkerSpec::HttpUpload(upload) => ("http_upload", Some(upload.file_path), None),
        WorkerSpec::Python(python) => ("python", None, Some(python.callback_id)),
    };
    Ok(TaskRecord {
        task_id: id_at(row, 1, key)?,
        key,
        status: status.name(),
        tag: row.get(2)?,
        worker,
        file_path,
        callback_id,
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
    } else if needs & now.unmet & NETWORK != 0 {
        "network"
    } else if needs & now.unmet & BATTERY_NOT_LOW != 0 {
        "battery"
    } else {
        "limit"
    }
}
