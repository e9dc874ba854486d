//! The encoder against one that simply writes everything after everything.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test fails")]

use std::convert::Infallible;

use outhaul_core::multipart::{Boundary, Encoder, Escape, Field, MultipartError, Part, Span};
use proptest::prelude::*;

/// A part as the test knows it: with the bytes of the file.
#[derive(Clone, Debug)]
enum Piece {
    Text { name: String, value: String },
    File { name: String, file_name: String, bytes: Vec<u8> },
}

/// Few characters, so that line breaks, quotes and backslashes meet.
fn hostile() -> impl Strategy<Value = String> {
    let character = prop::sample::select(vec![
        'a', 'b', '"', '\\', '\\', '\r', '\n', '\r', '\n', '\t', '%', '2', ';', '=', ' ', '-', '/',
        '.', 'é', '日', '\u{85}', '\u{2028}', '😀',
    ]);
    prop::collection::vec(character, 1..8).prop_map(String::from_iter)
}

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let value = prop_oneof![Just(String::new()), hostile(), Just("\0\x01--".to_owned())];
    let bytes = prop_oneof![
        Just(Vec::new()),
        prop::collection::vec(any::<u8>(), 0..9),
        Just(b"\r\n--b--\r\n".to_vec()),
    ];
    let text = (hostile(), value).prop_map(|(name, value)| Piece::Text { name, value });
    let file = (hostile(), hostile(), bytes).prop_map(|(name, file_name, bytes)| Piece::File {
        name,
        file_name,
        bytes,
    });
    prop::collection::vec(prop_oneof![text, file], 0..6)
}

fn boundary() -> Boundary {
    Boundary::from_random([7; 16])
}

fn encoder(pieces: &[Piece], escape: Escape) -> Encoder {
    let part = |piece: &Piece| match piece {
        Piece::Text { name, value } => Part::text(name, value),
        Piece::File { name, file_name, bytes } => {
            Part::file(name, file_name, "image/x-test", u64::try_from(bytes.len()).unwrap())
        }
    };
    Encoder::multipart(&boundary(), pieces.iter().map(part).collect(), escape).unwrap()
}

fn files(pieces: &[Piece]) -> Vec<&[u8]> {
    pieces
        .iter()
        .filter_map(|piece| match piece {
            Piece::Text { .. } => None,
            Piece::File { bytes, .. } => Some(bytes.as_slice()),
        })
        .collect()
}

/// The browser's rules, character by character.
fn naive_escape(text: &str, normalise: bool) -> String {
    let mut out = String::new();
    let characters: Vec<char> = text.chars().collect();
    for (at, character) in characters.iter().enumerate() {
        let after_cr = at > 0 && characters[at - 1] == '\r';
        let before_lf = characters.get(at + 1) == Some(&'\n');
        match character {
            '"' => out.push_str("%22"),
            '\r' if normalise && !before_lf => out.push_str("%0D%0A"),
            '\r' => out.push_str("%0D"),
            '\n' if normalise && !after_cr => out.push_str("%0D%0A"),
            '\n' => out.push_str("%0A"),
            other => out.push(*other),
        }
    }
    if out.ends_with('\\') {
        out.pop();
        out.push_str("%5C");
    }
    out
}

fn naive_value(value: &str) -> String {
    let mut out = String::new();
    let mut characters = value.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\r' => {
                characters.next_if_eq(&'\n');
                out.push_str("\r\n");
            }
            '\n' => out.push_str("\r\n"),
            other => out.push(other),
        }
    }
    out
}

fn naive(pieces: &[Piece]) -> Vec<u8> {
    let dashes = format!("--{}", boundary().as_str());
    let mut body = Vec::new();
    for piece in pieces {
        body.extend_from_slice(dashes.as_bytes());
        body.extend_from_slice(b"\r\nContent-Disposition: form-data; name=\"");
        match piece {
            Piece::Text { name, value } => {
                let name = naive_escape(name, true);
                body.extend_from_slice(format!("{name}\"\r\n\r\n").as_bytes());
                body.extend_from_slice(naive_value(value).as_bytes());
            }
            Piece::File { name, file_name, bytes } => {
                let (name, file_name) = (naive_escape(name, true), naive_escape(file_name, false));
                body.extend_from_slice(
                    format!("{name}\"; filename=\"{file_name}\"\r\n").as_bytes(),
                );
                body.extend_from_slice(b"Content-Type: image/x-test\r\n\r\n");
                body.extend_from_slice(bytes);
            }
        }
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("{dashes}--\r\n").as_bytes());
    body
}

