//! The server of the benchmarks, so that they run from an installed wheel.

use std::path::PathBuf;

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

/// Serves uploads on loopback until the process ends; returns the port.
#[pyfunction]
#[pyo3(signature = (certificate=None, key=None))]
pub(crate) fn serve_sink(certificate: Option<PathBuf>, key: Option<PathBuf>) -> PyResult<u16> {
    let tls = certificate.as_deref().zip(key.as_deref());
    outhaul_sink::serve(tls).map_err(|error| PyOSError::new_err(error.to_string()))
}
