//! The socket under a request. It lets the answer win over a broken pipe.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Any byte stream a request can travel on: plain, encrypted, through a tunnel.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// What a request travels on.
pub(crate) type Stream = Box<dyn Io>;

/// A socket that does not report a failed write until reading has ended too.
///
/// A server may answer `413` and close while we still send; our next write then fails although the
/// answer waits in the receive buffer. So a failed write only means "no more is taken": it stays
/// pending, and what is read decides: an answer, or the end of the connection.
#[derive(Debug)]
pub(crate) struct AnswerFirst<T> {
    inner: T,
    write_error: Option<io::ErrorKind>,
    is_read_out: bool,
}

impl<T> AnswerFirst<T> {
    pub(crate) const fn new(inner: T) -> Self {
        Self { inner, write_error: None, is_read_out: false }
    }

    /// A poll that holds its error back while there may be something to read.
    fn hold<V>(&mut self, polled: Poll<io::Result<V>>) -> Poll<io::Result<V>> {
        match polled {
            Poll::Ready(Err(error)) => {
                self.write_error = Some(error.kind());
                if self.is_read_out { Poll::Ready(Err(error)) } else { Poll::Pending }
            }
            other => other,
        }
    }

    /// What a write gets once one has failed. Pending needs no waker: reading or a time-out wakes.
    fn broken<V>(&self) -> Option<Poll<io::Result<V>>> {
        let kind = self.write_error?;
        Some(if self.is_read_out { Poll::Ready(Err(kind.into())) } else { Poll::Pending })
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for AnswerFirst<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (room, before) = (buf.remaining(), buf.filled().len());
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        let is_end = match &polled {
            Poll::Ready(Ok(())) => room > 0 && buf.filled().len() == before,
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        };
        self.is_read_out |= is_end;
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for AnswerFirst<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(broken) = self.broken() {
            return broken;
        }
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.hold(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(broken) = self.broken() {
            return broken;
        }
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.hold(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(broken) = self.broken() {
            return broken;
        }
        let polled = Pin::new(&mut self.inner).poll_flush(cx);
        self.hold(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
