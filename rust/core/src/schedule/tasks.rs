//! What is known of each waiting task, found by key or by slot.

use crate::model::constraint::Needs;
use hashbrown::HashTable;

use super::Place;
use super::heap::{Slot, index};
use super::lanes::LaneId;
use super::spread::spread;
use crate::model::{TaskKey, UnixMillis};

const KEPT_WHEN_EMPTY: usize = 1024;

/// One waiting task. 32 bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    pub(super) key: TaskKey,
    pub(super) due_ms: UnixMillis,
    pub(super) priority: i32,
    pub(super) lane: LaneId,
    pub(super) needs: Needs,
    pub(super) place: Place,
}

#[derive(Debug)]
enum Cell {
    Used(Task),
    /// Free; names the next free one.
    Free(Option<Slot>),
}

/// A slab of tasks and an index of their keys. About 40 bytes for each task, twice that just after
/// the arrays have grown; memory goes down when the last one leaves.
///
/// INVARIANT: `by_key` holds exactly the used slots, each once.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    cells: Vec<Cell>,
    free: Option<Slot>,
    by_key: HashTable<Slot>,
}

fn at(cells: &[Cell], slot: Slot) -> Option<&Task> {
    match cells.get(index(slot)) {
        Some(Cell::Used(task)) => Some(task),
        Some(Cell::Free(_)) | None => None,
    }
}

fn is(cells: &[Cell], slot: Slot, key: TaskKey) -> bool {
    at(cells, slot).is_some_and(|task| task.key == key)
}

impl Tasks {
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(super) fn slot(&self, key: TaskKey) -> Option<Slot> {
        self.by_key.find(spread(key), |slot| is(&self.cells, *slot, key)).copied()
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Task> {
        at(&self.cells, slot)
    }

    /// Writes down what changed of the task in `slot`; its key stays.
    pub(super) fn replace(&mut self, slot: Slot, task: Task) {
        if let Some(cell @ Cell::Used(_)) = self.cells.get_mut(index(slot)) {
            *cell = Cell::Used(task);
        }
    }

    /// The task of `key` with its slot.
    pub(super) fn find(&self, key: TaskKey) -> Option<(Slot, Task)> {
        let slot = self.slot(key)?;
        self.get(slot).map(|task| (slot, *task))
    }

    /// Adds a task whose key is not here. `None` when all slots are used: 4 thousand million.
    pub(super) fn insert(&mut self, task: Task) -> Option<Slot> {
        let slot = self.place(task)?;
        let cells = &self.cells;
        self.by_key.insert_unique(spread(task.key), slot, |slot| {
            at(cells, *slot).map_or(0, |task| spread(task.key))
        });
        Some(slot)
    }

    fn place(&mut self, task: Task) -> Option<Slot> {
        if let Some(slot) = self.free {
            let cell = self.cells.get_mut(index(slot))?;
            if let Cell::Free(next) = cell {
                self.free = *next;
            }
            *cell = Cell::Used(task);
            return Some(slot);
        }
        let slot = Slot::try_from(self.cells.len()).ok().filter(|slot| *slot != Slot::MAX)?;
        self.cells.push(Cell::Used(task));
        Some(slot)
    }

    /// Forgets the task in `slot`.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<Task> {
        let task = *self.get(slot)?;
        let entry = self.by_key.find_entry(spread(task.key), |other| *other == slot);
        if let Ok(entry) = entry {
            entry.remove();
        }
        if let Some(cell) = self.cells.get_mut(index(slot)) {
            *cell = Cell::Free(self.free);
            self.free = Some(slot);
        }
        Some(task)
    }

    /// Gives the memory back if nothing is here and there is much of it. True if it did: then slots
    /// start again from 0.
    pub(super) fn release_memory(&mut self) -> bool {
        let worth_it = self.by_key.is_empty() && self.cells.len() > KEPT_WHEN_EMPTY;
        if worth_it {
            *self = Self::default();
        }
        worth_it
    }

    pub(super) fn allocated_bytes(&self) -> usize {
        let cells = self.cells.capacity().saturating_mul(size_of::<Cell>());
        cells.saturating_add(self.by_key.allocation_size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(key: TaskKey) -> Task {
        Task { key, due_ms: 0, priority: 0, lane: 0, needs: 0, place: Place::Delayed }
    }

    #[test]
    fn a_task_takes_one_cell_of_32_bytes() {
        assert_eq!(size_of::<Cell>(), 32);
    }

    #[test]
    fn freed_slots_are_used_again() {
        let mut tasks = Tasks::default();
        for round in 0..1_000_u64 {
            for key in 0..8 {
                tasks.insert(task(round * 8 + key)).unwrap();
            }
            for key in 0..8 {
                let slot = tasks.slot(round * 8 + key).unwrap();
                assert_eq!(tasks.remove(slot).map(|task| task.key), Some(round * 8 + key));
            }
        }
        assert_eq!(tasks.cells.len(), 8);
        assert_eq!(tasks.len(), 0);
    }

    #[test]
    fn every_key_is_found_and_no_other() {
        let mut tasks = Tasks::default();
        for key in (0..2_000).rev().step_by(2) {
            tasks.insert(task(key)).unwrap();
        }
        for key in 0..2_000 {
            assert_eq!(tasks.find(key).map(|(_, task)| task.key), (key % 2 == 1).then_some(key));
        }
    }
}
