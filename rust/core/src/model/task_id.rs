//! The ids that outhaul makes: a task's key, written so that ids sort by time.

use super::{TaskKey, UnixMillis};

/// How the ids begin that outhaul makes.
const GENERATED: &str = "oh_";

/// Then this many digits follow.
const DIGITS_OF_ID: usize = 13;

/// These, in the order of their values: no letter that is taken for another.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Keys are positive in SQL, too.
const KEY_MAX: TaskKey = u64::MAX >> 1;

/// The id shown for a task that the user gave none: `oh_` and 13 digits of base 32, ordered by
/// time.
pub fn generated_id(key: TaskKey) -> String {
    let digit = |place: usize| {
        let at = usize::try_from((key >> (5 * place)) & 31).unwrap_or_default();
        DIGITS.get(at).copied().unwrap_or(b'0')
    };
    let mut id = Vec::with_capacity(16);
    id.extend_from_slice(GENERATED.as_bytes());
    id.extend((0..DIGITS_OF_ID).rev().map(digit));
    String::from_utf8(id).unwrap_or_default()
}

/// The id that a task is known by: the one its user chose, or the generated one.
pub fn id_of(key: TaskKey, chosen: Option<&str>) -> String {
    chosen.map_or_else(|| generated_id(key), str::to_owned)
}

/// The key behind a generated id, or `None` if it is not one: 13 digits can say more than a key.
pub fn key_of_generated_id(task_id: &str) -> Option<TaskKey> {
    let digits = task_id.strip_prefix(GENERATED).filter(|digits| digits.len() == DIGITS_OF_ID)?;
    TaskKey::try_from(number(digits)?).ok().filter(|key| *key <= KEY_MAX)
}

/// The keys whose generated ids begin with `prefix`, first and last, where there are any.
pub fn keys_of_generated_prefix(prefix: &str) -> Option<(TaskKey, TaskKey)> {
    if GENERATED.starts_with(prefix) {
        return Some((0, KEY_MAX));
    }
    let digits = prefix.strip_prefix(GENERATED)?;
    let open = DIGITS_OF_ID.checked_sub(digits.len())?;
    let first = number(digits)? << (5 * open);
    let last = first | ((1 << (5 * open)) - 1);
    Some((TaskKey::try_from(first).ok()?, TaskKey::try_from(last).unwrap_or(KEY_MAX).min(KEY_MAX)))
}

/// The number that such digits say; wide enough for all that fit into an id.
fn number(digits: &str) -> Option<u128> {
    digits.bytes().try_fold(0, |number, byte| {
        let at = DIGITS.iter().position(|digit| *digit == byte)?;
        Some(number << 5 | u128::try_from(at).ok()?)
    })
}

/// The next key: later than any before it, and telling the time, so that ids sort as they arrived.
pub fn next_key(last: TaskKey, now_ms: UnixMillis) -> TaskKey {
    // A clock that is beyond the year 2248 gives keys that count on from there.
    let timed = u64::try_from(now_ms).unwrap_or_default().min(KEY_MAX >> 21) << 20;
    timed.max(last.saturating_add(1))
}

/// The time that a key tells, or a later one.
pub fn time_of(key: TaskKey) -> UnixMillis {
    UnixMillis::try_from(key >> 20).unwrap_or(UnixMillis::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_id_leads_back_to_its_key() {
        for key in [0, 1, 31, 32, next_key(0, 1_795_000_000_000), u64::MAX >> 1] {
            assert_eq!(key_of_generated_id(&generated_id(key)), Some(key));
        }
        assert_eq!(key_of_generated_id("upload_42"), None);
        assert_eq!(key_of_generated_id("oh_uuuuuuuuuuuuu"), None);
        assert_eq!(key_of_generated_id("oh_zzzzzzzzzzzzz"), None);
        assert_eq!(key_of_generated_id(&generated_id(1 << 63)), None);
    }

    #[test]
    fn the_keys_of_a_prefix_are_those_whose_ids_begin_so() {
        let key = next_key(0, 1_795_000_000_000);
        for len in 0..=16 {
            let prefix = generated_id(key).get(..len).unwrap().to_owned();
            let (first, last) = keys_of_generated_prefix(&prefix).unwrap();
            assert!(generated_id(first).starts_with(&prefix), "{prefix}");
            assert!(generated_id(last).starts_with(&prefix), "{prefix}");
            assert!((first..=last).contains(&key), "{prefix}");
            if len > 4 {
                assert!(!generated_id(first - 1).starts_with(&prefix), "{prefix}");
                assert!(!generated_id(last + 1).starts_with(&prefix), "{prefix}");
            }
        }
        for prefix in ["x", "oh_u", "oh_zzzz", "oh_00000000000000"] {
            assert_eq!(keys_of_generated_prefix(prefix), None, "{prefix}");
        }
    }

    #[test]
    fn keys_ascend_even_when_the_clock_goes_back() {
        let first = next_key(0, 2_000);
        assert!(next_key(first, 1_000) > first);
        assert!(next_key(first, 2_000) > first);
    }

    #[test]
    fn a_clock_that_is_centuries_ahead_still_gives_keys() {
        let key = next_key(0, i64::MAX);
        assert!(next_key(key, i64::MAX) <= KEY_MAX);
        assert!(time_of(next_key(0, 5_000)) == 5_000);
    }

    #[test]
    fn generated_ids_sort_as_their_keys_do() {
        let (a, b) = (next_key(0, 5_000), next_key(0, 5_001));
        assert!(generated_id(a) < generated_id(b));
    }
}
