//! What the engine loop has to do next. Everybody pushes; only the loop takes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::completions::Ticket;
use crate::engine::NewTask;
use crate::model::constraint::Needs;
use crate::model::{Outcome, TaskKey};
use crate::store::Selection;
use crate::sync;

/// How many tasks the first half of a cancel has ended, for the second to tell.
pub(super) type Count = Arc<AtomicUsize>;

/// One thing for the engine loop to do.
#[derive(Debug)]
pub(super) enum Op {
    /// Store a task that passed admission.
    Enqueue { ticket: Ticket, task: NewTask },
    /// Store several, all or none.
    EnqueueAll { ticket: Ticket, tasks: Vec<NewTask> },
    /// End tasks.
    Cancel { ticket: Ticket, selection: Selection, before: Option<Count> },
    /// End those of a cancel that are stored already, while it waits for its turn.
    CancelStored { selection: Selection, count: Count },
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
    Wake,
}

impl Op {
    /// How many tasks it counts for.
    pub(super) fn weight(&self) -> usize {
        self.tasks().max(1)
    }

    /// How many tasks it stores.
    fn tasks(&self) -> usize {
        match self {
            Self::Enqueue { .. } => 1,
            Self::EnqueueAll { tasks, .. } => tasks.len(),
            _ => 0,
        }
    }
}

/// At most this many tasks wait to be stored, from their enqueue to the transaction that takes
/// them.
pub(super) const BACKLOG_MAX: usize = 1_000_000;

#[derive(Debug, Default)]
struct Queue {
    ops: VecDeque<Op>,
    /// Whether the loop sleeps, and nobody has woken it yet: a wake-up is a system call.
    is_awaited: bool,
}

/// The loop's queue.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    // LOCKING: held for a push or a take.
    queue: Mutex<Queue>,
    arrived: Condvar,
    backlog: AtomicUsize,
}

impl Inbox {
    /// Makes room for that many tasks. Errors with how many wait, where there is none.
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
    pub(super) fn push_all(&self, ops: Vec<Op>) {
        if ops.is_empty() {
            return;
        }
        let mut queue = self.lock();
        let wake = std::mem::take(&mut queue.is_awaited);
        queue.ops.extend(ops);
        drop(queue);
        if wake {
            self.arrived.notify_one();
        }
    }

    /// Puts back, in front, what could not be done now.
    pub(super) fn put_back(&self, again: Vec<Op>) {
        let mut queue = self.lock();
        for op in again.into_iter().rev() {
            queue.ops.push_front(op);
        }
    }

    /// What has arrived, until it stores `max` tasks or more; waits for the first until the
    /// time-out.
    pub(super) fn take(&self, max: usize, timeout: Duration) -> Vec<Op> {
        let mut queue = self.lock();
        if queue.ops.is_empty() {
            queue.is_awaited = true;
            let woken = self.arrived.wait_timeout(queue, timeout);
            queue = woken.unwrap_or_else(PoisonError::into_inner).0;
            queue.is_awaited = false;
        }
        let mut taken = Vec::with_capacity(queue.ops.len().min(max));
        let (mut weight, mut tasks) = (0, 0);
        while weight < max
            && let Some(op) = queue.ops.pop_front()
        {
            weight += op.weight();
            tasks += op.tasks();
            taken.push(op);
        }
        drop(queue);
        self.release(tasks);
        taken
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        sync::lock(&self.queue)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

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
    fn a_push_wakes_the_loop_that_waits_every_time() {
        const LONG: Duration = Duration::from_secs(50);
        let inbox = Arc::new(Inbox::default());
        let (at_loop, began) = (Arc::clone(&inbox), Instant::now());
        let engine = std::thread::spawn(move || {
            (0..100).map(|_| at_loop.take(1, LONG).len()).sum::<usize>()
        });
        for ticket in 0..100 {
            while !inbox.lock().is_awaited {
                std::thread::yield_now();
            }
            inbox.push(Op::Drain { ticket });
        }
        assert_eq!(engine.join().unwrap(), 100);
        assert!(began.elapsed() < LONG);
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
