//! Retention: what ended long ago goes, a bounded piece at a time.
//!
//! A walk scans the log from its beginning, under limits that are fixed when it begins. On reaching
//! the event that ended a task it deletes the task's rows. A row of the log is deleted once every
//! task it mentions is gone or may go. So a walk that is cut short leaves no row about no task, and
//! no index is needed.

use rusqlite::OptionalExtension;

use super::super::StoreError;
use super::rows::{key_at, sql_key};
use super::writer::SqliteStore;
use crate::model::{EventKind, TaskKey, TaskStatus, UnixMillis};

/// How long what has ended is kept. `None` keeps it forever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Completed tasks, in milliseconds after their end.
    pub completed_ms: Option<i64>,
    /// At most this many completed tasks; the oldest go.
    pub completed_max: Option<u64>,
    /// Tasks that failed, expired or were cancelled, in milliseconds after their end.
    pub failed_ms: Option<i64>,
}

/// A piece counts this many times as many events as it would look at: that takes no longer.
const COUNTED_TIMES: usize = 10;

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
    /// … or not after this event, once that is known.
    completed_upto: i64,
    /// Looks for that event.
    counting: Option<Counting>,
    /// Others go that ended before this.
    failed_before: UnixMillis,
}

/// Counts completed tasks from the end of the log, where those are that stay.
#[derive(Clone, Copy, Debug)]
struct Counting {
    /// Counted down to this event.
    below: i64,
    /// How many more stay.
    room: i64,
}

/// What a piece of a walk did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Tasks that are gone now.
    pub tasks: usize,
    /// Whether it has only counted: which tasks may go is not known yet.
    pub is_counting: bool,
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
            // What others did and we have not looked at is for the next walk.
            until: self.seen_seq(),
            newest: self.max_key()?,
            completed_before: before(keep.completed_ms),
            completed_upto: 0,
            counting: keep.completed_max.map(|most| Counting {
                below: self.seen_seq().saturating_add(1),
                room: i64::try_from(most).unwrap_or(i64::MAX),
            }),
            failed_before: before(keep.failed_ms),
        })
    }

    /// Goes on with a walk, through `max` events or a few more. Needs an open transaction.
    pub fn prune(&mut self, walk: &mut PruneWalk, max: usize) -> Result<Pruned, StoreError> {
        if let Some(counting) = walk.counting.take() {
            (walk.completed_upto, walk.counting) = self.count(counting, max * COUNTED_TIMES)?;
            return Ok(Pruned { is_counting: true, ..Pruned::default() });
        }
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

    /// Gives at most that many free pages back to the file system.
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

    /// Counts on, through `max` rows of the log: the event up to which completed tasks are more
    /// than may stay, or how far it is. The event is 0 where they are not more.
    fn count(&self, counting: Counting, max: usize) -> Result<(i64, Option<Counting>), StoreError> {
        let Counting { mut below, mut room } = counting;
        let limit = i64::try_from(max).unwrap_or(i64::MAX);
        let mut statement = self.connection().prepare_cached(
            "SELECT seq, more, kind FROM event WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2",
        )?;
        let mut rows = statement.query([below, limit])?;
        let mut looked_at = 0;
        while let Some(row) = rows.next()? {
            looked_at += 1;
            below = row.get(0)?;
            if row.get::<_, u8>(2)? != EventKind::Completed.code() {
                continue;
            }
            let more = row.get::<_, i64>(1)?;
            if more >= room {
                return Ok((below.saturating_add(more).saturating_sub(room), None));
            }
            room -= more + 1;
        }
        Ok((0, (looked_at == max).then_some(Counting { below, room })))
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
