//! Which process runs: becoming the runner, and starting over from what the store has.

use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use super::EngineLoop;
use super::publish::{Action, Publication};
use crate::engine::{Engine, Input, Live, StopReason};
use crate::model::{Epoch, Fault, InterruptReason, TaskStatus};
use crate::store::{Store, StoreError};

/// How long the loop waits after a transaction that failed.
const AFTER_FAILURE: Duration = Duration::from_millis(500);

/// Before the first look whether others have committed.
const NO_VERSION: i64 = i64::MIN;

/// How often a standby tries to become the runner.
const TRY_AGAIN: Duration = Duration::from_secs(1);

impl EngineLoop {
    /// A transaction failed. Where it had begun, the engine may know what the store does not: before the
    /// next one it is built anew from disk.
    pub(super) fn stumble(&mut self, fault: &Fault) {
        self.parts.completions.push(|batch| batch.errors.push(fault.to_string()));
        self.is_stale |= self.epoch != 0 && self.has_begun;
        if self.epoch == 0 {
            self.engine.forget();
        }
        std::thread::sleep(AFTER_FAILURE);
        if let Err(error) = self.parts.store.reopen() {
            self.parts.completions.push(|batch| batch.errors.push(error.to_string()));
        }
        // Of another connection, which counts anew.
        self.data_version = NO_VERSION;
    }

    /// Becomes the runner, if this process is meant to run tasks and nobody else does.
    pub(super) fn try_to_run(&mut self) -> Result<(), Fault> {
        let tried = self.tried_lock.is_some_and(|at| at.elapsed() < TRY_AGAIN);
        // Who has drained would hold the lock, and keep everybody from running anything.
        let is_meant = self.parts.run && self.claims && self.closing.is_none();
        if !is_meant || self.epoch != 0 || tried {
            return Ok(());
        }
        let is_opening = self.tried_lock.replace(Instant::now()).is_none();
        match self.parts.lock.take(&self.parts.path) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(fault) if is_opening => return Err(fault),
            Err(fault) => {
                // What is asked of a standby needs no lock.
                self.parts.completions.push(|batch| batch.errors.push(fault.to_string()));
                return Ok(());
            }
        }
        let elected = self.begin_epoch().and_then(|epoch| self.load(epoch));
        if let Err(error) = elected {
            self.parts.store.rollback();
            self.parts.lock.free();
            return Err(error.into());
        }
        Ok(())
    }

    /// Whether another process has begun to run tasks after this one, as it can where somebody takes the
    /// file of the lock away. Asked in a transaction, which it fences.
    pub(super) fn is_superseded(&mut self) -> Result<bool, StoreError> {
        Ok(self.epoch != 0 && self.parts.store.last_epoch()? != self.epoch)
    }

    /// From now on this process looks on: the other one has taken up what runs here, so that is stopped.
    pub(super) fn step_down(&mut self) {
        let why = StopReason::Interrupted(InterruptReason::Shutdown);
        for (key, underway) in self.underway.drain() {
            self.parts.launcher.stop(key, underway.number, underway.native, why);
            self.parts.board.retire(key);
        }
        self.engine = Engine::observer(self.parts.limits, self.parts.seed);
        self.epoch = 0;
        self.is_stale = false;
        self.tried_lock = Some(Instant::now());
        self.parts.lock.free();
        let said = "another process runs the tasks of this store although this one did: the file of its \
                    lock was removed or replaced; this one looks on";
        self.parts.completions.push(|batch| batch.errors.push(said.to_owned()));
    }

    fn begin_epoch(&mut self) -> Result<Epoch, StoreError> {
        self.parts.store.begin()?;
        let epoch = self.parts.store.begin_epoch(&self.parts.runner)?;
        self.parts.store.commit()?;
        Ok(epoch)
    }

    /// Builds the engine from the store, under an epoch.
    pub(super) fn load(&mut self, epoch: Epoch) -> Result<(), StoreError> {
        let now = self.parts.situation.now();
        let mut engine = Engine::runner(self.parts.limits, epoch, self.parts.seed);
        for callback_id in &self.parts.callbacks {
            engine.register_callback(callback_id);
        }
        if !self.claims {
            engine.stop_claiming();
        }
        let mut ignored = Vec::new();
        engine.handle(Input::Signals { unmet: self.parts.situation.unmet() }, now, &mut ignored);
        self.parts.store.begin()?;
        if epoch != self.parts.store.last_epoch()? {
            self.parts.store.rollback();
            self.step_down();
            return Ok(());
        }
        let mut rows = Vec::new();
        self.parts.store.each_live(&mut |live| rows.push(live))?;
        let mut publication = Publication::default();
        self.stop_lost(&rows, epoch, &mut publication);
        let mut effects = engine.recover(rows, now);
        self.store(&mut effects, &mut publication)?;
        self.parts.store.commit()?;
        self.engine = engine;
        self.epoch = epoch;
        self.is_stale = false;
        self.publish(publication);
        Ok(())
    }

    /// Notes a stop for each attempt under way here that the store does not know as such any more.
    fn stop_lost(&self, rows: &[Live], epoch: Epoch, publication: &mut Publication) {
        let known: FxHashMap<_, _> = rows
            .iter()
            .filter(|live| live.status == TaskStatus::Running && live.epoch == epoch)
            .map(|live| (live.key, live.attempt))
            .collect();
        for (key, underway) in &self.underway {
            if known.get(key) != Some(&underway.number) {
                let (key, number, why) = (*key, underway.number, StopReason::Cancelled);
                publication.actions.push(Action::Stop { key, number, why });
            }
        }
    }
}
