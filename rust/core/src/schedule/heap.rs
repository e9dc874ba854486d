//! A 4-ary heap that knows where each of its nodes is, so that any of them can leave at once.

/// A dense number that stands for one waiting task. Its owner hands them out and uses freed ones
/// again, so arrays indexed by it stay short; `u32::MAX` is never one.
pub type Slot = u32;

const NOWHERE: u32 = u32::MAX;
const ARITY: usize = 4;
const SHRINK_ABOVE_NODES: usize = 1024;

/// A slot as an index. Free of cost where `usize` has 32 bits or more.
pub(super) fn index(slot: Slot) -> usize {
    usize::try_from(slot).unwrap_or(usize::MAX)
}

/// One entry: smallest `at` first, then smallest `turn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) at: i64,
    pub(super) turn: u64,
    pub(super) slot: Slot,
}

impl Node {
    /// Both halves as one number: it compares without a branch, which a heap feels.
    pub(super) fn key(&self) -> i128 {
        (i128::from(self.at) << 64) | i128::from(self.turn)
    }
}

/// Where the node of each slot is, for one heap or for heaps that never share a slot.
#[derive(Debug, Default)]
pub(super) struct Positions(Vec<u32>);

impl Positions {
    pub(super) fn get(&self, slot: Slot) -> Option<usize> {
        self.0.get(index(slot)).filter(|at| **at != NOWHERE).map(|at| index(*at))
    }

    fn make_room(&mut self, slot: Slot) {
        if self.0.len() <= index(slot) {
            self.0.resize(index(slot).saturating_add(1), NOWHERE);
        }
    }

    fn set(&mut self, slot: Slot, at: usize) {
        if let Some(cell) = self.0.get_mut(index(slot)) {
            *cell = u32::try_from(at).unwrap_or(NOWHERE);
        }
    }

    fn forget(&mut self, slot: Slot) {
        self.set(slot, index(NOWHERE));
    }

    /// Gives all memory back. Right only while no slot has a position.
    pub(super) fn release_memory(&mut self) {
        self.0 = Vec::new();
    }

    pub(super) fn allocated_bytes(&self) -> usize {
        self.0.capacity().saturating_mul(size_of::<u32>())
    }
}

/// The nodes, heap-ordered. Memory follows the length down: at most four times what is in use.
///
/// INVARIANT: `positions.get(nodes[i].slot) == Some(i)`, and no node is smaller than its parent.
#[derive(Debug, Default)]
pub(super) struct Heap {
    nodes: Vec<Node>,
}

impl Heap {
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub(super) fn peek(&self) -> Option<Node> {
        self.nodes.first().copied()
    }

    /// Adds a node whose slot has no position yet. O(log n), O(1) when it belongs near the end.
    pub(super) fn push(&mut self, node: Node, positions: &mut Positions) {
        positions.make_room(node.slot);
        self.nodes.push(node);
        self.sift_up(self.nodes.len().saturating_sub(1), node, positions);
    }

    /// Takes the smallest. O(log n).
    pub(super) fn pop(&mut self, positions: &mut Positions) -> Option<Node> {
        let least = self.peek()?;
        self.take_at(0, least, positions);
        Some(least)
    }

    /// Takes the node of `slot`, wherever it is. O(log n).
    pub(super) fn remove(&mut self, slot: Slot, positions: &mut Positions) -> Option<Node> {
        let at = positions.get(slot)?;
        let node = *self.nodes.get(at)?;
        self.take_at(at, node, positions);
        Some(node)
    }

    /// Changes the node of `slot` in place; false where there is none. O(log n).
    pub(super) fn update(
        &mut self,
        slot: Slot,
        positions: &mut Positions,
        change: impl FnOnce(&mut Node),
    ) -> bool {
        let Some(at) = positions.get(slot) else { return false };
        let Some(mut node) = self.nodes.get(at).copied() else { return false };
        let before = node.key();
        change(&mut node);
        self.sift(at, node, before, positions);
        true
    }

    fn take_at(&mut self, at: usize, node: Node, positions: &mut Positions) {
        positions.forget(node.slot);
        let Some(last) = self.nodes.pop() else { return };
        if at < self.nodes.len() {
            self.sift(at, last, node.key(), positions);
        }
        if self.nodes.capacity() > SHRINK_ABOVE_NODES
            && self.nodes.len() < self.nodes.capacity() / 4
        {
            self.nodes.shrink_to(self.nodes.capacity() / 2);
        }
    }

    /// Puts `node` where something with the key `before` was.
    fn sift(&mut self, at: usize, node: Node, before: i128, positions: &mut Positions) {
        if node.key() < before {
            self.sift_up(at, node, positions);
        } else {
            self.sift_down(at, node, positions);
        }
    }

    fn sift_up(&mut self, mut at: usize, node: Node, positions: &mut Positions) {
        while at > 0 {
            let above = (at - 1) / ARITY;
            let Some(parent) = self.nodes.get(above).copied() else { break };
            if parent.key() <= node.key() {
                break;
            }
            self.put(at, parent, positions);
            at = above;
        }
        self.put(at, node, positions);
    }

    fn sift_down(&mut self, mut at: usize, node: Node, positions: &mut Positions) {
        while let Some((below, child)) = self.least_child(at) {
            if node.key() <= child.key() {
                break;
            }
            self.put(at, child, positions);
            at = below;
        }
        self.put(at, node, positions);
    }

    fn least_child(&self, at: usize) -> Option<(usize, Node)> {
        let first = at.saturating_mul(ARITY).saturating_add(1);
        let children = self.nodes.get(first..)?.iter().take(ARITY);
        (first..).zip(children.copied()).min_by_key(|(_, node)| node.key())
    }

    fn put(&mut self, at: usize, node: Node, positions: &mut Positions) {
        if let Some(cell) = self.nodes.get_mut(at) {
            *cell = node;
        }
        positions.set(node.slot, at);
    }

    pub(super) fn allocated_bytes(&self) -> usize {
        self.nodes.capacity().saturating_mul(size_of::<Node>())
    }

    /// Whether the invariant holds. O(n); for tests and debug assertions.
    #[cfg(test)]
    pub(super) fn is_sound(&self, positions: &Positions) -> bool {
        self.nodes.iter().enumerate().all(|(at, node)| {
            let parent = at.checked_sub(1).and_then(|below| self.nodes.get(below / ARITY));
            positions.get(node.slot) == Some(at)
                && parent.is_none_or(|parent| parent.key() <= node.key())
        })
    }
}
