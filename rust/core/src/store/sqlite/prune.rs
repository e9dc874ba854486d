//! Retention: what ended long ago goes, a bounded piece at a time.
//!
//! A walk goes through the log from its beginning, under limits that are fixed when it begins. With the
//! event that ended a task, its last, go the task's rows, and with them what the log says of it; a row of
//! the log goes itself once every task that it is about is gone or may go. So none is left that is about
//! no task, however the walk is cut short, and no index is needed.

use rusqlite::OptionalExtension;

use super::super::StoreError;
use super::rows::{key_at, sql_key};
use super::writer::SqliteStore;
use crate::model::{EventKind, TaskKey, TaskStatus, UnixMillis};

/// How long what has ended is kept. `None` is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Completed tasks, in milliseconds after their end.
    pub completed_ms: Option<i64>,
    /// At most so many completed tasks; the oldest go.
    pub completed_max: Option<u64>,
    /// Tasks that failed, expired or were cancelled, in milliseconds after their end.
    pub failed_ms: Option<i64>,
}

impl Default for Retention {
    fn default() -> Self {
        const DAY_MS: i64 = 24 * 60 * 60 * 1000;
        Self {
            completed_ms: Some(DAY_MS),
            completed_max: Some(100_000),
            failed_ms: Some(30 * DAY_MS),
        }
    }
}

/// One walk through the log.
#[derive(Clone, Debug, Default)]
pub struct PruneWalk {
    /// The last event that was looked at.
    seen: i64,
    /// The last event that there was when it began.
    until: i64,
    /// The last key ever given, which stays: keys are never reused.
    newest: TaskKey,
    /// Completed tasks go that ended before this …
    completed_before: UnixMillis,
    /// … or not after this event.
    completed_upto: i64,
    /// Others go that ended before this.
    failed_before: UnixMillis,
}

/// What a piece of a walk did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Tasks that are gone now.
    pub tasks: usize,
    /// Whether the walk has come to its end.
    pub is_over: bool,
}

/// A row of the log: the event of a task, and of some more after it.
struct LogRow {
    seq: i64,
    key: TaskKey,
    more: u8,
}

impl LogRow {
    /// Their numbers, and the tasks that they are about.
    fn events(&self) -> impl Iterator<Item = (i64, TaskKey)> + use<> {
        (self.seq..).zip(self.key..=self.key + TaskKey::from(self.more))
    }
}

/// What becomes of a task.
enum Fate {
    /// It is not there any more.
    Gone,
    /// It lives, or is kept.
    Stays,
    /// It may go, with its last event.
    Goes { end_seq: i64 },
}

impl SqliteStore {
    /// Begins a walk: fixes what may go.
    pub fn prune_walk(&self, keep: &Retention, now: UnixMillis) -> Result<PruneWalk, StoreError> {
        let before = |kept: Option<i64>| kept.map_or(i64::MIN, |kept| now.saturating_sub(kept));
        Ok(PruneWalk {
            seen: 0,
            until: self.max_seq()?,
            newest: self.max_key()?,
            completed_before: before(keep.completed_ms),
            completed_upto: match keep.completed_max {
                Some(most) => self.completed_beyond(most)?,
                None => 0,
            },
            failed_before: before(keep.failed_ms),
        })
    }

    /// Goes on with a walk, through `max` events or a few more. Needs an open transaction.
    pub fn prune(&mut self, walk: &mut PruneWalk, max: usize) -> Result<Pruned, StoreError> {
        let mut pruned = Pruned::default();
        let mut looked_at = 0;
        let mut last_gone = None;
        for row in self.rows_between(walk.seen, walk.until, max)? {
            let mut is_about_none = true;
            for (seq, key) in row.events() {
                looked_at += 1;
                walk.seen = seq;
                match self.fate(walk, key)? {
                    Fate::Gone => {}
                    Fate::Stays => is_about_none = false,
                    Fate::Goes { end_seq } => {
                        last_gone = Some(seq);
                        if seq == end_seq {
                            self.forget(key)?;
                            pruned.tasks += 1;
                        }
                    }
                }
            }
            if is_about_none {
                self.connection()
                    .prepare_cached("DELETE FROM event WHERE seq=?1")?
                    .execute([row.seq])?;
            }
            if looked_at >= max {
                break;
            }
        }
        if let Some(seq) = last_gone {
            self.connection()
                .prepare_cached("UPDATE log SET pruned_seq=max(pruned_seq, ?1)")?
                .execute([seq])?;
        }
        pruned.is_over = self.rows_between(walk.seen, walk.until, 1)?.is_empty();
        Ok(pruned)
    }

