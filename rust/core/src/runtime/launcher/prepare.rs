//! From a stored task to the upload that an attempt makes: its file is opened and known again, its
//! secrets stand in their headers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Attempt, Shared, failed};
use crate::model::spec::{BodyKind, HeaderValueSpec, HttpUploadSpec, SecretRef};
use crate::model::{ErrorCode, Failure, Fault, FaultCode, Outcome};
use crate::runtime::admission_queue::{FILE_OPEN_TIMEOUT, not_answered};
use crate::runtime::reporter::{ReportOf, Reporter};
use crate::runtime::upload_body::{AdmittedUpload, encoder, file_name, media_type};
use crate::source::Source;
use crate::transfer::{AttemptError, Observer, ResolvedHeader, Timeouts, Upload};

/// An upload that can begin.
pub(super) struct Job {
    pub(super) upload: Upload,
    pub(super) reporter: Arc<Reporter>,
}

impl Shared {
    pub(super) async fn prepare(
        &self,
        attempt: &Attempt,
        upload: &HttpUploadSpec,
        secrets: Vec<String>,
    ) -> Result<Job, Outcome> {
        let admitted: AdmittedUpload = rmp_serde::from_slice(&attempt.body.admitted)
            .map_err(|error| unreadable(&error.to_string()))?;
        let encoder = Arc::new(encoder(upload, &admitted).map_err(|fault| failed(&fault))?);
        let target = self.options.targets.read(&upload.url, admitted.allow_http);
        let target = target.map_err(|fault| failed(&fault))?;
        let source = self.open(upload, &admitted).await?;
        let reporter = Arc::new(self.reporter(attempt, encoder.content_length()));
        let observer: Arc<dyn Observer> = Arc::<Reporter>::clone(&reporter);
        let upload = Upload {
            method: upload.method,
            target,
            headers: resolve(upload, secrets).map_err(|fault| failed(&fault))?,
            encoder,
            source: Arc::new(source),
            fingerprint: admitted.fingerprint,
            media_type: raw_media_type(upload).map_err(|fault| failed(&fault))?,
            idempotency_key: admitted.idempotency_key,
            is_repeat: attempt.number > 1,
            timeouts: Timeouts {
                connect: Duration::from_millis(upload.connect_timeout_ms),
                stall: Duration::from_millis(upload.stall_timeout_ms),
                response: Duration::from_millis(upload.response_timeout_ms),
            },
            observer,
        };
        Ok(Job { upload, reporter })
    }

    fn reporter(&self, attempt: &Attempt, total: u64) -> Reporter {
        let Attempt { key, number, ref task_id, ref body, mark_percent, .. } = *attempt;
        let of = ReportOf { key, attempt: number, task_id: task_id.clone(), tag: body.tag.clone() };
        let world = (&self.board, &self.inbox, &self.situation);
        Reporter::begin(of, total, mark_percent, world)
    }

    /// Opens the file under the path policy.
    async fn open(
        &self,
        upload: &HttpUploadSpec,
        admitted: &AdmittedUpload,
    ) -> Result<Source, Outcome> {
        let path = PathBuf::from(&upload.file_path);
        let (paths, fingerprint) = (Arc::clone(&self.options.paths), admitted.fingerprint);
        let is_on_device = fingerprint.is_on_device();
        let opened = match is_on_device.then(|| Source::open_nowait(&path, &paths)).flatten() {
            Some(opened) => Some(opened),
            None => self.openings.open(fingerprint.dev, move || Source::open(&path, &paths)).await,
        };
        let opened = opened.ok_or_else(|| {
            let said = format!("{} {}", upload.file_path, not_answered(FILE_OPEN_TIMEOUT));
            Outcome::Retry(Failure::new(ErrorCode::Timeout, said))
        })?;
        opened.map_err(|error| AttemptError::from(error).into())
    }
}

/// What has to be resolved before.
pub(super) fn secrets_of(upload: &HttpUploadSpec) -> Vec<SecretRef> {
    let secret = |(_, value): &(String, HeaderValueSpec)| match value {
        HeaderValueSpec::Secret(secret) => Some(secret.clone()),
        HeaderValueSpec::Text(_) => None,
    };
    upload.headers.iter().filter_map(secret).collect()
}

/// The media type of a body that is the file and nothing else.
fn raw_media_type(upload: &HttpUploadSpec) -> Result<Option<String>, Fault> {
    match upload.body {
        BodyKind::Multipart => Ok(None),
        BodyKind::Raw => Ok(Some(media_type(upload, &file_name(upload)?))),
    }
}

/// The headers of an attempt. The secrets stand in the order of [`secrets_of`].
fn resolve(upload: &HttpUploadSpec, secrets: Vec<String>) -> Result<Vec<ResolvedHeader>, Fault> {
    let mut secrets = secrets.into_iter();
    let mut headers = Vec::with_capacity(upload.headers.len() + 1);
    for (name, value) in &upload.headers {
        headers.push(match value {
            HeaderValueSpec::Text(text) => ResolvedHeader::text(name, text),
            HeaderValueSpec::Secret(secret) => {
                let value = secrets.next().ok_or_else(|| {
                    Fault::new(FaultCode::Internal, name, "its secret was not resolved")
                })?;
                let bare = value.strip_prefix(&secret.prefix).unwrap_or(&value);
                ResolvedHeader::secret(name, &secret.prefix, bare)
            }
        });
    }
    Ok(headers)
}

fn unreadable(what: &str) -> Outcome {
    let message = format!("Unknown error: the stored task cannot be read ({what})");
    Outcome::Failed(Failure::new(ErrorCode::Unknown, message))
}
