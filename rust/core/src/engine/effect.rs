//! What the engine is told, and what it wants done.

use std::sync::Arc;

use bytes::Bytes;

use super::live::Live;
use crate::model::constraint::Needs;
use crate::model::event::EventDetail;
use crate::model::spec::{ExistingPolicy, RetrySpec};
use crate::model::{
    EventKind, Failure, InterruptReason, Outcome, Success, TaskKey, TaskStatus, UnixMillis,
};
use crate::schedule::LaneId;

/// A task that has passed admission: its meaning is checked and its file has a fingerprint.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTask {
    /// The user's id, or `None` for a generated one.
    pub task_id: Option<Arc<str>>,
    /// The user's label.
    pub tag: Option<Arc<str>>,
    /// The specification, byte for byte as it was encoded.
    pub spec: Bytes,
    /// What admission found out (fingerprint, boundary, idempotency key), encoded.
    pub admitted: Bytes,
    /// Not before this time.
    pub run_at: UnixMillis,
    /// Larger goes first.
    pub priority: i32,
    /// One more than the retries allowed.
    pub attempts_max: u32,
    /// Its lane.
    pub lane: LaneId,
    /// The constraints it needs.
    pub needs: Needs,
    /// Whether Rust does the work.
    pub native: bool,
    /// What to do when the id is taken.
    pub existing_policy: ExistingPolicy,
}

/// One thing that happened, for the engine to decide about.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The user adds tasks: all of them or none.
    Enqueue(Vec<Arrival>),
    /// The user ends tasks.
    Cancel(Vec<TaskKey>),
    /// An attempt ended.
    Outcome {
        /// Of which task.
        key: TaskKey,
        /// Which attempt; a superseded one changes nothing.
        attempt: u32,
        /// How.
        outcome: Outcome,
        /// The task's retry policy, as its body has it.
        retry: RetrySpec,
    },
    /// An attempt got further: the percentage that was reported.
    Progress {
        /// Of which task.
        key: TaskKey,
        /// Which attempt.
        attempt: u32,
        /// Its highest reported percentage.
        percent: u8,
    },
    /// These constraint bits do not hold any more; all others do.
    Signals {
        /// The bits.
        unmet: Needs,
    },
    /// Time passed.
    Tick,
}

/// A new task, the key it would get, and the live task that has its id already.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrival {
    /// The task.
    pub task: NewTask,
    /// A fresh key for it.
    pub key: TaskKey,
    /// The newest task with the same id, whether it still lives or not.
    pub taken_by: Option<TaskKey>,
}

/// What became of one task of an enqueue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduled {
    /// It will be stored under this key.
    Accepted(TaskKey),
    /// The stored task with that id was left as it is.
    Kept(TaskKey),
}

/// What the engine wants done. The first group is durable and goes into one transaction; the second
/// is done once that transaction is on disk.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Store a new task.
    Insert {
        /// Its narrow row.
        live: Live,
        /// Its body.
        task: NewTask,
        /// When it was enqueued.
        at: UnixMillis,
    },
    /// Store a changed narrow row.
    Update(Live),
    /// The task ended: its narrow row goes, a done row comes.
    Finish {
        /// Which task.
        key: TaskKey,
        /// How it ended; a terminal status.
        status: TaskStatus,
        /// When.
        at: UnixMillis,
        /// After how many attempts.
        attempt: u32,
        /// What it brought, or why it did not.
        end: End,
    },
    /// Write an event.
    Record {
        /// When.
        at: UnixMillis,
        /// What.
        kind: EventKind,
        /// To which task.
        key: TaskKey,
        /// The rest.
        detail: EventDetail,
    },
    /// After the commit: begin an attempt.
    Start {
        /// Of which task.
        key: TaskKey,
        /// Its number, from 1.
        attempt: u32,
        /// The percentage that progress starts from.
        mark_percent: u8,
    },
    /// After the commit: stop an attempt, whose outcome nobody waits for any more.
    Stop {
        /// Of which task.
        key: TaskKey,
        /// Its number.
        attempt: u32,
        /// Why.
        why: StopReason,
    },
}

/// Why an attempt is stopped from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The user ended the task.
    Cancelled,
    /// The attempt is cut short and will be made again.
    Interrupted(InterruptReason),
}

/// How a task ended, beyond its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With a result.
    Success(Success),
    /// With a reason.
    Failure(Failure),
}
