//! The narrow, hot record of a task that has not ended, and the table of them.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::model::{Epoch, Failure, TaskKey, TaskStatus, UnixMillis};
use crate::schedule::{Entry, LaneId, Needs};

/// What changes about a task while it lives. The body (what to do) is elsewhere and never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// Which task.
    pub key: TaskKey,
    /// Where it stands; never a terminal status.
    pub status: TaskStatus,
    /// Larger goes first in its lane.
    pub priority: i32,
    /// Not before this time.
    pub run_at: UnixMillis,
    /// Attempts begun. Only ever grows: the fence `(key, epoch, attempt)` rests on it.
    pub attempt: u32,
    /// The attempt after which a failure is final. Grows by one for an attempt that is not counted.
    pub attempts_max: u32,
    /// How often a process died under it.
    pub crashes: u32,
    /// The runner that runs it; 0 when nobody does.
    pub epoch: Epoch,
    /// Its lane: tasks that share a limit.
    pub lane: LaneId,
    /// The constraints it needs, as bits.
    pub needs: Needs,
    /// Whether Rust does the work. A native transfer is resumed however often the process dies.
    pub native: bool,
    /// The highest percentage ever reported; progress never goes back behind it.
    pub mark_percent: u8,
    /// Why the last attempt did not succeed, where another one follows.
    pub failure: Option<Arc<Failure>>,
}

impl Live {
    /// What the schedule has to know of it.
    pub fn entry(&self) -> Entry {
        Entry {
            key: self.key,
            due_ms: self.run_at,
            priority: self.priority,
            lane: self.lane,
            needs: self.needs,
        }
    }
}

/// Every task that has not ended, by key.
#[derive(Debug, Default)]
pub struct LiveTable {
    rows: FxHashMap<TaskKey, Live>,
}

impl LiveTable {
    /// The row of a task that lives.
    pub fn get(&self, key: TaskKey) -> Option<&Live> {
        self.rows.get(&key)
    }

    /// The row of a task that lives, to change it.
    pub(super) fn get_mut(&mut self, key: TaskKey) -> Option<&mut Live> {
        self.rows.get_mut(&key)
    }

    /// Adds or overwrites a row.
    pub(super) fn put(&mut self, live: Live) {
        self.rows.insert(live.key, live);
    }

    /// Takes a row out.
    pub(super) fn remove(&mut self, key: TaskKey) -> Option<Live> {
        self.rows.remove(&key)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.rows.clear();
    }

    /// How many tasks live.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether none lives.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Every row, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Live> {
        self.rows.values()
    }
}
