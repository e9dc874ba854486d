//! Who waits for a time: exact cancel, exact reschedule, exact next time.

use super::heap::{Heap, Node, Positions, Slot};
use crate::model::UnixMillis;

/// Waiting slots by due time. An indexed 4-ary heap: no tombstones, no ticks, no rounding.
///
/// The caller gives each entry a dense [`Slot`]; 28 bytes for each entry (a 24-byte node, a 4-byte
/// position), twice that just after the arrays have grown.
#[derive(Debug, Default)]
pub struct DelayHeap {
    heap: Heap,
    positions: Positions,
}

impl DelayHeap {
    /// An empty one. Allocates nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `slot`; false, and nothing changes, where it is already here. O(log n).
    ///
    /// Among equal times the smaller `turn` leaves first.
    pub fn push(&mut self, slot: Slot, due_ms: UnixMillis, turn: u64) -> bool {
        if self.contains(slot) {
            return false;
        }
        self.heap.push(Node { at: due_ms, turn, slot }, &mut self.positions);
        true
    }

    /// Takes `slot` out; false where it is not here. O(log n).
    pub fn remove(&mut self, slot: Slot) -> bool {
        self.heap.remove(slot, &mut self.positions).is_some()
    }

    /// Gives `slot` another time and turn; false where it is not here. O(log n).
    pub fn reschedule(&mut self, slot: Slot, due_ms: UnixMillis, turn: u64) -> bool {
        self.heap.update(slot, &mut self.positions, |node| {
            node.at = due_ms;
            node.turn = turn;
        })
    }

    /// Takes the earliest, if it is due at `now_ms`. O(log n).
    pub fn pop_due(&mut self, now_ms: UnixMillis) -> Option<Slot> {
        self.next_due_ms().filter(|due_ms| *due_ms <= now_ms)?;
        self.heap.pop(&mut self.positions).map(|node| node.slot)
    }

    /// The earliest time, exactly. O(1).
    pub fn next_due_ms(&self) -> Option<UnixMillis> {
        self.heap.peek().map(|node| node.at)
    }

    /// Whether `slot` is here. O(1).
    pub fn contains(&self, slot: Slot) -> bool {
        self.positions.get(slot).is_some()
    }

    /// How many wait. O(1).
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether none waits. O(1).
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Bytes on the heap, spare room included.
    pub fn allocated_bytes(&self) -> usize {
        self.heap.allocated_bytes().saturating_add(self.positions.allocated_bytes())
    }

    /// Gives the memory of an empty heap back; nothing where somebody waits.
    pub fn release_memory(&mut self) {
        if self.is_empty() {
            self.positions.release_memory();
        }
    }

    #[cfg(test)]
    pub(super) fn is_sound(&self) -> bool {
        self.heap.is_sound(&self.positions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small generator, so that the tests need no seed from outside.
    fn numbers(seed: u64) -> impl Iterator<Item = u64> {
        std::iter::successors(Some(seed), |x| {
            Some(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
        })
        .map(|x| x >> 33)
    }

    #[test]
    fn positions_hold_through_pushes_removals_and_reschedules() {
        let mut heap = DelayHeap::new();
        let mut draw = numbers(7);
        let mut next = || draw.next().unwrap();
        for turn in 0..3_000_u64 {
            let slot = u32::try_from(next() % 64).unwrap();
            let due_ms = i64::try_from(next() % 8).unwrap();
            match next() % 4 {
                0 => _ = heap.remove(slot),
                1 => _ = heap.reschedule(slot, due_ms, turn),
                _ => _ = heap.push(slot, due_ms, turn),
            }
            assert!(heap.is_sound());
        }
    }

    #[test]
    fn a_slot_is_never_there_twice() {
        let mut heap = DelayHeap::new();
        assert!(heap.push(3, 10, 0));
        assert!(!heap.push(3, 5, 1));
        assert_eq!(heap.next_due_ms(), Some(10));
        assert_eq!(heap.len(), 1);
    }

    #[test]
    fn equal_times_leave_by_turn() {
        let mut heap = DelayHeap::new();
        for (slot, turn) in [(4, 3), (1, 9), (7, 1), (0, 4)] {
            heap.push(slot, 5, turn);
        }
        let order: Vec<Slot> = std::iter::from_fn(|| heap.pop_due(5)).collect();
        assert_eq!(order, [7, 4, 0, 1]);
    }

    #[test]
    fn nothing_leaves_before_its_time() {
        let mut heap = DelayHeap::new();
        heap.push(0, 5, 0);
        assert_eq!(heap.pop_due(4), None);
        assert_eq!(heap.pop_due(5), Some(0));
    }

    #[test]
    fn memory_follows_the_length_down() {
        let mut heap = DelayHeap::new();
        for slot in 0..100_000 {
            heap.push(slot, i64::from(slot), u64::from(slot));
        }
        let full = heap.allocated_bytes();
        assert!(full <= 100_000 * 60, "{full}");
        for slot in 0..99_990 {
            heap.remove(slot);
        }
        assert!(heap.heap.allocated_bytes() <= 1024 * 24, "{}", heap.heap.allocated_bytes());
        while heap.pop_due(i64::MAX).is_some() {}
        heap.release_memory();
        assert!(heap.allocated_bytes() <= 1024 * 24);
    }
}
