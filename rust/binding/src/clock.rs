//! The clock of a test, given to a manager when it opens.

use std::sync::Arc;

use outhaul_core::runtime::ManualClock;
use pyo3::prelude::*;

#[pyclass(frozen, name = "ManualClock", module = "outhaul._core")]
pub(crate) struct PyManualClock(pub(crate) Arc<ManualClock>);

#[pymethods]
impl PyManualClock {
    #[new]
    #[pyo3(signature = (*, wall_ms))]
    fn new(wall_ms: i64) -> Self {
        Self(Arc::new(ManualClock::new(wall_ms)))
    }

    #[pyo3(signature = (*, ms))]
    fn advance(&self, py: Python<'_>, ms: i64) {
        py.detach(|| self.0.advance(ms));
    }

    #[pyo3(signature = (*, ms))]
    fn jump(&self, py: Python<'_>, ms: i64) {
        py.detach(|| self.0.jump(ms));
    }
}