    /// What becomes of a task, and of what the log says of it.
    fn fate(&self, walk: &PruneWalk, key: TaskKey) -> Result<Fate, StoreError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT status, finished_at, end_seq FROM task LEFT JOIN done USING(key) WHERE key=?1",
        )?;
        let row = statement.query_row([sql_key(key)?], |row| {
            Ok((row.get::<_, Option<u8>>(0)?, row.get(1)?, row.get(2)?))
        });
        Ok(match row.optional()? {
            None => Fate::Gone,
            // What ended since the walk began is for the next one, and the last event of all stays:
            // numbers are never reused.
            Some((Some(status), Some(finished_at), Some(end_seq)))
                if end_seq < walk.until && walk.may_go(key, status, finished_at, end_seq) =>
            {
                Fate::Goes { end_seq }
            }
            Some(_) => Fate::Stays,
        })
    }

    /// Gives pages that are free now back to the file system, at most so many.
    pub fn vacuum(&self, pages: u32) -> Result<(), StoreError> {
        // It frees a page with each step.
        let mut statement =
            self.connection().prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        Ok(())
    }

    /// The log's rows after an event, up to another: rows are never begun in their middle.
    fn rows_between(&self, after: i64, until: i64, max: usize) -> Result<Vec<LogRow>, StoreError> {
        let limit = i64::try_from(max).unwrap_or(i64::MAX);
        let mut statement = self.connection().prepare_cached(
            "SELECT seq, key, more FROM event WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3",
        )?;
        let rows = statement.query_map([after, until, limit], |row| {
            Ok(LogRow { seq: row.get(0)?, key: key_at(row, 1)?, more: row.get(2)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The event up to which completed tasks are more than the `most` that were completed last; 0
    /// where they are not. As the log counts them, from its end.
    fn completed_beyond(&self, most: u64) -> Result<i64, StoreError> {
        let mut statement = self
            .connection()
            .prepare_cached("SELECT seq, more FROM event WHERE kind=?1 ORDER BY seq DESC")?;
        let mut rows = statement.query([EventKind::Completed.code()])?;
        let mut room = i64::try_from(most).unwrap_or(i64::MAX);
        while let Some(row) = rows.next()? {
            let last = row.get::<_, i64>(0)?.saturating_add(row.get(1)?);
            let number = row.get::<_, i64>(1)?.saturating_add(1);
            if number > room {
                return Ok(last.saturating_sub(room));
            }
            room = room.saturating_sub(number);
        }
        Ok(0)
    }

    fn forget(&self, key: TaskKey) -> Result<(), StoreError> {
        let sql = sql_key(key)?;
        for statement in [
            "DELETE FROM name WHERE key=?1 AND task_id=(SELECT task_id FROM task WHERE key=?1)",
            "DELETE FROM done WHERE key=?1",
            "DELETE FROM task WHERE key=?1",
        ] {
            self.connection().prepare_cached(statement)?.execute([sql])?;
        }
        Ok(())
    }
}

impl PruneWalk {
    fn may_go(&self, key: TaskKey, status: u8, finished_at: UnixMillis, end_seq: i64) -> bool {
        if key == self.newest {
            return false;
        }
        if status == TaskStatus::Completed.code() {
            finished_at < self.completed_before || end_seq <= self.completed_upto
        } else {
            finished_at < self.failed_before
        }
    }
}
