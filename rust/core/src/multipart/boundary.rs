//! What stands between two parts.

use super::MultipartError;

/// The string that separates the parts of a multipart body.
///
/// A file that contained it could forge parts, so it must be unguessable to whoever wrote the
/// file. Keep one per task, stored with it: then sizes and offsets are the same in every attempt.
///
/// SOURCE: RFC 2046 §5.1.1, RFC 7578 §4.1; CVE-2025-7783 and CVE-2025-22150 are what a guessable
/// one costs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Boundary(String);

/// The most characters a boundary may have. SOURCE: RFC 2046 §5.1.1.
pub const BOUNDARY_CHARS_MAX: usize = 70;

/// The first characters of every boundary that we make: it names the sender in a packet capture.
const PREFIX: &str = "outhaul-";

/// One character for each six random bits, all of them legal in an unquoted parameter.
const ALPHABET: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-";

impl Boundary {
    /// A boundary made of `bytes`, which must come fresh from the operating system's generator.
    ///
    /// `N` is 16 to 32 bytes (128 to 256 bits), checked when it is compiled. Different bytes give
    /// different boundaries, and none needs quoting in a Content-Type.
    pub fn from_random<const N: usize>(bytes: [u8; N]) -> Self {
        const { assert!(N >= 16 && N <= 32, "a boundary takes 16 to 32 random bytes") };
        let digits = bytes.chunks(3).flat_map(|three| {
            let bits = three.iter().fold(0_usize, |bits, byte| (bits << 8) | usize::from(*byte));
            let padded = bits << (8 * (3 - three.len()));
            [18, 12, 6, 0].map(|shift| (padded >> shift) & 63).into_iter().take(three.len() + 1)
        });
        let random = digits.filter_map(|digit| ALPHABET.get(digit).copied().map(char::from));
        Self(PREFIX.chars().chain(random).collect())
    }

    /// A boundary that was chosen before, to make the same body again.
    ///
    /// Errors with [`MultipartError::Boundary`] unless it is 1 to 70 of RFC 2046's `bchars`, the
    /// last not a space.
    pub fn parse(text: &str) -> Result<Self, MultipartError> {
        let legal = (1..=BOUNDARY_CHARS_MAX).contains(&text.len())
            && text.bytes().all(|byte| is_bare(byte) || b"()+,./:=? ".contains(&byte))
            && !text.ends_with(' ');
        if legal { Ok(Self(text.to_owned())) } else { Err(MultipartError::Boundary) }
    }

    /// The characters, without the dashes that go before them.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value of the request's Content-Type header. Quoted only where it has to be, since not
    /// every server reads the quoted form.
    pub(super) fn content_type(&self) -> String {
        let boundary = self.as_str();
        if boundary.bytes().all(is_bare) {
            format!("multipart/form-data; boundary={boundary}")
        } else {
            format!("multipart/form-data; boundary=\"{boundary}\"")
        }
    }
}

/// Whether it is legal in a boundary and in an unquoted parameter. SOURCE: RFC 9110 §5.6.2.
fn is_bare(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"'_-".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_random_bit_changes_the_boundary() {
        let zero = Boundary::from_random([0; 16]);
        assert_eq!(zero.as_str(), "outhaul-0000000000000000000000");
        for bit in 0..128 {
            let mut bytes = [0_u8; 16];
            bytes[bit / 8] = 1 << (bit % 8);
            assert_ne!(Boundary::from_random(bytes), zero, "bit {bit}");
        }
    }

    #[test]
    fn a_random_boundary_is_legal_and_needs_no_quotes() {
        for byte in 0..=255 {
            let boundary = Boundary::from_random([byte; 32]);
            assert!(boundary.as_str().bytes().all(is_bare), "{boundary:?}");
            assert_eq!(Boundary::parse(boundary.as_str()), Ok(boundary.clone()));
            assert!(!boundary.content_type().contains('"'));
        }
    }

    #[test]
    fn what_rfc_2046_forbids_is_refused() {
        let longest = "x".repeat(70);
        for good in ["x", "a b", "'()+_,-./:=?", longest.as_str()] {
            assert!(Boundary::parse(good).is_ok(), "{good:?}");
        }
        let too_long = "x".repeat(71);
        for bad in ["", "x ", "a\r\nb", "a\"b", "a;b", "é", "a\\b", too_long.as_str()] {
            assert_eq!(Boundary::parse(bad), Err(MultipartError::Boundary), "{bad:?}");
        }
    }

    #[test]
    fn a_boundary_that_is_no_token_is_quoted() {
        let content_type = |text| Boundary::parse(text).unwrap().content_type();
        assert_eq!(content_type("a'_-Z9"), "multipart/form-data; boundary=a'_-Z9");
        assert_eq!(content_type("a:b"), "multipart/form-data; boundary=\"a:b\"");
    }
}
