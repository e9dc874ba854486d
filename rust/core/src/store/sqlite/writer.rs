//! The write side: effects to rows, one transaction a batch.
//!
//! Rows are gathered while a transaction is open and written when it waits or ends, so a task that
//! is stored, claimed and finished within one batch touches each table once.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use rusqlite::hooks::Wal;
use rusqlite::{Connection, OptionalExtension, Params, params};

use super::super::{Body, RunnerInfo, Selection, Store, StoreError};
use super::gathered::{DoneRow, EventRow, Gathered, Made, TaskRow};
use super::open::{Durability, create_private, open_writer, refuse_inherited};
use super::rows::{LAST_EVENT, LIVE_COLUMNS, key_at, live_row, pack, sql_key};
use super::schema::is_known;
use super::tags::{STRETCH, each_stretch};
use crate::engine::{Effect, End, Live, NewTask};
use crate::model::event::EventDetail;
use crate::model::{Epoch, TaskKey, TaskStatus, UnixMillis};
use crate::source::OffLimits;

/// At most this many runners are remembered, for people.
const RUNNERS_KEPT: i64 = 100;

/// The write side of a store in one SQLite file.
pub struct SqliteStore {
    connection: Connection,
    path: PathBuf,
    durability: Durability,
    /// How long the WAL was after the last commit, in pages of 4 KiB.
    wal_pages: Arc<AtomicI32>,
    gathered: Gathered,
    /// The last event that we have seen, or written and committed.
    seen_seq: i64,
    /// Whether the open transaction has looked at what others did since then, if there is anything.
    has_looked: bool,
    /// The last event, with those of the open transaction.
    last_seq: i64,
    /// The files of the store: to open one and close it takes SQLite's locks away.
    files: OffLimits,
    /// Whether what was moved out of the WAL may be lost.
    pub(super) is_doubtful: Cell<bool>,
}

impl SqliteStore {
    /// Opens the file, or makes it with mode 0600, and brings it to the newest version.
    pub fn open(path: &Path, durability: Durability) -> Result<Self, StoreError> {
        create_private(path)?;
        refuse_inherited(path)?;
        // From before SQLite opens it: a process that is forked now must not open it, too.
        let _opening = OffLimits::new([path.to_owned()]);
        let mut connection = open_writer(path, durability)?;
        let wal_pages = Arc::new(AtomicI32::new(0));
        let counter = Arc::clone(&wal_pages);
        connection.wal_hook(Some(move |_: &mut Wal, pages| {
            counter.store(pages, Ordering::Relaxed);
            Ok(())
        }))?;
        let mut store = Self {
            connection,
            path: path.to_owned(),
            durability,
            wal_pages,
            gathered: Gathered::new(),
            seen_seq: 0,
            has_looked: false,
            last_seq: 0,
            files: OffLimits::new(files(path)),
            is_doubtful: Cell::new(false),
        };
        store.seen_seq = store.max_seq()?;
        store.last_seq = store.seen_seq;
        Ok(store)
    }

    /// Opens the file again. After a commit that failed, pages that never reached the disk may
    /// count as written: only another connection reads what is there. SOURCE: "fsyncgate", 2018.
    pub fn reopen(&mut self) -> Result<(), StoreError> {
        self.rollback();
        self.look_at_files()?;
        // What others have done meanwhile is still to be told.
        let seen_seq = self.seen_seq;
        *self = Self { seen_seq, ..Self::open(&self.path, self.durability)? };
        Ok(())
    }

    /// Errors where the files are not those that were opened: what is written goes nowhere.
    fn look_at_files(&self) -> Result<(), StoreError> {
        if self.files.are_in_place() {
            return Ok(());
        }
        Err(StoreError::Unavailable(format!(
            "the files of the store {} were removed or replaced while it was in use, as another SQLite in \
             this process does when it closes them; nothing is taken in any more: close the manager, and \
             open it again",
            self.path.display()
        )))
    }

    pub(super) const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The last event that this process has looked at.
    pub(super) const fn seen_seq(&self) -> i64 {
        self.seen_seq
    }

    /// The last event that this process has seen or written.
    pub const fn last_seq(&self) -> i64 {
        self.last_seq
    }

    /// How long the WAL was after the last commit, in pages of 4 KiB.
    pub fn wal_pages(&self) -> i32 {
        self.wal_pages.load(Ordering::Relaxed)
    }

    /// A number that changes whenever another connection has committed. Costs no disk access.
    pub fn data_version(&self) -> Result<i64, StoreError> {
        let mut statement = self.connection.prepare_cached("PRAGMA data_version")?;
        Ok(statement.query_row([], |row| row.get(0))?)
    }