fn read(encoder: &Encoder, files: &[&[u8]], offset: u64, len: usize) -> Vec<u8> {
    let mut buf = vec![0xEE; len];
    let filled = encoder.read_at(offset, &mut buf, |index, offset, buf| {
        assert!(!buf.is_empty(), "an empty read was asked for");
        let from = usize::try_from(offset).unwrap();
        let bytes = &files[index][from..from + buf.len()]; // panics past the declared length
        buf.copy_from_slice(bytes);
        Ok::<usize, Infallible>(buf.len())
    });
    buf.truncate(filled.unwrap());
    buf
}

/// What follows a quoted string, read with quoted pairs (RFC 9110 §5.6.4).
fn after_quoted(text: &str) -> Option<&str> {
    let mut rest = text.strip_prefix('"')?.char_indices();
    while let Some((at, character)) = rest.next() {
        match character {
            '\\' => {
                rest.next();
            }
            '"' => return text.get(at + 2..),
            _ => {}
        }
    }
    None
}

proptest! {
    #[test]
    fn the_body_is_what_naive_concatenation_makes(pieces in pieces()) {
        let (encoder, expected) = (encoder(&pieces, Escape::Html5), naive(&pieces));
        prop_assert_eq!(encoder.content_length(), u64::try_from(expected.len()).unwrap());
        let whole = read(&encoder, &files(&pieces), 0, expected.len() + 10);
        prop_assert_eq!(String::from_utf8_lossy(&whole), String::from_utf8_lossy(&expected));
        prop_assert_eq!(whole, expected);
    }

    #[test]
    fn a_read_anywhere_is_that_slice_of_the_whole(
        pieces in pieces(), offset in 0..1_500_usize, len in 0..400_usize,
    ) {
        let (encoder, whole) = (encoder(&pieces, Escape::Html5), naive(&pieces));
        let slice = whole.get(offset..).unwrap_or_default();
        let slice = &slice[..len.min(slice.len())];
        let offset = u64::try_from(offset).unwrap();
        prop_assert_eq!(read(&encoder, &files(&pieces), offset, len), slice);
    }

    #[test]
    fn spans_walk_the_body_without_gaps_and_are_never_empty(pieces in pieces()) {
        let encoder = encoder(&pieces, Escape::Backslash);
        let (mut at, mut spans) = (0, 0);
        while let Some(span) = encoder.span_at(at) {
            let len = match span {
                Span::Inline(bytes) => u64::try_from(bytes.len()).unwrap(),
                Span::File { index, offset, len } => {
                    prop_assert_eq!(offset, 0);
                    prop_assert_eq!(len, u64::try_from(files(&pieces)[index].len()).unwrap());
                    len
                }
            };
            prop_assert!(len > 0);
            at += len;
            spans += 1;
        }
        prop_assert_eq!(at, encoder.content_length());
        prop_assert!(spans <= 2 * files(&pieces).len() + 1, "inline stretches are not joined");
    }

    #[test]
    fn no_escape_lets_a_name_break_its_line_or_its_quotes(
        name in hostile(), file_name in hostile(),
        escape in prop::sample::select(vec![
            Escape::Html5, Escape::Backslash, Escape::Percent, Escape::Strict,
        ]),
    ) {
        let part = Part::file(name, file_name, "a/b", 0);
        let encoder = match Encoder::multipart(&boundary(), vec![part], escape) {
            Ok(encoder) => encoder,
            Err(refused) => {
                prop_assert_eq!(escape, Escape::Strict, "{:?}", refused);
                return Ok(());
            }
        };
        let body = String::from_utf8(read(&encoder, &[b""], 0, 1_000)).unwrap();
        let lines: Vec<&str> = body.split("\r\n").collect();
        prop_assert_eq!(lines.len(), 7, "{}", body);
        prop_assert!(!body.replace("\r\n", "").contains(['\r', '\n']));
        let rest = lines[1].strip_prefix("Content-Disposition: form-data; name=").unwrap();
        let rest = after_quoted(rest).and_then(|rest| rest.strip_prefix("; filename="));
        prop_assert_eq!(rest.and_then(after_quoted), Some(""), "{}", lines[1]);
        // And as those read it to whom any quote after a backslash goes on.
        let ends = lines[1].replace("\\\"", "").matches('"').count();
        prop_assert_eq!(ends, 4, "{}", lines[1]);
        // Read as HTML says, without quoted pairs, the frame is the same.
        if matches!(escape, Escape::Html5 | Escape::Strict) {
            prop_assert_eq!(lines[1].matches('"').count(), 4);
        }
    }
}

fn refusal(part: Part) -> MultipartError {
    Encoder::multipart(&boundary(), vec![Part::text("a", "b"), part], Escape::Html5).unwrap_err()
}

