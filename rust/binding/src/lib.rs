//! `outhaul._core`: converts, detaches from the interpreter, maps errors. No logic.

mod batch;
mod clock;
mod core;
mod error;
mod multipart;
mod progress;
mod schedule;
mod sink;

use pyo3::prelude::*;

/// The native half of outhaul.
#[pymodule(gil_used = false)]
mod _core {
    #[pymodule_export]
    use crate::clock::PyManualClock;
    #[pymodule_export]
    use crate::core::PyCore;
    #[pymodule_export]
    use crate::core::release_locks_after_fork;
    #[pymodule_export]
    use crate::multipart::PyMultipartEncoder;
    #[pymodule_export]
    use crate::progress::PyProgressMeter;
    #[pymodule_export]
    use crate::schedule::PySchedule;
    #[pymodule_export]
    use crate::sink::serve_sink;
}
