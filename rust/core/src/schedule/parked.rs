//! Who waits for a constraint, as counts by mask.
//!
//! A due task stands in its lane in a heap of its own mask, so a signal that changes moves nobody:
//! the heaps whose mask it touches close or open. This module knows which masks are closed now.

use std::collections::BTreeMap;

use crate::model::constraint::Needs;

/// The unmet bits, and how many due tasks there are by mask.
#[derive(Debug, Default)]
pub(super) struct Parked {
    unmet: Needs,
    // INVARIANT: no count is 0, and `blocked` is the sum of those whose mask meets `unmet`.
    due_by_needs: BTreeMap<Needs, usize>,
    blocked: usize,
}

impl Parked {
    pub(super) fn unmet(&self) -> Needs {
        self.unmet
    }

    /// How many due tasks wait for a constraint. O(1).
    pub(super) fn len(&self) -> usize {
        self.blocked
    }

    pub(super) fn join(&mut self, needs: Needs) {
        if needs == 0 {
            return;
        }
        let count = self.due_by_needs.entry(needs).or_default();
        *count = count.saturating_add(1);
        if needs & self.unmet != 0 {
            self.blocked = self.blocked.saturating_add(1);
        }
    }

    pub(super) fn leave(&mut self, needs: Needs) {
        let Some(count) = self.due_by_needs.get_mut(&needs) else { return };
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.due_by_needs.remove(&needs);
        }
        if needs & self.unmet != 0 {
            self.blocked = self.blocked.saturating_sub(1);
        }
    }

    /// Whether anybody who is due is concerned by the change. O(masks).
    pub(super) fn set_unmet(&mut self, unmet: Needs) -> bool {
        let changed = self.unmet ^ unmet;
        self.unmet = unmet;
        let counts = self.due_by_needs.iter();
        self.blocked = counts.filter(|(needs, _)| *needs & unmet != 0).map(|(_, n)| n).sum();
        self.due_by_needs.keys().any(|needs| needs & changed != 0)
    }

    #[cfg(test)]
    pub(super) fn masks(&self) -> usize {
        self.due_by_needs.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_blocked_when_any_of_its_bits_is_unmet() {
        let mut parked = Parked::default();
        parked.join(0b011);
        parked.join(0b100);
        parked.join(0);
        assert!(parked.set_unmet(0b010));
        assert_eq!(parked.len(), 1);
        assert!(parked.set_unmet(0b110));
        assert_eq!(parked.len(), 2);
        parked.leave(0b100);
        assert_eq!(parked.len(), 1);
        assert!(parked.set_unmet(0));
        assert_eq!(parked.len(), 0);
    }

    #[test]
    fn a_change_that_concerns_nobody_says_so() {
        let mut parked = Parked::default();
        parked.join(0b001);
        assert!(!parked.set_unmet(0b110));
        assert!(!parked.set_unmet(0b110));
    }

    #[test]
    fn a_mask_without_tasks_takes_no_room() {
        let mut parked = Parked::default();
        for needs in 1..1_000 {
            parked.join(needs);
            parked.leave(needs);
        }
        assert_eq!(parked.masks(), 0);
    }
}
