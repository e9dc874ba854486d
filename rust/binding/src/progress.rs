//! `ProgressMeter`: the core's meter behind a lock.

use std::sync::{Mutex, MutexGuard, PoisonError};

use outhaul_core::progress::{INTERVAL_MIN_MS_DEFAULT, Meter, Update};
use pyo3::prelude::*;

// A signature shows only literals, so the default stands there once more.
const _: () = assert!(INTERVAL_MIN_MS_DEFAULT == 100);

/// `(percent, bytes_sent, bytes_acknowledged, bytes_total, rate_bytes_per_s, remaining_ms)`.
type UpdateTuple = (u8, u64, u64, u64, f64, Option<u64>);

/// How far a transfer has come; see the stub.
#[pyclass(frozen, name = "ProgressMeter", module = "outhaul._core")]
pub(crate) struct PyProgressMeter(Mutex<Meter>);

impl PyProgressMeter {
    // LOCKING: taken only while detached, for one call, never across a call into Python.
    // A panic leaves the meter whole, so poisoning is ignored.
    fn lock(&self) -> MutexGuard<'_, Meter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl PyProgressMeter {
    #[new]
    #[pyo3(signature = (total, *, mark_percent = 0, interval_min_ms = 100))]
    fn new(total: u64, mark_percent: u8, interval_min_ms: i64) -> Self {
        Self(Mutex::new(Meter::new(total, mark_percent, interval_min_ms)))
    }

    #[pyo3(signature = (*, now_ms))]
    fn begin(&self, py: Python<'_>, now_ms: i64) -> UpdateTuple {
        tuple(py.detach(|| self.lock().begin(now_ms)))
    }

    #[pyo3(signature = (bytes_so_far, *, now_ms))]
    fn sent(&self, py: Python<'_>, bytes_so_far: u64, now_ms: i64) -> Option<UpdateTuple> {
        py.detach(|| self.lock().sent(bytes_so_far, now_ms)).map(tuple)
    }

    #[pyo3(signature = (bytes_so_far, *, now_ms))]
    fn acknowledged(&self, py: Python<'_>, bytes_so_far: u64, now_ms: i64) -> Option<UpdateTuple> {
        py.detach(|| self.lock().acknowledged(bytes_so_far, now_ms)).map(tuple)
    }

    #[pyo3(signature = (*, now_ms))]
    fn answered(&self, py: Python<'_>, now_ms: i64) -> UpdateTuple {
        tuple(py.detach(|| self.lock().answered(now_ms)))
    }

    #[getter]
    fn percent(&self, py: Python<'_>) -> u8 {
        py.detach(|| self.lock().percent())
    }

    #[getter]
    fn next_gate(&self, py: Python<'_>) -> u64 {
        py.detach(|| self.lock().next_gate())
    }
}

const fn tuple(update: Update) -> UpdateTuple {
    (
        update.percent,
        update.bytes_sent,
        update.bytes_acknowledged,
        update.bytes_total,
        update.rate_bytes_per_s,
        update.remaining_ms,
    )
}
