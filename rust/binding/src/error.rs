//! Errors at the border: the core says `(code, argument, message)`, Python picks the class.

use pyo3::prelude::*;

/// The exception for one refusal, made by the table in `outhaul.errors`.
pub(crate) fn raise(py: Python<'_>, code: &str, argument: &str, message: String) -> PyErr {
    let made = py
        .import("outhaul.errors")
        .and_then(|errors| errors.getattr("from_core"))
        .and_then(|from_core| from_core.call1((code, argument, message)));
    match made {
        Ok(error) => PyErr::from_value(error),
        Err(error) => error,
    }
}
