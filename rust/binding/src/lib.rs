//! `outhaul._core`: converts, detaches from the interpreter, maps errors. No logic.

mod error;
mod multipart;
mod progress;

use pyo3::prelude::*;

/// The native half of outhaul.
#[pymodule(gil_used = false)]
mod _core {
    #[pymodule_export]
    use crate::multipart::PyMultipartEncoder;
    #[pymodule_export]
    use crate::progress::PyProgressMeter;
}
