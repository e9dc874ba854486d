//! The end: nothing new begins, what runs is released, and the runner signs off.

use std::time::{Duration, Instant};

use super::publish::Publication;
use super::{EngineLoop, LoopParts};
use crate::engine::StopReason;
use crate::model::{Fault, InterruptReason, Outcome};
use crate::runtime::completions::Ticket;
use crate::runtime::inbox::Op;
use crate::runtime::replies::{closed, pack};
use crate::store::Store;

impl EngineLoop {
    /// From now on no attempt begins, whatever happens to the engine.
    pub(super) fn stop_claiming(&mut self) {
        self.claims = false;
        self.engine.stop_claiming();
    }

    /// Claims no more, stops transfers at once, and asks callbacks to stop.
    pub(super) fn begin_to_close(&mut self, ticket: Ticket, grace: Duration) {
        self.stop_claiming();
        self.closing = Some((ticket, Instant::now() + grace));
        let why = StopReason::Interrupted(InterruptReason::Shutdown);
        for (key, running) in &self.running {
            self.parts.launcher.stop(*key, running.number, running.native, why);
            if running.native {
                let outcome = Outcome::Interrupted(InterruptReason::Shutdown);
                self.parts.inbox.push(Op::Outcome { key: *key, attempt: running.number, outcome });
            }
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        // An engine that has to be built again may believe in ends that are not on disk.
        let is_over = self.engine.counts().running == 0 && !self.is_stale;
        self.closing.as_ref().is_some_and(|(_, deadline)| is_over || Instant::now() >= *deadline)
    }

    /// The last transaction: what still runs is released, and the runner signs off.
    pub(super) fn close(mut self) {
        if let Err(fault) = self.sign_off() {
            // Where that was not stored, what still ran is rescued by the next runner.
            self.parts.store.rollback();
            self.parts.completions.report(fault);
        }
        for op in self.parts.inbox.take(usize::MAX, Duration::ZERO) {
            if let Op::Enqueue { ticket, .. }
            | Op::EnqueueAll { ticket, .. }
            | Op::Cancel { ticket, .. }
            | Op::Drain { ticket }
            | Op::WaitIdle { ticket } = op
            {
                self.parts.completions.reply(ticket, Err(closed()));
            }
        }
        for ticket in self.draining.drain(..).chain(self.idle.drain(..)) {
            self.parts.completions.reply(ticket, Err(closed()));
        }
        // The write connection goes last: it moves what is left of the WAL into the file.
        let LoopParts { store, completions, readers, launcher, checkpoints, lock, .. } = self.parts;
        readers.stop();
        drop((launcher, checkpoints));
        drop(store);
        lock.free();
        if let Some((ticket, _)) = self.closing {
            completions.reply(ticket, pack(&()));
        }
    }

    fn sign_off(&mut self) -> Result<(), Fault> {
        if self.is_stale {
            // What came to its end and could not be stored is stored now.
            let ops = self.parts.inbox.take(usize::MAX, Duration::ZERO);
            self.turn(ops)?;
        }
        if !self.is_runner() {
            return Ok(());
        }
        let now = self.parts.situation.now();
        self.parts.store.begin()?;
        if self.is_superseded()? {
            self.parts.store.rollback(); // the other one has taken up what ran here
            return Ok(());
        }
        let mut effects = self.catch_up(now, &mut Publication::default())?;
        effects.extend(self.engine.interrupt_all(InterruptReason::Shutdown, now));
        self.parts.store.apply(&effects)?;
        self.parts.store.end_epoch(self.epoch, now.wall_ms)?;
        self.parts.store.commit()?;
        Ok(self.prune_at_close()?)
    }
}
