//! Whose turn it is: a circle of dense numbers, each joined or left in O(1).

use super::heap::index;

#[derive(Clone, Copy, Debug)]
struct Link {
    before: u32,
    after: u32,
}

/// A circle with a head. Who joins goes last.
///
/// INVARIANT: `links[i]` is `Some` exactly for the members, and following `after` from `head` meets
/// each of them once.
#[derive(Debug, Default)]
pub(super) struct Ring {
    head: Option<u32>,
    links: Vec<Option<Link>>,
}

impl Ring {
    pub(super) fn head(&self) -> Option<u32> {
        self.head
    }

    pub(super) fn contains(&self, member: u32) -> bool {
        self.link(member).is_some()
    }

    /// The head becomes the last.
    pub(super) fn rotate(&mut self) {
        self.head = self.head.and_then(|head| self.link(head)).map(|link| link.after);
    }

    pub(super) fn join(&mut self, member: u32) {
        if self.contains(member) {
            return;
        }
        if self.links.len() <= index(member) {
            self.links.resize(index(member).saturating_add(1), None);
        }
        let head = *self.head.get_or_insert(member);
        let last = self.link(head).map_or(member, |link| link.before);
        self.set(member, Some(Link { before: last, after: head }));
        self.set_after(last, member);
        self.set_before(head, member);
    }

    pub(super) fn leave(&mut self, member: u32) {
        let Some(link) = self.link(member) else { return };
        self.set_after(link.before, link.after);
        self.set_before(link.after, link.before);
        self.set(member, None);
        if self.head == Some(member) {
            self.head = (link.after != member).then_some(link.after);
        }
    }

    fn link(&self, member: u32) -> Option<Link> {
        self.links.get(index(member)).copied().flatten()
    }

    fn set(&mut self, member: u32, link: Option<Link>) {
        if let Some(cell) = self.links.get_mut(index(member)) {
            *cell = link;
        }
    }

    fn set_after(&mut self, member: u32, after: u32) {
        if let Some(link) = self.links.get_mut(index(member)).and_then(Option::as_mut) {
            link.after = after;
        }
    }

    fn set_before(&mut self, member: u32, before: u32) {
        if let Some(link) = self.links.get_mut(index(member)).and_then(Option::as_mut) {
            link.before = before;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(ring: &Ring) -> Vec<u32> {
        let next =
            |at: &u32| ring.link(*at).map(|link| link.after).filter(|at| Some(*at) != ring.head);
        std::iter::successors(ring.head(), next).collect()
    }

    #[test]
    fn who_joins_goes_last_and_who_leaves_is_gone() {
        let mut ring = Ring::default();
        for member in [5, 2, 9, 2] {
            ring.join(member);
        }
        assert_eq!(members(&ring), [5, 2, 9]);
        ring.rotate();
        assert_eq!(members(&ring), [2, 9, 5]);
        ring.leave(2);
        ring.leave(7);
        assert_eq!(members(&ring), [9, 5]);
        ring.join(2);
        assert_eq!(members(&ring), [9, 5, 2]);
        for member in [5, 9, 2] {
            ring.leave(member);
        }
        assert_eq!(ring.head(), None);
        ring.join(1);
        ring.rotate();
        assert_eq!(members(&ring), [1]);
    }
}
