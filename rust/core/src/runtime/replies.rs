//! Answers that several parts of the runtime give.

use serde::Serialize;

use super::completions::{Reply, ReplyValue};
use crate::model::{Fault, FaultCode};

/// A value as it goes to Python: `MessagePack`, Structs as maps.
pub(super) fn pack<T: Serialize>(value: &T) -> Reply {
    rmp_serde::to_vec_named(value)
        .map(ReplyValue::Packed)
        .map_err(|error| Fault::new(FaultCode::Internal, "", error.to_string()))
}

/// The refusal of a call to a manager that is closed.
pub(super) fn closed() -> Fault {
    Fault::new(FaultCode::Closed, "", "the manager is closed; open a new one")
}

/// The host gives no thread.
pub(super) fn no_thread(error: &std::io::Error) -> Fault {
    Fault::new(
        FaultCode::StoreUnavailable,
        "",
        format!(
            "cannot start a thread ({error}): raise the limit of processes (ulimit -u, or the container's)"
        ),
    )
}
