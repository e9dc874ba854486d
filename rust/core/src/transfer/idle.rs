//! Connections kept open between uploads, by origin.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::exchange::Connection;

/// An idle connection is closed after one to two of these.
const SWEEP_EVERY: Duration = Duration::from_secs(15);

/// The idle connections. A connection here is in use by nobody.
pub(crate) struct Idle {
    per_host: usize,
    // LOCKING: held for moving connections in and out, never while one is polled.
    shelves: Mutex<Shelves>,
}

#[derive(Default)]
struct Shelves {
    /// Newest last. The number is the sweep in which it was put there.
    by_origin: HashMap<String, Vec<(u64, Connection)>>,
    sweep: u64,
    is_swept: bool,
}

impl Idle {
    pub(crate) fn new(per_host: usize) -> Arc<Self> {
        Arc::new(Self { per_host, shelves: Mutex::default() })
    }

    /// The connection to `origin` that was used last and is still open, if there is one.
    pub(crate) fn take(&self, origin: &str) -> Option<Connection> {
        loop {
            let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
            let (_, mut connection) = shelves.by_origin.get_mut(origin)?.pop()?;
            drop(shelves);
            if connection.is_open() {
                return Some(connection);
            }
        }
    }

    /// Keeps `connection` for the next upload to `origin`, or closes it when there are enough.
    pub(crate) fn put(self: &Arc<Self>, origin: &str, connection: Connection) {
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        let sweep = shelves.sweep;
        let kept = shelves.by_origin.entry(origin.to_owned()).or_default();
        if kept.len() >= self.per_host {
            return;
        }
        kept.push((sweep, connection));
        if !std::mem::replace(&mut shelves.is_swept, true) {
            drop(tokio::spawn(sweep_until_empty(Arc::downgrade(self))));
        }
    }

    /// Closes what was idle for a whole sweep; says whether anything is left.
    fn sweep(&self) -> bool {
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        let sweep = shelves.sweep;
        for kept in shelves.by_origin.values_mut() {
            kept.retain(|(put, _)| *put == sweep);
        }
        shelves.by_origin.retain(|_, kept| !kept.is_empty());
        shelves.sweep += 1;
        shelves.is_swept = !shelves.by_origin.is_empty();
        shelves.is_swept
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
