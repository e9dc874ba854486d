//! Where a key stands in a table of many.

/// The hash of a key for a table of many: eight keys that follow each other stand together, so
/// tasks that come one after the other find the table's memory in the processor's cache; blocks of
/// eight are spread by the finalizer of `SplitMix64`. Keys are our own ids: they need no secrecy.
///
/// The last three bits of the key are the first of the hash, which a table looks at to tell apart
/// what shares a place.
pub(crate) fn spread(key: u64) -> u64 {
    let x = key >> 3;
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31) ^ (key << 61)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn eight_keys_stand_together_and_are_told_apart_and_no_two_keys_are_the_same() {
        let place = |key| spread(key) & ((1 << 61) - 1);
        for block in 0..1000 {
            let keys = 8 * block..8 * block + 8;
            let places: HashSet<u64> = keys.clone().map(place).collect();
            assert_eq!(places.len(), 1);
            let firsts: HashSet<u64> = keys.map(|key| spread(key) >> 57).collect();
            assert_eq!(firsts.len(), 8);
        }
        let all: HashSet<u64> = (0..100_000).map(spread).collect();
        assert_eq!(all.len(), 100_000);
    }
}
