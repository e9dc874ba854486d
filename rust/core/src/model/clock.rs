//! Time as a value. Only `runtime` makes one; everything else is given it.

/// Milliseconds since the Unix epoch, UTC.
pub type UnixMillis = i64;

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// The wall clock: what users mean by a time of day. May jump.
    pub wall_ms: UnixMillis,
    /// A clock that only goes forward, from an arbitrary start: what durations are measured by.
    pub mono_ms: i64,
}

impl Now {
    /// A reading where both clocks agree, for simulations and tests.
    pub const fn at(ms: i64) -> Self {
        Self { wall_ms: ms, mono_ms: ms }
    }
}

/// Where the runtime takes the time from: the host, or a test.
pub trait Clock: Send + Sync + 'static {
    /// Both clocks, read together.
    fn now(&self) -> Now;
}
