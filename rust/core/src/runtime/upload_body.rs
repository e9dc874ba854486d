//! What an upload needs to be the same in every attempt, and the body that is made of it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::model::spec::{BodyKind, HttpUploadSpec};
use crate::model::{Fault, FaultCode};
use crate::multipart::{Boundary, Encoder, Escape, MEDIA_TYPE_UNKNOWN, Part};
use crate::source::Fingerprint;

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

impl AdmittedUpload {
    /// Of that file, with a boundary and a key that no other upload has.
    pub(super) fn of(fingerprint: Fingerprint, allow_http: bool) -> Result<Self, Fault> {
        let [boundary, key] = random()?;
        Ok(Self {
            fingerprint,
            boundary: Boundary::from_random(boundary).as_str().to_owned(),
            idempotency_key: uuid(key),
            allow_http,
        })
    }
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

/// The media type of the file: given, or guessed from its name.
pub(super) fn media_type(upload: &HttpUploadSpec, file_name: &str) -> String {
    upload.mime_type.clone().unwrap_or_else(|| {
        mime_guess::from_path(file_name).first_raw().unwrap_or(MEDIA_TYPE_UNKNOWN).to_owned()
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
