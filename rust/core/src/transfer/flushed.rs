//! Wraps the stream under the HTTP layer, for two things. It knows whether all that was written has
//! been flushed, since TLS may buffer some. And it holds reads back until the first write: a server
//! may refuse a connection as it is made, and the HTTP layer drops an answer that comes before the
//! request.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::io::Stream;

/// Whether nothing is kept back.
#[derive(Clone, Debug)]
pub(crate) struct IsFlushed(Arc<AtomicBool>);

impl IsFlushed {
    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A stream that tells whether it keeps anything back.
pub(crate) struct Flushed {
    inner: Stream,
    all_out: IsFlushed,
    was_written: bool,
    /// Who wanted to read before that.
    early: Option<Waker>,
}

impl Flushed {
    pub(crate) fn new(inner: Stream) -> (Self, IsFlushed) {
        let is_flushed = IsFlushed(Arc::new(AtomicBool::new(true)));
        let own = is_flushed.clone();
        (Self { inner, all_out: own, was_written: false, early: None }, is_flushed)
    }

    fn note(&self, is_flushed: bool) {
        self.all_out.0.store(is_flushed, Ordering::Relaxed);
    }

    fn begin_to_write(&mut self) {
        self.note(false);
        self.was_written = true;
        if let Some(early) = self.early.take() {
            early.wake();
        }
    }
}

impl AsyncRead for Flushed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.was_written {
            self.early = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Flushed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.begin_to_write();
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.begin_to_write();
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(cx);
        if matches!(polled, Poll::Ready(Ok(()))) {
            self.note(true);
        }
        polled
    }

    /// Which flushes first.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_shutdown(cx);
        if matches!(polled, Poll::Ready(Ok(()))) {
            self.note(true);
        }
        polled
    }
}
