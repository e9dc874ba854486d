//! What a waiting task is judged by, where several threads can see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::model::constraint::Needs;
use crate::model::{Clock, Now};
use crate::store::sqlite::Situation;

/// The clock and the constraint bits that do not hold.
pub(super) struct SharedSituation {
    clock: Arc<dyn Clock>,
    unmet: AtomicU32,
}

impl SharedSituation {
    pub(super) fn new(clock: Arc<dyn Clock>, unmet: Needs) -> Self {
        Self { clock, unmet: AtomicU32::new(unmet) }
    }

    pub(super) fn now(&self) -> Now {
        self.clock.now()
    }

    pub(super) fn unmet(&self) -> Needs {
        self.unmet.load(Ordering::Relaxed)
    }

    /// Says which bits did not hold before.
    pub(super) fn set_unmet(&self, unmet: Needs) -> Needs {
        self.unmet.swap(unmet, Ordering::Relaxed)
    }

    pub(super) fn read(&self) -> Situation {
        Situation { now_ms: self.now().wall_ms, unmet: self.unmet() }
    }
}
