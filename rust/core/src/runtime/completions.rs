//! What Python has to be told, gathered into batches, and the descriptor that wakes it.
//!
//! Rust threads only ever push here. The first push after a drain makes the descriptor readable;
//! however many follow, there is one wake-up.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard};

use rustc_hash::FxHashSet;
use serde::Serialize;

use crate::engine::StopReason;
use crate::model::spec::SecretRef;
use crate::model::{Failure, Fault, FaultCode, TaskKey};
use crate::sync;

/// The number of a call that waits for its answer. Given by the caller, ascending.
pub type Ticket = u64;

/// What a call is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyValue {
    /// An encoded value.
    Packed(Vec<u8>),
    /// What became of the only task of an enqueue: its key, whether it was accepted, and its id,
    /// where its user chose one.
    Scheduled(TaskKey, bool, Option<Arc<str>>),
}

/// The answer to a call, or why there is none.
pub type Reply = Result<ReplyValue, Fault>;

/// A registered callback is to be run.
#[derive(Clone, Debug)]
pub struct CallbackRequest {
    /// For which task.
    pub key: TaskKey,
    /// Which attempt of it.
    pub attempt: u32,
    /// Which callback.
    pub callback_id: String,
    /// Its encoded argument.
    pub input: Vec<u8>,
    /// The task's id, as the user knows it.
    pub task_id: String,
}

/// Secrets are to be resolved for one attempt.
#[derive(Clone, Debug)]
pub struct SecretRequest {
    /// Of which task.
    pub key: TaskKey,
    /// Which attempt of it.
    pub attempt: u32,
    /// Which secrets; they are given back in this order.
    pub secrets: Vec<SecretRef>,
}

/// A task has failed for good: for the log, whoever else hears of it.
#[derive(Debug, Serialize)]
pub(super) struct FailedTask {
    /// Which task.
    pub key: TaskKey,
    /// By which attempt.
    pub attempt: u32,
    /// The task's id, as the user knows it.
    pub task_id: String,
    /// Why.
    pub failure: Failure,
}

/// At most this many of them wait for a log that is slower; the rest are counted.
const FAILED_MAX: usize = 1_000;

/// Everything since the last drain.
#[derive(Debug, Default)]
pub struct Batch {
    /// Answers to calls.
    pub replies: VecDeque<(Ticket, Reply)>,
    /// Callbacks to run.
    pub callbacks: VecDeque<CallbackRequest>,
    /// Secrets to resolve.
    pub secrets: VecDeque<SecretRequest>,
    /// Callbacks to stop.
    pub stops: Vec<(TaskKey, u32, StopReason)>,
    /// Tasks that have failed, each encoded.
    pub failed: VecDeque<Vec<u8>>,
    /// How many more, of which nothing is told.
    pub failed_more: usize,
    /// What went wrong without anybody having asked: for the log.
    pub errors: Vec<String>,
}

impl Batch {
    /// The length of the longest kind.
    fn longest(&self) -> usize {
        let lengths = [
            self.replies.len(),
            self.callbacks.len(),
            self.secrets.len(),
            self.stops.len(),
            self.failed.len(),
        ];
        lengths.into_iter().max().unwrap_or_default()
    }

    /// Takes the first `max` of each kind. A callback is asked for before it is stopped: where its
    /// request is left, its stop is.
    fn split(&mut self, max: usize) -> Self {
        fn first<T>(queue: &mut VecDeque<T>, max: usize) -> VecDeque<T> {
            queue.drain(..max.min(queue.len())).collect()
        }
        let callbacks = first(&mut self.callbacks, max);
        // Mostly there is no stop; then nobody asks.
        let asked = if self.stops.is_empty() { 0 } else { self.callbacks.len() };
        let left: FxHashSet<_> = self
            .callbacks
            .iter()
            .take(asked)
            .map(|request| (request.key, request.attempt))
            .collect();
        let goes = |(key, attempt, _): &mut _| !left.contains(&(*key, *attempt));
        Self {
            replies: first(&mut self.replies, max),
            callbacks,
            secrets: first(&mut self.secrets, max),
            stops: self.stops.extract_if(.., goes).take(max).collect(),
            failed: first(&mut self.failed, max),
            failed_more: std::mem::take(&mut self.failed_more),
            errors: std::mem::take(&mut self.errors),
        }
    }

    fn is_empty(&self) -> bool {
        self.replies.is_empty()
            && self.callbacks.is_empty()
            && self.secrets.is_empty()
            && self.stops.is_empty()
            && self.failed.is_empty()
            && self.errors.is_empty()
    }
}

/// The queue to Python.
#[derive(Clone, Debug)]
pub struct Completions {
    batch: Arc<Mutex<Batch>>,
    wake: Arc<Wake>,
}

impl Completions {
    /// An empty queue.
    pub fn new() -> Result<Self, Fault> {
        Ok(Self { batch: Arc::default(), wake: Arc::new(Wake::new()?) })
    }

    /// Readable while there is something to drain.
    pub fn descriptor(&self) -> RawFd {
        self.wake.reader().as_raw_fd()
    }

