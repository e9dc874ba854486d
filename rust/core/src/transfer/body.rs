//! The request body: frames read by offset, exactly as many bytes as declared, or an error.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http_body::{Body, SizeHint};
use tokio::task::JoinHandle;

use super::buffer::{Frame, Pool};
use super::counter::BodyCounter;
use crate::multipart::{Encoder, Span};
use crate::source::{Fingerprint, Source, SourceError};

/// After this many frames the connection has a turn to look for an answer. A socket that takes
/// everything at once would else be written to until the body ends, whatever the server has said.
const FRAMES_PER_TURN: u32 = 4;

/// The body could not be sent as it was declared; [`BodyCounter::failure`] says why.
#[derive(Debug)]
pub(crate) struct BodyBroken;

impl fmt::Display for BodyBroken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the source of the body failed")
    }
}

impl std::error::Error for BodyBroken {}

/// What the bytes of a body are made of. Any number of bodies can be made of it.
#[derive(Clone)]
pub(crate) struct Material {
    pub(crate) encoder: Arc<Encoder>,
    pub(crate) source: Arc<Source>,
    pub(crate) fingerprint: Fingerprint,
}

/// The body of one request, from its first byte.
pub(crate) struct UploadBody {
    material: Material,
    pool: Arc<Pool>,
    counter: Arc<BodyCounter>,
    /// Where the next frame begins.
    offset: u64,
    /// Frames since the connection had its turn.
    frames: u32,
    /// A frame that is being read where waiting is allowed.
    reading: Option<JoinHandle<Result<Filled, SourceError>>>,
}

/// A buffer and how much of it is filled.
struct Filled {
    bytes: Vec<u8>,
    len: usize,
}

impl UploadBody {
    /// A body in frames of at most `frame_bytes`; a smaller body is one frame of its own size.
    pub(crate) fn new(material: Material, frame_bytes: usize, counter: Arc<BodyCounter>) -> Self {
        let total = usize::try_from(material.encoder.content_length()).unwrap_or(usize::MAX);
        let pool = Arc::new(Pool::new(frame_bytes.min(total)));
        Self { material, pool, counter, offset: 0, frames: 0, reading: None }
    }

