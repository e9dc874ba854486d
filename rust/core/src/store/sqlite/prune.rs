//! Retention: what ended long ago goes, a bounded piece at a time.
//!
//! A walk goes through the log from its beginning, under limits that are fixed when it begins. An
//! event goes if its task may go; with the event that ended a task, its last, go the task's rows. No
//! event is left without its task, however the walk is cut short, and no index is needed.

use rusqlite::{OptionalExtension, params};

use super::super::StoreError;
use super::rows::{key_at, sql_key};
use super::writer::SqliteStore;
use crate::model::{TaskKey, TaskStatus, UnixMillis};

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
#[derive(Clone, Debug)]
pub struct PruneWalk {
    /// The last event that was looked at.
    seen: i64,
    /// The last event that there was when it began.
    until: i64,
    /// The last key ever given, which stays: keys are never reused.
    newest: TaskKey,
    /// Completed tasks go that ended before this …
    completed_before: UnixMillis,
    /// … or whose key is not above this.
    completed_upto: TaskKey,
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

    /// Goes on with a walk, through at most `max` events. Needs an open transaction.
    pub fn prune(&mut self, walk: &mut PruneWalk, max: usize) -> Result<Pruned, StoreError> {
        let mut pruned = Pruned::default();
        let mut last_gone = None;
        let limit = i64::try_from(max).unwrap_or(i64::MAX);
        for (seq, key) in self.events_between(walk.seen, walk.until, limit)? {
            walk.seen = seq;
            let Some((status, finished_at, end_seq)) = self.ending(key)? else { continue };
            // What ended since the walk began is for the next one, and the last event of all stays:
            // numbers are never reused.
            if end_seq >= walk.until || !walk.may_go(key, status, finished_at) {
                continue;
            }
            self.connection().prepare_cached("DELETE FROM event WHERE seq=?1")?.execute([seq])?;
            last_gone = Some(seq);
            if seq == end_seq {
                self.forget(key)?;
                pruned.tasks += 1;
            }
        }
        if let Some(seq) = last_gone {
            self.connection()
                .prepare_cached("UPDATE log SET pruned_seq=max(pruned_seq, ?1)")?
                .execute([seq])?;
        }
        pruned.is_over = !self.has_events_between(walk.seen, walk.until)?;
        Ok(pruned)
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

    fn events_between(
        &self,
        after: i64,
        until: i64,
        limit: i64,
    ) -> Result<Vec<(i64, TaskKey)>, StoreError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT seq, key FROM event WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3",
        )?;
        let rows = statement
            .query_map([after, until, limit], |row| Ok((row.get::<_, i64>(0)?, key_at(row, 1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn has_events_between(&self, after: i64, until: i64) -> Result<bool, StoreError> {
        Ok(!self.events_between(after, until, 1)?.is_empty())
    }

    /// How and when a task ended, and the number of the event that says so.
    fn ending(&self, key: TaskKey) -> Result<Option<(u8, UnixMillis, i64)>, StoreError> {
        let mut statement = self
            .connection()
            .prepare_cached("SELECT status, finished_at, end_seq FROM done WHERE key=?1")?;
        let row =
            statement.query_row([sql_key(key)?], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        Ok(row.optional()?)
    }

    /// The key up to which completed tasks are more than the newest `most`; 0 where they are not.
    fn completed_beyond(&self, most: u64) -> Result<TaskKey, StoreError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT key FROM done WHERE status=?1 ORDER BY key DESC LIMIT 1 OFFSET ?2",
        )?;
        let offset = i64::try_from(most).unwrap_or(i64::MAX);
        let key = statement
            .query_row(params![TaskStatus::Completed.code(), offset], |row| key_at(row, 0));
        Ok(key.optional()?.unwrap_or_default())
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
    fn may_go(&self, key: TaskKey, status: u8, finished_at: UnixMillis) -> bool {
        if key == self.newest {
            return false;
        }
        if status == TaskStatus::Completed.code() {
            finished_at < self.completed_before || key <= self.completed_upto
        } else {
            finished_at < self.failed_before
        }
    }
}
