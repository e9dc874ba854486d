//! One request and its answer on one connection, driven by the caller: dropping it closes the
//! connection at once, because nothing of it runs elsewhere.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;

use super::attempt_error::AttemptError;
use super::body::UploadBody;
use super::counter::BodyCounter;
use super::flushed::{Flushed, IsFlushed};
use super::io::Stream;
use super::outcome::HttpAnswer;
use super::timer::RequestTimer;
use super::tls;
use crate::model::ErrorCode;
use crate::model::outcome::RESPONSE_BYTES_MAX;

type Driver = http1::Connection<TokioIo<Flushed>, UploadBody>;

/// The HTTP layer buffers at least this much.
const BUFFER_BYTES_MIN: usize = 16 * 1024;

/// An answer has at most this many headers.
const RESPONSE_HEADERS_MAX: usize = 512;

/// A body of which no more than this was sent over a connection that was kept is sent again over a
/// new one, within the same attempt: its idempotency key makes that harmless.
const STALE_BYTES_MAX: u64 = 1024 * 1024;

/// A connection on which no request is under way.
pub(crate) struct Connection {
    sender: SendRequest<UploadBody>,
    driver: Driver,
    is_flushed: IsFlushed,
    is_reused: bool,
}

/// Why there is no answer.
pub(crate) enum Broken {
    /// A connection that was kept was lost before an answer, with little of the body sent: most
    /// likely the server was just closing it.
    Stale,
    /// Anything else.
    Ended(AttemptError),
}

impl From<AttemptError> for Broken {
    fn from(ended: AttemptError) -> Self {
        Self::Ended(ended)
    }
}

impl Connection {
    /// A connection over `stream` that asks for a frame when less than `frame_bytes` are queued.
    pub(crate) async fn open(stream: Stream, frame_bytes: usize) -> Result<Self, AttemptError> {
        let (stream, is_flushed) = Flushed::new(stream);
        let (sender, driver) = http1::Builder::new()
            .writev(true) // frames are queued and written in place, never copied
            .max_buf_size(frame_bytes.max(BUFFER_BYTES_MIN))
            // A yes is a yes, however clumsily it is written. SOURCE: RFC 9112 §5.1, §5.2.
            .allow_obsolete_multiline_headers_in_responses(true)
            .allow_spaces_after_header_name_in_responses(true)
            .ignore_invalid_headers_in_responses(true)
            .max_headers(RESPONSE_HEADERS_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| AttemptError::network(describe(&error)))?;
        Ok(Self { sender, driver, is_flushed, is_reused: false })
    }

    /// Whether the server has neither closed it nor sent something that nobody asked for.
    pub(crate) fn is_open(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(&mut self.driver).poll(&mut cx).is_pending() && self.sender.is_ready()
    }

    /// Sends `request` and reads its answer. The connection comes back where it can be used again.
    pub(crate) async fn send(
        self,
        request: Request<UploadBody>,
        counter: &Arc<BodyCounter>,
        timer: RequestTimer,
    ) -> Result<(HttpAnswer, Option<Self>), Broken> {
        let Self { mut sender, driver, is_flushed, is_reused } = self;
        let counter = Arc::clone(counter);
        let mut in_flight = InFlight { driver: Some(driver), counter, is_flushed, timer };
        let sending = pin!(sender.try_send_request(request));
        let response = match in_flight.until(sending).await? {
            Ok(response) => response,
            Err(error) => {
                let was_much_sent = in_flight.counter.sent() > STALE_BYTES_MAX;
                if is_reused && !was_much_sent && in_flight.counter.failure().is_none() {
                    return Err(Broken::Stale);
                }
                return Err(in_flight.lost_by(error.error()).into());
            }
        };
        let (answer, is_whole) = in_flight.read(response).await?;
        let is_idle = is_whole && in_flight.has_sent_all() && in_flight.is_idle(&sender).await;
        let InFlight { driver, is_flushed, .. } = in_flight;
        let driver = driver.filter(|_| is_idle);
        Ok((answer, driver.map(|driver| Self { sender, driver, is_flushed, is_reused: true })))
    }
}

/// A request under way: what moves its bytes, and what says that they take too long.
struct InFlight {
    /// Gone once the connection has ended.
    driver: Option<Driver>,
    counter: Arc<BodyCounter>,
    is_flushed: IsFlushed,
    timer: RequestTimer,
}

