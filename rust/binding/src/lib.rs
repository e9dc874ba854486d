//! `outhaul._core`: converts, detaches from the interpreter, maps errors. No logic.

use pyo3::prelude::*;

/// The native half of outhaul.
#[pymodule(gil_used = false)]
mod _core {}
