//! What the engine loop has to do next. Everybody pushes; only the loop takes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
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

impl Op {
    /// How many tasks it stores: what it costs.
    fn weight(&self) -> usize {
        match self {
            Self::Enqueue { tasks, .. } => tasks.len(),
            _ => 1,
        }
    }
}

/// At most this many tasks wait to be stored, from their enqueue to the transaction that takes them.
const BACKLOG_MAX: usize = 1_000_000;

/// The loop's queue.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    // LOCKING: held for a push or a take.
    ops: Mutex<VecDeque<Op>>,
    arrived: Condvar,
    backlog: AtomicUsize,
}

impl Inbox {
    /// Makes room for so many tasks. Errors with how many wait, where there is none.
    pub(super) fn reserve(&self, tasks: usize) -> Result<(), usize> {
        let waiting = self.backlog.fetch_add(tasks, Ordering::Relaxed);
        if waiting.saturating_add(tasks) > BACKLOG_MAX {
            self.release(tasks);
            return Err(waiting);
        }
        Ok(())
    }

    /// Gives back the room of tasks that will not come.
    pub(super) fn release(&self, tasks: usize) {
        self.backlog.fetch_sub(tasks, Ordering::Relaxed);
    }

    pub(super) fn push(&self, op: Op) {
        self.push_all(vec![op]);
    }

    /// Several at once, in order, with one wake-up.
    pub(super) fn push_all(&self, more: Vec<Op>) {
        if more.is_empty() {
            return;
        }
        let mut ops = self.lock();
        let was_empty = ops.is_empty();
        ops.extend(more);
        drop(ops);
        if was_empty {
            self.arrived.notify_one();
        }
    }

    /// Puts back, in front, what could not be done now.
    pub(super) fn put_back(&self, again: Vec<Op>) {
        let mut ops = self.lock();
        for op in again.into_iter().rev() {
            ops.push_front(op);
        }
    }

    /// What has arrived, until it stores `max` tasks or more; waits for the first until the time-out.
    pub(super) fn take(&self, max: usize, timeout: Duration) -> Vec<Op> {
        let mut ops = self.lock();
        if ops.is_empty() {
            let woken = self.arrived.wait_timeout(ops, timeout);
            ops = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        let mut taken = Vec::with_capacity(ops.len().min(max));
        let (mut weight, mut tasks) = (0, 0);
        while weight < max
            && let Some(op) = ops.pop_front()
        {
            weight += op.weight();
            if matches!(op, Op::Enqueue { .. }) {
                tasks += op.weight();
            }
            taken.push(op);
        }
        drop(ops);
        self.release(tasks);
        taken
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Op>> {
        self.ops.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_ends_with_the_op_that_fills_it() {
        let inbox = Inbox::default();
        inbox.push_all((0..5).map(|ticket| Op::Drain { ticket }).collect());
        assert_eq!(inbox.take(3, Duration::ZERO).len(), 3);
        assert_eq!(inbox.take(3, Duration::ZERO).len(), 2);
        assert!(inbox.take(3, Duration::ZERO).is_empty());
    }

    #[test]
    fn room_is_bounded_and_comes_back_only_when_it_is_given() {
        let inbox = Inbox::default();
        assert_eq!(inbox.reserve(BACKLOG_MAX), Ok(()));
        assert_eq!(inbox.reserve(1), Err(BACKLOG_MAX));
        inbox.release(2);
        assert_eq!(inbox.reserve(3), Err(BACKLOG_MAX - 2));
        assert_eq!(inbox.reserve(2), Ok(()));
    }
}
