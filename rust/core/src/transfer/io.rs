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

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// A socket whose writes fail and which still has `left` to read.
    struct Reset {
        left: &'static [u8],
    }

    impl AsyncRead for Reset {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if self.left.is_empty() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            buf.put_slice(std::mem::take(&mut self.left));
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Reset {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_failed_write_waits_until_everything_is_read() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut stream = AnswerFirst::new(Reset { left: b"HTTP/1.1 413" });
        let mut memory = [0; 64];
        let mut read = |stream: &mut AnswerFirst<Reset>, cx: &mut Context<'_>| {
            let mut buf = ReadBuf::new(&mut memory);
            let polled = Pin::new(stream).poll_read(cx, &mut buf);
            (polled, buf.filled().to_vec())
        };
        for _ in 0..2 {
            assert!(Pin::new(&mut stream).poll_write(&mut cx, b"body").is_pending());
            assert!(Pin::new(&mut stream).poll_flush(&mut cx).is_pending());
        }
        assert_eq!(read(&mut stream, &mut cx).1, b"HTTP/1.1 413");
        assert!(Pin::new(&mut stream).poll_write(&mut cx, b"body").is_pending());
        assert!(matches!(read(&mut stream, &mut cx).0, Poll::Ready(Err(_))));
        let written = Pin::new(&mut stream).poll_write(&mut cx, b"body");
        let Poll::Ready(Err(error)) = written else { panic!("a write after the end") };
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
