//! How far a transfer has come, as it is told to people: never backwards, never too often, and
//! never done before the server has said so.

/// Where the counters of a task stand, kept from one attempt to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The highest percentage ever told, at most 99 while there is no answer.
    pub percent: u8,
    /// The most bytes that any attempt has handed to the kernel.
    pub bytes_sent: u64,
    /// The most bytes that the server has acknowledged.
    pub bytes_acknowledged: u64,
}

impl Mark {
    /// A mark of which only the percentage is known: the counters get the largest value that would
    /// have been told with it, so that they cannot seem to go back. At 0 % nothing was told.
    fn from_percent(percent: u8, total: u64) -> Self {
        let percent = percent.min(PERCENT_UNANSWERED_MAX);
        let bytes_sent = match percent {
            0 => 0,
            PERCENT_UNANSWERED_MAX => total,
            _ => bytes_at(percent.saturating_add(1), total).saturating_sub(1),
        };
        Self { percent, bytes_sent, bytes_acknowledged: 0 }
    }
}

/// One piece of news about a transfer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    /// Of the whole body, rounded down; 100 only once the server has answered.
    pub percent: u8,
    /// Bytes handed to the kernel, the most of any attempt.
    pub bytes_sent: u64,
    /// Bytes that the server has acknowledged, the most of any attempt.
    pub bytes_acknowledged: u64,
    /// The length of the body.
    pub bytes_total: u64,
    /// Bytes per second in this attempt, averaged with a time constant of about 5 s; 0 before
    /// anything is known.
    pub rate_bytes_per_s: f64,
    /// How long the rest of the body takes at that rate; `None` while no rate is known.
    pub remaining_ms: Option<u64>,
}

/// The least time between two updates, unless somebody asks for another.
pub const INTERVAL_MIN_MS_DEFAULT: i64 = 100;

/// What is told at most while the server has not answered.
const PERCENT_UNANSWERED_MAX: u8 = 99;

/// How long a past second keeps counting in the rate.
const RATE_TIME_CONSTANT_MS: f64 = 5_000.0;

/// Turns counts of bytes into updates. Pure: `now_ms` is any clock that only goes forward.
///
/// At most 101 updates come of one attempt, at most one per percent. The same meter may serve the
/// next attempt ([`Self::begin`] again); or [`Self::mark`] may be carried to a new one.
#[derive(Clone, Debug)]
pub struct Meter {
    total: u64,
    interval_min_ms: i64,
    // INVARIANT: `mark.bytes_acknowledged <= mark.bytes_sent <= total`, and no member ever falls.
    mark: Mark,
    /// How far this attempt has come; may be less than the mark.
    position: u64,
    emitted_at_ms: i64,
    rate: Rate,
}

impl Meter {
    /// A meter for a body of `total` bytes, of which `mark_percent` was already told by an earlier
    /// attempt (0 for the first), with at least `interval_min_ms` between updates (negative is 0).
    pub fn new(total: u64, mark_percent: u8, interval_min_ms: i64) -> Self {
        Self::with_mark(total, Mark::from_percent(mark_percent, total), interval_min_ms)
    }

    /// A meter that goes on exactly where another one stood.
    pub fn with_mark(total: u64, mark: Mark, interval_min_ms: i64) -> Self {
        let bytes_sent = mark.bytes_sent.min(total);
        let mark = Mark {
            percent: mark.percent.min(PERCENT_UNANSWERED_MAX).max(percent_of(bytes_sent, total)),
            bytes_sent,
            bytes_acknowledged: mark.bytes_acknowledged.min(bytes_sent),
        };
        Self {
            total,
            interval_min_ms: interval_min_ms.max(0),
            mark,
            position: 0,
            emitted_at_ms: 0,
            rate: Rate::default(),
        }
    }

    /// An attempt begins, from the first byte. Always an update: 0 %, or where the mark stands.
    pub fn begin(&mut self, now_ms: i64) -> Update {
        self.position = 0;
        self.rate = Rate { at_ms: now_ms, ..Rate::default() };
        self.emit(now_ms)
    }

    /// This attempt has handed the body's first `bytes_so_far_in_this_attempt` bytes to the kernel.
    ///
    /// A smaller count than before is ignored. What was held back by the minimum interval comes
    /// with the next call, so a watchdog may repeat a count to flush it.
    pub fn sent(&mut self, bytes_so_far_in_this_attempt: u64, now_ms: i64) -> Option<Update> {
        let before = self.position;
        self.move_to(bytes_so_far_in_this_attempt);
        self.rate.add(self.position - before, now_ms);
        self.emit_if_due(now_ms)
    }

    /// The server has said that it has the body's first `bytes`. They count as sent, too, but not
    /// in the rate: where an upload is resumed, an earlier attempt sent them.
    pub fn acknowledged(&mut self, bytes: u64, now_ms: i64) -> Option<Update> {
        let bytes = bytes.min(self.total);
        self.mark.bytes_acknowledged = self.mark.bytes_acknowledged.max(bytes);
        self.move_to(bytes);
        self.emit_if_due(now_ms)
    }

