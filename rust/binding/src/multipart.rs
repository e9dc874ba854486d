//! `MultipartEncoder`: the core's encoder with the files it reads.

use std::path::{Path, PathBuf};

use outhaul_core::model::{Fault, FaultCode};
use outhaul_core::multipart::{Boundary, Encoder, Escape, MEDIA_TYPE_UNKNOWN, Part};
use outhaul_core::source::{PathPolicy, Source, SourceError};
use pyo3::exceptions::PyBlockingIOError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::raise;

/// The most that one read may ask for: it is one allocation.
const READ_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One part as Python gives it.
#[derive(FromPyObject)]
enum PyPart {
    /// `(name, value)`
    Text(String, String),
    /// `(name, path, file_name, content_type)`
    File(String, String, Option<String>, Option<String>),
}

/// A file of the body, as it was when the encoder was made.
struct OpenFile {
    source: Source,
    /// Which part it is, for messages.
    argument: String,
}

impl OpenFile {
    fn open(number: usize, path: &Path, policy: &PathPolicy) -> Result<Self, Fault> {
        let argument = format!("parts[{number}].path");
        match Source::open(path, policy) {
            Ok(source) => {
                source.advise_sequential();
                Ok(Self { source, argument })
            }
            Err(error) => Err(error.fault(&argument)),
        }
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, Unread> {
        Ok(self.source.read_at(offset, buf).map_err(|error| self.unreadable(&error))?)
    }

    fn read_at_nowait(&self, offset: u64, buf: &mut [u8]) -> Result<usize, Unread> {
        let read = self.source.read_at_nowait(offset, buf);
        read.map_err(|error| self.unreadable(&error))?.ok_or(Unread::WouldWait)
    }

    fn unreadable(&self, error: &std::io::Error) -> Fault {
        io_error(&self.source, error).fault(&self.argument)
    }

    fn verify(&self) -> Result<(), Fault> {
        let unchanged = self.source.verify(self.source.opened());
        unchanged.map_err(|error| error.fault(&self.argument))
    }
}

/// Why a stretch of the body was not read.
enum Unread {
    /// The disk would have to be waited for.
    WouldWait,
    Refused(Fault),
}

impl From<Fault> for Unread {
    fn from(fault: Fault) -> Self {
        Self::Refused(fault)
    }
}

/// How files are read: waiting for the disk, or not.
type ReadFile = fn(&OpenFile, u64, &mut [u8]) -> Result<usize, Unread>;

/// A multipart body and its files; see the stub.
#[pyclass(frozen, name = "MultipartEncoder", module = "outhaul._core")]
pub(crate) struct PyMultipartEncoder {
    encoder: Encoder,
    boundary: Boundary,
    files: Vec<OpenFile>,
}

#[pymethods]
impl PyMultipartEncoder {
    #[new]
    #[pyo3(signature = (parts, *, escape = "html5", boundary = None, roots = None))]
    fn new(
        py: Python<'_>,
        parts: Vec<PyPart>,
        escape: &str,
        boundary: Option<&str>,
        roots: Option<Vec<PathBuf>>,
    ) -> PyResult<Self> {
        py.detach(|| Self::open(parts, escape, boundary, roots)).map_err(|fault| raise(py, fault))
    }

    #[getter]
    const fn content_length(&self) -> u64 {
        self.encoder.content_length()
    }

    #[getter]
    fn content_type(&self) -> Option<String> {
        self.encoder.content_type()
    }

    #[getter]
    fn boundary(&self) -> &str {
        self.boundary.as_str()
    }

    fn read_at<'py>(
        &self,
        py: Python<'py>,
        offset: u64,
        size: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let read = self.read(py, offset, size, OpenFile::read_at)?;
        // Never so: reading that may wait does.
        read.ok_or_else(|| PyBlockingIOError::new_err("the file cannot be read now"))
    }

    fn read_at_nowait<'py>(
        &self,
        py: Python<'py>,
        offset: u64,
        size: usize,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        self.read(py, offset, size, OpenFile::read_at_nowait)
    }
}

