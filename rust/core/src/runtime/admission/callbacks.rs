//! Which Python callbacks a task may name: registered ones, or any where another process runs them.

use std::sync::RwLock;

use rustc_hash::FxHashSet;

use crate::sync;

/// Which Python callbacks may be named by a task.
#[derive(Debug)]
pub struct KnownCallbacks {
    names: RwLock<FxHashSet<String>>,
    elsewhere: bool,
}

impl KnownCallbacks {
    /// These; or any, where another process runs them.
    pub fn new(names: impl IntoIterator<Item = String>, elsewhere: bool) -> Self {
        Self { names: RwLock::new(names.into_iter().collect()), elsewhere }
    }

    pub(in crate::runtime) fn register(&self, name: &str) {
        sync::write(&self.names).insert(name.to_owned());
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.elsewhere || sync::read(&self.names).contains(name)
    }
}
