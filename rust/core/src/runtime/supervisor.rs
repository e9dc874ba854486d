//! Threads whose panic is noticed: it is a mistake of ours, and must leave nobody waiting forever.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::completions::{Completions, Ticket};
use super::inbox::{Inbox, Op};
use super::lock::LockSlot;
use super::replies::no_thread;
use crate::model::{Fault, FaultCode};

/// An answer under this number is everybody's: no call will be answered any more.
pub(super) const EVERYBODY: Ticket = 0;

/// Starts the threads of a manager.
#[derive(Clone)]
pub(super) struct Supervisor {
    pub(super) completions: Completions,
    pub(super) inbox: Arc<Inbox>,
    pub(super) lock: LockSlot,
}

impl Supervisor {
    /// Starts a thread beside the engine loop. If it panics, everybody is told, and the loop ends.
    pub(super) fn spawn(
        &self,
        name: &'static str,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<JoinHandle<()>, Fault> {
        let inbox = Arc::clone(&self.inbox);
        // The loop lets go of the lock when it has stopped what runs, not before.
        let end = move || inbox.push(Op::Close { ticket: EVERYBODY, grace: Duration::ZERO });
        self.watched(name, work, end)
    }

    /// Starts the engine loop. If it panics, everybody is told, and another process may run the
    /// tasks: what ran here is stopped as the loop's parts are dropped.
    pub(super) fn spawn_loop(
        &self,
        name: &'static str,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<JoinHandle<()>, Fault> {
        let lock = self.lock.clone();
        let end = move || lock.free();
        self.watched(name, work, end)
    }

    fn watched(
        &self,
        name: &'static str,
        work: impl FnOnce() + Send + 'static,
        end: impl FnOnce() + Send + 'static,
    ) -> Result<JoinHandle<()>, Fault> {
        let completions = self.completions.clone();
        let watched = move || {
            // The panic itself is on the standard error stream. What the thread held is dropped
            // with it, and nothing of it is used again.
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                end();
                let message = format!(
                    "a mistake of outhaul's own ended the thread {name}; what is stored is safe: \
                     open the store again, and please report what stands on the error stream"
                );
                completions.reply(EVERYBODY, Err(Fault::new(FaultCode::Internal, "", message)));
            }
        };
        Builder::new().name(name.to_owned()).spawn(watched).map_err(|error| no_thread(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supervisor() -> Supervisor {
        Supervisor {
            completions: Completions::new().unwrap(),
            inbox: Arc::default(),
            lock: LockSlot::new(),
        }
    }

    #[test]
    fn a_thread_that_panics_tells_everybody_and_ends_the_loop() {
        let supervisor = supervisor();
        supervisor.spawn("test", || panic!("on purpose")).unwrap().join().unwrap();
        let replies = supervisor.completions.drain(8).replies;
        assert_eq!(replies.len(), 1);
        let (ticket, answer) = &replies[0];
        assert_eq!(*ticket, EVERYBODY);
        assert_eq!(answer.as_ref().unwrap_err().code, FaultCode::Internal);
        let told = supervisor.inbox.take(8, Duration::ZERO);
        assert!(matches!(told.as_slice(), [Op::Close { ticket: EVERYBODY, .. }]));
    }

    #[test]
    fn only_the_loop_lets_go_of_the_lock() {
        let supervisor = supervisor();
        let store = tempfile::NamedTempFile::new().unwrap();
        assert!(supervisor.lock.take(store.path()).unwrap());
        supervisor.spawn("test", || panic!("on purpose")).unwrap().join().unwrap();
        assert!(supervisor.lock.is_taken());
        supervisor.spawn_loop("test", || panic!("on purpose")).unwrap().join().unwrap();
        assert!(!supervisor.lock.is_taken());
    }

    #[test]
    fn a_thread_that_ends_tells_nobody() {
        let supervisor = supervisor();
        supervisor.spawn("test", || ()).unwrap().join().unwrap();
        assert!(supervisor.completions.drain(8).replies.is_empty());
        assert!(supervisor.inbox.take(8, Duration::ZERO).is_empty());
    }
}