impl InFlight {
    fn poll_driver(&mut self, cx: &mut Context<'_>) {
        let polled = self.driver.as_mut().map(|driver| Pin::new(driver).poll(cx));
        if polled.is_some_and(|polled| polled.is_ready()) {
            self.driver = None;
        }
    }

    /// Moves bytes until `future` is ready or a time-out has passed.
    async fn until<F: Future + Unpin>(&mut self, mut future: F) -> Result<F::Output, AttemptError> {
        poll_fn(|cx| {
            self.poll_driver(cx);
            match Pin::new(&mut future).poll(cx) {
                Poll::Ready(output) => Poll::Ready(Ok(output)),
                Poll::Pending => self.timer.poll(cx).map(Err),
            }
        })
        .await
    }

    /// The rest of an answer, and whether it is whole. What came of a refusal is good enough; a
    /// success counts when it is whole and the server has the whole body.
    async fn read(
        &mut self,
        response: Response<Incoming>,
    ) -> Result<(HttpAnswer, bool), AttemptError> {
        let (head, mut incoming) = response.into_parts();
        if !head.status.is_success() && !self.counter.is_complete() {
            self.counter.pause();
            self.timer.hurry();
        }
        let mut body = Vec::new();
        let end = self.collect(&mut incoming, &mut body, head.status.is_success()).await;
        if head.status.is_success() {
            end.clone()?;
            self.finish_sending().await?;
        }
        let is_whole = matches!(end, Ok(true));
        let is_body_cut = body.len() > RESPONSE_BYTES_MAX;
        body.truncate(RESPONSE_BYTES_MAX);
        let (status, headers, bytes_sent) = (head.status, head.headers, self.counter.sent());
        let answer =
            HttpAnswer { status, headers, body, is_body_cut, bytes_sent, is_repeat: false };
        Ok((answer, is_whole))
    }

    /// Reads up to one byte more than is kept and, `to_the_end`, what follows, which is not kept: a
    /// server that answers while it reads reads no further than somebody takes its answer, and to
    /// close before its end may take our last bytes back. Says whether the end was reached.
    async fn collect(
        &mut self,
        from: &mut Incoming,
        to: &mut Vec<u8>,
        to_the_end: bool,
    ) -> Result<bool, AttemptError> {
        while to_the_end || to.len() <= RESPONSE_BYTES_MAX {
            let next = pin!(poll_fn(|cx| Pin::new(&mut *from).poll_frame(cx)));
            let is_enough = to.len() > RESPONSE_BYTES_MAX;
            match self.until(next).await {
                Ok(None) => return Ok(true),
                // It said yes, and what is kept of it is here.
                Err(_) | Ok(Some(Err(_))) if is_enough => return Ok(false),
                Err(ended) => return Err(ended),
                Ok(Some(Err(error))) => return Err(self.lost_by(&error)),
                Ok(Some(Ok(frame))) => {
                    let data: Bytes = frame.into_data().unwrap_or_default();
                    let room = (RESPONSE_BYTES_MAX + 1).saturating_sub(to.len());
                    to.extend_from_slice(data.get(..room.min(data.len())).unwrap_or_default());
                }
            }
        }
        Ok(false)
    }

    /// A server may say yes before it has everything; then it must still take everything.
    async fn finish_sending(&mut self) -> Result<(), AttemptError> {
        poll_fn(|cx| {
            self.poll_driver(cx);
            if self.has_sent_all() {
                Poll::Ready(Ok(()))
            } else if self.driver.is_none() {
                Poll::Ready(Err(self.lost("the server closed before it had the whole body")))
            } else {
                self.timer.poll(cx).map(Err)
            }
        })
        .await
    }

    /// Whether the whole body has left this process.
    fn has_sent_all(&self) -> bool {
        self.counter.is_complete() && self.is_flushed.get()
    }

    /// Whether the connection waits for another request.
    async fn is_idle(&mut self, sender: &SendRequest<UploadBody>) -> bool {
        poll_fn(|cx| {
            self.poll_driver(cx);
            Poll::Ready(self.driver.is_some() && sender.is_ready())
        })
        .await
    }

    /// Why the connection ended: the source, if it was that, else what the connection says.
    fn lost_by(&self, error: &hyper::Error) -> AttemptError {
        if self.counter.failure().is_none() && tls::wants_certificate(error) {
            return AttemptError::failed(ErrorCode::TlsError, tls::NO_CERTIFICATE);
        }
        self.lost(describe(error))
    }

