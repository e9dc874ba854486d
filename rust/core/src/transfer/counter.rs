//! What one request and the body it sends tell each other.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::Observer;
use crate::source::SourceError;
use crate::sync;

/// Counts the body bytes that the socket took. Shared by a body, its buffers and its request.
pub(crate) struct BodyCounter {
    sent: AtomicU64,
    total: u64,
    is_paused: AtomicBool,
    // LOCKING: held for one assignment, never while anything is called.
    failure: Mutex<Option<SourceError>>,
    observer: Arc<dyn Observer>,
}

impl BodyCounter {
    pub(crate) fn new(total: u64, observer: Arc<dyn Observer>) -> Self {
        let (sent, is_paused) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { sent, total, is_paused, failure: Mutex::new(None), observer }
    }

    /// The socket took `bytes` more.
    pub(crate) fn add(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let before = self.sent.fetch_add(bytes, Ordering::Relaxed);
        self.observer.sent(before.saturating_add(bytes));
    }

    /// Body bytes that the socket took so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Whether the whole body is out.
    pub(crate) fn is_complete(&self) -> bool {
        self.sent() == self.total
    }

    /// The answer is known before the body is out: no further frame is made.
    pub(crate) fn pause(&self) {
        self.is_paused.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.is_paused.load(Ordering::Relaxed)
    }

    /// The source failed; the body ends with an error.
    pub(crate) fn fail(&self, error: SourceError) {
        *sync::lock(&self.failure) = Some(error);
    }

    /// Why the body ended, where the source was to blame.
    pub(crate) fn failure(&self) -> Option<SourceError> {
        sync::lock(&self.failure).clone()
    }
}
