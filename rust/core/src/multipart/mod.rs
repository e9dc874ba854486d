//! The body of a request as a pure function of (parts, files, offset).
//!
//! Its length is known before the first byte is read, and any byte of it can be made without the
//! ones before it. So a retry, a replay or a resume starts anywhere, and no shared cursor can be in
//! the wrong place: the commonest cause of truncated uploads.
//!
//! SOURCE: RFC 7578; RFC 2046 §5.1; WHATWG HTML "multipart/form-data encoding algorithm".

mod boundary;
mod error;
mod escape;

use std::borrow::Cow;

pub use boundary::{BOUNDARY_CHARS_MAX, Boundary};
pub use error::{Field, MultipartError};
pub use escape::Escape;

/// The media type of a file that nobody knows. SOURCE: RFC 2046 §4.5.1.
pub const MEDIA_TYPE_UNKNOWN: &str = "application/octet-stream";

/// One part of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The field's name. Names may repeat.
    pub name: String,
    /// What it carries.
    pub content: PartContent,
}

/// What a part carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartContent {
    /// A value, held in memory. Its line breaks are sent as CR LF, as HTML asks.
    Text(String),
    /// A file. Its bytes stay where they are until they are read.
    File {
        /// The name told to the server; never a local path.
        file_name: String,
        /// Its media type.
        content_type: String,
        /// Its length in bytes; 0 is fine.
        len: u64,
    },
}

impl Part {
    /// A field with a text value.
    pub fn text(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), content: PartContent::Text(value.into()) }
    }

    /// A file of `len` bytes.
    pub fn file(
        name: impl Into<String>,
        file_name: impl Into<String>,
        content_type: impl Into<String>,
        len: u64,
    ) -> Self {
        let (file_name, content_type) = (file_name.into(), content_type.into());
        Self { name: name.into(), content: PartContent::File { file_name, content_type, len } }
    }
}

/// A request body, addressed by offset. Immutable: share it in an `Arc`.
#[derive(Clone, Debug)]
pub struct Encoder {
    /// Everything that is not in a file, one segment after the other.
    inline: Vec<u8>,
    // INVARIANT: ordered, without gaps, none empty: each begins where the one before it ends, and
    // the last ends at `content_length`.
    segments: Vec<Segment>,
    content_length: u64,
    content_type: Option<String>,
}

/// A stretch of the body that comes from one place.
#[derive(Clone, Copy, Debug)]
struct Segment {
    /// The body's offset of its first byte.
    start: u64,
    /// The body's offset after its last byte.
    end: u64,
    place: Place,
}

/// Where a segment's bytes are.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// In `inline`, from that index.
    Inline(usize),
    /// In the file of that number, from its start.
    File(usize),
}

/// What stands in the body from an offset to the end of that stretch. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span<'a> {
    /// These bytes.
    Inline(&'a [u8]),
    /// Bytes of a file.
    File {
        /// Which one: files count from 0 in the order of the parts, empty ones too.
        index: usize,
        /// Where in the file, in bytes.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
}

impl Encoder {
    /// A `multipart/form-data` body of `parts`, in that order. O(length of names and text).
    ///
    /// Errors say which part and what to change; nothing is dropped or altered in silence but the
    /// line breaks of names and text. No parts make a body of the closing line alone.
    ///
    /// SOURCE: RFC 7578 §4; no Content-Transfer-Encoding (§4.7), no `filename*` (§4.2).
    pub fn multipart(
        boundary: &Boundary,
        parts: Vec<Part>,
        escape: Escape,
    ) -> Result<Self, MultipartError> {
        let mut body = Builder { inline: Vec::with_capacity(HEAD_BYTES), ..Builder::default() };
        let delimiter = format!("--{}", boundary.as_str());
        for (number, part) in parts.iter().enumerate() {
            body.header(&delimiter, number, part, escape)?;
            match &part.content {
                PartContent::Text(value) => body.inline(&[&text(&delimiter, number, value)?]),
                PartContent::File { len, .. } => body.file(*len)?,
            }
            body.inline(&["\r\n"]);
        }
        body.inline(&[&delimiter, "--\r\n"]);
        body.finish(Some(boundary.content_type()))
    }

    /// A body that is one file of `len` bytes and nothing else.
    pub fn raw(len: u64) -> Self {
        let file = Segment { start: 0, end: len, place: Place::File(0) };
        let segments = if len == 0 { Vec::new() } else { vec![file] };
        Self { inline: Vec::new(), segments, content_length: len, content_type: None }
    }

    /// The exact length of the body in bytes: the value of the Content-Length header.
    pub const fn content_length(&self) -> u64 {
        self.content_length
    }

    /// The value of the Content-Type header; `None` for a raw body, whose type is the file's.
    pub fn content_type(&self) -> Option<String> {
        self.content_type.clone()
    }

    /// What stands at `offset`; `None` at the end and after it. O(log parts).
    pub fn span_at(&self, offset: u64) -> Option<Span<'_>> {
        let at = self.segments.partition_point(|segment| segment.end <= offset);
        let segment = self.segments.get(at)?;
        let (inside, len) = (offset.checked_sub(segment.start)?, segment.end - offset);
        match segment.place {
            Place::File(index) => Some(Span::File { index, offset: inside, len }),
            Place::Inline(from) => {
                let from = from.checked_add(usize::try_from(inside).ok()?)?;
                let to = from.checked_add(usize::try_from(len).ok()?)?;
                self.inline.get(from..to).map(Span::Inline)
            }
        }
    }

    /// Copies the body from `offset` into `buf` and says how many bytes: all of `buf`, unless the
    /// body ends or a file read comes back short. 0 means the end, or a file without more bytes.
    ///
    /// `read_file` takes a file's number, an offset in it and a buffer, never empty and never past
    /// the declared length; it answers how many bytes it put there. Its error ends the call.
    pub fn read_at<E>(
        &self,
        offset: u64,
        buf: &mut [u8],
        mut read_file: impl FnMut(usize, u64, &mut [u8]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let (mut at, mut rest, mut filled) = (offset, buf, 0);
        while !rest.is_empty() {
            let (want, got) = match self.span_at(at) {
                None => break,
                Some(Span::Inline(bytes)) => {
                    let want = bytes.len().min(rest.len());
                    if let (Some(to), Some(from)) = (rest.get_mut(..want), bytes.get(..want)) {
                        to.copy_from_slice(from);
                    }
                    (want, want)
                }
                Some(Span::File { index, offset, len }) => {
                    let want = usize::try_from(len).unwrap_or(usize::MAX).min(rest.len());
                    let Some(room) = rest.get_mut(..want) else { break };
                    (want, read_file(index, offset, room)?.min(want))
                }
            };
            filled += got;
            at = at.saturating_add(u64::try_from(got).unwrap_or(u64::MAX));
            if got < want {
                break;
            }
            rest = rest.get_mut(got..).unwrap_or_default();
        }
        Ok(filled)
    }
}

/// A text value as it is sent.
fn text<'a>(
    delimiter: &str,
    number: usize,
    value: &'a str,
) -> Result<Cow<'a, str>, MultipartError> {
    // A random boundary cannot be in there; one that the caller chose can.
    if value.contains(delimiter) {
        return Err(MultipartError::BoundaryInValue { part: number });
    }
    Ok(escape::with_crlf(value))
}

