//! The judge: whether a task is admitted, by what is known now.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use super::admission::Admission;
use super::situation::SharedSituation;
use crate::engine::NewTask;
use crate::model::Fault;

/// Which Python callbacks may be named by a task.
#[derive(Debug, Default)]
pub struct KnownCallbacks {
    names: HashSet<String>,
    elsewhere: bool,
}

impl KnownCallbacks {
    /// These; or any, where another process runs them.
    pub fn new(names: impl IntoIterator<Item = String>, elsewhere: bool) -> Self {
        Self { names: names.into_iter().collect(), elsewhere }
    }
}

/// Judges one encoded specification at a time.
pub(super) struct Judge {
    admission: Admission,
    callbacks: RwLock<KnownCallbacks>,
    situation: Arc<SharedSituation>,
}

impl Judge {
    pub(super) fn new(
        admission: Admission,
        callbacks: KnownCallbacks,
        situation: Arc<SharedSituation>,
    ) -> Self {
        Self { admission, callbacks: RwLock::new(callbacks), situation }
    }

    pub(super) fn register(&self, callback_id: &str) {
        let mut callbacks = self.callbacks.write().unwrap_or_else(PoisonError::into_inner);
        callbacks.names.insert(callback_id.to_owned());
    }

    /// Opens the file of an upload, which may take for ever.
    pub(super) fn admit(&self, encoded: &[u8]) -> Result<NewTask, Fault> {
        let now_ms = self.situation.now().wall_ms;
        self.admission.admit(encoded, &|name| self.knows(name), now_ms)
    }

    /// As `admit`, where it takes microseconds: `None` where a file has to be opened, or much to be read.
    pub(super) fn admit_at_once(&self, encoded: &[u8]) -> Option<Result<NewTask, Fault>> {
        let now_ms = self.situation.now().wall_ms;
        self.admission.admit_at_once(encoded, &|name| self.knows(name), now_ms)
    }

    fn knows(&self, name: &str) -> bool {
        let callbacks = self.callbacks.read().unwrap_or_else(PoisonError::into_inner);
        callbacks.elsewhere || callbacks.names.contains(name)
    }
}
