//! The way in: calls pass in the order they were made, so that a cancel never overtakes the enqueue
//! before it.

use std::sync::Arc;
use std::sync::mpsc::{SendError, Sender, channel};

use super::admission::Admission;
use super::completions::{Completions, Ticket};
use super::desk::{Call, Desk, KnownCallbacks, PATIENCE};
use super::inbox::{Inbox, Op};
use super::replies::closed;
use super::situation::SharedSituation;
use super::watch::Watch;
use crate::model::{Fault, FaultCode};

/// Where calls are handed in.
pub(super) struct Gate {
    calls: Sender<Call>,
    desk: Arc<Desk>,
    inbox: Arc<Inbox>,
    completions: Completions,
}

impl Gate {
    pub(super) fn new(
        admission: Admission,
        callbacks: KnownCallbacks,
        situation: Arc<SharedSituation>,
        watch: Watch,
    ) -> Self {
        let (inbox, completions) = (Arc::clone(&watch.inbox), watch.completions.clone());
        let (calls, arrivals) = channel();
        let admit = Box::new(move |spec: &[u8], known: &dyn Fn(&str) -> bool, now_ms| {
            admission.admit(spec, known, now_ms)
        });
        let desk = Desk::new(admit, PATIENCE, callbacks, arrivals, situation, watch);
        Self { calls, desk: Arc::new(desk), inbox, completions }
    }

    /// The desk behind it, which somebody has to open, and to relieve now and then.
    pub(super) fn desk(&self) -> Arc<Desk> {
        Arc::clone(&self.desk)
    }

    /// Enqueues of one turn of the event loop, of a task each; `more` says whether others of that turn
    /// follow.
    pub(super) fn enqueue(&self, enqueues: Vec<(Ticket, Vec<u8>)>, more: bool) {
        if let Err(waiting) = self.inbox.reserve(enqueues.len()) {
            return self.refuse(enqueues.iter().map(|(ticket, _)| *ticket), &full(waiting));
        }
        let call = Call::Enqueue(enqueues, more);
        if let Err(SendError(Call::Enqueue(enqueues, _))) = self.calls.send(call) {
            self.inbox.release(enqueues.len());
            self.refuse(enqueues.iter().map(|(ticket, _)| *ticket), &closed());
        }
    }

    /// One enqueue of several tasks, all or none; those of its parts come first.
    pub(super) fn enqueue_all(&self, ticket: Ticket, specs: Vec<Vec<u8>>) {
        let number = specs.len();
        if let Err(waiting) = self.inbox.reserve(number) {
            return self.refuse([ticket], &full(waiting));
        }
        if self.calls.send(Call::EnqueueAll(ticket, specs)).is_err() {
            self.inbox.release(number);
            self.refuse([ticket], &closed());
        }
    }

    /// Tasks of an enqueue that is made later, under that ticket. A refusal answers it.
    pub(super) fn enqueue_part(&self, ticket: Ticket, specs: Vec<Vec<u8>>) {
        match self.inbox.reserve(specs.len()) {
            Ok(()) => drop(self.calls.send(Call::Part(ticket, specs))),
            Err(waiting) => {
                drop(self.calls.send(Call::Refused(ticket)));
                self.completions.reply(ticket, Err(full(waiting)));
            }
        }
    }

    /// The enqueue under that ticket will not be made.
    pub(super) fn abandon(&self, ticket: Ticket) {
        drop(self.calls.send(Call::Abandon(ticket)));
    }

    fn refuse(&self, tickets: impl IntoIterator<Item = Ticket>, fault: &Fault) {
        self.completions.push(|batch| {
            batch.replies.extend(tickets.into_iter().map(|ticket| (ticket, Err(fault.clone()))));
        });
    }

    /// An op that must not overtake the enqueues before it. Lost only once the loop has ended, whose
    /// calls are refused by the manager.
    pub(super) fn pass(&self, op: Op) {
        drop(self.calls.send(Call::Pass(op)));
    }

    pub(super) fn register(&self, callback_id: &str) {
        self.desk.register(callback_id);
    }
}

fn full(waiting: usize) -> Fault {
    let message = format!("{waiting} tasks wait to be stored; await some of them first");
    Fault::new(FaultCode::QueueFull, "", message)
}
