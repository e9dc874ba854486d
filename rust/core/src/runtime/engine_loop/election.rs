//! Which process runs: becoming the runner, and starting over from what the store has.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::EngineLoop;
use super::publish::Publication;
use crate::engine::{Engine, Input};
use crate::model::Fault;
use crate::runtime::lock::RunnerLock;
use crate::store::{Store, StoreError};

/// How long the loop waits after a commit that failed.
const AFTER_FAILURE: Duration = Duration::from_millis(500);

impl EngineLoop {
    /// After a failed commit the engine knows what the store does not: it is built anew from disk.
    pub(super) fn recover_from(&mut self, error: &StoreError) {
        self.parts.completions.push(|batch| batch.errors.push(error.to_string()));
        std::thread::sleep(AFTER_FAILURE);
        if self.epoch == 0 {
            self.engine.forget();
        } else if let Err(error) = self.load(self.epoch) {
            self.parts.store.rollback();
            self.parts.completions.push(|batch| batch.errors.push(error.to_string()));
        }
    }

    /// Becomes the runner, if this process is meant to run tasks and nobody else does.
    pub(super) fn try_to_run(&mut self) -> Result<(), Fault> {
        if !self.parts.run || self.epoch != 0 || self.closing.is_some() {
            return Ok(());
        }
        self.tried_lock = Some(Instant::now());
        let Some(lock) = RunnerLock::try_take(&self.parts.path)? else { return Ok(()) };
        self.hold(Some(lock));
        let begun = self.begin_to_run();
        if begun.is_err() {
            // Half a transaction, or a lock that only keeps others away, would bar the next try.
            self.parts.store.rollback();
            self.hold(None);
        }
        Ok(begun?)
    }

    fn hold(&self, lock: Option<RunnerLock>) {
        *self.parts.lock.lock().unwrap_or_else(PoisonError::into_inner) = lock;
    }

    fn begin_to_run(&mut self) -> Result<(), StoreError> {
        self.parts.store.begin()?;
        let epoch = self.parts.store.begin_epoch(&self.parts.runner)?;
        self.parts.store.commit()?;
        self.load(epoch)
    }

    /// Builds the engine from the store, under an epoch.
    fn load(&mut self, epoch: i64) -> Result<(), StoreError> {
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
        let mut rows = Vec::new();
        self.parts.store.each_live(&mut |live| rows.push(live))?;
        let mut effects = engine.recover(rows, now);
        let mut publication = Publication::default();
        self.store(&mut effects, &mut HashMap::new(), &mut publication)?;
        self.parts.store.commit()?;
        self.engine = engine;
        self.epoch = epoch;
        self.publish(publication);
        Ok(())
    }
}
