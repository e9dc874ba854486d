//! What a server says, made fit for a message: short, one line, without our secrets.

use super::headers::ResolvedHeader;
use super::target::Target;

/// At most this many characters of a server's text are repeated.
const EXCERPT_CHARS_MAX: usize = 160;

/// A piece of a secret shorter than this is too common to be looked for.
const PIECE_CHARS_MIN: usize = 4;

/// Knows the secrets of one attempt, to keep them out of messages. Lives as long as the attempt.
pub(crate) struct Redactor {
    secrets: Vec<String>,
    /// Of these, what a header holds: the value, and the credential behind a word such as `Bearer`.
    credentials: Vec<String>,
}

impl Redactor {
    /// The secrets are the values resolved for `headers` and those in the query of `target`.
    pub(crate) fn new(headers: &[ResolvedHeader], target: &Target) -> Self {
        let values = headers.iter().filter_map(ResolvedHeader::secret_value);
        let behind = |value: &str| value.rsplit(' ').next().map(str::to_owned);
        let credentials =
            values.clone().flat_map(|value| [Some(value.to_owned()), behind(value)]).flatten();
        let credentials = credentials.filter(|value| value.len() >= PIECE_CHARS_MIN).collect();
        let mut secrets: Vec<String> = values.clone().map(str::to_owned).collect();
        secrets.extend(values.flat_map(pieces));
        secrets.extend(target.url().query_pairs().flat_map(|(_, value)| pieces(&value)));
        secrets.extend(target.url().query().into_iter().flat_map(pieces));
        secrets.retain(|secret| !secret.is_empty());
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
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

    /// Overwrites every credential in an answer that is kept, with as many asterisks.
    pub(crate) fn blot(&self, body: &mut [u8]) {
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

/// The parts of a secret that a server may repeat by themselves: of `Bearer abc…`, `abc…`.
fn pieces(value: &str) -> Vec<String> {
    let pieces = value.split([' ', ';', ',', '=', '&', ':', '"']);
    pieces.filter(|piece| piece.len() >= PIECE_CHARS_MIN).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::AddressPolicy;

    #[test]
    fn a_server_that_repeats_a_secret_does_not_get_it_into_a_message() {
        let headers = [
            ResolvedHeader::secret("Authorization", "Bearer s3cr3t-token"),
            ResolvedHeader::secret("X-Api-Key", "abc"),
            ResolvedHeader::text("X-Plain", "visible"),
        ];
        let url = "https://example.com/?sig=q%2Fuery-secret";
        let target = Target::parse(url, false, &AddressPolicy::strict()).unwrap();
        let redactor = Redactor::new(&headers, &target);
        let said = "no s3cr3t-token\r\nnor abc\tnor q/uery-secret nor q%2Fuery-secret: visible";
        let hidden = "no [redacted] nor [redacted] nor [redacted] nor [redacted]: visible";
        assert_eq!(redactor.clean(said), hidden);
        assert_eq!(redactor.clean(&"é".repeat(999)).chars().count(), EXCERPT_CHARS_MAX);
    }
}