/// Whether it can stand in a header as a media type: a line break in it would forge a header.
pub(crate) fn is_media_type(text: &str) -> bool {
    let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~')) && text.trim() == text;
    let (kind, rest) = text.split_once('/').unwrap_or_default();
    printable && !kind.is_empty() && !rest.is_empty()
}

/// What stands around one file takes about as much.
const HEAD_BYTES: usize = 256;

/// A body under construction.
#[derive(Default)]
struct Builder {
    inline: Vec<u8>,
    segments: Vec<Segment>,
    /// Where the last segment ends.
    end: u64,
    /// Where in `inline` the next inline segment starts.
    sealed: usize,
    files: usize,
}

impl Builder {
    /// Everything before a part's content.
    fn header(
        &mut self,
        delimiter: &str,
        number: usize,
        part: &Part,
        escape: Escape,
    ) -> Result<(), MultipartError> {
        let name = escape.quoted(number, Field::Name, &part.name)?;
        self.inline(&[delimiter, "\r\nContent-Disposition: form-data; name=\"", &name, "\""]);
        if let PartContent::File { file_name, content_type, .. } = &part.content {
            let file_name = escape.quoted(number, Field::FileName, file_name)?;
            if !is_media_type(content_type) {
                return Err(MultipartError::ContentType { part: number });
            }
            let file = ["; filename=\"", &file_name, "\"\r\nContent-Type: ", content_type];
            self.inline(&file);
        }
        self.inline(&["\r\n\r\n"]);
        Ok(())
    }

    /// Bytes that are held in memory.
    fn inline(&mut self, pieces: &[&str]) {
        self.inline.reserve(pieces.iter().map(|piece| piece.len()).sum());
        for piece in pieces {
            self.inline.extend_from_slice(piece.as_bytes());
        }
    }

    /// The next file.
    fn file(&mut self, len: u64) -> Result<(), MultipartError> {
        let index = self.files;
        self.files += 1;
        if len == 0 {
            return Ok(());
        }
        self.seal()?;
        self.push(len, Place::File(index))
    }

    /// Makes one segment of the inline bytes that have none yet.
    fn seal(&mut self) -> Result<(), MultipartError> {
        let from = self.sealed;
        self.sealed = self.inline.len();
        let len = u64::try_from(self.sealed - from).map_err(|_| MultipartError::TooLong)?;
        if len == 0 { Ok(()) } else { self.push(len, Place::Inline(from)) }
    }

    fn push(&mut self, len: u64, place: Place) -> Result<(), MultipartError> {
        let start = self.end;
        self.end = start.checked_add(len).ok_or(MultipartError::TooLong)?;
        self.segments.push(Segment { start, end: self.end, place });
        Ok(())
    }

    fn finish(mut self, content_type: Option<String>) -> Result<Encoder, MultipartError> {
        self.seal()?;
        let Self { inline, segments, end, .. } = self;
        Ok(Encoder { inline, segments, content_length: end, content_type })
    }
}
