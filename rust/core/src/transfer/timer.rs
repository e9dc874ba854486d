//! The time-outs of a request: no byte moved while sending, or no answer after the last byte.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::task::coop::unconstrained;
use tokio::time::{Sleep, sleep};

use super::Timeouts;
use super::attempt_error::AttemptError;
use super::counter::BodyCounter;

/// A stall is noticed within this part of its time-out after it is due.
const STALL_LOOKS: u32 = 4;

/// At most this long for the body of an answer that came before our body was out.
const EARLY_ANSWER: Duration = Duration::from_secs(2);

/// Watches one request. It reads no clock: it counts looks at which nothing had moved.
pub(crate) struct RequestTimer {
    counter: Arc<BodyCounter>,
    timeouts: Timeouts,
    phase: Phase,
    sleep: Pin<Box<Sleep>>,
}

#[derive(Clone, Copy)]
enum Phase {
    /// The body is on its way; at the last look `sent` bytes were out, for the nth time.
    Sending { sent: u64, looks: u32 },
    /// The body is out, or given up: the answer is due.
    Answering,
}

impl RequestTimer {
    pub(crate) fn new(counter: Arc<BodyCounter>, timeouts: Timeouts) -> Self {
        let sleep = Box::pin(sleep(timeouts.stall / STALL_LOOKS));
        Self { counter, timeouts, phase: Phase::Sending { sent: 0, looks: 0 }, sleep }
    }

    /// The answer came early: the body is given up, and the rest of the answer must come soon.
    pub(crate) fn hurry(&mut self) {
        self.answer_within(self.timeouts.response.min(EARLY_ANSWER));
    }

    /// Ready with the time-out that has passed. Call it after whatever moves bytes.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<AttemptError> {
        loop {
            if matches!(self.phase, Phase::Sending { .. }) && self.counter.is_complete() {
                self.answer_within(self.timeouts.response);
            }
            // Else a server that sends without an end uses up what the task may do in one go, and
            // no time-out of it ever passes.
            ready!(pin!(unconstrained(self.sleep.as_mut())).poll(cx));
            let Phase::Sending { sent, looks } = self.phase else {
                return Poll::Ready(AttemptError::timeout("timeout while waiting for the answer"));
            };
            let now = self.counter.sent();
            let looks = if now == sent { looks + 1 } else { 0 };
            if looks >= STALL_LOOKS {
                return Poll::Ready(AttemptError::timeout("timeout while sending: no byte moved"));
            }
            self.phase = Phase::Sending { sent: now, looks };
            self.sleep.set(sleep(self.timeouts.stall / STALL_LOOKS));
        }
    }

    fn answer_within(&mut self, most: Duration) {
        self.phase = Phase::Answering;
        self.sleep.set(sleep(most));
    }
}
