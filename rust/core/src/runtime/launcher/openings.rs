//! Opening files where that may take forever: on a mount whose server is gone, or in user space.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use crate::sync::lock;

/// At most this many files of one file system may hang at once; until one of them has ended, no
/// other of it is opened. So few threads hang, and other file systems are not held up.
const HANGING_MAX: usize = 4;

/// Which file system a file is on, and since when it is being opened.
type UnderWay = FxHashMap<u64, (u64, Instant)>;

/// The files that are being opened, each on a thread that may wait.
pub(super) struct Openings {
    patience: Duration,
    // LOCKING: held for a look-up or a change, never while a file is opened.
    under_way: Arc<Mutex<UnderWay>>,
    next: AtomicU64,
}

impl Openings {
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, under_way: Arc::default(), next: AtomicU64::new(0) }
    }

    /// Opens a file of that file system. `None` where it does not answer: this file takes too long,
    /// or others have taken too long and still do.
    pub(super) async fn open<T: Send + 'static>(
        &self,
        dev: u64,
        open: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        {
            let mut under_way = lock(&self.under_way);
            let hangs =
                |(on, since): &&(u64, Instant)| *on == dev && since.elapsed() >= self.patience;
            if under_way.values().filter(hangs).count() >= HANGING_MAX {
                return None;
            }
            under_way.insert(number, (dev, Instant::now()));
        }
        let under_way = Arc::clone(&self.under_way);
        let opened = tokio::task::spawn_blocking(move || {
            let opened = open();
            lock(&under_way).remove(&number);
            opened
        });
        tokio::time::timeout(self.patience, opened).await.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    const DEAD: u64 = 1;
    const HEALTHY: u64 = 2;

    #[tokio::test]
    async fn a_file_that_does_not_open_is_given_up_and_few_threads_are_lost_to_its_file_system() {
        let openings = Openings::new(Duration::from_millis(20));
        let (hang, hangs) = channel::<()>();
        let hangs = Arc::new(Mutex::new(hangs));
        for _ in 0..HANGING_MAX {
            let hangs = Arc::clone(&hangs);
            let wait = move || drop(hangs.lock().map(|hangs| hangs.recv()));
            assert_eq!(openings.open(DEAD, wait).await, None);
        }
        let never = || panic!("another thread is lost");
        assert_eq!(openings.open(DEAD, never).await, None::<()>);
        assert_eq!(openings.open(HEALTHY, || 5).await, Some(5));
        drop(hang);
        while !lock(&openings.under_way).is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(openings.open(DEAD, || 5).await, Some(5));
    }
}
