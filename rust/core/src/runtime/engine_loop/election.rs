//! Which process runs: becoming the runner, and starting over from what the store has.

use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use super::EngineLoop;
use super::publish::{Action, Publication};
use crate::engine::{Effect, Engine, Input, Live, StopReason, longest_wait_ms};
use crate::model::spec::TaskSpec;
use crate::model::task_id::time_of;
use crate::model::{Epoch, Fault, FaultCode, InterruptReason, Now, TaskStatus, UnixMillis};
use crate::store::{Store, StoreError};

/// How long the loop waits after a transaction that failed.
const AFTER_FAILURE: Duration = Duration::from_millis(500);

/// The same failure is reported again after this long.
const REPORT_AGAIN: Duration = Duration::from_mins(1);

/// At most this many different ones are reported within it.
const REPORTED_MAX: usize = 32;

/// Before the first look whether others have committed.
const NO_VERSION: i64 = i64::MIN;

/// The longest wait before a retry that nobody wonders about, in milliseconds: the default
/// policy's, with all that may be added.
const LIKELY_WAIT_MS: i64 = 70 * 60_000;

/// How often a standby tries to become the runner.
const TRY_AGAIN: Duration = Duration::from_secs(1);

impl EngineLoop {
    /// A transaction failed. Where it had begun, the engine may know what the store does not:
    /// before the next one it is built again from disk.
    pub(super) fn after_failure(&mut self, fault: &Fault) {
        self.report_at_times(fault);
        if fault.code == FaultCode::StoreTooNew {
            self.stop_claiming(); // and so never runs again
            if self.is_runner() {
                self.step_down();
            }
            return;
        }
        self.is_stale |= self.is_runner() && self.has_begun;
        if !self.is_runner() {
            self.engine.forget();
        }
        std::thread::sleep(AFTER_FAILURE);
        if let Err(error) = self.parts.store.reopen() {
            self.report_at_times(&error);
        }
        // Of another connection, which counts again.
        self.data_version = NO_VERSION;
    }

    /// Reports what goes wrong each time that it is tried, but the same only once a minute: on a
    /// disk that is full a log would have no room either.
    fn report_at_times(&mut self, error: &impl ToString) {
        let said = error.to_string();
        self.reported.retain(|_, at| at.elapsed() < REPORT_AGAIN);
        if !self.reported.contains_key(&said) && self.reported.len() < REPORTED_MAX {
            self.parts.completions.report(&said);
            self.reported.insert(said, Instant::now());
        }
    }

    /// Becomes the runner, if this process is meant to run tasks and nobody else does.
    pub(super) fn try_to_run(&mut self) -> Result<(), Fault> {
        let tried = self.tried_lock.is_some_and(|at| at.elapsed() < TRY_AGAIN);
        // Who has drained would hold the lock, and keep everybody from running anything.
        let is_meant = self.parts.run && self.claims && self.closing.is_none();
        if !is_meant || self.is_runner() || tried {
            return Ok(());
        }
        let is_opening = self.tried_lock.replace(Instant::now()).is_none();
        match self.parts.lock.take(&self.parts.path) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(fault) if is_opening => return Err(fault),
            Err(fault) => {
                // What is asked of a standby needs no lock.
                self.parts.completions.report(fault);
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

    /// Whether another process has begun to run tasks after this one, as it can where somebody
    /// takes the file of the lock away. Asked in a transaction, which it fences.
    pub(super) fn is_superseded(&mut self) -> Result<bool, StoreError> {
        Ok(self.is_runner() && self.parts.store.last_epoch()? != self.epoch)
    }

    /// Another process runs the tasks of this store although this one did.
    pub(super) fn give_way(&mut self) {
        self.step_down();
        let said = "another process runs the tasks of this store although this one did: the file of its \
                    lock was removed or replaced; this one looks on";
        self.parts.completions.report(said);
    }

    /// From now on this process looks on: what runs here is another one's, so it is stopped.
    fn step_down(&mut self) {
        let why = StopReason::Interrupted(InterruptReason::Shutdown);
        for (key, running) in self.running.drain() {
            self.parts.launcher.stop(key, running.number, running.native, why);
            self.parts.board.retire(key);
        }
        self.engine = Engine::observer(self.parts.limits, self.parts.seed);
        self.epoch = 0;
        self.is_stale = false;
        self.tried_lock = Some(Instant::now());
        self.parts.lock.free();
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
            self.give_way();
            return Ok(());
        }
        let mut rows = Vec::new();
        self.parts.store.each_live(&mut |live| rows.push(live))?;
        let mut publication = Publication::default();
        self.stop_lost(&rows, epoch, &mut publication);
        let mut effects = self.set_right(&mut rows, now)?;
        effects.extend(engine.recover(rows, now));
        self.store(&mut effects, &mut publication)?;
        self.parts.store.commit()?;
        self.engine = engine;
        self.epoch = epoch;
        self.is_stale = false;
        self.publish(publication);
        Ok(())
    }

    /// Tasks that were enqueued, or failed, under a clock that was wrong wait for as long as they
    /// were to wait, from now on.
    fn set_right(&mut self, rows: &mut [Live], now: Now) -> Result<Vec<Effect>, StoreError> {
        let mut effects = Vec::new();
        for live in rows {
            if live.failure.is_some() {
                if let Some(run_at) = self.latest_retry(live, now)? {
                    live.run_at = run_at;
                    effects.push(Effect::Update(live.clone()));
                }
                continue;
            }
            // A key never tells an earlier time than that of its task, and is looked at for
            // nothing.
            if live.run_at <= now.wall_ms || time_of(live.key) <= now.wall_ms {
                continue;
            }
            let created_at = self.parts.store.created_at(live.key)?.unwrap_or_default();
            if created_at > now.wall_ms && live.run_at >= created_at {
                live.run_at = now.wall_ms.saturating_add(live.run_at - created_at);
                effects.push(Effect::Update(live.clone()));
                // So that the next start leaves it as it is.
                self.parts.store.set_created_at(live.key, now.wall_ms)?;
            }
        }
        Ok(effects)
    }

    /// When a task that waits for a retry is due at the latest, where it would wait for longer.
    fn latest_retry(&mut self, live: &Live, now: Now) -> Result<Option<UnixMillis>, StoreError> {
        // Its policy is not looked for where the wait may well be right.
        if live.run_at <= now.wall_ms.saturating_add(LIKELY_WAIT_MS) {
            return Ok(None);
        }
        let Some(body) = self.parts.store.body(live.key)? else { return Ok(None) };
        let Ok(spec) = TaskSpec::read(&body.spec) else { return Ok(None) };
        let latest = now.wall_ms.saturating_add(longest_wait_ms(live, &spec.retry));
        Ok(Some(latest).filter(|latest| *latest < live.run_at))
    }

    /// Notes a stop for each attempt under way here that the store does not know as such any more.
    fn stop_lost(&self, rows: &[Live], epoch: Epoch, publication: &mut Publication) {
        let known: FxHashMap<_, _> = rows
            .iter()
            .filter(|live| live.status == TaskStatus::Running && live.epoch == epoch)
            .map(|live| (live.key, live.attempt))
            .collect();
        for (key, running) in &self.running {
            if known.get(key) != Some(&running.number) {
                let (key, number, why) = (*key, running.number, StopReason::Cancelled);
                publication.actions.push(Action::Stop { key, number, why });
            }
        }
    }
}
