//! What a reader answers, as it goes to Python (MessagePack maps, decoded into msgspec Structs).

use serde::Serialize;

use crate::model::event::EventDetail;
use crate::model::{ErrorCode, EventKind, Success, TaskKey, UnixMillis};

/// One task as it stands.
#[derive(Clone, Debug, Serialize)]
pub struct TaskRecord {
    /// The user's id, or the generated one.
    pub task_id: String,
    /// The internal id.
    pub key: TaskKey,
    /// Where it stands.
    pub status: &'static str,
    /// The user's label.
    pub tag: Option<String>,
    /// The kind of worker: `http_upload`, `python`.
    pub worker: &'static str,
    /// The file that an upload sends.
    pub file_path: Option<String>,
    /// The callback that a Python worker calls.
    pub callback_id: Option<String>,
    /// Larger goes first.
    pub priority: i32,
    /// Attempts begun.
    pub attempt: u32,
    /// When it was enqueued.
    pub created_at_ms: UnixMillis,
    /// Not before this time; `None` once it has ended.
    pub run_at_ms: Option<UnixMillis>,
    /// What a pending task waits for: `time`, `retry`, a constraint's name, `limit`.
    pub waiting_on: Option<&'static str>,
    /// When it ended.
    pub finished_at_ms: Option<UnixMillis>,
    /// Why it ended without success, for programs.
    pub error_code: Option<ErrorCode>,
    /// The status of the last answer, where there was one.
    pub http_status: Option<u16>,
    /// Why it ended without success, for people.
    pub message: String,
}

/// One event as a reader gives it.
#[derive(Clone, Debug, Serialize)]
pub struct EventRecord {
    /// Its number in the log.
    pub seq: u64,
    /// When.
    pub at_ms: UnixMillis,
    /// What.
    pub kind: EventKind,
    /// To which task.
    pub key: TaskKey,
    /// The user's id, or the generated one.
    pub task_id: String,
    /// The user's label.
    pub tag: Option<String>,
    /// The rest.
    #[serde(flatten)]
    pub detail: EventDetail,
    /// What the task brought; only with `completed`.
    pub result: Option<Success>,
}

/// How many tasks stand where.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Counts {
    /// Waiting for time, a constraint, a retry or a slot.
    pub pending: u64,
    /// Under way.
    pub running: u64,
    /// Held by the user.
    pub paused: u64,
    /// Waiting for a predecessor.
    pub blocked: u64,
    /// Done, with success.
    pub completed: u64,
    /// Done, without success.
    pub failed: u64,
    /// Ended by the user.
    pub cancelled: u64,
    /// Ended by their deadline.
    pub expired: u64,
    /// The number of the last event.
    pub last_event: u64,
}
