//! The one place that reads a clock.

use std::sync::Mutex;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::model::{Clock, Now};
use crate::sync;

/// The host's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// The host's clocks; the monotonic one counts from here.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            wall_ms: i64::try_from(wall.as_millis()).unwrap_or(i64::MAX),
            mono_ms: i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX),
        }
    }
}

/// Clocks that only a test moves.
#[derive(Debug)]
pub struct ManualClock {
    now: Mutex<Now>,
}

impl ManualClock {
    /// Clocks that stand at this wall time.
    pub fn new(wall_ms: i64) -> Self {
        Self { now: Mutex::new(Now { wall_ms, mono_ms: 0 }) }
    }

    /// Both go forward.
    pub fn advance(&self, ms: i64) {
        let mut now = sync::lock(&self.now);
        now.wall_ms = now.wall_ms.saturating_add(ms);
        now.mono_ms = now.mono_ms.saturating_add(ms.max(0));
    }

    /// Only the wall clock jumps, as when somebody sets it.
    pub fn jump(&self, ms: i64) {
        let mut now = sync::lock(&self.now);
        now.wall_ms = now.wall_ms.saturating_add(ms);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Now {
        *sync::lock(&self.now)
    }
}
