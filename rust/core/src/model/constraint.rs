//! The constraints of a task, one bit each.

/// Constraint bits: what a task needs, or what does not hold.
pub type Needs = u32;

/// A network. Python's `Signal.NETWORK`.
pub const NETWORK: Needs = 1;

/// A battery that is not low. Python's `Signal.BATTERY_NOT_LOW`.
pub const BATTERY_NOT_LOW: Needs = 2;

/// Does not hold until the host has said which constraints hold. No task needs it.
pub const SIGNALS_KNOWN: Needs = 1 << 30;

/// No task runs that may be what kills the process. Only such a task needs it, and none is stored
/// with it.
pub const NO_SUSPECT_RUNNING: Needs = 1 << 31;
