//! `Core`: a manager's native half. Calls carry a ticket; the answer comes out of `poll`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use outhaul_core::engine::Limits;
use outhaul_core::model::{
    Clock, ErrorCode, Failure, Fault, InterruptReason, Outcome, Success, TaskKey, TaskStatus,
};
use outhaul_core::runtime::{
    KnownCallbacks, Options, ProgressFilter, Query, Runtime, SystemClock, Ticket, Withheld,
};
use outhaul_core::store::sqlite::{Durability, EventFilter, Retention, TaskFilter};
use outhaul_core::store::{RunnerInfo, Selection};
use outhaul_core::transfer::AddressPolicy;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::batch::{PyBatch, to_python};
use crate::clock::PyManualClock;
use crate::error::raise;

#[pyclass(frozen, name = "Core", module = "outhaul._core")]
pub(crate) struct PyCore(Runtime);

#[pymethods]
impl PyCore {
    #[new]
    #[pyo3(signature = (path, *, durability, running_max, per_host_max, pending_max,
        keep_completed_ms, keep_completed_max, keep_failed_ms, run,
        allowed_roots, allow_http, ca_file, strict_addresses, allow_addresses, callbacks,
        callbacks_elsewhere, unmet, host, pid, clock))]
    #[expect(
        clippy::too_many_arguments,
        clippy::fn_params_excessive_bools,
        reason = "keyword arguments of one constructor"
    )]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        durability: &str,
        running_max: usize,
        per_host_max: usize,
        pending_max: usize,
        keep_completed_ms: Option<i64>,
        keep_completed_max: Option<u64>,
        keep_failed_ms: Option<i64>,
        run: bool,
        allowed_roots: Vec<PathBuf>,
        allow_http: bool,
        ca_file: Option<PathBuf>,
        strict_addresses: bool,
        allow_addresses: Vec<String>,
        callbacks: Vec<String>,
        callbacks_elsewhere: bool,
        unmet: u32,
        host: String,
        pid: u32,
        clock: Option<&PyManualClock>,
    ) -> PyResult<Self> {
        let clock: Arc<dyn Clock> = match clock {
            Some(manual) => manual.0.clone(),
            None => Arc::new(SystemClock::new()),
        };
        let durability = self::durability(durability).map_err(|fault| raise(py, fault))?;
        let policy =
            if strict_addresses { AddressPolicy::strict() } else { AddressPolicy::permissive() };
        let addresses = policy.allow(&allow_addresses).map_err(|fault| raise(py, fault))?;
        let runner = RunnerInfo { host, pid, at: clock.now().wall_ms };
        let options = Options {
            path,
            durability,
            limits: Limits { running_max, per_host_max, pending_max },
            keep: Retention {
                completed_ms: keep_completed_ms,
                completed_max: keep_completed_max,
                failed_ms: keep_failed_ms,
            },
            run,
            allowed_roots,
            addresses,
            allow_http,
            ca_file,
            callbacks: KnownCallbacks::new(callbacks.clone(), callbacks_elsewhere),
            registered: callbacks,
            unmet,
            clock,
            runner,
        };
        let opened = py.detach(|| Runtime::open(options));
        opened.map(Self).map_err(|fault| raise(py, fault))
    }

    fn fileno(&self) -> i32 {
        self.0.descriptor()
    }

    fn poll(&self, py: Python<'_>, limit: usize) -> PyBatch {
        let batch = py.detach(|| self.0.drain_completions(limit));
        to_python(py, batch)
    }

    fn enqueue(&self, py: Python<'_>, first: Ticket, specs: Vec<Bound<'_, PyBytes>>) {
        let enqueues = (first..).zip(in_one_piece(&specs)).collect();
        py.detach(|| self.0.enqueue(enqueues));
    }

    fn enqueue_part(&self, py: Python<'_>, ticket: Ticket, specs: Vec<Bound<'_, PyBytes>>) {
        let specs = in_one_piece(&specs).collect();
        py.detach(|| self.0.enqueue_part(ticket, specs));
    }

    fn enqueue_all(&self, py: Python<'_>, ticket: Ticket) {
        py.detach(|| self.0.enqueue_all(ticket));
    }

    #[pyo3(signature = (ticket, *, key=None, task_id=None, tag=None))]
    fn cancel(
        &self,
        py: Python<'_>,
        ticket: Ticket,
        key: Option<TaskKey>,
        task_id: Option<String>,
        tag: Option<String>,
    ) {
        let selection = match (key, task_id, tag) {
            (Some(key), _, _) => Selection::Key(key),
            (_, Some(task_id), _) => Selection::TaskId(task_id),
            (_, _, Some(tag)) => Selection::Tag(tag),
            (None, None, None) => Selection::All,
        };
        py.detach(|| self.0.cancel(ticket, selection));
    }

    #[pyo3(signature = (ticket, *, key=None, task_id=None))]
    fn ask_task(
        &self,
        py: Python<'_>,
        ticket: Ticket,
        key: Option<TaskKey>,
        task_id: Option<String>,
    ) {
        let query = match (key, task_id) {
            (Some(key), _) => Query::Task(key),
            (None, task_id) => Query::TaskById(task_id.unwrap_or_default()),
        };
        py.detach(|| self.0.ask(ticket, query));
    }

    #[pyo3(signature = (ticket, *, statuses, tag, prefix, after, limit))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of one filter")]
    fn ask_tasks(
        &self,
        py: Python<'_>,
        ticket: Ticket,
        statuses: Vec<String>,
        tag: Option<String>,
        prefix: Option<String>,
        after: TaskKey,
        limit: u32,
    ) {
        let statuses = TaskStatus::ALL
            .into_iter()
            .filter(|status| statuses.iter().any(|name| name == status.name()))
            .collect();
        let want = TaskFilter { statuses, tag, prefix, after, limit };
        py.detach(|| self.0.ask(ticket, Query::Tasks(want)));
    }

    fn ask_tags(&self, py: Python<'_>, ticket: Ticket) {
        py.detach(|| self.0.ask(ticket, Query::Tags));
    }

    fn ask_counts(&self, py: Python<'_>, ticket: Ticket) {
        py.detach(|| self.0.ask(ticket, Query::Counts));
    }

    fn ask_last_event(&self, py: Python<'_>, ticket: Ticket) {
        py.detach(|| self.0.ask(ticket, Query::LastEvent));
    }

    #[pyo3(signature = (ticket, *, after, key, task_id, tag, prefix, skip_pruned, limit, follow))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of one call")]
    fn ask_events(
        &self,
        py: Python<'_>,
        ticket: Ticket,
        after: u64,
        key: Option<TaskKey>,
        task_id: Option<String>,
        tag: Option<String>,
        prefix: Option<String>,
        skip_pruned: bool,
        limit: u32,
        follow: bool,
    ) {
        let want = EventFilter { key, task_id, tag, prefix, skip_pruned, limit };
        py.detach(|| self.0.ask(ticket, Query::Events { after, want, follow }));
    }

    fn ask_terminal_event(&self, py: Python<'_>, ticket: Ticket, key: TaskKey) {
        py.detach(|| self.0.ask(ticket, Query::TerminalEvent(key)));
    }

    #[pyo3(signature = (ticket, *, after, key, task_id, tag, follow))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of one call")]
    fn ask_progress(
        &self,
        py: Python<'_>,
        ticket: Ticket,
        after: u64,
        key: Option<TaskKey>,
        task_id: Option<String>,
        tag: Option<String>,
        follow: bool,
    ) {
        let want = ProgressFilter { key, task_id, tag };
        py.detach(|| self.0.progress(ticket, after, want, follow));
    }

    fn abandon(&self, py: Python<'_>, ticket: Ticket) {
        py.detach(|| self.0.abandon(ticket));
    }

    fn succeeded(&self, py: Python<'_>, results: Vec<(TaskKey, u32, Bound<'_, PyBytes>)>) {
        let success = |(key, attempt, result): (TaskKey, u32, Bound<'_, PyBytes>)| {
            let success = Success { body: result.as_bytes().to_vec(), ..Success::default() };
            (key, attempt, Outcome::Succeeded(success))
        };
        let ended = results.into_iter().map(success).collect();
        py.detach(|| self.0.finish(ended));
    }

    #[pyo3(signature = (key, attempt, message, *, retry))]
    fn failed(&self, py: Python<'_>, key: TaskKey, attempt: u32, message: String, retry: bool) {
        let failure = Failure::new(ErrorCode::WorkerException, message);
        let outcome = if retry { Outcome::Retry(failure) } else { Outcome::Failed(failure) };
        py.detach(|| self.0.finish(vec![(key, attempt, outcome)]));
    }

    fn interrupted(&self, py: Python<'_>, key: TaskKey, attempt: u32) {
        let outcome = Outcome::Interrupted(InterruptReason::Shutdown);
        py.detach(|| self.0.finish(vec![(key, attempt, outcome)]));
    }

    fn provide(&self, py: Python<'_>, key: TaskKey, attempt: u32, secrets: Vec<String>) {
        py.detach(|| self.0.provide(key, attempt, Ok(secrets)));
    }

    #[pyo3(signature = (key, attempt, message, *, retry))]
    fn withhold(&self, py: Python<'_>, key: TaskKey, attempt: u32, message: String, retry: bool) {
        py.detach(|| self.0.provide(key, attempt, Err(Withheld { message, retry })));
    }

    fn set_unmet(&self, py: Python<'_>, unmet: u32) {
        py.detach(|| self.0.set_unmet(unmet));
    }

    fn register(&self, py: Python<'_>, callback_id: &str) {
        py.detach(|| self.0.register(callback_id));
    }

    fn drain(&self, py: Python<'_>, ticket: Ticket) {
        py.detach(|| self.0.drain(ticket));
    }

    fn wait_idle(&self, py: Python<'_>, ticket: Ticket) {
        py.detach(|| self.0.wait_idle(ticket));
    }

    fn close(&self, py: Python<'_>, ticket: Ticket, grace_ms: u64) {
        py.detach(|| self.0.close(ticket, Duration::from_millis(grace_ms)));
    }

    fn poke(&self, py: Python<'_>) {
        py.detach(|| self.0.poke());
    }

    fn after_fork(&self) {
        self.0.after_fork();
    }
}

