//! What the engine loop has to do next. Everybody pushes; only the loop takes.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::completions::Ticket;
use crate::engine::NewTask;
use crate::model::{Outcome, TaskKey};
use crate::schedule::Needs;
use crate::store::Selection;

/// One thing for the engine loop to do.
#[derive(Debug)]
pub(super) enum Op {
    /// Store tasks that passed admission.
    Enqueue { ticket: Ticket, tasks: Vec<NewTask> },
    /// End tasks.
    Cancel { ticket: Ticket, selection: Selection },
    /// An attempt ended.
    Outcome { key: TaskKey, attempt: u32, outcome: Outcome },
    /// These constraint bits do not hold now.
    Signals { unmet: Needs },
    /// A callback is registered now.
    Register { callback_id: String },
    /// Claim no more; answer when nothing runs.
    Drain { ticket: Ticket },
    /// Answer when nothing runs and nothing is due.
    WaitIdle { ticket: Ticket },
    /// Nobody waits for this answer any more.
    Abandon { ticket: Ticket },
    /// Stop everything within the grace period and answer.
    Close { ticket: Ticket, grace: Duration },
    /// Look at the clock: somebody moved it.
    Poke,
}

/// The loop's queue.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    ops: Mutex<Vec<Op>>,
    arrived: Condvar,
}

impl Inbox {
    pub(super) fn push(&self, op: Op) {
        let mut ops = self.ops.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = ops.is_empty();
        ops.push(op);
        drop(ops);
        if was_empty {
            self.arrived.notify_one();
        }
    }

    /// Several at once, in order, with one wake-up.
    pub(super) fn push_all(&self, more: Vec<Op>) {
        if more.is_empty() {
            return;
        }
        let mut ops = self.ops.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = ops.is_empty();
        ops.extend(more);
        drop(ops);
        if was_empty {
            self.arrived.notify_one();
        }
    }

    /// Puts back, in front, what could not be done now.
    pub(super) fn put_back(&self, again: Vec<Op>) {
        let mut ops = self.ops.lock().unwrap_or_else(PoisonError::into_inner);
        ops.splice(0..0, again);
    }

    /// Everything that has arrived, at most `max`; waits for the first until the time-out.
    pub(super) fn take(&self, max: usize, timeout: Duration) -> Vec<Op> {
        let mut ops = self.ops.lock().unwrap_or_else(PoisonError::into_inner);
        if ops.is_empty() {
            let woken = self.arrived.wait_timeout(ops, timeout);
            ops = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        if ops.len() <= max {
            return std::mem::take(&mut *ops);
        }
        ops.drain(..max).collect()
    }
}
