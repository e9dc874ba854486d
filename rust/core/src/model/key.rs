//! The internal id of a task. It tells when the task was made.

use super::UnixMillis;

/// The internal id of a task: assigned in the transaction that stores it, ascending, never reused.
pub type TaskKey = u64;

/// Below the time, in milliseconds, there is room for so many bits.
const BELOW_TIME: u32 = 20;

/// The next key: later than any before it, and telling the time, so that ids sort as they arrived.
pub fn next_key(last: TaskKey, now_ms: UnixMillis) -> TaskKey {
    let timed = u64::try_from(now_ms).unwrap_or_default() << BELOW_TIME;
    timed.max(last.saturating_add(1))
}

/// When a key was made, by the clock of then; later, where that had been set back before.
pub fn made_at(key: TaskKey) -> UnixMillis {
    UnixMillis::try_from(key >> BELOW_TIME).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_ascend_even_when_the_clock_goes_back() {
        let first = next_key(0, 2_000);
        assert!(next_key(first, 1_000) > first);
        assert!(next_key(first, 2_000) > first);
    }

    #[test]
    fn a_key_tells_when_it_was_made() {
        let first = next_key(0, 1_795_000_000_000);
        assert_eq!(made_at(first), 1_795_000_000_000);
        assert_eq!(made_at(next_key(first, 1_000)), 1_795_000_000_000);
        assert_eq!(made_at(7), 0);
    }
}
