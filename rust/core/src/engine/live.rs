//! The narrow, hot record of a task that has not ended, and the table of them.

use std::sync::Arc;

use hashbrown::HashTable;

use crate::model::constraint::Needs;
use crate::model::{Epoch, Failure, TaskKey, TaskStatus, UnixMillis};
use crate::schedule::{Entry, LaneId, spread};

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
            needs: self.needs_now(),
        }
    }
}

/// Every task that has not ended, by key.
///
/// The rows stand close together, in no order; the map holds their places. A map of the rows
/// themselves would be half empty, and rows are what is big.
#[derive(Debug, Default)]
pub struct LiveTable {
    rows: Vec<Live>,
    places: HashTable<u32>,
}

impl LiveTable {
    /// The row of a task that lives.
    pub fn get(&self, key: TaskKey) -> Option<&Live> {
        self.rows.get(self.place(key)?)
    }

    /// The row of a task that lives, to change it.
    pub(super) fn get_mut(&mut self, key: TaskKey) -> Option<&mut Live> {
        let place = self.place(key)?;
        self.rows.get_mut(place)
    }

    /// Adds or overwrites a row.
    pub(super) fn put(&mut self, live: Live) {
        if let Some(row) = self.get_mut(live.key) {
            *row = live;
            return;
        }
        let hash = spread(live.key);
        // More than 2^32 live tasks do not fit into any machine's memory.
        let place = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        self.rows.push(live);
        let rows = &self.rows;
        self.places.insert_unique(hash, place, |place| {
            row_at(rows, *place).map_or(0, |row| spread(row.key))
        });
    }

    /// Takes a row out.
    pub(super) fn remove(&mut self, key: TaskKey) -> Option<Live> {
        let rows = &self.rows;
        let is = |place: &u32, key| row_at(rows, *place).is_some_and(|row| row.key == key);
        let entry = self.places.find_entry(spread(key), |place| is(place, key)).ok()?;
        let (place, _) = entry.remove();
        let last = rows.last()?.key;
        if let Some(moved) = self.places.find_mut(spread(last), |place| is(place, last)) {
            *moved = place;
        }
        Some(self.rows.swap_remove(usize::try_from(place).ok()?))
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.places.clear();
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
        self.rows.iter()
    }

    fn place(&self, key: TaskKey) -> Option<usize> {
        let is = |place: &u32| row_at(&self.rows, *place).is_some_and(|row| row.key == key);
        self.places.find(spread(key), is).and_then(|place| usize::try_from(*place).ok())
    }
}

fn row_at(rows: &[Live], place: u32) -> Option<&Live> {
    rows.get(usize::try_from(place).ok()?)
}
