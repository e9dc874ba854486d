//! When retention does a piece of its work: where nothing else is to be done, once a second, and as
//! the log grows.

use std::time::{Duration, Instant};

use super::EngineLoop;
use crate::store::sqlite::{PruneWalk, Retention};
use crate::store::{Store, StoreError};

/// A piece looks at this many events, which takes a few milliseconds.
const PIECE_EVENTS: usize = 2000;

/// Under load a piece is done at least this often, so that retention never stands still.
const PIECE_AT_LEAST: Duration = Duration::from_secs(1);

/// Where the last piece found something to delete, the next one is due after this many new events:
/// fewer than a piece looks at, so that retention keeps up with what is written.
const PIECE_AFTER_EVENTS: i64 = 1000;

/// The next walk begins this long after the last one, or after [`REST_EVENTS`].
const REST: Duration = Duration::from_mins(10);

/// The next walk begins after this many new events, or after [`REST`].
const REST_EVENTS: i64 = 1_000_000;

/// A close is held up by at most this much.
const AT_CLOSE: Duration = Duration::from_millis(100);

/// At most this many free pages are given back after a piece.
const VACUUM_PAGES: u32 = 200;

/// How far retention is.
pub(super) struct Pruning {
    keep: Retention,
    walk: Option<PruneWalk>,
    /// When the last piece was done, or the last walk ended, and how long the log was then.
    at: Option<(Instant, i64)>,
    /// Whether the last piece found something to delete, or looked for what to.
    was_useful: bool,
    /// Whether no walk was ended since the opening.
    is_first: bool,
}

impl Pruning {
    pub(super) fn new(keep: Retention) -> Self {
        Self { keep, walk: None, at: None, was_useful: false, is_first: true }
    }

    fn is_due(&self, is_idle: bool, last_seq: i64) -> bool {
        let Some((at, seq)) = self.at else { return true };
        let (elapsed, grown) = (at.elapsed(), last_seq.saturating_sub(seq));
        if self.walk.is_none() {
            return elapsed >= REST || grown >= REST_EVENTS;
        }
        let is_behind = self.was_useful && grown >= PIECE_AFTER_EVENTS;
        is_idle || is_behind || elapsed >= PIECE_AT_LEAST
    }
}

impl EngineLoop {
    /// Does a piece, if it is time for one. If that fails, the walk begins again later.
    pub(super) fn prune(&mut self, is_idle: bool) {
        let last_seq = self.parts.store.last_seq();
        if !self.is_runner() || self.closing.is_some() || !self.pruning.is_due(is_idle, last_seq) {
            return;
        }
        self.pruning.at = Some((Instant::now(), last_seq));
        if let Err(fault) = self.prune_piece() {
            self.parts.store.rollback();
            self.parts.completions.report(fault);
        }
    }

    /// Before the close: where the store was not open for long enough, what of the first walk a
    /// moment is enough for. So a store that is only ever opened for moments is cleaned, too.
    pub(super) fn prune_at_close(&mut self) -> Result<(), StoreError> {
        let until = Instant::now() + AT_CLOSE;
        while self.pruning.is_first && Instant::now() < until {
            self.prune_piece()?;
        }
        Ok(())
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
        self.pruning.was_useful = pruned.tasks > 0 || pruned.is_counting;
        if pruned.tasks > 0 {
            store.vacuum(VACUUM_PAGES)?;
        }
        if pruned.is_over {
            self.pruning.is_first = false;
        } else {
            self.pruning.walk = Some(walk);
        }
        self.checkpoint();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Retention = Retention { completed_ms: None, completed_max: None, failed_ms: None };

    #[test]
    fn a_piece_is_due_with_time_with_quiet_and_with_what_was_written() {
        let walk = |seq_at: i64, is_walking: bool| {
            let mut pruning = Pruning::new(KEEP);
            pruning.at = Some((Instant::now(), seq_at));
            pruning.walk = is_walking.then(PruneWalk::default);
            pruning.was_useful = true;
            pruning
        };
        assert!(Pruning::new(KEEP).is_due(false, 0));
        assert!(!walk(50, true).is_due(false, 49 + PIECE_AFTER_EVENTS));
        assert!(walk(50, true).is_due(false, 50 + PIECE_AFTER_EVENTS));
        assert!(walk(50, true).is_due(true, 50));
        let useless = Pruning { was_useful: false, ..walk(50, true) };
        assert!(!useless.is_due(false, 50 + PIECE_AFTER_EVENTS));
        assert!(!walk(50, false).is_due(true, 49 + REST_EVENTS));
        assert!(walk(50, false).is_due(true, 50 + REST_EVENTS));
    }
}
