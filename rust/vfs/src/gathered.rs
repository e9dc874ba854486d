//! Writes that follow each other, until they are handed on in one piece.

/// As much is gathered at most; then a piece is handed on, and the next begins. SQLite's own file
/// takes no more at once (`os_unix.c`, `seekAndWriteFd`), and itself never writes more than a page
/// of 64 KiB.
const BYTES_MAX: usize = 0x1_ffff;

/// What was written and not handed on: bytes without a gap, and where they begin.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    bytes: Vec<u8>,
    at: i64,
}

impl Gathered {
    /// Adds a write; hands on what it does not follow or would make too long.
    pub(crate) fn add(
        &mut self,
        bytes: &[u8],
        at: i64,
        hand_on: impl FnMut(&[u8], i64) -> Result<(), i32>,
    ) -> Result<(), i32> {
        if self.end() != Some(at) || self.bytes.len().saturating_add(bytes.len()) > BYTES_MAX {
            self.flush(hand_on)?;
            self.at = at;
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Hands on what there is. What could not be written is forgotten: the writer is told, and
    /// knows best what to do about it.
    pub(crate) fn flush(
        &mut self,
        mut hand_on: impl FnMut(&[u8], i64) -> Result<(), i32>,
    ) -> Result<(), i32> {
        if self.is_empty() {
            return Ok(());
        }
        let done = hand_on(&self.bytes, self.at);
        self.forget();
        done
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Lets go of what there is. The memory is kept for what comes next.
    pub(crate) fn forget(&mut self) {
        self.bytes.clear();
    }

    /// Where the next write has to begin to follow.
    fn end(&self) -> Option<i64> {
        self.at.checked_add(i64::try_from(self.bytes.len()).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Piece = (i64, Vec<u8>);

    fn keep(pieces: &mut Vec<Piece>) -> impl FnMut(&[u8], i64) -> Result<(), i32> {
        |bytes, at| {
            pieces.push((at, bytes.to_vec()));
            Ok(())
        }
    }

    #[test]
    fn writes_that_follow_each_other_are_one_piece() {
        let (mut gathered, mut pieces) = (Gathered::default(), Vec::new());
        for (bytes, at) in [(b"ab", 32), (b"cd", 34), (b"ef", 36)] {
            gathered.add(bytes, at, keep(&mut pieces)).unwrap();
        }
        assert!(pieces.is_empty());
        gathered.flush(keep(&mut pieces)).unwrap();
        gathered.flush(keep(&mut pieces)).unwrap();
        assert_eq!(pieces, [(32, b"abcdef".to_vec())]);
    }

    #[test]
    fn a_write_elsewhere_hands_on_what_was_before() {
        let (mut gathered, mut pieces) = (Gathered::default(), Vec::new());
        for (bytes, at) in [(b"ab", 8), (b"cd", 9), (b"ef", 0)] {
            gathered.add(bytes, at, keep(&mut pieces)).unwrap();
        }
        gathered.flush(keep(&mut pieces)).unwrap();
        assert_eq!(pieces, [(8, b"ab".to_vec()), (9, b"cd".to_vec()), (0, b"ef".to_vec())]);
    }

    #[test]
    fn what_is_gathered_is_bounded_and_nothing_of_it_is_lost() {
        let (mut gathered, mut pieces) = (Gathered::default(), Vec::new());
        let page = [7; 4096];
        for number in 0..80 {
            gathered.add(&page, number * 4096, keep(&mut pieces)).unwrap();
            assert!(gathered.bytes.len() <= BYTES_MAX);
        }
        gathered.flush(keep(&mut pieces)).unwrap();
        let lengths: Vec<_> = pieces.iter().map(|(at, bytes)| (*at, bytes.len() / 4096)).collect();
        assert_eq!(lengths, [(0, 31), (31 * 4096, 31), (62 * 4096, 18)]);
    }

    #[test]
    fn a_piece_that_cannot_be_written_is_told_and_not_tried_again() {
        let (mut gathered, mut pieces) = (Gathered::default(), Vec::new());
        gathered.add(b"ab", 0, keep(&mut pieces)).unwrap();
        assert_eq!(gathered.flush(|_, _| Err(13)), Err(13));
        gathered.flush(keep(&mut pieces)).unwrap();
        assert!(pieces.is_empty());
    }
}