#[test]
fn a_form_without_parts_is_its_closing_line() {
    let encoder = encoder(&[], Escape::Html5);
    let boundary = boundary();
    let expected = format!("--{}--\r\n", boundary.as_str());
    assert_eq!(read(&encoder, &[], 0, 100), expected.as_bytes());
    let content_type = format!("multipart/form-data; boundary={}", boundary.as_str());
    assert_eq!(encoder.content_type(), Some(content_type));
}

#[test]
fn a_raw_body_is_the_file_and_nothing_else() {
    let encoder = Encoder::raw(5);
    assert_eq!((encoder.content_length(), encoder.content_type()), (5, None));
    assert_eq!(read(&encoder, &[b"bytes"], 1, 10), b"ytes");
    assert_eq!(encoder.span_at(2), Some(Span::File { index: 0, offset: 2, len: 3 }));
    assert_eq!(encoder.span_at(5), None);
    assert_eq!(Encoder::raw(0).span_at(0), None);
    let endless = Encoder::raw(u64::MAX);
    let last = Span::File { index: 0, offset: u64::MAX - 1, len: 1 };
    assert_eq!(endless.span_at(u64::MAX - 1), Some(last));
    assert_eq!(endless.span_at(u64::MAX), None);
}

#[test]
fn empty_files_keep_their_numbers() {
    let parts = vec![Part::file("a", "a", "x/y", 0), Part::file("b", "b", "x/y", 3)];
    let encoder = Encoder::multipart(&boundary(), parts, Escape::Html5).unwrap();
    let Some(Span::Inline(head)) = encoder.span_at(0) else { panic!("no header") };
    let offset = u64::try_from(head.len()).unwrap();
    assert_eq!(encoder.span_at(offset), Some(Span::File { index: 1, offset: 0, len: 3 }));
}

#[test]
fn a_short_file_read_ends_the_call_and_an_error_passes_through() {
    let encoder = Encoder::raw(10);
    let mut buf = [0; 10];
    let mut reads = 0;
    let read = encoder.read_at(0, &mut buf, |_, _, _| {
        reads += 1;
        Ok::<usize, Infallible>(4)
    });
    assert_eq!((read, reads), (Ok(4), 1));
    let too_much = encoder.read_at(0, &mut buf, |_, _, _| Ok::<usize, Infallible>(usize::MAX));
    assert_eq!(too_much, Ok(10), "a reader that lies does not lead out of the buffer");
    assert_eq!(encoder.read_at(0, &mut buf, |_, _, _| Err("disk")), Err("disk"));
}

#[test]
fn each_refusal_says_which_argument() {
    let empty = refusal(Part::text("", "x"));
    assert_eq!(empty.argument(), "parts[1].name");
    let empty = refusal(Part::file("a", "", "x/y", 1));
    assert_eq!(empty, MultipartError::Empty { part: 1, field: Field::FileName });
    assert_eq!(empty.argument(), "parts[1].file_name");
    let control = refusal(Part::file("a", "b\0", "x/y", 1));
    assert!(control.to_string().contains("U+0000"), "{control}");
}

#[test]
fn a_content_type_cannot_forge_a_header() {
    let file = |content_type| Part::file("a", "b", content_type, 1);
    for bad in
        ["", "x", "/", "x/", "/y", "x/y\r\nX: y", "x/y\n", "x/\0y", "x/é", " x/y", "x/y ", "x/\x7f"]
    {
        let refused = refusal(file(bad));
        assert_eq!(refused, MultipartError::ContentType { part: 1 }, "{bad:?}");
        assert_eq!(refused.argument(), "parts[1].content_type");
    }
    let good = vec![file("text/plain; charset=\"utf-8\"")];
    assert!(Encoder::multipart(&boundary(), good, Escape::Html5).is_ok());
}

#[test]
fn a_value_that_contains_the_boundary_is_refused() {
    let boundary = Boundary::parse("b").unwrap();
    let part = Part::text("a", "x\r\n--b--\r\n");
    let refused = Encoder::multipart(&boundary, vec![part], Escape::Html5).unwrap_err();
    assert_eq!(refused, MultipartError::BoundaryInValue { part: 0 });
    assert_eq!(refused.argument(), "parts[0].value");
}

#[test]
fn a_length_beyond_64_bits_is_refused_and_not_wrapped() {
    let huge = |len| Part::file("a", "b", "x/y", len);
    for parts in [vec![huge(u64::MAX)], vec![huge(1 << 63), huge(1 << 63)]] {
        let refused = Encoder::multipart(&boundary(), parts, Escape::Html5).unwrap_err();
        assert_eq!(refused, MultipartError::TooLong);
        assert_eq!(refused.argument(), "parts");
    }
    let parts = vec![huge(u64::MAX - 1_000)];
    let encoder = Encoder::multipart(&boundary(), parts, Escape::Html5).unwrap();
    assert_eq!(encoder.span_at(encoder.content_length() - 1), Some(Span::Inline(b"\n")));
}