    /// Adds to the batch; wakes Python if it was empty.
    pub fn push(&self, add: impl FnOnce(&mut Batch)) {
        let mut batch = self.lock();
        let was_empty = batch.is_empty();
        add(&mut batch);
        let wake = was_empty && !batch.is_empty();
        drop(batch);
        if wake {
            self.wake.set();
        }
    }

    /// Answers one call.
    pub fn reply(&self, ticket: Ticket, reply: Reply) {
        self.push(|batch| batch.replies.push_back((ticket, reply)));
    }

    /// Tells of an error that no call is answered with.
    pub(super) fn report(&self, error: impl ToString) {
        self.push(|batch| batch.errors.push(error.to_string()));
    }

    /// Tells of tasks that have failed.
    pub(super) fn tell_failed(&self, failed: Vec<FailedTask>) {
        self.push(|batch| {
            for task in failed {
                match rmp_serde::to_vec_named(&task) {
                    Ok(encoded) if batch.failed.len() < FAILED_MAX => {
                        batch.failed.push_back(encoded);
                    }
                    _ => batch.failed_more = batch.failed_more.saturating_add(1),
                }
            }
        });
    }

    /// Takes what has gathered, of each kind at most `max`. The descriptor is quiet until the next
    /// push, unless something is left.
    pub fn drain(&self, max: usize) -> Batch {
        // Cleared first: a push in between leaves the descriptor readable, never the reverse.
        self.wake.clear();
        let mut batch = self.lock();
        if batch.longest() <= max {
            return std::mem::take(&mut *batch);
        }
        let taken = batch.split(max);
        let left = !batch.is_empty();
        drop(batch);
        if left {
            self.wake.set();
        }
        taken
    }

    // LOCKING: held for a push or a swap, never across a call.
    fn lock(&self) -> MutexGuard<'_, Batch> {
        sync::lock(&self.batch)
    }
}

/// An eventfd, or a pipe where there is none.
#[derive(Debug)]
struct Wake {
    reader: OwnedFd,
    #[cfg(not(target_os = "linux"))]
    writer: OwnedFd,
}

impl Wake {
    #[cfg(target_os = "linux")]
    fn new() -> Result<Self, Fault> {
        use rustix::event::{EventfdFlags, eventfd};
        let reader = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(no_wake)?;
        Ok(Self { reader })
    }

    #[cfg(not(target_os = "linux"))]
    fn new() -> Result<Self, Fault> {
        let (reader, writer) = rustix::pipe::pipe().map_err(no_wake)?;
        rustix::io::ioctl_fionbio(&reader, true).map_err(no_wake)?;
        rustix::io::ioctl_fionbio(&writer, true).map_err(no_wake)?;
        Ok(Self { reader, writer })
    }

    fn reader(&self) -> &OwnedFd {
        &self.reader
    }

    fn writer(&self) -> impl AsFd {
        #[cfg(target_os = "linux")]
        return &self.reader;
        #[cfg(not(target_os = "linux"))]
        return &self.writer;
    }

    /// Makes it readable. Fails only when it is so already.
    fn set(&self) {
        let _ = rustix::io::write(self.writer(), &1_u64.to_ne_bytes());
    }

    /// Makes it unreadable. Fails only when it is so already.
    fn clear(&self) {
        let mut bytes = [0; 64];
        let _ = rustix::io::read(&self.reader, &mut bytes);
    }
}

fn no_wake(error: rustix::io::Errno) -> Fault {
    Fault::new(
        FaultCode::StoreUnavailable,
        "",
        format!("cannot make a descriptor ({error}): raise the limit of open files (ulimit -n)"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_pushes_are_one_batch_in_order() {
        let completions = Completions::new().unwrap();
        for ticket in 0..5 {
            completions.reply(ticket, Ok(ReplyValue::Packed(Vec::new())));
        }
        assert_eq!(tickets(&completions.drain(3)), [0, 1, 2]);
        assert_eq!(tickets(&completions.drain(3)), [3, 4]);
        assert!(completions.drain(3).is_empty());
    }

    #[test]
    fn a_callback_is_never_stopped_before_it_is_asked_for() {
        let completions = Completions::new().unwrap();
        let request = |key| CallbackRequest {
            key,
            attempt: 1,
            callback_id: "work".to_owned(),
            input: Vec::new(),
            task_id: "x".to_owned(),
        };
        let stops = |batch: Batch| batch.stops.iter().map(|stop| stop.0).collect::<Vec<_>>();
        completions.push(|batch| {
            batch.callbacks.extend([request(1), request(2), request(3)]);
            // One that is waiting, one that was asked for long ago.
            let why = StopReason::Cancelled;
            batch.stops.extend([(3, 1, why), (0, 1, why), (1, 1, why), (3, 2, why)]);
        });
        assert_eq!(stops(completions.drain(1)), [0]);
        assert_eq!(stops(completions.drain(1)), [1]);
        assert_eq!(stops(completions.drain(1)), [3]);
        assert_eq!(stops(completions.drain(1)), [3]);
        assert!(completions.drain(1).is_empty());
    }

    fn tickets(batch: &Batch) -> Vec<Ticket> {
        batch.replies.iter().map(|(ticket, _)| *ticket).collect()
    }
}
