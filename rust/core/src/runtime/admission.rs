//! Admission: what a specification means is checked here, once, and its file gets a fingerprint.
//!
//! Opening a file may take long, and must hold up neither the event loop nor the engine loop: that
//! happens in a thread of its own. What opens none is checked where it is called.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::alike::Pattern;
use super::known::KnownCallbacks;
use super::situation::SharedSituation;
use crate::engine::{NewTask, lane_of_callback, lane_of_origin};
use crate::model::spec::{
    BodyKind, ConstraintsSpec, HttpUploadSpec, NetworkType, PythonSpec, RetrySpec, TaskSpec,
    WorkerSpec,
};
use crate::model::{Fault, FaultCode, UnixMillis};
use crate::multipart::{Boundary, Encoder, Escape, Part};
use crate::schedule::{LaneId, Needs};
use crate::source::{Fingerprint, PathPolicy, Source, SourceError};
use crate::transfer::{Targets, headers};

/// A specification is at most this long, encoded (1 MiB): big bodies are files, never rows.
pub(super) const SPEC_BYTES_MAX: usize = 1024 * 1024;

/// A specification up to this length (16 KiB) may be judged where it is called.
const AT_ONCE_BYTES_MAX: usize = 16 * 1024;

/// An id or a tag is at most this long, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 512;

/// No wait is longer than this (10 years), so that no sum of times overflows.
const WAIT_MAX_MS: i64 = 10 * 366 * 24 * 60 * 60 * 1000;

/// What an upload needs to be the same in every attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AdmittedUpload {
    /// The file that was enqueued.
    pub(super) fingerprint: Fingerprint,
    /// The multipart boundary.
    pub(super) boundary: String,
    /// Sent with every attempt.
    pub(super) idempotency_key: String,
    /// Whether it may leave the host in the clear, whoever runs it.
    pub(super) allow_http: bool,
}

/// What admission judges by.
pub(super) struct Admission {
    /// Where files may lie.
    pub(super) paths: Arc<PathPolicy>,
    /// Reads where bytes go, and whether they may.
    pub(super) targets: Arc<Targets>,
    /// Whether `http://` may leave the host.
    pub(super) allow_http: bool,
    /// Which callbacks may be named.
    pub(super) callbacks: KnownCallbacks,
    /// Has the clock.
    pub(super) situation: Arc<SharedSituation>,
}

impl Admission {
    /// Checks one encoded specification. Opens the file of an upload, which may take for ever.
    pub(super) fn admit(&self, encoded: &Bytes) -> Result<NewTask, Fault> {
        self.judge(encoded, read(encoded)?, self.now_ms())
    }

    /// As `admit`, where it takes microseconds: `None` where a file has to be opened, or much to be read.
    ///
    /// `before` is the last one that was admitted at the same time.
    pub(super) fn admit_at_once(
        &self,
        encoded: &Bytes,
        now_ms: UnixMillis,
        before: &mut Option<Pattern>,
    ) -> Option<Result<NewTask, Fault>> {
        if encoded.len() > AT_ONCE_BYTES_MAX {
            return None;
        }
        if let Some(task) = before.as_ref().and_then(|pattern| pattern.admit(encoded)) {
            return Some(Ok(task));
        }
        let judged = match read(encoded) {
            Ok(TaskSpec { worker: WorkerSpec::HttpUpload(_), .. }) => return None,
            Ok(spec) => self.judge(encoded, spec, now_ms),
            Err(fault) => Err(fault),
        };
        *before = judged.as_ref().ok().and_then(Pattern::of);
        Some(judged)
    }

    /// From when delays count.
    pub(super) fn now_ms(&self) -> UnixMillis {
        self.situation.now().wall_ms
    }

    fn judge(&self, encoded: &Bytes, spec: TaskSpec, now_ms: UnixMillis) -> Result<NewTask, Fault> {
        check_name("task_id", spec.task_id.as_deref())?;
        check_name("tag", spec.tag.as_deref())?;
        check_retry(&spec.retry)?;
        let delay = spec.trigger.due(0);
        if !(0..=WAIT_MAX_MS).contains(&delay) {
            return Err(Fault::invalid("trigger", "initial_delay must be between 0 and 10 years"));
        }
        let worker = match &spec.worker {
            WorkerSpec::HttpUpload(upload) => self.admit_upload(upload, &spec.constraints)?,
            WorkerSpec::Python(python) => admit_python(python, &spec.constraints, &self.callbacks)?,
        };
        Ok(NewTask {
            task_id: spec.task_id.map(Into::into),
            tag: spec.tag.map(Into::into),
            spec: encoded.clone(),
            admitted: worker.admitted,
            run_at: now_ms.saturating_add(delay),
            priority: spec.priority,
            attempts_max: spec.retry.max_retries.saturating_add(1),
            lane: worker.lane,
            needs: worker.needs,
            native: worker.native,
            existing_policy: spec.existing_policy,
        })
    }