    /// The server has accepted the whole body. Always an update: 100 %. Nothing follows it.
    pub fn answered(&mut self, now_ms: i64) -> Update {
        let total = self.total;
        if self.rate.weight == 0.0 {
            // Too short to have been measured: what is left to say is the average.
            self.rate.add(total - self.position, now_ms);
        }
        self.move_to(total);
        self.mark = Mark { percent: 100, bytes_sent: total, bytes_acknowledged: total };
        self.emit(now_ms)
    }

    /// What was told last, or carried over.
    pub const fn percent(&self) -> u8 {
        self.mark.percent
    }

    /// What a later attempt must not fall behind.
    pub const fn mark(&self) -> Mark {
        self.mark
    }

    /// The count below which [`Self::sent`] surely returns `None`: a hot path compares with it and
    /// takes no lock. `u64::MAX` where only the answer is still to come.
    pub fn next_gate(&self) -> u64 {
        if self.mark.percent >= PERCENT_UNANSWERED_MAX || self.total == 0 {
            return u64::MAX;
        }
        bytes_at(self.mark.percent.saturating_add(1), self.total)
    }

    fn move_to(&mut self, bytes: u64) {
        self.position = bytes.min(self.total).max(self.position);
        self.mark.bytes_sent = self.mark.bytes_sent.max(self.position);
    }

    fn emit_if_due(&mut self, now_ms: i64) -> Option<Update> {
        let percent = percent_of(self.mark.bytes_sent, self.total);
        let waited_ms = now_ms.saturating_sub(self.emitted_at_ms);
        let due = percent > self.mark.percent && waited_ms >= self.interval_min_ms;
        if !due {
            return None;
        }
        self.mark.percent = percent;
        Some(self.emit(now_ms))
    }

    fn emit(&mut self, now_ms: i64) -> Update {
        self.emitted_at_ms = now_ms;
        let rate_bytes_per_s = self.rate.bytes_per_s();
        Update {
            percent: self.mark.percent,
            bytes_sent: self.mark.bytes_sent,
            bytes_acknowledged: self.mark.bytes_acknowledged,
            bytes_total: self.total,
            rate_bytes_per_s,
            remaining_ms: duration_ms(self.total - self.position, rate_bytes_per_s),
        }
    }
}

/// An exponentially weighted average, unbiased from the first sample on.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    /// The weighted sum of rates, in bytes per millisecond.
    sum: f64,
    /// The sum of the weights; rises from 0 to 1 in a few time constants.
    weight: f64,
    /// Bytes since `at_ms`.
    pending: u64,
    at_ms: i64,
}

impl Rate {
    fn add(&mut self, bytes: u64, now_ms: i64) {
        self.pending = self.pending.saturating_add(bytes);
        let elapsed_ms = u64::try_from(now_ms.saturating_sub(self.at_ms)).unwrap_or(0);
        if elapsed_ms == 0 {
            return;
        }
        let elapsed_ms = to_f64(elapsed_ms);
        let kept = (-elapsed_ms / RATE_TIME_CONSTANT_MS).exp();
        self.sum = self.sum * kept + (to_f64(self.pending) / elapsed_ms) * (1.0 - kept);
        self.weight = self.weight * kept + (1.0 - kept);
        (self.pending, self.at_ms) = (0, now_ms);
    }

    fn bytes_per_s(&self) -> f64 {
        if self.weight > 0.0 { 1_000.0 * self.sum / self.weight } else { 0.0 }
    }
}

/// How many whole percent `bytes` are, capped as long as there is no answer.
fn percent_of(bytes: u64, total: u64) -> u8 {
    let percent = (u128::from(bytes) * 100).checked_div(u128::from(total)).unwrap_or(0);
    u8::try_from(percent).unwrap_or(u8::MAX).min(PERCENT_UNANSWERED_MAX)
}

/// The smallest count that is `percent` of `total`.
fn bytes_at(percent: u8, total: u64) -> u64 {
    let bytes = (u128::from(percent) * u128::from(total)).div_ceil(100);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// How long `bytes` take, rounded down; `None` where the rate says nothing.
fn duration_ms(bytes: u64, bytes_per_s: f64) -> Option<u64> {
    if bytes == 0 {
        return Some(0);
    }
    let time = std::time::Duration::try_from_secs_f64(to_f64(bytes) / bytes_per_s).ok()?;
    u64::try_from(time.as_millis()).ok()
}

/// The nearest float: `f64` has no lossless `From<u64>`.
fn to_f64(n: u64) -> f64 {
    let half = |n: u64| f64::from(u32::try_from(n & u64::from(u32::MAX)).unwrap_or(0));
    half(n >> 32) * 4_294_967_296.0 + half(n)
}
