//! The words of outhaul: tasks, states, outcomes, events, errors. Values only, no behaviour but
//! theirs.

pub mod clock;
pub mod constraint;
pub mod error;
pub mod event;
pub mod outcome;
pub mod spec;
pub mod state;
mod tagged;
pub mod task_id;

pub use clock::{Clock, Now, UnixMillis};
pub use error::{ErrorCode, Fault, FaultCode};
pub use event::EventKind;
pub use outcome::{Failure, InterruptReason, Outcome, Success};
pub use state::{Step, TaskStatus};

/// The internal id of a task: assigned in the transaction that stores it, ascending, never reused.
pub type TaskKey = u64;

/// The number of a runner: one more than any before it, never reused. It fences late writes.
pub type Epoch = i64;
