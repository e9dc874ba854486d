//! Threads whose panic is noticed: it is a mistake of ours, and must leave nobody waiting for ever.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use super::completions::{Completions, Ticket};
use super::lock::RunnerLock;
use super::replies::no_thread;
use crate::model::{Fault, FaultCode};

/// An answer under this number is everybody's: no call will be answered any more.
pub(super) const EVERYBODY: Ticket = 0;

/// Starts the threads of a manager.
pub(super) struct Watch {
    pub(super) completions: Completions,
    pub(super) lock: Arc<Mutex<Option<RunnerLock>>>,
}

impl Watch {
    /// Starts a thread. If it panics, everybody is told, and another process may run the tasks.
    pub(super) fn spawn(
        &self,
        name: &'static str,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<JoinHandle<()>, Fault> {
        let (completions, lock) = (self.completions.clone(), Arc::clone(&self.lock));
        let watched = move || {
            // The panic itself is on the standard error stream. What the thread held is dropped with
            // it, and nothing of it is used again.
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                *lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
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

    #[test]
    fn a_thread_that_panics_tells_everybody() {
        let completions = Completions::new().unwrap();
        let watch = Watch { completions: completions.clone(), lock: Arc::default() };
        watch.spawn("test", || panic!("on purpose")).unwrap().join().unwrap();
        let replies = completions.drain(8).replies;
        assert_eq!(replies.len(), 1);
        let (ticket, answer) = &replies[0];
        assert_eq!(*ticket, EVERYBODY);
        assert_eq!(answer.as_ref().unwrap_err().code, FaultCode::Internal);
    }

    #[test]
    fn a_thread_that_ends_tells_nobody() {
        let completions = Completions::new().unwrap();
        let watch = Watch { completions: completions.clone(), lock: Arc::default() };
        watch.spawn("test", || ()).unwrap().join().unwrap();
        assert!(completions.drain(8).replies.is_empty());
    }
}