    /// Why the connection ended: the source, if it was that, else `otherwise`.
    fn lost(&self, otherwise: impl Into<String>) -> AttemptError {
        self.counter.failure().map_or_else(|| AttemptError::network(otherwise), AttemptError::from)
    }
}

/// What went wrong on a connection, for people.
fn describe(error: &hyper::Error) -> String {
    if error.is_incomplete_message() {
        return "the server closed the connection before it had answered".to_owned();
    }
    if error.is_parse() {
        return format!("the answer is not HTTP/1.1: {error}");
    }
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(cause) = cause.downcast_ref::<std::io::Error>() {
            if cause.kind() == std::io::ErrorKind::UnexpectedEof {
                return "the connection was lost: the server closed it".to_owned();
            }
            return format!("the connection was lost: {cause}");
        }
        source = cause.source();
    }
    format!("the connection was lost: {error}")
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};

    use super::*;
    use crate::multipart::Encoder;
    use crate::source::{PathPolicy, Source};
    use crate::transfer::body::Material;
    use crate::transfer::{Observer, Timeouts};

    const LONG: Duration = Duration::from_secs(20);

    /// Takes everything at once and keeps it until it may flush, as encryption does over a full
    /// socket.
    struct Keeps {
        answers: DuplexStream,
        has_taken: Arc<AtomicBool>,
        may_flush: Arc<AtomicBool>,
    }

    impl AsyncRead for Keeps {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.answers).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Keeps {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.has_taken.store(true, Ordering::Relaxed);
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.may_flush.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }

        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.poll_flush(cx)
        }
    }

    struct Deaf;

    impl Observer for Deaf {
        fn sent(&self, _: u64) {}
    }

    /// A request with a body of five bytes.
    fn hello() -> (Request<UploadBody>, Arc<BodyCounter>, RequestTimer) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"hello").unwrap();
        let source = Source::open(file.path(), &PathPolicy::anywhere()).unwrap();
        let (encoder, fingerprint) = (Arc::new(Encoder::raw(5)), *source.opened());
        let material = Material { encoder, source: Arc::new(source), fingerprint };
        let counter = Arc::new(BodyCounter::new(5, Arc::new(Deaf)));
        let timer = RequestTimer::new(
            Arc::clone(&counter),
            Timeouts { connect: LONG, stall: LONG, response: LONG },
        );
        let body = UploadBody::new(material, 1 << 16, Arc::clone(&counter));
        (Request::post("/").body(body).unwrap(), counter, timer)
    }

    #[tokio::test]
    async fn an_answer_that_is_there_before_the_request_is_its_answer() {
        let (request, counter, timer) = hello();
        let (stream, mut server) = tokio::io::duplex(1024);
        let early = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n";
        server.write_all(early).await.unwrap();
        let connection = Connection::open(Box::new(stream), 1 << 16).await.unwrap();
        let Ok((answer, _)) = connection.send(request, &counter, timer).await else {
            panic!("no answer")
        };
        assert_eq!(
            (answer.status.as_u16(), &answer.headers["retry-after"]),
            (503, &"7".parse().unwrap())
        );
    }

    #[tokio::test]
    async fn a_server_that_says_yes_early_gets_what_is_kept_back_before_that_counts() {
        let (request, counter, timer) = hello();
        let (answers, mut server) = tokio::io::duplex(1024);
        let (has_taken, may_flush) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let stream =
            Keeps { answers, has_taken: Arc::clone(&has_taken), may_flush: Arc::clone(&may_flush) };
        tokio::spawn(async move {
            while !has_taken.load(Ordering::Relaxed) {
                tokio::task::yield_now().await;
            }
            server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            std::future::pending::<()>().await;
        });
        let connection = Connection::open(Box::new(stream), 1 << 16).await.unwrap();
        let sending = connection.send(request, &counter, timer);
        let mut sending = pin!(sending);
        let early = tokio::time::timeout(Duration::from_millis(100), &mut sending).await;
        assert!(early.is_err() && counter.is_complete());
        may_flush.store(true, Ordering::Relaxed);
        let Ok((answer, kept)) = sending.await else { panic!("no answer") };
        assert_eq!((answer.status.as_u16(), answer.bytes_sent, kept.is_some()), (200, 5, true));
    }
}
