//! Errors at the border: every refusal becomes a class of `outhaul.errors`, by the table there.

use pyo3::prelude::*;

/// The exception for a core code. `argument` is empty where it is about none.
pub(crate) fn raise(py: Python<'_>, code: &str, argument: &str, message: String) -> PyErr {
    let make = || py.import("outhaul.errors")?.call_method1("from_core", (code, argument, message));
    match make() {
        Ok(exception) => PyErr::from_value(exception),
        Err(broken) => broken,
    }
}
