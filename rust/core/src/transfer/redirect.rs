//! Whether an answer sends us elsewhere, and whether we go. Pure.

use http::header;

use super::attempt_error::AttemptError;
use super::outcome::{HttpAnswer, status_text};
use super::redact::Redactor;
use super::target::{self, Target};
use crate::model::{ErrorCode, Failure};
use crate::transfer::AddressPolicy;

/// At most this many redirects are followed in one attempt.
pub const REDIRECTS_MAX: u32 = 5;

/// Where to send the same request again: only for 307 and 308, which keep the method and the body,
/// and only to the same origin, where the credentials and the body were meant to go anyway.
///
/// Errors for every other 3xx. `None` where the answer is final.
pub(crate) fn next(
    from: &Target,
    answer: &HttpAnswer,
    addresses: &AddressPolicy,
    redactor: &Redactor,
) -> Result<Option<Target>, AttemptError> {
    if !answer.status.is_redirection() {
        return Ok(None);
    }
    // As it is often written: in UTF-8 that is not escaped.
    let location = answer.headers.get(header::LOCATION);
    let location = location.and_then(|value| std::str::from_utf8(value.as_bytes()).ok());
    let Some(url) = location.and_then(|location| from.url().join(location).ok()) else {
        return Err(refuse(answer, "it names no place to go"));
    };
    let place = redactor.clean(&target::redacted(&url));
    if !matches!(answer.status.as_u16(), 307 | 308) {
        let why = "only 307 and 308 keep the method and the body";
        return Err(refuse(answer, &format!("the redirect to {place} was not followed: {why}")));
    }
    match Target::parse(url.as_str(), true, addresses) {
        Ok(next) if next.origin() == from.origin() => Ok(Some(next)),
        Ok(_) => {
            let why = "it leads to another origin, which the body and the credentials are not for";
            Err(refuse(answer, &format!("the redirect to {place} was not followed: {why}")))
        }
        Err(fault) => {
            let why = redactor.clean(&fault.message);
            Err(refuse(answer, &format!("the redirect to {place} was not followed: {why}")))
        }
    }
}

/// The end of a chain of redirects that is too long.
pub(crate) fn too_many(answer: &HttpAnswer) -> AttemptError {
    refuse(answer, &format!("more than {REDIRECTS_MAX} redirects"))
}

fn refuse(answer: &HttpAnswer, why: &str) -> AttemptError {
    let message = format!("{}: {why}", status_text(answer.status));
    let mut failure = Failure::new(ErrorCode::HttpClientError, message);
    failure.http_status = Some(answer.status.as_u16());
    AttemptError::Failed(failure)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::*;
    use crate::transfer::headers::ResolvedHeader;

    fn follow(status: u16, location: Option<&str>) -> Result<Option<String>, String> {
        let policy = AddressPolicy::permissive();
        let from = Target::parse("https://example.com/a/b?token=t", false, &policy).unwrap();
        let mut headers = HeaderMap::new();
        if let Some(location) = location {
            headers.insert(header::LOCATION, location.as_bytes().try_into().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        let answer = HttpAnswer {
            status,
            headers,
            body: Vec::new(),
            is_body_cut: false,
            bytes_sent: 0,
            is_repeat: false,
        };
        let secret = [ResolvedHeader::secret("X", "", "in-the-path")];
        match next(&from, &answer, &policy, &Redactor::new(&secret, [&from, &from], None)) {
            Ok(target) => Ok(target.map(|target| target.url().to_string())),
            Err(AttemptError::Failed(failure)) => Err(failure.message),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_body_follows_307_and_308_within_its_origin_and_nothing_else() {
        let went = |url: &str| Ok(Some(url.to_owned()));
        assert_eq!(follow(200, None), Ok(None));
        assert_eq!(follow(404, Some("/c")), Ok(None));
        assert_eq!(follow(307, Some("/c")), went("https://example.com/c"));
        let escaped = went("https://example.com/gr%C3%B6%C3%9Fe");
        assert_eq!(follow(307, Some("/größe")), escaped);
        assert_eq!(follow(308, Some("c?d")), went("https://example.com/a/c?d"));
        assert_eq!(follow(307, Some("https://EXAMPLE.com:443/c")), went("https://example.com/c"));
        let refused = [
            (301, Some("/c"), "only 307 and 308"),
            (302, Some("/c"), "only 307 and 308"),
            (303, Some("/c"), "only 307 and 308"),
            (304, None, "no place to go"),
            (307, None, "no place to go"),
            (307, Some("http://example.com/c"), "another origin"),
            (307, Some("https://example.com:8443/c"), "another origin"),
            (307, Some("https://evil.example/c"), "another origin"),
            (307, Some("ftp://example.com/c"), "unsupported URL scheme"),
            (307, Some("https://u:hunter2@example.com/c?k=hunter2"), "https://example.com/c "),
            (302, Some("/login/in-the-path"), "https://example.com/login/[redacted] "),
        ];
        for (status, location, reason) in refused {
            let message = follow(status, location).unwrap_err();
            assert!(message.contains(reason), "{message}");
            assert!(message.starts_with(&format!("HTTP {status}")), "{message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}
