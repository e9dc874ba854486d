//! Who is due: one lane for each host or tag, priority inside a lane, round robin between lanes.

use hashbrown::HashTable;

use super::heap::{Heap, Node, Positions, Slot, index};
use super::ring::Ring;
use super::spread::spread;
use crate::model::constraint::Needs;

/// A lane: tasks that share a limit and take turns with the other lanes as one.
pub type LaneId = u32;

/// Where a due task stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stand {
    pub(super) lane: LaneId,
    pub(super) needs: Needs,
}

/// The due tasks of one lane with one mask: closed or open all together.
#[derive(Debug)]
struct Group {
    needs: Needs,
    heap: Heap,
}

#[derive(Debug)]
struct Lane {
    id: LaneId,
    running: usize,
    running_max: usize,
    // INVARIANT: no heap is empty, and no two have the same mask.
    groups: Vec<Group>,
}

impl Lane {
    fn new(id: LaneId, running_max: usize) -> Self {
        Self { id, running: 0, running_max, groups: Vec::new() }
    }

    /// The group to take from. O(masks in this lane), a handful.
    fn best(&self, unmet: Needs) -> Option<(usize, Node)> {
        let open = self.groups.iter().enumerate().filter(|(_, group)| group.needs & unmet == 0);
        open.filter_map(|(at, group)| Some((at, group.heap.peek()?)))
            .min_by_key(|(_, node)| node.key())
    }

    fn group(&self, needs: Needs) -> Option<usize> {
        self.groups.iter().position(|group| group.needs == needs)
    }

    /// What it could run now, if anything.
    fn next(&self, unmet: Needs) -> Option<Node> {
        let free = self.running < self.running_max;
        free.then(|| self.best(unmet)).flatten().map(|(_, node)| node)
    }

    /// Whether a lane that is made again, with that limit, would be the same.
    fn is_as_new(&self, running_max: usize) -> bool {
        self.running == 0 && self.running_max == running_max && self.groups.is_empty()
    }
}

/// Every lane that has a due task, a running attempt or a limit of its own. Any other takes no
/// room.
///
/// INVARIANT: the ring holds exactly the lanes that could run a task now.
#[derive(Debug)]
pub(super) struct Lanes {
    /// The limit of a lane that has none of its own.
    running_max: usize,
    cells: Vec<Option<Lane>>,
    free: Vec<u32>,
    by_id: HashTable<(LaneId, u32)>,
    ring: Ring,
    positions: Positions,
    due: usize,
}

impl Lanes {
    /// None, and the limit of those that have none of their own.
    pub(super) fn new(running_max: usize) -> Self {
        Self {
            running_max,
            cells: Vec::new(),
            free: Vec::new(),
            by_id: HashTable::new(),
            ring: Ring::default(),
            positions: Positions::default(),
            due: 0,
        }
    }

    /// How many tasks are due, constrained ones included. O(1).
    pub(super) fn len(&self) -> usize {
        self.due
    }

    /// Adds a due task. O(log n) of its lane.
    pub(super) fn add(&mut self, node: Node, stand: Stand, unmet: Needs) {
        let at = self.open(stand.lane);
        let Some(lane) = self.cells.get_mut(index(at)).and_then(Option::as_mut) else { return };
        let which = lane.group(stand.needs).unwrap_or_else(|| {
            lane.groups.push(Group { needs: stand.needs, heap: Heap::default() });
            lane.groups.len() - 1
        });
        if let Some(group) = lane.groups.get_mut(which) {
            group.heap.push(node, &mut self.positions);
            self.due = self.due.saturating_add(1);
        }
        self.settle(at, unmet);
    }

    /// Takes a due task out, wherever it stands in its lane. O(log n) of its lane.
    pub(super) fn remove(&mut self, slot: Slot, stand: Stand, unmet: Needs) {
        let Some(at) = self.find(stand.lane) else { return };
        let Some(lane) = self.cells.get_mut(index(at)).and_then(Option::as_mut) else { return };
        let Some(which) = lane.group(stand.needs) else { return };
        let Some(group) = lane.groups.get_mut(which) else { return };
        if group.heap.remove(slot, &mut self.positions).is_some() {
            self.due = self.due.saturating_sub(1);
        }
        if group.heap.is_empty() {
            lane.groups.swap_remove(which);
        }
        self.settle(at, unmet);
    }

    /// Changes a due task's rank; its turn stays. O(log n) of its lane.
    pub(super) fn rerank(&mut self, slot: Slot, stand: Stand, rank: i64) {
        let Some(at) = self.find(stand.lane) else { return };
        let Some(lane) = self.cells.get_mut(index(at)).and_then(Option::as_mut) else { return };
        let Some(which) = lane.group(stand.needs) else { return };
        if let Some(group) = lane.groups.get_mut(which) {
            group.heap.update(slot, &mut self.positions, |node| node.at = rank);
        }
    }

    /// Takes the best task of the lane whose turn it is, and a slot of that lane.
    pub(super) fn take(&mut self, unmet: Needs) -> Option<Slot> {
        let at = self.ring.head()?;
        let lane = self.cells.get_mut(index(at))?.as_mut()?;
        let (best, _) = lane.best(unmet)?;
        let group = lane.groups.get_mut(best)?;
        let node = group.heap.pop(&mut self.positions)?;
        if group.heap.is_empty() {
            lane.groups.swap_remove(best);
        }
        lane.running = lane.running.saturating_add(1);
        self.due = self.due.saturating_sub(1);
        self.ring.rotate();
        self.settle(at, unmet);
        Some(node.slot)
    }