    fn poll_filled(&mut self, cx: &mut Context<'_>) -> Poll<Result<Filled, SourceError>> {
        if let Some(reading) = &mut self.reading {
            let done = ready!(Pin::new(reading).poll(cx));
            self.reading = None;
            return Poll::Ready(done.unwrap_or_else(|_| Err(self.material.lost())));
        }
        let mut bytes = ready!(self.pool.poll_take(cx));
        match self.material.fill_nowait(self.offset, &mut bytes) {
            Ok(len) if len == self.material.frame_len(self.offset, &bytes) => {
                Poll::Ready(self.material.release(self.offset, Filled { bytes, len }))
            }
            Ok(len) => {
                self.reading = Some(self.material.read_elsewhere(self.offset, bytes, len));
                self.poll_filled(cx)
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl Body for UploadBody {
    type Data = Frame;
    type Error = BodyBroken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Frame>, BodyBroken>>> {
        if self.counter.is_paused() {
            return Poll::Pending; // the answer is being read; the connection ends with it
        }
        if self.is_end_stream() {
            return Poll::Ready(None);
        }
        if self.offset > 0 {
            // Who waits for this processor goes first. On a busy host that is the event loop, which
            // a thread that moves megabytes without a pause keeps waiting for milliseconds.
            std::thread::yield_now();
        }
        if self.frames == FRAMES_PER_TURN {
            self.frames = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match ready!(self.poll_filled(cx)) {
            Ok(Filled { bytes, len }) => {
                self.offset += u64::try_from(len).unwrap_or(u64::MAX);
                self.frames += 1;
                let (pool, counter) = (Arc::clone(&self.pool), Arc::clone(&self.counter));
                let frame = Frame::new(bytes, len, pool, counter);
                Poll::Ready(Some(Ok(http_body::Frame::data(frame))))
            }
            Err(error) => {
                self.counter.fail(error);
                Poll::Ready(Some(Err(BodyBroken)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.offset == self.material.encoder.content_length()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.material.encoder.content_length().saturating_sub(self.offset))
    }
}

impl Material {
    /// Errors unless the source is still the file that was enqueued.
    pub(crate) fn verify(&self) -> Result<(), SourceError> {
        self.source.verify(&self.fingerprint)
    }

    /// How many bytes the frame at `offset` has.
    fn frame_len(&self, offset: u64, bytes: &[u8]) -> usize {
        let left = self.encoder.content_length().saturating_sub(offset);
        bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX))
    }

    /// Fills as much of a frame as needs no waiting; says how much.
    fn fill_nowait(&self, offset: u64, bytes: &mut [u8]) -> Result<usize, SourceError> {
        self.fill(offset, bytes, 0, |at, rest| self.source.read_at_nowait(at, rest))
    }

    /// Reads the rest of a frame on a thread that may wait for the disk.
    fn read_elsewhere(
        &self,
        offset: u64,
        mut bytes: Vec<u8>,
        filled: usize,
    ) -> JoinHandle<Result<Filled, SourceError>> {
        let material = self.clone();
        tokio::task::spawn_blocking(move || {
            let read = |at, rest: &mut [u8]| material.source.read_at(at, rest).map(Some);
            let len = material.fill(offset, &mut bytes, filled, read)?;
            material.release(offset, Filled { bytes, len })
        })
    }

    /// Fills the frame at `offset` from `filled` on, until it is whole or `read` would wait.
    fn fill(
        &self,
        offset: u64,
        bytes: &mut [u8],
        mut filled: usize,
        read: impl Fn(u64, &mut [u8]) -> std::io::Result<Option<usize>>,
    ) -> Result<usize, SourceError> {
        let whole = self.frame_len(offset, bytes);
        while let Some(rest) = bytes.get_mut(filled..whole).filter(|rest| !rest.is_empty()) {
            let at = offset + u64::try_from(filled).unwrap_or(u64::MAX);
            let copied = match self.encoder.span_at(at) {
                Some(Span::Inline(text)) => copy(text, rest),
                Some(Span::File { offset, len, .. }) => {
                    let most = rest.len().min(usize::try_from(len).unwrap_or(usize::MAX));
                    let rest = rest.get_mut(..most).unwrap_or_default();
                    match read(offset, rest) {
                        Ok(Some(read)) => read,
                        Ok(None) => return Ok(filled),
                        Err(error) => return Err(self.unreadable(&error)),
                    }
                }
                None => 0,
            };
            if copied == 0 {
                return Err(self.lost());
            }
            filled += copied;
        }
        Ok(filled)
    }

    /// Lets a frame go, the last one only after the file was seen to be unchanged once more.
    ///
    /// INVARIANT: no server gets the last byte of a body that is not the file as enqueued.
    fn release(&self, offset: u64, frame: Filled) -> Result<Filled, SourceError> {
        let end = offset + u64::try_from(frame.len).unwrap_or(u64::MAX);
        if end == self.encoder.content_length() {
            self.verify()?;
        }
        Ok(frame)
    }

    /// The file ended before its time.
    fn lost(&self) -> SourceError {
        self.verify().err().unwrap_or_else(|| SourceError::Changed {
            path: self.source.path().to_owned(),
            how: "it ended early while it was sent".to_owned(),
        })
    }

    fn unreadable(&self, error: &std::io::Error) -> SourceError {
        SourceError::Io { path: self.source.path().to_owned(), message: error.to_string() }
    }
}

/// Copies as much as fits; says how much.
fn copy(from: &[u8], to: &mut [u8]) -> usize {
    let len = from.len().min(to.len());
    if let (Some(to), Some(from)) = (to.get_mut(..len), from.get(..len)) {
        to.copy_from_slice(from);
    }
    len
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::task::Waker;

    use bytes::Buf;
    use tempfile::NamedTempFile;

    use super::*;
    use crate::source::PathPolicy;
    use crate::transfer::Observer;

    struct Nobody;

    impl Observer for Nobody {
        fn sent(&self, _: u64) {}
    }

    const FRAME: usize = 4096;

    fn body(file: &NamedTempFile) -> (UploadBody, Arc<BodyCounter>) {
        let source = Source::open(file.path(), &PathPolicy::anywhere()).unwrap();
        let fingerprint = source.fingerprint().unwrap();
        let encoder = Arc::new(Encoder::raw(fingerprint.size));
        let counter = Arc::new(BodyCounter::new(fingerprint.size, Arc::new(Nobody)));
        let material = Material { encoder, source: Arc::new(source), fingerprint };
        (UploadBody::new(material, FRAME, Arc::clone(&counter)), counter)
    }

    fn file(len: usize) -> NamedTempFile {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(&vec![7; len]).unwrap();
        file
    }

    async fn next(body: &mut UploadBody) -> Option<Result<Frame, BodyBroken>> {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await;
        frame.map(|frame| frame.map(|frame| frame.into_data().ok().unwrap()))
    }

    #[tokio::test]
    async fn a_body_of_any_size_lives_in_two_buffers() {
        let file = file(FRAME * 10 + 1);
        let (mut body, counter) = body(&file);
        let first = next(&mut body).await.unwrap().unwrap();
        let mut held = next(&mut body).await.unwrap().unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut body).poll_frame(&mut cx).is_pending(), "a third buffer was made");
        drop(first);
        while let Some(frame) = next(&mut body).await {
            held.advance(held.remaining());
            held = frame.unwrap();
        }
        assert_eq!(held.remaining(), 1);
        assert_eq!(counter.sent(), u64::try_from(FRAME * 9).unwrap()); // the first was not taken
        assert_eq!(body.pool.made(), 2);
    }

    #[tokio::test]
    async fn a_small_body_is_one_frame_of_its_own_size() {
        let file = file(100);
        let (mut body, _) = body(&file);
        let frame = next(&mut body).await.unwrap().unwrap();
        assert_eq!((frame.remaining(), frame.buffer_bytes()), (100, 100));
        assert!(body.is_end_stream());
    }

    #[tokio::test]
    async fn the_last_frame_is_held_back_from_a_file_that_changed() {
        for len in [10, FRAME, FRAME + 1, FRAME * 2] {
            let mut file = file(len);
            let (mut body, counter) = body(&file);
            file.write_all(b"more").unwrap();
            let mut got = 0;
            while let Some(Ok(frame)) = next(&mut body).await {
                got += frame.remaining();
            }
            assert!(got < len, "{got} of {len} bytes were let go");
            assert!(matches!(counter.failure(), Some(SourceError::Changed { .. })));
        }
    }

    #[tokio::test]
    async fn what_must_wait_for_the_disk_is_the_same_and_held_back_as_well() {
        let mut file = file(FRAME);
        let (body, _) = body(&file);
        let mut expected = vec![0; FRAME];
        body.material.source.read_at(0, &mut expected).unwrap();
        let read = body.material.read_elsewhere(0, vec![0; FRAME], 0).await.unwrap().unwrap();
        assert_eq!((read.bytes, read.len), (expected, FRAME));
        file.write_all(b"more").unwrap();
        let read = body.material.read_elsewhere(0, vec![0; FRAME], 0).await.unwrap();
        assert!(matches!(read, Err(SourceError::Changed { .. })));
    }

    #[tokio::test]
    async fn a_body_gives_its_connection_a_turn_now_and_then() {
        let file = file(FRAME * 10);
        let (mut body, _) = body(&file);
        let mut cx = Context::from_waker(Waker::noop());
        let mut turns = vec![0];
        while !body.is_end_stream() {
            match Pin::new(&mut body).poll_frame(&mut cx) {
                Poll::Ready(frame) => *turns.last_mut().unwrap() += u32::from(frame.is_some()),
                Poll::Pending => turns.push(0),
            }
        }
        assert_eq!(turns, [4, 4, 2]);
    }

    #[tokio::test]
    async fn a_paused_body_makes_no_frame() {
        let file = file(10);
        let (mut body, counter) = body(&file);
        counter.pause();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut body).poll_frame(&mut cx).is_pending());
    }
}
