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

use super::body::UploadBody;
use super::io::Stream;
use super::meter::Meter;
use super::outcome::{Answer, Ended};
use super::watch::Watch;
use crate::model::outcome::RESPONSE_BYTES_MAX;

type Driver = http1::Connection<TokioIo<Stream>, UploadBody>;

/// The HTTP layer buffers at least this much.
const BUFFER_BYTES_MIN: usize = 16 * 1024;

/// A connection on which no request is under way.
pub(crate) struct Connection {
    sender: SendRequest<UploadBody>,
    driver: Driver,
    is_reused: bool,
}

/// Why there is no answer.
pub(crate) enum Broken {
    /// The server had closed an idle connection before it took a byte of the body.
    Stale,
    /// Anything else.
    Ended(Ended),
}

impl From<Ended> for Broken {
    fn from(ended: Ended) -> Self {
        Self::Ended(ended)
    }
}

impl Connection {
    /// A connection over `stream` that asks for a frame when less than `frame_bytes` are queued.
    pub(crate) async fn open(stream: Stream, frame_bytes: usize) -> Result<Self, Ended> {
        let (sender, driver) = http1::Builder::new()
            .writev(true) // frames are queued and written in place, never copied
            .max_buf_size(frame_bytes.max(BUFFER_BYTES_MIN))
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Ended::network(describe(&error)))?;
        Ok(Self { sender, driver, is_reused: false })
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
        meter: &Arc<Meter>,
        watch: Watch,
    ) -> Result<(Answer, Option<Self>), Broken> {
        let Self { mut sender, driver, is_reused } = self;
        let mut line = Line { driver: Some(driver), meter: Arc::clone(meter), watch };
        let sending = pin!(sender.try_send_request(request));
        let response = match line.until(sending).await? {
            Ok(response) => response,
            Err(mut error) => {
                let was_taken = error.take_message().is_none();
                let was_begun = was_taken && (meter.is_empty() || meter.sent() > 0);
                if is_reused && !was_begun && meter.failure().is_none() {
                    return Err(Broken::Stale);
                }
                return Err(line.lost(describe(error.error())).into());
            }
        };
        let (answer, is_whole) = line.read(response).await?;
        let is_idle = is_whole && meter.is_complete() && line.is_idle(&sender).await;
        let driver = line.driver.filter(|_| is_idle);
        Ok((answer, driver.map(|driver| Self { sender, driver, is_reused: true })))
    }
}

/// A request under way: what moves its bytes, and what says that they take too long.
struct Line {
    /// Gone once the connection has ended.
    driver: Option<Driver>,
    meter: Arc<Meter>,
    watch: Watch,
}

impl Line {
    fn poll_driver(&mut self, cx: &mut Context<'_>) {
        let polled = self.driver.as_mut().map(|driver| Pin::new(driver).poll(cx));
        if polled.is_some_and(|polled| polled.is_ready()) {
            self.driver = None;
        }
    }

    /// Moves bytes until `future` is ready or a time-out has passed.
    async fn until<F: Future + Unpin>(&mut self, mut future: F) -> Result<F::Output, Ended> {
        poll_fn(|cx| {
            self.poll_driver(cx);
            match Pin::new(&mut future).poll(cx) {
                Poll::Ready(output) => Poll::Ready(Ok(output)),
                Poll::Pending => self.watch.poll(cx).map(Err),
            }
        })
        .await
    }

    /// The rest of an answer, and whether it is whole. What came of a refusal is good enough; a
    /// success counts when it is whole and the server has the whole body.
    async fn read(&mut self, response: Response<Incoming>) -> Result<(Answer, bool), Ended> {
        let (head, mut incoming) = response.into_parts();
        if !head.status.is_success() && !self.meter.is_complete() {
            self.meter.pause();
            self.watch.hurry();
        }
        let mut body = Vec::new();
        let end = self.collect(&mut incoming, &mut body).await;
        if head.status.is_success() {
            end.clone()?;
            self.finish_sending().await?;
        }
        let is_body_cut = body.len() > RESPONSE_BYTES_MAX;
        body.truncate(RESPONSE_BYTES_MAX);
        let (status, headers, bytes_sent) = (head.status, head.headers, self.meter.sent());
        let answer = Answer { status, headers, body, is_body_cut, bytes_sent };
        Ok((answer, end.is_ok() && !is_body_cut))
    }

    /// Reads up to one byte more than is kept.
    async fn collect(&mut self, from: &mut Incoming, to: &mut Vec<u8>) -> Result<(), Ended> {
        while to.len() <= RESPONSE_BYTES_MAX {
            let next = pin!(poll_fn(|cx| Pin::new(&mut *from).poll_frame(cx)));
            match self.until(next).await? {
                None => return Ok(()),
                Some(Err(error)) => return Err(self.lost(describe(&error))),
                Some(Ok(frame)) => {
                    let data: Bytes = frame.into_data().unwrap_or_default();
                    let room = (RESPONSE_BYTES_MAX + 1).saturating_sub(to.len());
                    to.extend_from_slice(data.get(..room.min(data.len())).unwrap_or_default());
                }
            }
        }
        Ok(())
    }

    /// A server may say yes before it has everything; then it must still take everything.
    async fn finish_sending(&mut self) -> Result<(), Ended> {
        poll_fn(|cx| {
            self.poll_driver(cx);
            if self.meter.is_complete() {
                Poll::Ready(Ok(()))
            } else if self.driver.is_none() {
                Poll::Ready(Err(self.lost("the server closed before it had the whole body")))
            } else {
                self.watch.poll(cx).map(Err)
            }
        })
        .await
    }

    /// Whether the connection waits for another request.
    async fn is_idle(&mut self, sender: &SendRequest<UploadBody>) -> bool {
        poll_fn(|cx| {
            self.poll_driver(cx);
            Poll::Ready(self.driver.is_some() && sender.is_ready())
        })
        .await
    }

    /// Why the connection ended: the source, if it was that, else `otherwise`.
    fn lost(&self, otherwise: impl Into<String>) -> Ended {
        self.meter.failure().map_or_else(|| Ended::network(otherwise), Ended::from)
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
            return format!("the connection was lost: {cause}");
        }
        source = cause.source();
    }
    format!("the connection was lost: {error}")
}