    /// Counts an attempt that already runs, above the limit if need be.
    pub(super) fn occupy(&mut self, id: LaneId, unmet: Needs) {
        let at = self.open(id);
        if let Some(lane) = self.cells.get_mut(index(at)).and_then(Option::as_mut) {
            lane.running = lane.running.saturating_add(1);
        }
        self.settle(at, unmet);
    }

    /// Gives a slot back; false where none was taken.
    pub(super) fn release(&mut self, id: LaneId, unmet: Needs) -> bool {
        let Some(at) = self.find(id) else { return false };
        let Some(lane) = self.cells.get_mut(index(at)).and_then(Option::as_mut) else {
            return false;
        };
        let Some(running) = lane.running.checked_sub(1) else { return false };
        lane.running = running;
        self.settle(at, unmet);
        true
    }

    pub(super) fn set_limit(&mut self, id: LaneId, running_max: usize, unmet: Needs) {
        let at = self.open(id);
        if let Some(lane) = self.cells.get_mut(index(at)).and_then(Option::as_mut) {
            lane.running_max = running_max;
        }
        self.settle(at, unmet);
    }

    /// Closes and opens lanes after the unmet bits changed; those that open together join in the
    /// order of what they would run. O(lanes), and no task moves.
    pub(super) fn settle_all(&mut self, unmet: Needs) {
        let mut opened = Vec::new();
        for (lane, at) in self.cells.iter().zip(0_u32..) {
            match lane.as_ref().and_then(|lane| lane.next(unmet)) {
                Some(next) if !self.ring.contains(at) => opened.push((next.at, next.turn, at)),
                Some(_) => {}
                None => self.ring.leave(at),
            }
        }
        opened.sort_unstable();
        for (_, _, at) in opened {
            self.ring.join(at);
        }
    }

    /// Restores the invariant for one lane, and forgets the lane if nothing is left of it.
    fn settle(&mut self, at: u32, unmet: Needs) {
        let Some(cell) = self.cells.get_mut(index(at)) else { return };
        let Some(lane) = cell else { return };
        if lane.next(unmet).is_some() {
            self.ring.join(at);
            return;
        }
        self.ring.leave(at);
        if lane.is_as_new(self.running_max) {
            let id = lane.id;
            *cell = None;
            self.free.push(at);
            if let Ok(entry) =
                self.by_id.find_entry(spread(u64::from(id)), |(known, _)| *known == id)
            {
                entry.remove();
            }
        }
    }

    fn find(&self, id: LaneId) -> Option<u32> {
        let found = self.by_id.find(spread(u64::from(id)), |(known, _)| *known == id);
        found.map(|(_, at)| *at)
    }

    /// The lane `id`, made if it is new.
    fn open(&mut self, id: LaneId) -> u32 {
        if let Some(at) = self.find(id) {
            return at;
        }
        let at = self.free.pop().unwrap_or_else(|| {
            self.cells.push(None);
            u32::try_from(self.cells.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(cell) = self.cells.get_mut(index(at)) {
            *cell = Some(Lane::new(id, self.running_max));
        }
        let hash = |(id, _): &(LaneId, u32)| spread(u64::from(*id));
        self.by_id.insert_unique(spread(u64::from(id)), (id, at), hash);
        at
    }

    /// Gives memory back. Right only while no task is due.
    pub(super) fn release_memory(&mut self) {
        self.positions.release_memory();
    }

    /// Bytes on the heap. O(lanes).
    pub(super) fn allocated_bytes(&self) -> usize {
        let groups = self.cells.iter().flatten().flat_map(|lane| &lane.groups);
        let nodes: usize = groups.map(|group| group.heap.allocated_bytes()).sum();
        let lanes = self.cells.capacity().saturating_mul(size_of::<Option<Lane>>());
        nodes.saturating_add(lanes).saturating_add(self.positions.allocated_bytes())
    }

    #[cfg(test)]
    pub(super) fn known(&self) -> usize {
        self.by_id.len()
    }

    /// Whether every invariant holds. O(n).
    #[cfg(test)]
    pub(super) fn is_sound(&self, unmet: Needs) -> bool {
        let due: usize =
            self.cells.iter().flatten().flat_map(|lane| &lane.groups).map(|g| g.heap.len()).sum();
        let lanes = self.cells.iter().zip(0_u32..);
        due == self.due
            && self.cells.iter().flatten().count() == self.by_id.len()
            && lanes.into_iter().all(|(lane, at)| {
                let could_run = lane.as_ref().is_some_and(|lane| lane.next(unmet).is_some());
                let sound = lane.as_ref().is_none_or(|lane| {
                    !lane.is_as_new(self.running_max)
                        && self.find(lane.id) == Some(at)
                        && lane.groups.iter().all(|group| {
                            !group.heap.is_empty() && group.heap.is_sound(&self.positions)
                        })
                });
                could_run == self.ring.contains(at) && sound
            })
    }
}
