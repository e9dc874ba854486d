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

use crate::engine::{Effect, Live};
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
    pub spec: Arc<[u8]>,
    /// What admission found out.
    pub admitted: Arc<[u8]>,
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

    /// Stores the durable effects; ignores the others.
    fn apply(&mut self, effects: &[Effect]) -> Result<(), StoreError>;

    /// The tasks that others changed since our last commit, each once.
    fn foreign_changes(&mut self) -> Result<Vec<TaskKey>, StoreError>;

    /// A new runner's number, and who it is.
    fn begin_epoch(&mut self, runner: &RunnerInfo) -> Result<Epoch, StoreError>;

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

/// The id shown for a task that the user gave none: `oh_` and 13 digits of base 32, ordered by time.
pub fn generated_id(key: TaskKey) -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let digit = |place: u32| {
        let at = usize::try_from((key >> (5 * place)) & 31).unwrap_or_default();
        char::from(DIGITS.get(at).copied().unwrap_or(b'0'))
    };
    std::iter::once("oh_".to_owned())
        .chain((0..13).rev().map(|place| digit(place).into()))
        .collect()
}

/// The key behind a generated id, or `None` if it is not one: 13 digits can say more than a key.
pub fn key_of_generated_id(task_id: &str) -> Option<TaskKey> {
    let digits = task_id.strip_prefix("oh_").filter(|digits| digits.len() == 13)?;
    let key = digits.bytes().try_fold(0_u64, |key, byte| {
        let at = b"0123456789abcdefghjkmnpqrstvwxyz".iter().position(|digit| *digit == byte)?;
        Some(key.checked_mul(32)? | u64::try_from(at).ok()?)
    })?;
    (key <= u64::MAX >> 1).then_some(key)
}

/// The next key: later than any before it, and telling the time, so that ids sort as they arrived.
pub fn next_key(last: TaskKey, now_ms: UnixMillis) -> TaskKey {
    let timed = u64::try_from(now_ms).unwrap_or_default() << 20;
    timed.max(last.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_id_leads_back_to_its_key() {
        for key in [0, 1, 31, 32, next_key(0, 1_795_000_000_000), u64::MAX >> 1] {
            assert_eq!(key_of_generated_id(&generated_id(key)), Some(key));
        }
        assert_eq!(key_of_generated_id("upload_42"), None);
        assert_eq!(key_of_generated_id("oh_uuuuuuuuuuuuu"), None);
        assert_eq!(key_of_generated_id("oh_zzzzzzzzzzzzz"), None);
        assert_eq!(key_of_generated_id(&generated_id(1 << 63)), None);
    }

    #[test]
    fn keys_ascend_even_when_the_clock_goes_back() {
        let first = next_key(0, 2_000);
        assert!(next_key(first, 1_000) > first);
        assert!(next_key(first, 2_000) > first);
    }

    #[test]
    fn generated_ids_sort_as_their_keys_do() {
        let (a, b) = (next_key(0, 5_000), next_key(0, 5_001));
        assert!(generated_id(a) < generated_id(b));
    }
}