    /// Whether a task runs, or is due, anywhere. O(n) in the live tasks at worst.
    pub fn has_due(&self, now_ms: UnixMillis) -> Result<bool, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT EXISTS(SELECT 1 FROM live WHERE status=?1 OR (status=?2 AND run_at<=?3))",
        )?;
        let (running, pending) = (TaskStatus::Running.code(), TaskStatus::Pending.code());
        Ok(statement.query_row((running, pending, now_ms), |row| row.get(0))?)
    }

    /// When a task was enqueued.
    pub fn created_at(&self, key: TaskKey) -> Result<Option<UnixMillis>, StoreError> {
        let mut statement =
            self.connection.prepare_cached("SELECT created_at FROM task WHERE key=?1")?;
        Ok(statement.query_row([sql_key(key)?], |row| row.get(0)).optional()?)
    }

    /// Says when a task was enqueued, after all. Needs an open transaction.
    pub fn set_created_at(&self, key: TaskKey, at: UnixMillis) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("UPDATE task SET created_at=?2 WHERE key=?1")?
            .execute(params![sql_key(key)?, at])?;
        Ok(())
    }

    /// How many tasks live. O(n).
    pub fn count_live(&self) -> Result<usize, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT count(*) FROM live")?;
        let number: i64 = statement.query_row([], |row| row.get(0))?;
        Ok(usize::try_from(number).unwrap_or_default())
    }

    /// The highest key of a stored task.
    pub(super) fn max_key(&self) -> Result<TaskKey, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT max(key) FROM task")?;
        let key: Option<i64> = statement.query_row([], |row| row.get(0))?;
        Ok(key.and_then(|key| u64::try_from(key).ok()).unwrap_or_default())
    }

    pub(super) fn max_seq(&self) -> Result<i64, StoreError> {
        let mut statement = self.connection.prepare_cached(LAST_EVENT)?;
        Ok(statement.query_row([], |row| row.get(0)).optional()?.unwrap_or(0))
    }

    /// Writes what the transaction has gathered, for what has to see it.
    fn write_out(&mut self) -> Result<(), StoreError> {
        self.gathered.write(&self.connection)
    }

    fn insert(&mut self, live: &Live, task: &NewTask, at: UnixMillis) {
        let first_seq = self.last_seq + 1;
        let row = TaskRow { key: live.key, task: task.clone(), at, first_seq };
        self.gathered.task(row, live.clone());
    }

    fn alive(&mut self, key: Option<TaskKey>) -> Result<Vec<TaskKey>, StoreError> {
        let live = key.map(|key| self.live(key)).transpose()?.flatten();
        Ok(live.map(|live| live.key).into_iter().collect())
    }

    fn keys(&self, sql: &str, arguments: impl Params) -> Result<Vec<TaskKey>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(arguments, |row| key_at(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The tasks that live and have that tag.
    fn tagged(&self, tag: &str) -> Result<Vec<TaskKey>, StoreError> {
        let oldest = self.keys("SELECT key FROM live ORDER BY key LIMIT 1", params![])?;
        let Some(oldest) = oldest.first() else { return Ok(Vec::new()) };
        let sql = format!(
            "SELECT task.key FROM task JOIN live USING(key) WHERE {STRETCH}=?1 AND tag=?2 \
             ORDER BY task.key"
        );
        let mut found = Vec::new();
        each_stretch(&self.connection, oldest.checked_sub(1), |stretch| {
            found.extend(self.keys(&sql, params![stretch, tag])?);
            Ok(true)
        })?;
        Ok(found)
    }
}

/// The files of a store that SQLite has open.
fn files(path: &Path) -> impl Iterator<Item = PathBuf> {
    // SQLite follows a link before it names the other two.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    ["", "-wal", "-shm"].into_iter().map(move |end| {
        let mut file = path.clone().into_os_string();
        file.push(end);
        file.into()
    })
}

impl Store for SqliteStore {
    fn begin(&mut self) -> Result<(), StoreError> {
        self.gathered.clear();
        self.look_at_files()?;
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        is_known(&self.connection)?;
        self.last_seq = self.max_seq()?;
        self.has_looked = self.last_seq == self.seen_seq;
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.write_out()?;
        outhaul_vfs::commit(&self.connection)?;
        self.look_at_files()?;
        // What nobody has looked at is told by the next transaction that asks.
        if self.has_looked {
            self.seen_seq = self.last_seq;
        }
        Ok(())
    }

    fn rollback(&mut self) {
        self.gathered.clear();
        if !self.connection.is_autocommit() {
            // Fails only where SQLite has rolled back by itself, which is what is wanted.
            drop(self.connection.execute_batch("ROLLBACK"));
        }
    }

