//! Opening files where that may take for ever: on a mount whose server is gone, or in user space.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

/// So many threads may be lost to files that do not open; then others wait for one of them.
const LOST_MAX: usize = 16;

/// The threads that may be lost.
pub(super) struct Openings {
    patience: Duration,
    threads: Arc<Semaphore>,
}

impl Openings {
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, threads: Arc::new(Semaphore::new(LOST_MAX)) }
    }

    /// Opens on a thread that may wait. `None` where that takes too long; then the thread is lost
    /// until it has ended. What surely ends needs none of those that may be lost.
    pub(super) async fn open<T: Send + 'static>(
        &self,
        surely_ends: bool,
        open: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let opened = async {
            let threads = Arc::clone(&self.threads);
            let permit = if surely_ends { None } else { threads.acquire_owned().await.ok() };
            let opened = tokio::task::spawn_blocking(move || {
                let opened = open();
                drop(permit);
                opened
            });
            opened.await.ok()
        };
        tokio::time::timeout(self.patience, opened).await.ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[tokio::test]
    async fn a_file_that_does_not_open_is_given_up_and_only_so_many_threads_are_lost() {
        let openings = Openings::new(Duration::from_millis(20));
        let (hang, hangs) = channel::<()>();
        let hangs = Arc::new(std::sync::Mutex::new(hangs));
        for _ in 0..LOST_MAX {
            let hangs = Arc::clone(&hangs);
            let wait = move || drop(hangs.lock().map(|hangs| hangs.recv()));
            assert_eq!(openings.open(false, wait).await, None);
        }
        assert_eq!(openings.open(false, || 5).await, None);
        assert_eq!(openings.open(true, || 5).await, Some(5));
        drop(hang);
        while openings.threads.available_permits() < LOST_MAX {
            tokio::task::yield_now().await;
        }
        assert_eq!(openings.open(false, || 5).await, Some(5));
    }
}