    fn admit_upload(
        &self,
        upload: &HttpUploadSpec,
        constraints: &ConstraintsSpec,
    ) -> Result<Worker, Fault> {
        let target = self.targets.read(&upload.url, self.allow_http)?;
        headers::check(&upload.headers)?;
        let path = Path::new(&upload.file_path);
        if !path.is_absolute() {
            return Err(Fault::invalid("file_path", "is relative; give an absolute path"));
        }
        let source = Source::open(path, &self.paths).map_err(|error| refusal(&error))?;
        let [boundary, key] = random()?;
        let admitted = AdmittedUpload {
            fingerprint: *source.opened(),
            boundary: Boundary::from_random(boundary).as_str().to_owned(),
            idempotency_key: uuid(key),
            allow_http: self.allow_http,
        };
        encoder(upload, &admitted)?;
        let wanted = constraints.network_type.unwrap_or(NetworkType::Connected);
        let connected = wanted == NetworkType::Connected && !target.is_loopback();
        Ok(Worker {
            lane: lane_of_origin(target.origin()),
            needs: constraints.needs(connected),
            native: true,
            admitted: rmp_serde::to_vec_named(&admitted)
                .map_err(|error| Fault::new(FaultCode::Internal, "", error.to_string()))?
                .into(),
        })
    }
}

fn read(encoded: &[u8]) -> Result<TaskSpec, Fault> {
    if encoded.len() > SPEC_BYTES_MAX {
        let message = format!(
            "the task takes {} bytes, more than {SPEC_BYTES_MAX}; put large data into a file",
            encoded.len()
        );
        return Err(Fault::invalid("worker", message));
    }
    TaskSpec::read(encoded)
        .map_err(|error| Fault::invalid("task", format!("cannot be read: {error}")))
}

/// What a worker adds to a task.
struct Worker {
    lane: LaneId,
    needs: Needs,
    native: bool,
    admitted: Bytes,
}

fn admit_python(
    python: &PythonSpec,
    constraints: &ConstraintsSpec,
    callbacks: &KnownCallbacks,
) -> Result<Worker, Fault> {
    if !callbacks.has(&python.callback_id) {
        let message = format!(
            "no callback is registered as {:?}; register it with @manager.worker({:?}) before the \
             enqueue, or open the manager with workers=\"elsewhere\" if another process runs it",
            python.callback_id, python.callback_id
        );
        return Err(Fault::new(FaultCode::UnknownCallback, "callback_id", message));
    }
    let connected = constraints.network_type == Some(NetworkType::Connected);
    Ok(Worker {
        lane: lane_of_callback(&python.callback_id),
        needs: constraints.needs(connected),
        native: false,
        admitted: Bytes::new(),
    })
}

/// The body of an upload, the same in every attempt.
pub(super) fn encoder(
    upload: &HttpUploadSpec,
    admitted: &AdmittedUpload,
) -> Result<Encoder, Fault> {
    let size = admitted.fingerprint.size;
    if upload.body == BodyKind::Raw {
        if !upload.fields.is_empty() {
            return Err(Fault::invalid(
                "fields",
                "a raw body has no fields; use body=\"multipart\"",
            ));
        }
        return Ok(Encoder::raw(size));
    }
    let mut parts: Vec<Part> =
        upload.fields.iter().map(|(name, value)| Part::text(name.clone(), value.clone())).collect();
    let file_name = file_name(upload)?;
    let media_type = media_type(upload, &file_name);
    parts.push(Part::file(upload.field_name.clone(), file_name, media_type, size));
    let boundary = Boundary::parse(&admitted.boundary)
        .map_err(|error| Fault::new(FaultCode::Internal, "boundary", error.to_string()))?;
    Encoder::multipart(&boundary, parts, Escape::Html5)
        .map_err(|error| Fault::invalid(&argument(&error.argument(), upload), error.to_string()))
}

