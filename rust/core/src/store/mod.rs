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

    /// Stores the durable effects; ignores the others. What cannot be stored is refused now or by `commit`.
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

/// How the ids begin that outhaul makes.
const GENERATED: &str = "oh_";

/// Then so many digits follow.
const DIGITS_OF_ID: u32 = 13;

/// These, in the order of their values: no letter that is taken for another.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Keys are positive in SQL, too.
const KEY_MAX: TaskKey = u64::MAX >> 1;

/// The id shown for a task that the user gave none: `oh_` and 13 digits of base 32, ordered by time.
pub fn generated_id(key: TaskKey) -> String {
    let digit = |place: u32| {
        let at = usize::try_from((key >> (5 * place)) & 31).unwrap_or_default();
        DIGITS.get(at).copied().unwrap_or(b'0')
    };
    let mut id = Vec::with_capacity(16);
    id.extend_from_slice(GENERATED.as_bytes());
    id.extend((0..DIGITS_OF_ID).rev().map(digit));
    String::from_utf8(id).unwrap_or_default()
}

/// The id that a task is known by: the one its user chose, or the generated one.
pub fn id_of(key: TaskKey, chosen: Option<&str>) -> String {
    chosen.map_or_else(|| generated_id(key), str::to_owned)
}

/// The key behind a generated id, or `None` if it is not one: 13 digits can say more than a key.
pub fn key_of_generated_id(task_id: &str) -> Option<TaskKey> {
    let digits = task_id.strip_prefix(GENERATED).filter(|digits| digits.len() == 13)?;
    TaskKey::try_from(number(digits)?).ok().filter(|key| *key <= KEY_MAX)
}

/// The keys whose generated ids begin with `prefix`, first and last, where there are any.
pub fn keys_of_generated_prefix(prefix: &str) -> Option<(TaskKey, TaskKey)> {
    if GENERATED.starts_with(prefix) {
        return Some((0, KEY_MAX));
    }
    let digits = prefix.strip_prefix(GENERATED)?;
    let open = DIGITS_OF_ID.checked_sub(u32::try_from(digits.len()).ok()?)?;
    let first = number(digits)? << (5 * open);
    let last = first | ((1 << (5 * open)) - 1);
    Some((TaskKey::try_from(first).ok()?, TaskKey::try_from(last).unwrap_or(KEY_MAX).min(KEY_MAX)))
}

/// The number that such digits say; wide enough for all that fit into an id.
fn number(digits: &str) -> Option<u128> {
    digits.bytes().try_fold(0, |number, byte| {
        let at = DIGITS.iter().position(|digit| *digit == byte)?;
        Some(number << 5 | u128::try_from(at).ok()?)
    })
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
    fn the_keys_of_a_prefix_are_those_whose_ids_begin_so() {
        let key = next_key(0, 1_795_000_000_000);
        for len in 0..=16 {
            let prefix = generated_id(key).get(..len).unwrap().to_owned();
            let (first, last) = keys_of_generated_prefix(&prefix).unwrap();
            assert!(generated_id(first).starts_with(&prefix), "{prefix}");
            assert!(generated_id(last).starts_with(&prefix), "{prefix}");
            assert!((first..=last).contains(&key), "{prefix}");
            if len > 4 {
                assert!(!generated_id(first - 1).starts_with(&prefix), "{prefix}");
                assert!(!generated_id(last + 1).starts_with(&prefix), "{prefix}");
            }
        }
        for prefix in ["x", "oh_u", "oh_zzzz", "oh_00000000000000"] {
            assert_eq!(keys_of_generated_prefix(prefix), None, "{prefix}");
        }
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