    fn apply(&mut self, effects: &[Effect]) -> Result<(), StoreError> {
        for effect in effects {
            match effect {
                Effect::Insert { live, task, at } => self.insert(live, task, *at),
                Effect::Update(live) => self.gathered.live(live),
                Effect::Finish { key, status, at, attempt, end } => {
                    let (success, failure) = match end {
                        End::Success(success) => (Some(pack(success)?), None),
                        End::Failure(failure) => (None, Some(pack(failure)?)),
                    };
                    self.gathered.done(DoneRow {
                        key: *key,
                        status: *status,
                        at: *at,
                        attempt: *attempt,
                        // The engine records the event that says so right after this.
                        end_seq: self.last_seq + 1,
                        success,
                        failure,
                    });
                }
                Effect::Record { at, kind, key, detail } => {
                    self.last_seq += 1;
                    let says_more = *detail != EventDetail::default();
                    self.gathered.event(EventRow {
                        seq: self.last_seq,
                        at: *at,
                        kind: *kind,
                        key: *key,
                        more: 0,
                        detail: says_more.then(|| pack(detail)).transpose()?,
                    });
                }
                Effect::Start { .. } | Effect::Stop { .. } => {}
            }
        }
        Ok(())
    }

    fn foreign_changes(&mut self) -> Result<Vec<TaskKey>, StoreError> {
        if self.has_looked {
            return Ok(Vec::new());
        }
        // A row is of one transaction, and so all new or all seen.
        let mut statement = self
            .connection
            .prepare_cached("SELECT key, more FROM event WHERE seq > ?1 AND seq <= ?2")?;
        let mut rows = statement.query([self.seen_seq, self.last_seq])?;
        let mut keys = BTreeSet::new();
        while let Some(row) = rows.next()? {
            let first = key_at(row, 0)?;
            keys.extend(first..=first + TaskKey::from(row.get::<_, u8>(1)?));
        }
        self.has_looked = true;
        Ok(keys.into_iter().collect())
    }

    fn begin_epoch(&mut self, runner: &RunnerInfo) -> Result<Epoch, StoreError> {
        self.connection.execute(
            "INSERT INTO runner(host, pid, started_at) VALUES (?1, ?2, ?3)",
            params![runner.host, runner.pid, runner.at],
        )?;
        let epoch = self.connection.last_insert_rowid();
        let oldest = epoch.saturating_sub(RUNNERS_KEPT);
        self.connection.execute("DELETE FROM runner WHERE epoch <= ?1", [oldest])?;
        Ok(epoch)
    }

    fn last_epoch(&mut self) -> Result<Epoch, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT max(epoch) FROM runner")?;
        let epoch: Option<Epoch> = statement.query_row([], |row| row.get(0))?;
        Ok(epoch.unwrap_or_default())
    }

    fn end_epoch(&mut self, epoch: Epoch, at: UnixMillis) -> Result<(), StoreError> {
        self.connection
            .execute("UPDATE runner SET ended_at=?2 WHERE epoch=?1", params![epoch, at])?;
        Ok(())
    }

    fn last_key(&mut self) -> Result<TaskKey, StoreError> {
        self.max_key()
    }

    fn newest(&mut self, task_id: &str) -> Result<Option<TaskKey>, StoreError> {
        self.gathered.newest(&self.connection, task_id)
    }

    fn live(&mut self, key: TaskKey) -> Result<Option<Live>, StoreError> {
        match self.gathered.made_of(key) {
            Made::Live(live) => return Ok(Some(live.clone())),
            Made::Gone => return Ok(None),
            Made::Nothing => {}
        }
        let mut statement = self
            .connection
            .prepare_cached(&format!("SELECT key, {LIVE_COLUMNS} FROM live WHERE key=?1"))?;
        Ok(statement.query_row([sql_key(key)?], live_row).optional()?)
    }

    fn each_live(&mut self, take: &mut dyn FnMut(Live)) -> Result<(), StoreError> {
        self.write_out()?;
        let mut statement = self
            .connection
            .prepare(&format!("SELECT key, {LIVE_COLUMNS} FROM live ORDER BY key"))?;
        for live in statement.query_map([], live_row)? {
            take(live?);
        }
        self.has_looked = true;
        Ok(())
    }

    fn select(&mut self, selection: &Selection) -> Result<Vec<TaskKey>, StoreError> {
        self.write_out()?;
        match selection {
            Selection::Key(key) => self.alive(Some(*key)),
            Selection::TaskId(task_id) => {
                let key = self.newest(task_id)?;
                self.alive(key)
            }
            Selection::Tag(tag) => self.tagged(tag),
            Selection::All => self.keys("SELECT key FROM live ORDER BY key", params![]),
        }
    }

    fn body(&mut self, key: TaskKey) -> Result<Option<Body>, StoreError> {
        if let Some(body) = self.gathered.body_of(key) {
            return Ok(Some(body));
        }
        let mut statement = self
            .connection
            .prepare_cached("SELECT task_id, tag, spec, admitted FROM task WHERE key=?1")?;
        let row = statement.query_row([sql_key(key)?], |row| {
            Ok(Body {
                task_id: row.get::<_, Option<String>>(0)?.map(Into::into),
                tag: row.get::<_, Option<String>>(1)?.map(Into::into),
                spec: row.get::<_, Vec<u8>>(2)?.into(),
                admitted: row.get::<_, Vec<u8>>(3)?.into(),
            })
        });
        Ok(row.optional()?)
    }
}
