//! What a server says, made fit for a message: short, one line, without our secrets.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

use super::headers::ResolvedHeader;
use super::target::Target;

/// At most this many characters of a server's text are repeated.
const EXCERPT_CHARS_MAX: usize = 160;

/// A piece of a secret shorter than this is too common to be looked for.
const PIECE_CHARS_MIN: usize = 4;

/// A piece up to this length that is nothing but small letters is a word, such as `true` and `/files`
/// of a cookie: a body that is kept may hold it.
const WORD_CHARS_MAX: usize = 7;

/// Knows the secrets of one attempt, to keep them out of messages. Lives as long as the attempt.
pub(crate) struct Redactor {
    /// What messages must not hold, the longest first.
    secrets: Vec<String>,
    /// Of these, what headers hold and what a server may repeat of it: kept out of bodies, too.
    credentials: Vec<String>,
}

impl Redactor {
    /// The secrets are the values resolved for `headers`, what authorizes us at the proxy, and what
    /// the queries of the `targets` hold: the first, and where that has led.
    pub(crate) fn new(
        headers: &[ResolvedHeader],
        targets: [&Target; 2],
        proxy_authorization: Option<&HeaderValue>,
    ) -> Self {
        let (mut credentials, mut all_pieces) = (Vec::new(), Vec::new());
        for [secret, value] in headers.iter().filter_map(ResolvedHeader::secret_values) {
            credentials.extend([secret.to_owned(), value.to_owned()]);
            all_pieces.extend(pieces(secret));
        }
        let at_proxy = proxy_authorization.and_then(|value| value.to_str().ok());
        all_pieces.extend(at_proxy.into_iter().flat_map(pieces));
        let values =
            headers.iter().filter_map(ResolvedHeader::secret_values).map(|[_, whole]| whole);
        let mut decoded = Vec::new();
        for [user, password, pair] in values.filter_map(basic) {
            // Many an API has a key for the user, and a password that means nothing.
            decoded.extend([user].into_iter().filter(|user| !is_word(user)));
            decoded.extend([password, pair]);
        }
        // Who it is that a proxy knows may be told.
        let at_proxy = at_proxy.and_then(basic);
        decoded.extend(at_proxy.into_iter().flat_map(|[_, password, pair]| [password, pair]));
        credentials.extend(decoded.into_iter().filter(|part| part.len() >= PIECE_CHARS_MIN));
        credentials.retain(|secret| !secret.is_empty());
        let mut secrets = [credentials.as_slice(), &all_pieces].concat();
        credentials.retain(|secret| secret.len() >= PIECE_CHARS_MIN);
        all_pieces.retain(|piece| !is_word(piece));
        credentials.append(&mut all_pieces);
        for target in targets {
            secrets.extend(target.url().query_pairs().flat_map(|(_, value)| pieces(&value)));
            secrets.extend(target.url().query().into_iter().flat_map(pieces));
        }
        for found in [&mut secrets, &mut credentials] {
            found.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
            found.dedup();
        }
        Self { secrets, credentials }
    }

    /// `text` on one line, without secrets, cut.
    pub(crate) fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            text = text.replace(secret.as_str(), "[redacted]");
        }
        let words: Vec<&str> = text
            .split(|c: char| c.is_whitespace() || c.is_control())
            .filter(|w| !w.is_empty())
            .collect();
        words.join(" ").chars().take(EXCERPT_CHARS_MAX).collect()
    }

    /// Overwrites every credential in an answer that is kept, with as many asterisks; where the
    /// answer was cut, also one of which only the beginning is there.
    pub(crate) fn mask_credentials(&self, body: &mut [u8], is_cut: bool) {
        for credential in self.credentials.iter().filter(|_| is_cut).map(String::as_bytes) {
            let begun = (PIECE_CHARS_MIN..credential.len()).rev();
            let cut =
                begun.filter_map(|len| credential.get(..len)).find(|part| body.ends_with(part));
            if let Some(part) = cut {
                let from = body.len() - part.len();
                body.get_mut(from..).unwrap_or_default().fill(b'*');
            }
        }
        for credential in self.credentials.iter().map(String::as_bytes) {
            let mut from = 0;
            while let Some(rest) = body.get_mut(from..)
                && let Some(at) = rest.windows(credential.len()).position(|seen| seen == credential)
                && let Some(found) = rest.get_mut(at..at + credential.len())
            {
                found.fill(b'*');
                from += at + credential.len();
            }
        }
    }
}

