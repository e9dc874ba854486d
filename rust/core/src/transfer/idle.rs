//! Connections kept open between uploads, by origin.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::exchange::Connection;
use crate::model::{Clock, UnixMillis};
use crate::sync;

/// An idle connection is closed after one to two of these.
const SWEEP_EVERY: Duration = Duration::from_secs(15);

/// One that is older is not used any more, in milliseconds: while the host was suspended nobody
/// swept.
const AGE_MAX_MS: i64 = 45_000;

/// The idle connections. A connection here is in use by nobody.
pub(crate) struct Idle {
    per_host: usize,
    max: usize,
    clock: Arc<dyn Clock>,
    // LOCKING: held for moving connections in and out, never while one is polled.
    shelves: Mutex<Shelves>,
}

#[derive(Default)]
struct Shelves {
    /// Newest last. Those that are empty go with the next sweep.
    by_origin: HashMap<String, Vec<Kept>>,
    /// How many there are.
    number: usize,
    sweep: u64,
    is_swept: bool,
}

struct Kept {
    connection: Connection,
    /// The sweep in which it was put there.
    sweep: u64,
    at_ms: UnixMillis,
}

impl Idle {
    /// Keeps at most `per_host` for each origin, and `max` in all.
    pub(crate) fn new(per_host: usize, max: usize, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { per_host, max, clock, shelves: Mutex::default() })
    }

    /// The connection to `origin` that was used last and is still open, if there is one.
    pub(crate) fn take(&self, origin: &str) -> Option<Connection> {
        let now_ms = self.clock.now().wall_ms;
        loop {
            let mut shelves = sync::lock(&self.shelves);
            let Kept { mut connection, at_ms, .. } = shelves.take_newest(origin)?;
            drop(shelves);
            if now_ms.saturating_sub(at_ms) <= AGE_MAX_MS && connection.is_open() {
                return Some(connection);
            }
        }
    }

    /// Closes all of them.
    pub(crate) fn clear(&self) {
        let mut shelves = sync::lock(&self.shelves);
        let closed = std::mem::take(&mut shelves.by_origin);
        shelves.number = 0;
        drop(shelves);
        drop(closed);
    }

    /// Keeps `connection` for the next upload to `origin`, or closes it when there are enough for
    /// that one; where there are enough in all, the oldest is closed.
    pub(crate) fn put(self: &Arc<Self>, origin: &str, connection: Connection) {
        let at_ms = self.clock.now().wall_ms;
        let mut shelves = sync::lock(&self.shelves);
        let sweep = shelves.sweep;
        if shelves.by_origin.get(origin).is_some_and(|kept| kept.len() >= self.per_host) {
            return;
        }
        if shelves.number >= self.max {
            shelves.drop_oldest();
        }
        let kept = shelves.by_origin.entry(origin.to_owned()).or_default();
        kept.push(Kept { connection, sweep, at_ms });
        shelves.number += 1;
        if !std::mem::replace(&mut shelves.is_swept, true) {
            drop(tokio::spawn(sweep_until_empty(Arc::downgrade(self))));
        }
    }

    /// Closes what was idle for a whole sweep; says whether anything is left.
    fn sweep(&self) -> bool {
        let mut shelves = sync::lock(&self.shelves);
        let sweep = shelves.sweep;
        for kept in shelves.by_origin.values_mut() {
            kept.retain(|kept| kept.sweep == sweep);
        }
        shelves.by_origin.retain(|_, kept| !kept.is_empty());
        shelves.number = shelves.by_origin.values().map(Vec::len).sum();
        shelves.sweep += 1;
        shelves.is_swept = !shelves.by_origin.is_empty();
        shelves.is_swept
    }
}

impl Shelves {
    fn take_newest(&mut self, origin: &str) -> Option<Kept> {
        let newest = self.by_origin.get_mut(origin)?.pop()?;
        self.number -= 1;
        Some(newest)
    }

    fn drop_oldest(&mut self) {
        let filled = self.by_origin.values_mut().filter(|kept| !kept.is_empty());
        if let Some(kept) = filled.min_by_key(|kept| kept.first().map(|oldest| oldest.at_ms)) {
            kept.remove(0);
            self.number -= 1;
        }
    }
}

async fn sweep_until_empty(idle: std::sync::Weak<Idle>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        if !idle.upgrade().is_some_and(|idle| idle.sweep()) {
            return;
        }
    }
}
