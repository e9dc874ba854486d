//! A task under which the process has died more than once may be what kills it: a suspect.
//!
//! Suspects run one at a time, so that the one that does kill the process is given up in the end,
//! and those that only ran beside it are not.

use super::Engine;
use super::live::Live;
use crate::model::constraint::{NO_SUSPECT_RUNNING, Needs};

/// From this many deaths on a task is a suspect. A native transfer never is: it runs no foreign
/// code.
const DEATHS: u32 = 2;

impl Live {
    fn is_suspect(&self) -> bool {
        !self.native && self.crashes >= DEATHS
    }

    /// The constraints it has for the schedule.
    pub(super) fn needs_now(&self) -> Needs {
        self.needs | if self.is_suspect() { NO_SUSPECT_RUNNING } else { 0 }
    }
}

impl Engine {
    /// An attempt has taken its slots: of new ones, or of one that ran already.
    pub(super) fn note_begin(&mut self, live: &Live) {
        if live.is_suspect() {
            self.suspects_running = self.suspects_running.saturating_add(1);
            self.judge_by_unmet();
        }
    }

    /// An attempt has ended: its slots are free.
    pub(super) fn give_back(&mut self, live: &Live) {
        self.schedule.release(live.lane);
        if live.is_suspect() {
            self.suspects_running = self.suspects_running.saturating_sub(1);
            self.judge_by_unmet();
        }
    }

    /// Tells the schedule which constraints do not hold.
    pub(super) fn judge_by_unmet(&mut self) {
        let alone = if self.suspects_running == 0 { 0 } else { NO_SUSPECT_RUNNING };
        self.schedule.set_unmet(self.unmet | alone);
    }
}
