//! When the WAL moves into the database file: most of it by a thread of its own, so that no commit
//! waits for it, and the rest by the engine loop, between two commits.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use super::replies::no_thread;
use crate::model::{Fault, FaultCode};
use crate::store::StoreError;
use crate::store::sqlite::{Checkpointer, CheckpointsDue, SqliteStore};

/// The engine loop's part, and its hold on the thread, which starts with the first checkpoint and
/// ends with this.
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

    /// Asks for a checkpoint if the WAL has grown long, and finishes what was asked for. Waits for
    /// no other thread. What fails is tried again once the WAL has grown further.
    pub(super) fn after_commit(&mut self, store: &SqliteStore) -> Result<(), Fault> {
        let pages = store.wal_pages();
        if self.due.after_commit(pages) {
            let worker = match self.worker.take() {
                Some(worker) => worker,
                None => Worker::start(&self.path)?,
            };
            match worker.requests.try_send(()) {
                // Full: a checkpoint is already asked for.
                Ok(()) | Err(TrySendError::Full(())) => self.worker = Some(worker),
                Err(TrySendError::Disconnected(())) => {
                    let message = "the thread that moves the WAL has ended: another is started";
                    return Err(Fault::new(FaultCode::Internal, "", message));
                }
            }
        }
        if let Some(done) = self.worker.as_ref().and_then(|worker| worker.done.try_recv().ok()) {
            done?;
            store.finish_checkpoint(self.due.insists(pages))?;
        }
        Ok(())
    }
}

impl Worker {
    fn start(path: &Path) -> Result<Self, Fault> {
        let checkpointer = Checkpointer::open(path)?;
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
            .map_err(|error| no_thread(&error))?;
        Ok(Self { requests, done, thread })
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
