//! `outhaul._core`: converts, detaches from the interpreter, maps errors. No logic.

use pyo3::prelude::*;

mod error;
mod schedule;

/// The native half of outhaul.
#[pymodule(gil_used = false)]
mod _core {
    #[pymodule_export]
    use super::schedule::PySchedule;
}
