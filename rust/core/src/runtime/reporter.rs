//! Carries a transfer's byte counts to the progress board, at about one update a percent.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::inbox::{Inbox, Op};
use super::progress_board::ProgressBoard;
use super::situation::SharedSituation;
use crate::model::TaskKey;
use crate::progress::{INTERVAL_MIN_MS_DEFAULT, Meter, Update};
use crate::sync;
use crate::transfer::Observer;

/// Whose progress it is.
pub(super) struct ReportOf {
    pub(super) key: TaskKey,
    pub(super) attempt: u32,
    pub(super) task_id: String,
    pub(super) tag: Option<Arc<str>>,
}

/// Hears what a transfer sends.
pub(super) struct Reporter {
    of: ReportOf,
    meter: Mutex<Meter>,
    /// Below this count nothing is due: compared without the lock.
    gate: AtomicU64,
    board: Arc<ProgressBoard>,
    inbox: Arc<Inbox>,
    situation: Arc<SharedSituation>,
}

impl Reporter {
    /// An attempt begins. It goes on from what an earlier one has shown: exactly, where that was
    /// made by this process; from the percentage in the store otherwise.
    pub(super) fn begin(
        of: ReportOf,
        total: u64,
        mark_percent: u8,
        (board, inbox, situation): (&Arc<ProgressBoard>, &Arc<Inbox>, &Arc<SharedSituation>),
    ) -> Self {
        // Meanwhile another process may have brought it further.
        let shown = board.mark(of.key).filter(|mark| mark.percent >= mark_percent);
        let mut meter = match shown {
            Some(mark) => Meter::with_mark(total, mark, INTERVAL_MIN_MS_DEFAULT),
            None => Meter::new(total, mark_percent, INTERVAL_MIN_MS_DEFAULT),
        };
        let first = meter.begin(situation.now().mono_ms);
        board.show(of.key, &of.task_id, of.tag.as_deref(), first);
        Self {
            of,
            gate: AtomicU64::new(meter.next_gate()),
            meter: Mutex::new(meter),
            board: Arc::clone(board),
            inbox: Arc::clone(inbox),
            situation: Arc::clone(situation),
        }
    }

    /// The server has accepted the whole body.
    pub(super) fn answered(&self) {
        let now_ms = self.situation.now().mono_ms;
        let last = sync::lock(&self.meter).answered(now_ms);
        self.hold(last);
    }

    /// To be shown once the store remembers it, for which the engine loop is woken.
    fn hold(&self, update: Update) {
        let ReportOf { key, attempt, ref task_id, ref tag } = self.of;
        self.board.hold(key, attempt, task_id, tag.as_deref(), update);
        self.inbox.push(Op::Wake);
    }
}

impl Observer for Reporter {
    fn sent(&self, body_bytes_so_far: u64) {
        if body_bytes_so_far < self.gate.load(Ordering::Relaxed) {
            return;
        }
        let now_ms = self.situation.now().mono_ms;
        let mut meter = sync::lock(&self.meter);
        let update = meter.sent(body_bytes_so_far, now_ms);
        self.gate.store(meter.next_gate(), Ordering::Relaxed);
        drop(meter);
        if let Some(update) = update {
            self.hold(update);
        }
    }
}
