//! The words of outhaul: tasks, states, outcomes, events, errors. Values only, no behaviour but theirs.

pub mod clock;
pub mod error;
pub mod event;
mod key;
pub mod outcome;
pub mod spec;
pub mod state;
mod tagged;

pub use clock::{Clock, Now, UnixMillis};
pub use error::{ErrorCode, Fault, FaultCode};
pub use event::{Event, EventKind};
pub use key::{TaskKey, made_at, next_key};
pub use outcome::{Failure, InterruptReason, Outcome, Success};
pub use state::{Step, TaskStatus};

/// The number of a runner: one more than any before it, never reused. It fences late writes.
pub type Epoch = i64;
