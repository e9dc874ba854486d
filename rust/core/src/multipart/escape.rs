//! How a name travels between the quotes of a Content-Disposition header.
//!
//! Servers disagree about escapes, so no choice is right everywhere. The default is what browsers
//! send, which is what servers are tested with, made safe where browsers are not.
//!
//! SOURCE: WHATWG HTML "multipart/form-data encoding algorithm"; RFC 7578 §2, §4.2, §5.1.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::{Field, MultipartError};

/// What becomes of a character that cannot stand in a quoted name as it is.
///
/// Whatever is chosen: names are UTF-8, `name*=` and `filename*=` are never written (RFC 7578
/// §4.2), control characters other than CR, LF and TAB are refused, and a `\` at the end of a name
/// is `%5C`: many servers take `\"` for a quote that goes on, even in `\\"`, and then take a file
/// for a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Escape {
    /// As browsers do: `"` is `%22`, CR is `%0D`, LF is `%0A`, all else stays as it is, but for a
    /// `\` at the end.
    #[default]
    Html5,
    /// `"` is `\"` and `\` is `\\`; CR and LF as in [`Self::Html5`]. The best round trip for
    /// quotes; `multipart` 2 keeps the doubled backslash.
    Backslash,
    /// What aiohttp sends: of a file name, all but `A-Z a-z 0-9 _ . - ~` is percent-encoded. A
    /// field's name goes as in [`Self::Backslash`].
    Percent,
    /// Nothing is escaped: a `"`, `\`, CR or LF is refused.
    Strict,
}

impl Escape {
    /// The choice with that name: `html5`, `backslash`, `percent` or `strict`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "html5" => Some(Self::Html5),
            "backslash" => Some(Self::Backslash),
            "percent" => Some(Self::Percent),
            "strict" => Some(Self::Strict),
            _ => None,
        }
    }

    /// A string of part number `part`, ready to stand between quotes.
    pub(super) fn quoted(
        self,
        part: usize,
        field: Field,
        text: &str,
    ) -> Result<String, MultipartError> {
        if text.is_empty() {
            return Err(MultipartError::Empty { part, field });
        }
        if let Some(character) = text.bytes().find(|byte| is_forbidden(*byte)).map(char::from) {
            return Err(MultipartError::Control { part, field, character });
        }
        let text = match field {
            Field::Name => with_crlf(text),
            Field::FileName => Cow::Borrowed(text),
        };
        if self == Self::Strict
            && let Some(character) = text.chars().find(|c| "\"\\\r\n".contains(*c))
        {
            return Err(MultipartError::NeedsEscape { part, field, character });
        }
        let (text, end) = match text.strip_suffix('\\') {
            Some(rest) => (rest, "%5C"),
            None => (&*text, ""),
        };
        let escaped = match (self, field) {
            (Self::Html5 | Self::Strict, _) => html5(text),
            (Self::Percent, Field::FileName) => percent(text),
            (Self::Backslash, _) | (Self::Percent, Field::Name) => backslash(text),
        };
        Ok(escaped + end)
    }
}

/// The text with each line break (CR, LF or both) as CR LF: what HTML asks for in field names and
/// text values, and not in file names or files.
pub(super) fn with_crlf(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| matches!(byte, b'\r' | b'\n')) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\r\n"))
}

/// C0 and DEL, but for the three that the escapes know or that are harmless.
const fn is_forbidden(byte: u8) -> bool {
    byte.is_ascii_control() && !matches!(byte, b'\r' | b'\n' | b'\t')
}

fn html5(text: &str) -> String {
    replaced(text, |character| match character {
        '"' => Some("%22"),
        other => line_break(other),
    })
}

fn backslash(text: &str) -> String {
    replaced(text, |character| match character {
        '\\' => Some("\\\\"),
        '"' => Some("\\\""),
        other => line_break(other),
    })
}

/// A quoted line break would still be a line break on the wire, hence a header of its own.
const fn line_break(character: char) -> Option<&'static str> {
    match character {
        '\r' => Some("%0D"),
        '\n' => Some("%0A"),
        _ => None,
    }
}

fn replaced(text: &str, by: impl Fn(char) -> Option<&'static str>) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match by(character) {
            Some(other) => escaped.push_str(other),
            None => escaped.push(character),
        }
    }
    escaped
}

