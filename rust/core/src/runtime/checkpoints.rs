//! The thread that moves the WAL into the database file, so that no commit has to wait for it.

use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::store::sqlite::{Checkpointer, CheckpointsDue};

/// Asks for checkpoints. The thread starts with the first, and ends with this.
pub(super) struct Checkpoints {
    path: PathBuf,
    due: CheckpointsDue,
    worker: Option<(SyncSender<i32>, JoinHandle<()>)>,
}

impl Checkpoints {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, due: CheckpointsDue::default(), worker: None }
    }

    /// Asks for a checkpoint if the WAL has grown long. Never waits: one request at a time is enough.
    pub(super) fn after_commit(&mut self, wal_pages: i32) {
        if !self.due.after_commit(wal_pages) {
            return;
        }
        if self.worker.is_none() {
            self.worker = self.start();
        }
        if let Some((requests, _)) = &self.worker {
            // Full: a checkpoint is already asked for.
            let _ = requests.try_send(wal_pages);
        }
    }

    /// Without a thread or a connection the WAL grows, until the next one is due.
    fn start(&self) -> Option<(SyncSender<i32>, JoinHandle<()>)> {
        let checkpointer = Checkpointer::open(&self.path).ok()?;
        let (requests, inbox) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("outhaul-checkpoint".to_owned())
            .spawn(move || {
                for pages in inbox {
                    // Busy readers make it incomplete; the next one goes on from there.
                    drop(checkpointer.run(pages));
                }
            })
            .ok()?;
        Some((requests, thread))
    }
}

impl Drop for Checkpoints {
    /// Waits for a checkpoint under way, so that the write connection is the last to close.
    fn drop(&mut self) {
        if let Some((requests, thread)) = self.worker.take() {
            drop(requests);
            // A panic has been printed by the thread itself.
            drop(thread.join());
        }
    }
}
