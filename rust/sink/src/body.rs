//! Where a request's body ends (RFC 9112, sections 6 and 7.1).

use std::io;

/// How a body says its end.
#[derive(Clone, Copy)]
pub(crate) enum Length {
    Bytes(u64),
    Chunks,
}

/// The framing that a request's head (in lower case) announces.
pub(crate) fn length_of(head: &str) -> Length {
    let value = |name: &str| {
        let after = head.split_once(name)?.1;
        Some(after.split_once("\r\n")?.0.trim())
    };
    if value("\r\ntransfer-encoding:").is_some_and(|value| value.ends_with("chunked")) {
        return Length::Chunks;
    }
    let bytes = value("\r\ncontent-length:").and_then(|value| value.parse().ok());
    Length::Bytes(bytes.unwrap_or(0))
}

enum State {
    /// This many bytes of the body, or of a chunk and its line end, are still to come.
    Data(u64),
    /// In the line before a chunk: its hexadecimal size so far.
    Size(u64),
    /// In what follows the last chunk: how long the line is so far.
    Trailer(usize),
    Whole,
}

/// A body as it arrives.
pub(crate) struct Body {
    state: State,
    is_chunked: bool,
    bytes: u64,
}

impl Body {
    pub(crate) fn new(length: Length) -> Self {
        let (state, is_chunked) = match length {
            Length::Bytes(0) => (State::Whole, false),
            Length::Bytes(bytes) => (State::Data(bytes), false),
            Length::Chunks => (State::Size(0), true),
        };
        Self { state, is_chunked, bytes: 0 }
    }

    pub(crate) fn is_whole(&self) -> bool {
        matches!(self.state, State::Whole)
    }

    /// How many bytes of it have come, with the line ends of chunks.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes what has come; says how much of it belonged to the body.
    pub(crate) fn take(&mut self, piece: &[u8]) -> io::Result<usize> {
        let mut at = 0;
        while let Some(rest) = piece.get(at..).filter(|rest| !rest.is_empty()) {
            match self.state {
                State::Whole => break,
                State::Data(left) => {
                    let there = u64::try_from(rest.len()).unwrap_or(u64::MAX).min(left);
                    self.bytes += there;
                    at += usize::try_from(there).unwrap_or_default();
                    self.state = match (left - there, self.is_chunked) {
                        (0, true) => State::Size(0),
                        (0, false) => State::Whole,
                        (left, _) => State::Data(left),
                    };
                }
                State::Size(size) => {
                    at += 1;
                    self.state = match rest.first().copied().unwrap_or_default() {
                        b'\r' => State::Size(size),
                        b'\n' if size == 0 => State::Trailer(0),
                        b'\n' => State::Data(size + 2),
                        digit => {
                            let digit =
                                char::from(digit).to_digit(16).ok_or(io::ErrorKind::InvalidData)?;
                            let size = size.checked_mul(16).ok_or(io::ErrorKind::InvalidData)?;
                            State::Size(size + u64::from(digit))
                        }
                    };
                }
                State::Trailer(length) => {
                    at += 1;
                    self.state = match (rest.first().copied().unwrap_or_default(), length) {
                        (b'\r', _) => State::Trailer(length),
                        (b'\n', 0) => State::Whole,
                        (b'\n', _) => State::Trailer(0),
                        _ => State::Trailer(length + 1),
                    };
                }
            }
        }
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole_after(head: &str, pieces: &[&[u8]]) -> Option<(usize, u64)> {
        let mut body = Body::new(length_of(head));
        for piece in pieces {
            let taken = body.take(piece).ok()?;
            if body.is_whole() {
                return Some((taken, body.bytes()));
            }
        }
        None
    }

    #[test]
    fn a_body_ends_where_its_length_says() {
        let head = "post / http/1.1\r\ncontent-length: 5\r\n\r\n";
        assert_eq!(whole_after(head, &[b"ab", b"cdeGET"]), Some((3, 5)));
        assert_eq!(whole_after(head, &[b"ab"]), None);
        assert_eq!(whole_after("get / http/1.1\r\n\r\n", &[b"x"]), Some((0, 0)));
    }

    #[test]
    fn a_body_in_chunks_ends_after_its_last_one_however_it_arrives() {
        let head = "post / http/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
        let sent = b"5\r\nhello\r\n1a\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\nGET";
        assert_eq!(whole_after(head, &[sent]), Some((sent.len() - 3, 31 + 4)));
        let pieces: Vec<&[u8]> = sent.chunks(1).collect();
        assert_eq!(whole_after(head, &pieces), Some((1, 31 + 4)));
        assert_eq!(whole_after(head, &[b"zz\r\n"]), None);
        assert_eq!(whole_after(head, &[b"0\r\nA: b\r\n\r\n"]), Some((11, 0)));
    }
}