fn percent(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"_.-~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_name(escape: Escape, text: &str) -> String {
        escape.quoted(0, Field::FileName, text).unwrap()
    }

    fn name(escape: Escape, text: &str) -> String {
        escape.quoted(0, Field::Name, text).unwrap()
    }

    #[test]
    fn html5_escapes_what_browsers_escape_and_nothing_else() {
        let same = "naïve-日本 %22 a\\b\t;=.jpg";
        assert_eq!(file_name(Escape::Html5, same), same);
        assert_eq!(file_name(Escape::Html5, "a\"b\rc\nd"), "a%22b%0Dc%0Ad");
    }

    #[test]
    fn no_backslash_stands_before_the_closing_quote() {
        for (text, html5, backslash) in [
            ("a\\", "a%5C", "a%5C"),
            ("a\\\\", "a\\%5C", "a\\\\%5C"),
            ("\\", "%5C", "%5C"),
            ("\\a", "\\a", "\\\\a"),
        ] {
            assert_eq!(file_name(Escape::Html5, text), html5);
            assert_eq!(name(Escape::Html5, text), html5);
            assert_eq!(file_name(Escape::Backslash, text), backslash);
            assert_eq!(name(Escape::Backslash, text), backslash);
            assert_eq!(name(Escape::Percent, text), backslash);
        }
        assert_eq!(file_name(Escape::Percent, "a\\\\"), "a%5C%5C");
    }

    #[test]
    fn line_breaks_are_made_crlf_in_field_names_and_left_alone_in_file_names() {
        assert_eq!(name(Escape::Html5, "a\nb\rc\r\nd"), "a%0D%0Ab%0D%0Ac%0D%0Ad");
        assert_eq!(file_name(Escape::Html5, "a\nb\rc\r\nd"), "a%0Ab%0Dc%0D%0Ad");
        assert_eq!(with_crlf("\n\r\r\n\n"), "\r\n\r\n\r\n\r\n");
    }

    #[test]
    fn backslash_doubles_itself_and_never_quotes_a_line_break() {
        assert_eq!(file_name(Escape::Backslash, "a\"b\\c\r\n"), "a\\\"b\\\\c%0D%0A");
    }

    #[test]
    fn percent_encodes_file_names_as_aiohttp_does_and_field_names_not() {
        assert_eq!(file_name(Escape::Percent, "a~b_c.d-é \"\r"), "a~b_c.d-%C3%A9%20%22%0D");
        assert_eq!(name(Escape::Percent, "é\"\n"), "é\\\"%0D%0A");
    }

    #[test]
    fn strict_refuses_each_character_that_would_be_escaped() {
        assert_eq!(file_name(Escape::Strict, "naïve %.jpg"), "naïve %.jpg");
        for character in ['"', '\\', '\r', '\n'] {
            let refused = Escape::Strict.quoted(3, Field::FileName, &format!("a{character}b"));
            let field = Field::FileName;
            assert_eq!(refused, Err(MultipartError::NeedsEscape { part: 3, field, character }));
        }
    }

    #[test]
    fn control_characters_and_empty_names_are_refused_whatever_the_escape() {
        for escape in [Escape::Html5, Escape::Backslash, Escape::Percent, Escape::Strict] {
            for field in [Field::Name, Field::FileName] {
                for character in ['\0', '\x01', '\x08', '\x0b', '\x1b', '\x1f', '\x7f'] {
                    let refused = escape.quoted(1, field, &format!("a{character}"));
                    assert_eq!(refused, Err(MultipartError::Control { part: 1, field, character }));
                }
                let refused = escape.quoted(2, field, "");
                assert_eq!(refused, Err(MultipartError::Empty { part: 2, field }));
            }
        }
    }

    #[test]
    fn an_escape_is_known_by_its_name() {
        assert_eq!(Escape::from_name("html5"), Some(Escape::default()));
        assert_eq!(Escape::from_name("backslash"), Some(Escape::Backslash));
        assert_eq!(Escape::from_name("percent"), Some(Escape::Percent));
        assert_eq!(Escape::from_name("strict"), Some(Escape::Strict));
        assert_eq!(Escape::from_name("HTML5"), None);
    }
}
