//! What has gathered in the core, as tuples and lists for `poll`.

use outhaul_core::engine::StopReason;
use outhaul_core::model::spec::{SecretRef, SecretSource};
use outhaul_core::model::task_id::id_of;
use outhaul_core::model::{Fault, InterruptReason, TaskKey};
use outhaul_core::runtime::{Batch, CallbackRequest, Reply, ReplyValue, Ticket};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::name;

/// `(ticket, answer, None)` or `(ticket, None, (code, argument, message))`.
type PyReply = (Ticket, Option<PyReplyValue>, Option<(&'static str, String, String)>);
/// `(key, attempt, callback_id, input, task_id)`.
type PyCallback = (TaskKey, u32, String, Py<PyBytes>, String);
/// `(key, attempt, [(source, name, prefix), ...])`.
type PySecrets = (TaskKey, u32, Vec<(&'static str, String, String)>);
/// `(key, attempt, reason)`.
type PyStop = (TaskKey, u32, &'static str);

/// Encoded, or `(key, accepted, task_id)`.
#[derive(IntoPyObject)]
pub(crate) enum PyReplyValue {
    Packed(Py<PyBytes>),
    Scheduled((TaskKey, bool, String)),
}

/// What `poll` gives.
pub(crate) type PyBatch =
    (Vec<PyReply>, Vec<PyCallback>, Vec<PySecrets>, Vec<PyStop>, Vec<Py<PyBytes>>, Vec<String>);

/// Copies everything once.
pub(crate) fn to_python(py: Python<'_>, batch: Batch) -> PyBatch {
    let Batch { replies, callbacks, secrets, stops, failed, failed_more, mut errors } = batch;
    if failed_more > 0 {
        errors.push(format!("{failed_more} more tasks have failed than are logged"));
    }
    let bytes = |bytes: &[u8]| PyBytes::new(py, bytes).unbind();
    let reply = |(ticket, reply): (Ticket, Reply)| match reply {
        Ok(ReplyValue::Packed(answer)) => {
            (ticket, Some(PyReplyValue::Packed(bytes(&answer))), None)
        }
        Ok(ReplyValue::Scheduled(key, accepted, chosen)) => {
            let id = id_of(key, chosen.as_deref());
            (ticket, Some(PyReplyValue::Scheduled((key, accepted, id))), None)
        }
        Err(Fault { code, argument, message }) => {
            (ticket, None, Some((name(code), argument, message)))
        }
    };
    let callback = |request: CallbackRequest| {
        let input = bytes(&request.input);
        (request.key, request.attempt, request.callback_id, input, request.task_id)
    };
    (
        replies.into_iter().map(reply).collect(),
        callbacks.into_iter().map(callback).collect(),
        secrets
            .into_iter()
            .map(|wanted| {
                let named = wanted.secrets.into_iter().map(secret).collect();
                (wanted.key, wanted.attempt, named)
            })
            .collect(),
        stops.into_iter().map(|(key, attempt, why)| (key, attempt, stop_reason(why))).collect(),
        failed.iter().map(|task| bytes(task)).collect(),
        errors,
    )
}

fn secret(secret: SecretRef) -> (&'static str, String, String) {
    let source = match secret.source {
        SecretSource::Env => "env",
        SecretSource::File => "file",
        SecretSource::Provider => "provider",
    };
    (source, secret.name, secret.prefix)
}

const fn stop_reason(why: StopReason) -> &'static str {
    match why {
        StopReason::Cancelled => "cancelled",
        StopReason::Interrupted(InterruptReason::Shutdown) => "shutdown",
        StopReason::Interrupted(InterruptReason::ConstraintLost) => "constraint_lost",
        StopReason::Interrupted(InterruptReason::Crash) => "crash",
    }
}
