//! Enqueues of several tasks that are yet to be made: their parts are admitted as they come.

use rustc_hash::FxHashMap;

use crate::engine::NewTask;
use crate::runtime::completions::Ticket;

/// What has come of each; `None` where a part of it was refused, and with it the rest.
#[derive(Default)]
pub(super) struct PartialEnqueues(FxHashMap<Ticket, Option<Vec<NewTask>>>);

impl PartialEnqueues {
    /// How many tasks of an enqueue are here; `None` where it was refused.
    pub(super) fn number(&self, ticket: Ticket) -> Option<usize> {
        match self.0.get(&ticket) {
            Some(admitted) => admitted.as_ref().map(Vec::len),
            None => Some(0),
        }
    }

    /// Adds what was admitted of an enqueue that was not refused.
    pub(super) fn add(&mut self, ticket: Ticket, tasks: Vec<NewTask>) {
        if let Some(admitted) = self.0.entry(ticket).or_insert_with(|| Some(Vec::new())) {
            admitted.extend(tasks);
        }
    }

    /// Refuses an enqueue. Gives back what was here.
    pub(super) fn refuse(&mut self, ticket: Ticket) -> Vec<NewTask> {
        self.0.insert(ticket, None).flatten().unwrap_or_default()
    }

    /// Takes an enqueue out, and forgets it; `None` where it was refused.
    pub(super) fn take(&mut self, ticket: Ticket) -> Option<Vec<NewTask>> {
        self.0.remove(&ticket).unwrap_or_else(|| Some(Vec::new()))
    }
}
