//! Where tasks live. A store knows rows and transactions and no rules.
//!
//! One writer at a time: [`Store::begin`] takes the write lock, effects are applied, and
//! [`Store::commit`] returns when they are on disk. What others changed in between is told by
//! [`Store::foreign_changes`]. The trait is shaped for a server database too: claims and
//! completions come in batches, and completions are fenced by the engine's `(key, epoch, attempt)`.

mod error;
pub mod memory;
pub mod record;
pub mod sqlite;

use std::sync::Arc;

use bytes::Bytes;

use crate::engine::{Effect, Live, NewTask};
use crate::model::{Epoch, TaskKey, UnixMillis};
pub use error::StoreError;

/// The immutable part of a task, as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The user's id, or `None` for a generated one.
    pub task_id: Option<Arc<str>>,
    /// The user's label.
    pub tag: Option<Arc<str>>,
    /// The specification, byte for byte.
    pub spec: Bytes,
    /// What admission found out.
    pub admitted: Bytes,
}

impl Body {
    /// Of a task that is being stored.
    fn of(task: &NewTask) -> Self {
        Self {
            task_id: task.task_id.clone(),
            tag: task.tag.clone(),
            spec: task.spec.clone(),
            admitted: task.admitted.clone(),
        }
    }
}

/// Which live tasks are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// One, by its internal key.
    Key(TaskKey),
    /// One, by the user's id.
    TaskId(String),
    /// All that share a tag.
    Tag(String),
    /// All.
    All,
}

/// Who runs tasks, for people who read the store.
#[derive(Clone, Debug)]
pub struct RunnerInfo {
    /// The host's name.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// When it began.
    pub at: UnixMillis,
}

/// The write side of a store. Every method but `begin` and `rollback` needs an open transaction.
pub trait Store: Send {
    /// Takes the write lock.
    fn begin(&mut self) -> Result<(), StoreError>;

    /// Makes everything since `begin` durable, or fails and keeps nothing of it.
    fn commit(&mut self) -> Result<(), StoreError>;

    /// Gives up everything since `begin`. Harmless without a transaction.
    fn rollback(&mut self);

    /// Stores the durable effects; ignores the others. What cannot be stored is refused now or by
    /// `commit`.
    fn apply(&mut self, effects: &[Effect]) -> Result<(), StoreError>;

    /// The tasks that others changed since our last commit, each once.
    fn foreign_changes(&mut self) -> Result<Vec<TaskKey>, StoreError>;

    /// A new runner's number, and who it is.
    fn begin_epoch(&mut self, runner: &RunnerInfo) -> Result<Epoch, StoreError>;

    /// The newest epoch that was given; 0 where there is none.
    fn last_epoch(&mut self) -> Result<Epoch, StoreError>;

    /// That runner stopped in good order.
    fn end_epoch(&mut self, epoch: Epoch, at: UnixMillis) -> Result<(), StoreError>;

    /// The highest key ever given.
    fn last_key(&mut self) -> Result<TaskKey, StoreError>;

    /// The newest task with that id, whether it still lives or not.
    fn newest(&mut self, task_id: &str) -> Result<Option<TaskKey>, StoreError>;

    /// The narrow row of a task that lives.
    fn live(&mut self, key: TaskKey) -> Result<Option<Live>, StoreError>;

    /// Every narrow row, in order of key.
    fn each_live(&mut self, take: &mut dyn FnMut(Live)) -> Result<(), StoreError>;

    /// The live tasks that are meant, in order of key.
    fn select(&mut self, selection: &Selection) -> Result<Vec<TaskKey>, StoreError>;

    /// The body of a task.
    fn body(&mut self, key: TaskKey) -> Result<Option<Body>, StoreError>;
}
