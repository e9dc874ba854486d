//! When retention does a piece of its work: where nothing else is to be done, or once a second.

use std::time::{Duration, Instant};

use super::EngineLoop;
use crate::store::sqlite::{PruneWalk, Retention};
use crate::store::{Store, StoreError};

/// A piece looks at so many events: a few milliseconds.
const PIECE_EVENTS: usize = 2000;

/// Under load a piece is done this often, so that retention never stands still.
const PIECE_AT_LEAST: Duration = Duration::from_secs(1);

/// After a walk the next one waits so long.
const REST: Duration = Duration::from_mins(10);

/// So many free pages are given back after a piece.
const VACUUM_PAGES: u32 = 200;

/// How far retention is.
pub(super) struct Pruning {
    keep: Retention,
    walk: Option<PruneWalk>,
    /// When the last piece was done, or the last walk ended.
    at: Option<Instant>,
}

impl Pruning {
    pub(super) fn new(keep: Retention) -> Self {
        Self { keep, walk: None, at: None }
    }

    fn is_due(&self, is_idle: bool) -> bool {
        match (self.at, &self.walk) {
            (None, _) => true,
            (Some(at), None) => at.elapsed() >= REST,
            (Some(at), Some(_)) => is_idle || at.elapsed() >= PIECE_AT_LEAST,
        }
    }
}

impl EngineLoop {
    /// Does a piece, if it is time for one. If that fails, the walk begins again later.
    pub(super) fn prune(&mut self, is_idle: bool) {
        if self.epoch == 0 || self.closing.is_some() || !self.pruning.is_due(is_idle) {
            return;
        }
        self.pruning.at = Some(Instant::now());
        if let Err(fault) = self.prune_piece() {
            self.parts.store.rollback();
            self.parts.completions.push(|batch| batch.errors.push(fault.to_string()));
        }
    }

    fn prune_piece(&mut self) -> Result<(), StoreError> {
        let store = &mut self.parts.store;
        let mut walk = match self.pruning.walk.take() {
            Some(walk) => walk,
            None => store.prune_walk(&self.pruning.keep, self.parts.situation.now().wall_ms)?,
        };
        store.begin()?;
        let pruned = store.prune(&mut walk, PIECE_EVENTS)?;
        store.commit()?;
        if pruned.tasks > 0 {
            store.vacuum(VACUUM_PAGES)?;
        }
        if !pruned.is_over {
            self.pruning.walk = Some(walk);
        }
        self.checkpoint();
        Ok(())
    }
}
