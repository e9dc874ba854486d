//! The buffers a body travels in: few, reused, counted out as the socket takes them.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Buf;

use super::counter::BodyCounter;
use crate::sync;

/// At most this many buffers per transfer: one being written, one ready behind it.
pub(crate) const BUFFERS_MAX: usize = 2;

/// The buffers of one transfer. Each is made when it is first needed and then reused.
pub(crate) struct Pool {
    frame_bytes: usize,
    // LOCKING: held for one push or pop.
    buffers: Mutex<Buffers>,
}

#[derive(Default)]
struct Buffers {
    idle: Vec<Vec<u8>>,
    made: usize,
    waker: Option<Waker>,
}

impl Pool {
    pub(crate) fn new(frame_bytes: usize) -> Self {
        Self { frame_bytes, buffers: Mutex::default() }
    }

    /// A buffer of `frame_bytes` initialised bytes; pending while all are under way.
    pub(crate) fn poll_take(&self, cx: &Context<'_>) -> Poll<Vec<u8>> {
        let mut buffers = sync::lock(&self.buffers);
        if let Some(bytes) = buffers.idle.pop() {
            return Poll::Ready(bytes);
        }
        if buffers.made < BUFFERS_MAX {
            buffers.made += 1;
            return Poll::Ready(vec![0; self.frame_bytes]);
        }
        buffers.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn put_back(&self, bytes: Vec<u8>) {
        let mut buffers = sync::lock(&self.buffers);
        buffers.idle.push(bytes);
        let waker = buffers.waker.take();
        drop(buffers);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    #[cfg(test)]
    pub(crate) fn made(&self) -> usize {
        sync::lock(&self.buffers).made
    }
}

/// One frame of a body. Gives its buffer back when it is dropped.
pub(crate) struct Frame {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    pool: Arc<Pool>,
    counter: Arc<BodyCounter>,
}

impl Frame {
    /// The first `len` bytes of `bytes`, which came from `pool`.
    pub(crate) const fn new(
        bytes: Vec<u8>,
        len: usize,
        pool: Arc<Pool>,
        counter: Arc<BodyCounter>,
    ) -> Self {
        Self { bytes, start: 0, end: len, pool, counter }
    }
}

#[cfg(test)]
impl Frame {
    pub(crate) fn buffer_bytes(&self) -> usize {
        self.bytes.len()
    }
}

impl Buf for Frame {
    fn remaining(&self) -> usize {
        self.end.saturating_sub(self.start)
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    // The HTTP layer calls this with what the socket took, because frames are queued, not copied.
    fn advance(&mut self, count: usize) {
        let count = count.min(self.remaining());
        self.start += count;
        self.counter.add(count);
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        self.pool.put_back(std::mem::take(&mut self.bytes));
    }
}