/// The user and the password that a value of `Basic` credentials holds, each and together. SOURCE:
/// RFC 7617 §2.
fn basic(value: &str) -> Option<[String; 3]> {
    let (scheme, encoded) = value.split_once(' ')?;
    let decoded = STANDARD.decode(encoded.trim()).ok()?;
    let pair = String::from_utf8(decoded).ok()?;
    let (user, password) = pair.split_once(':').filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    Some([user.to_owned(), password.to_owned(), pair])
}

/// The parts of a secret that a server may repeat by themselves: the words of `Bearer abc`, and the
/// runs between characters that an address, JSON or HTML may escape.
fn pieces(value: &str) -> Vec<String> {
    let words = value.split([' ', ';', ',', '=', '&', ':', '"']);
    let is_escaped = |c: char| !(c.is_alphanumeric() || "-._~".contains(c));
    let pieces = words.chain(value.split(is_escaped));
    pieces.filter(|piece| piece.len() >= PIECE_CHARS_MIN).map(str::to_owned).collect()
}

fn is_word(piece: &str) -> bool {
    let is_usual = |byte: u8| byte.is_ascii_lowercase() || b"/-._".contains(&byte);
    piece.len() <= WORD_CHARS_MAX && piece.bytes().all(is_usual)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::AddressPolicy;
    use crate::transfer::proxy::Proxies;

    #[test]
    fn a_server_that_repeats_a_secret_does_not_get_it_into_a_message() {
        let headers = [
            ResolvedHeader::secret("Authorization", "Bearer ", "s3cr3t-token"),
            ResolvedHeader::secret("X-Api-Key", "", "abc"),
            ResolvedHeader::text("X-Plain", "visible"),
        ];
        let url = "https://example.com/?sig=q%2Fuery-secret";
        let target = Target::parse(url, false, &AddressPolicy::strict()).unwrap();
        let redactor = Redactor::new(&headers, [&target, &target], None);
        let said = "no s3cr3t-token\r\nnor abc\tnor q/uery-secret nor q%2Fuery-secret: visible";
        let hidden = "no [redacted] nor [redacted] nor [redacted] nor [redacted]: visible";
        assert_eq!(redactor.clean(said), hidden);
        assert_eq!(redactor.clean(&"é".repeat(999)).chars().count(), EXCERPT_CHARS_MAX);
    }

    #[test]
    fn the_short_words_of_a_secret_are_left_in_a_body_and_not_in_a_message() {
        let headers = [ResolvedHeader::secret("Cookie", "", "uid=7; secure=true; path=/files")];
        let target = Target::parse("https://example.com/", false, &AddressPolicy::strict());
        let target = target.unwrap();
        let redactor = Redactor::new(&headers, [&target, &target], None);
        let said = r#"{"ok": true, "path": "/files/7"}"#;
        let mut body = said.as_bytes().to_vec();
        redactor.mask_credentials(&mut body, false);
        assert_eq!(body, said.as_bytes());
        assert_eq!(redactor.clean("is it true?"), "is it [redacted]?");
        let headers = [ResolvedHeader::secret("Cookie", "", "sid=x7Kq2p; theme=dark")];
        let redactor = Redactor::new(&headers, [&target, &target], None);
        let mut body = br#"{"session": "x7Kq2p", "theme": "dark"}"#.to_vec();
        redactor.mask_credentials(&mut body, false);
        assert_eq!(body, br#"{"session": "******", "theme": "dark"}"#);
    }

    #[test]
    fn what_stood_in_the_first_address_or_is_the_proxy_s_is_no_more_told_than_the_rest() {
        let target = |url| Target::parse(url, false, &AddressPolicy::strict()).unwrap();
        let first = target("https://example.com/up?sig=hunter22");
        let next = target("https://example.com/next?token=also-hidden");
        let proxies = Proxies::of("http://bob:hunter22@192.0.2.1:3128");
        let proxy = proxies.route(&next).unwrap().unwrap();
        let redactor = Redactor::new(&[], [&first, &next], proxy.authorization.as_ref());
        let said = "no hunter22, no also-hidden, no Basic Ym9iOmh1bnRlcjIy";
        let hidden = "no [redacted], no [redacted], no [redacted] [redacted]";
        assert_eq!(redactor.clean(said), hidden);
    }

    #[test]
    fn a_password_is_hidden_in_the_form_that_the_server_reads_too() {
        let target = Target::parse("https://example.com/", false, &AddressPolicy::strict());
        let target = target.unwrap();
        let headers = [ResolvedHeader::secret("X", "Basic ", "YWxpY2U6Q29ycjMgSG9yc2U=")];
        let proxies = Proxies::of("http://bob:Pr0xy!Pa%2Fss@192.0.2.1:3128");
        let next = Target::parse("https://files.example/", false, &AddressPolicy::strict());
        let proxy = proxies.route(&next.unwrap()).unwrap().unwrap();
        let redactor = Redactor::new(&headers, [&target, &target], proxy.authorization.as_ref());
        let said = "quota of alice:Corr3 Horse is used up, not Corr3 Horse, bob, nor Pr0xy!Pa/ss";
        let hidden = "quota of [redacted] is used up, not [redacted], bob, nor [redacted]";
        assert_eq!(redactor.clean(said), hidden);
        let mut body = said.as_bytes().to_vec();
        redactor.mask_credentials(&mut body, false);
        assert!(!String::from_utf8(body).unwrap().contains("orse"));
    }

    #[test]
    fn a_key_that_stands_where_the_user_does_is_hidden_and_a_password_of_a_letter_is_not() {
        let target = Target::parse("https://example.com/", false, &AddressPolicy::strict());
        let target = target.unwrap();
        for (encoded, said, hidden) in [
            (
                "c2tfbGl2ZV9hYmNkZWYxMjM6",
                "no quota for sk_live_abcdef123",
                "no quota for [redacted]",
            ),
            ("c2tfbGl2ZV9hYmNkZWYxMjM6WA==", "X-Plan: sk_live_abcdef123", "X-Plan: [redacted]"),
        ] {
            let headers = [ResolvedHeader::secret("X", "Basic ", encoded)];
            let redactor = Redactor::new(&headers, [&target, &target], None);
            assert_eq!(redactor.clean(said), hidden);
        }
    }

    #[test]
    fn an_answer_that_repeats_a_secret_is_kept_without_it_whatever_stood_before_it() {
        let target = Target::parse("https://example.com/", false, &AddressPolicy::strict());
        let target = target.unwrap();
        for (prefix, secret, said) in [
            ("Bearer ", "hunter22", "you sent hunter22"),
            ("", "Bearer hunter22", "you sent hunter22"),
            ("Token token=", "hunter22", "token hunter22!"),
            ("k:", "hunter22", "k hunter22"),
            ("", "sid=hunter22; theme=dark", "your session: hunter22."),
            ("", "key=\"hunter22\"", "<hunter22>"),
            ("", "ab/hunter22+cd==", r#"{"you": "ab\/hunter22+cd=="}"#),
            ("", "ab/hunter22+cd==", "ab%2Fhunter22%2Bcd%3D%3D"),
            ("", "hunter22", "cut off in the middle of hunter2"),
        ] {
            let headers = [ResolvedHeader::secret("X", prefix, secret)];
            let redactor = Redactor::new(&headers, [&target, &target], None);
            let mut body = said.as_bytes().to_vec();
            redactor.mask_credentials(&mut body, true);
            let kept = String::from_utf8(body).unwrap();
            assert!(!kept.contains("hunter"), "{prefix}{secret}: {kept}");
            assert_eq!(kept.len(), said.len());
        }
    }
}