/// See `_core.pyi`.
#[pyfunction]
pub(crate) fn release_locks_after_fork() {
    outhaul_core::runtime::release_locks_after_fork();
}

/// Longer strings (16 KiB) have a piece of their own, so that none is kept for long by a short
/// neighbour.
const SHARED_BYTES_MAX: usize = 16 * 1024;

/// Copies of byte strings; the short ones share one allocation. What one thread asks for and
/// another gives back, one by one, has both wait at the allocator's lock.
fn in_one_piece(parts: &[Bound<'_, PyBytes>]) -> impl Iterator<Item = Bytes> {
    let is_shared = |part: &&[u8]| part.len() <= SHARED_BYTES_MAX;
    let shared =
        parts.iter().map(PyBytesMethods::as_bytes).filter(is_shared).map(<[u8]>::len).sum();
    let mut piece = BytesMut::with_capacity(shared);
    parts.iter().map(move |part| {
        let part = part.as_bytes();
        if !is_shared(&part) {
            return Bytes::copy_from_slice(part);
        }
        piece.extend_from_slice(part);
        piece.split().freeze()
    })
}

fn durability(name: &str) -> Result<Durability, Fault> {
    match name {
        "fsync" => Ok(Durability::Fsync),
        "os" => Ok(Durability::Os),
        _ => Err(Fault::invalid(
            "durability",
            format!(
                "is {name:?}; give \"fsync\" (survives power loss) or \"os\" (survives kill -9)"
            ),
        )),
    }
}