impl PyMultipartEncoder {
    /// At most `size` bytes of the body; `None` where `read` would have to wait.
    fn read<'py>(
        &self,
        py: Python<'py>,
        offset: u64,
        size: usize,
        read: ReadFile,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        if size > READ_BYTES_MAX {
            let message = format!("read at most {READ_BYTES_MAX} bytes at a time");
            return Err(raise(py, Fault::invalid("size", message)));
        }
        let left = self.encoder.content_length().saturating_sub(offset);
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(size);
        let mut would_wait = false;
        let bytes = PyBytes::new_with(py, len, |buf| {
            py.detach(|| self.fill(offset, buf, read)).map_err(|unread| match unread {
                Unread::Refused(fault) => raise(py, fault),
                Unread::WouldWait => {
                    would_wait = true;
                    PyBlockingIOError::new_err(())
                }
            })
        });
        if would_wait { Ok(None) } else { bytes.map(Some) }
    }

    fn open(
        parts: Vec<PyPart>,
        escape: &str,
        boundary: Option<&str>,
        roots: Option<Vec<PathBuf>>,
    ) -> Result<Self, Fault> {
        let escape = Escape::from_name(escape).ok_or_else(|| {
            Fault::invalid("escape", "one of \"html5\", \"backslash\", \"percent\", \"strict\"")
        })?;
        let policy = match roots {
            None => PathPolicy::anywhere(),
            Some(roots) => PathPolicy::beneath(roots)
                .map_err(|error| Fault::invalid("roots", error.to_string()))?,
        };
        let boundary = match boundary {
            Some(text) => Boundary::parse(text)?,
            None => random_boundary()?,
        };
        let mut files = Vec::new();
        let mut forms = Vec::with_capacity(parts.len());
        for (number, part) in parts.into_iter().enumerate() {
            forms.push(match part {
                PyPart::Text(name, value) => Part::text(name, value),
                PyPart::File(name, path, file_name, content_type) => {
                    let file = OpenFile::open(number, Path::new(&path), &policy)?;
                    let file_name = file_name.unwrap_or_else(|| base_name(&path));
                    let content_type =
                        content_type.unwrap_or_else(|| MEDIA_TYPE_UNKNOWN.to_owned());
                    let part = Part::file(name, file_name, content_type, file.source.opened().size);
                    files.push(file);
                    part
                }
            });
        }
        let encoder = Encoder::multipart(&boundary, forms, escape)?;
        Ok(Self { encoder, boundary, files })
    }

    /// Fills `buf`, which ends at or before the end of the body, or says which file has changed.
    fn fill(&self, offset: u64, buf: &mut [u8], read: ReadFile) -> Result<(), Unread> {
        let mut touched = Vec::new();
        let filled = self.encoder.read_at(offset, buf, |index, offset, buf| {
            let Some(file) = self.files.get(index) else { return Ok(0) };
            touched.push(file);
            read_whole(file, offset, buf, read)
        })?;
        // Checked after the bytes were read, so that nothing leaves which is not of that file; and
        // all files before the last byte of the body, so that no server can accept another body.
        let end = offset.saturating_add(u64::try_from(buf.len()).unwrap_or(u64::MAX));
        if end >= self.encoder.content_length() {
            self.files.iter().try_for_each(OpenFile::verify)?;
        } else {
            touched.iter().try_for_each(|file| file.verify())?;
        }
        match touched.last() {
            // It was cut and made whole again between the two looks.
            Some(file) if filled < buf.len() => {
                let path = file.source.path().to_owned();
                let how = "it was shorter while it was read".to_owned();
                Err(SourceError::Changed { path, how }.fault(&file.argument).into())
            }
            _ => Ok(()),
        }
    }
}

/// Reads until `buf` is full or the file ends: a read may stop where the memory of the kernel does.
fn read_whole(
    file: &OpenFile,
    offset: u64,
    buf: &mut [u8],
    read: ReadFile,
) -> Result<usize, Unread> {
    let mut filled = 0;
    while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let at = offset.saturating_add(u64::try_from(filled).unwrap_or(u64::MAX));
        match read(file, at, rest)? {
            0 => break,
            len => filled += len,
        }
    }
    Ok(filled)
}

fn random_boundary() -> Result<Boundary, Fault> {
    let mut bytes = [0; 24];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Ok(Boundary::from_random(bytes)),
        Err(error) => {
            let message = format!("the operating system gives no random bytes: {error}");
            Err(Fault::new(FaultCode::Internal, "boundary", message))
        }
    }
}

/// The last component: a server learns the file's name and nothing about where it was.
fn base_name(path: &str) -> String {
    let name = Path::new(path).file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn io_error(source: &Source, error: &std::io::Error) -> SourceError {
    SourceError::Io { path: source.path().to_owned(), message: error.to_string() }
}
