//! Faults of the core become Python's errors here, through the one table in `outhaul.errors`.

use outhaul_core::model::{Fault, FaultCode};
use pyo3::prelude::*;

/// A refusal of the core, as the exception for it. The table is looked up when it is needed, so
/// that the imports of the package keep pointing downward.
pub(crate) fn raise(py: Python<'_>, fault: Fault) -> PyErr {
    let Fault { code, argument, message } = fault;
    let made = py
        .import("outhaul.errors")
        .and_then(|errors| errors.getattr("from_core")?.call1((name(code), argument, message)));
    match made {
        Ok(error) => PyErr::from_value(error),
        Err(error) => error,
    }
}

/// The name of a code in Python's table.
pub(crate) const fn name(code: FaultCode) -> &'static str {
    match code {
        FaultCode::InvalidArgument => "INVALID_ARGUMENT",
        FaultCode::FileNotFound => "FILE_NOT_FOUND",
        FaultCode::PermissionDenied => "PERMISSION_DENIED",
        FaultCode::SourceChanged => "SOURCE_CHANGED",
        FaultCode::SecurityViolation => "SECURITY_VIOLATION",
        FaultCode::PlainSecret => "PLAIN_SECRET",
        FaultCode::UnknownCallback => "UNKNOWN_CALLBACK",
        FaultCode::NotFound => "NOT_FOUND",
        FaultCode::QueueFull => "QUEUE_FULL",
        FaultCode::AlreadyQueued => "ALREADY_QUEUED",
        FaultCode::CursorPruned => "CURSOR_PRUNED",
        FaultCode::Closed => "CLOSED",
        FaultCode::StoreCorrupt => "STORE_CORRUPT",
        FaultCode::StoreTooNew => "STORE_TOO_NEW",
        FaultCode::StoreUnavailable => "STORE_UNAVAILABLE",
        FaultCode::StoreFull => "STORE_FULL",
        FaultCode::Internal => "INTERNAL",
    }
}
