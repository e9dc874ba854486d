//! When the WAL moves into the database file: most of it by a thread of its own, so that no commit waits for
//! it, and the rest by the engine loop, between two commits.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::store::StoreError;
use crate::store::sqlite::{Checkpointer, CheckpointsDue, SqliteStore};

/// The engine loop's part, and its hold on the thread, which starts with the first checkpoint and ends with
/// this.
pub(super) struct Checkpoints {
    path: PathBuf,
    due: CheckpointsDue,
    worker: Option<Worker>,
}

struct Worker {
    requests: SyncSender<()>,
    /// What became of the last request.
    done: Receiver<Result<(), StoreError>>,
    thread: JoinHandle<()>,
}

impl Checkpoints {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, due: CheckpointsDue::default(), worker: None }
    }

    /// Asks for a checkpoint if the WAL has grown long, and finishes what was asked for. Waits for no other
    /// thread.
    pub(super) fn after_commit(&mut self, store: &SqliteStore) -> Result<(), StoreError> {
        let pages = store.wal_pages();
        if self.due.after_commit(pages) {
            if self.worker.is_none() {
                self.worker = Worker::start(&self.path);
            }
            if let Some(worker) = &self.worker {
                // Full: a checkpoint is already asked for.
                let _ = worker.requests.try_send(());
            }
        }
        match self.worker.as_ref().and_then(|worker| worker.done.try_recv().ok()) {
            Some(Ok(())) => store.finish_checkpoint(self.due.insists(pages)),
            Some(Err(error)) => Err(error),
            None => Ok(()),
        }
    }
}

impl Worker {
    /// Without a thread or a connection the WAL grows, until the next one is due.
    fn start(path: &Path) -> Option<Self> {
        let checkpointer = Checkpointer::open(path).ok()?;
        let (requests, inbox) = sync_channel(1);
        let (outbox, done) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("outhaul-checkpoint".to_owned())
            .spawn(move || {
                for () in inbox {
                    // Full: the one before is not finished yet, which finishes this one, too.
                    let _ = outbox.try_send(checkpointer.run());
                }
            })
            .ok()?;
        Some(Self { requests, done, thread })
    }
}

impl Drop for Checkpoints {
    /// Waits for a checkpoint under way, so that the write connection is the last to close.
    fn drop(&mut self) {
        if let Some(Worker { requests, thread, .. }) = self.worker.take() {
            drop(requests);
            // A panic has been printed by the thread itself.
            drop(thread.join());
        }
    }
}