/// The argument of an upload that a member of the form was made of.
fn argument(member: &str, upload: &HttpUploadSpec) -> String {
    let file = format!("parts[{}].", upload.fields.len());
    match member.strip_prefix(&file) {
        Some("name") => "field_name".to_owned(),
        Some("content_type") => "mime_type".to_owned(),
        Some(other) => other.to_owned(),
        None => member.replacen("parts", "fields", 1),
    }
}

/// SOURCE: RFC 2046 §4.5.1.
const UNKNOWN_MEDIA_TYPE: &str = "application/octet-stream";

/// The media type of the file: given, or guessed from its name.
pub(super) fn media_type(upload: &HttpUploadSpec, file_name: &str) -> String {
    upload.mime_type.clone().unwrap_or_else(|| {
        mime_guess::from_path(file_name).first_raw().unwrap_or(UNKNOWN_MEDIA_TYPE).to_owned()
    })
}

/// The name told to the server: given, or the base name. A local path is never sent.
pub(super) fn file_name(upload: &HttpUploadSpec) -> Result<String, Fault> {
    if let Some(name) = &upload.file_name {
        return Ok(name.clone());
    }
    let base = Path::new(&upload.file_path).file_name().and_then(|name| name.to_str());
    base.map(str::to_owned).ok_or_else(|| {
        Fault::invalid("file_path", "has no file name; give the path of a file, or file_name=")
    })
}

fn refusal(error: &SourceError) -> Fault {
    let code = match error {
        SourceError::NotFound { .. } => FaultCode::FileNotFound,
        SourceError::PermissionDenied { .. } => FaultCode::PermissionDenied,
        SourceError::Outside { .. } => FaultCode::SecurityViolation,
        SourceError::NotAFile { .. } | SourceError::Changed { .. } | SourceError::Io { .. } => {
            FaultCode::InvalidArgument
        }
    };
    Fault::new(code, "file_path", error.to_string())
}

pub(super) fn check_name(argument: &str, name: Option<&str>) -> Result<(), Fault> {
    let Some(name) = name else { return Ok(()) };
    if name.is_empty() {
        let message = match argument {
            "task_id" => "is empty; leave it out to have one made",
            _ => "is empty; leave it out for none",
        };
        return Err(Fault::invalid(argument, message));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(Fault::invalid(argument, format!("is longer than {NAME_BYTES_MAX} bytes")));
    }
    if name.chars().any(char::is_control) {
        return Err(Fault::invalid(argument, "holds a control character; take it out"));
    }
    if argument == "task_id" && crate::store::key_of_generated_id(name).is_some() {
        return Err(Fault::invalid(
            argument,
            "looks like an id that outhaul makes (oh_ and 13 digits); choose another",
        ));
    }
    Ok(())
}

fn check_retry(retry: &RetrySpec) -> Result<(), Fault> {
    let waits = [retry.initial_delay_ms, retry.max_delay_ms];
    if waits.iter().any(|wait| !(0..=WAIT_MAX_MS).contains(wait)) {
        return Err(Fault::invalid("retry", "its delays must be between 0 and 10 years"));
    }
    if !(1.0..=100.0).contains(&retry.multiplier) {
        return Err(Fault::invalid("retry", "multiplier must be between 1 and 100"));
    }
    if retry.max_retries > 10_000 {
        return Err(Fault::invalid("retry", "max_retries must be at most 10000"));
    }
    Ok(())
}

/// Bytes from the operating system's generator.
fn random() -> Result<[[u8; 16]; 2], Fault> {
    let mut bytes = [[0; 16]; 2];
    getrandom::fill(bytes.as_flattened_mut()).map_err(|error| {
        Fault::new(FaultCode::Internal, "", format!("no random numbers from the system: {error}"))
    })?;
    Ok(bytes)
}

/// A random UUID (RFC 9562, version 4).
fn uuid(bytes: [u8; 16]) -> String {
    let marked = u128::from_be_bytes(bytes) & !(0xf << 76) & !(0b11 << 62) | 4 << 76 | 0b10 << 62;
    let hex = format!("{marked:032x}");
    let cuts = [0..8, 8..12, 12..16, 16..20, 20..32];
    cuts.map(|cut| hex.get(cut).unwrap_or_default()).join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_its_version_and_variant() {
        assert_eq!(uuid([0; 16]), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
