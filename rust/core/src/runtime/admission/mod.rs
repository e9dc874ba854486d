//! Admission: what a specification means is checked here, once, and its file gets a fingerprint.
//!
//! Opening a file may take long, and must hold up neither the event loop nor the engine loop: that
//! happens in a thread of its own. What opens none is checked where it is called.

mod callbacks;
mod checks;
mod template;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::situation::SharedSituation;
use super::upload_body::{AdmittedUpload, encoder};
use crate::engine::{NewTask, lane_of_callback, lane_of_origin};
use crate::model::constraint::Needs;
use crate::model::spec::{
    ConstraintsSpec, HttpUploadSpec, NetworkType, PythonSpec, TaskSpec, WorkerSpec,
};
use crate::model::{Fault, FaultCode, UnixMillis};
use crate::multipart::{MultipartError, is_media_type};
use crate::schedule::LaneId;
use crate::source::{PathPolicy, Source};
use crate::transfer::{Targets, headers};

pub use callbacks::KnownCallbacks;
pub(super) use template::Template;

/// A specification is at most this long, encoded (1 MiB): big bodies are files, never rows.
const SPEC_BYTES_MAX: usize = 1024 * 1024;

/// A specification up to this length (16 KiB) may be judged where it is called.
const AT_ONCE_BYTES_MAX: usize = 16 * 1024;

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
    /// Checks one encoded specification. Opens the file of an upload, which may take forever.
    pub(super) fn admit(&self, encoded: &Bytes) -> Result<NewTask, Fault> {
        self.judge(encoded, read(encoded)?, self.now_ms())
    }

    /// As `admit`, where it takes microseconds: `None` where a file has to be opened, or much to be
    /// read.
    ///
    /// `before` is the last one that was admitted at the same time.
    pub(super) fn admit_at_once(
        &self,
        encoded: &Bytes,
        now_ms: UnixMillis,
        before: &mut Option<Template>,
    ) -> Option<Result<NewTask, Fault>> {
        if encoded.len() > AT_ONCE_BYTES_MAX {
            return None;
        }
        if let Some(task) = before.as_ref().and_then(|template| template.admit(encoded)) {
            return Some(Ok(task));
        }
        let judged = match read(encoded) {
            Ok(TaskSpec { worker: WorkerSpec::HttpUpload(_), .. }) => return None,
            Ok(spec) => self.judge(encoded, spec, now_ms),
            Err(fault) => Err(fault),
        };
        *before = judged.as_ref().ok().and_then(Template::of);
        Some(judged)
    }

    /// From when delays count.
    pub(super) fn now_ms(&self) -> UnixMillis {
        self.situation.now().wall_ms
    }

    fn judge(&self, encoded: &Bytes, spec: TaskSpec, now_ms: UnixMillis) -> Result<NewTask, Fault> {
        checks::name("task_id", spec.task_id.as_deref())?;
        checks::name("tag", spec.tag.as_deref())?;
        checks::retry(&spec.retry)?;
        let delay = spec.trigger.due(0);
        checks::delay(delay)?;
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
        if upload.mime_type.as_ref().is_some_and(|given| !is_media_type(given)) {
            let error = MultipartError::ContentType { part: 0 };
            return Err(Fault::invalid("mime_type", error.to_string()));
        }
        let source = Source::open(path, &self.paths).map_err(|error| error.fault("file_path"))?;
        if source.opened().size == 0 && source.read_at(0, &mut [0]).is_ok_and(|read| read > 0) {
            let message = "has contents but no size, as files in /proc: copy it, and send the copy";
            return Err(Fault::invalid("file_path", message));
        }
        let admitted = AdmittedUpload::of(source.lasting(), self.allow_http)?;
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
