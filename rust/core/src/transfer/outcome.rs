//! What an answer, or its absence, means for the task. Pure.

use http::StatusCode;
use http::header::{self, HeaderMap};

use super::attempt_error::AttemptError;
use super::redact::Redactor;
use super::retry_after;
use crate::model::{ErrorCode, Failure, Success, UnixMillis};

/// A server's answer, its body cut to what is kept.
#[derive(Debug)]
pub(crate) struct HttpAnswer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) is_body_cut: bool,
    pub(crate) bytes_sent: u64,
    /// Whether the body may have been sent before, over a connection that was lost or by an earlier
    /// attempt.
    pub(crate) is_repeat: bool,
}

/// What `answer` means. `now` is the wall clock, for a `Retry-After` that names a date.
///
/// An upload carries an idempotency key, so a 500 is tried again too.
pub(crate) fn judge(
    answer: HttpAnswer,
    now: UnixMillis,
    redactor: &Redactor,
) -> Result<Success, AttemptError> {
    if answer.status.is_success() {
        return Ok(success(answer, redactor));
    }
    let code = if answer.status.is_server_error() {
        ErrorCode::HttpServerError
    } else {
        ErrorCode::HttpClientError
    };
    let mut failure = Failure::new(code, message(&answer, redactor));
    failure.http_status = Some(answer.status.as_u16());
    failure.retry_after_ms = retry_after::parse(&answer.headers, now);
    // SOURCE: RFC 9110 §15.5.14: a server that is short of room for now says for how long. So does
    // one that still works on an earlier request with the same key.
    let may_pass = matches!(answer.status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::CONFLICT);
    let is_about_repeat = answer.is_repeat && answer.status == StatusCode::CONFLICT;
    let is_for_now = is_about_repeat || may_pass && failure.retry_after_ms.is_some();
    if is_transient(answer.status) || is_for_now {
        return Err(AttemptError::Retry(failure));
    }
    failure.retry_after_ms = None;
    Err(AttemptError::Failed(failure))
}

/// What is kept of a success: without our credentials, should the server repeat them.
fn success(mut answer: HttpAnswer, redactor: &Redactor) -> Success {
    redactor.mask_credentials(&mut answer.body, answer.is_body_cut);
    Success {
        http_status: Some(answer.status.as_u16()),
        content_type: content_type(&answer.headers).map(|kind| redactor.clean(kind)),
        body: answer.body,
        body_truncated: answer.is_body_cut,
        bytes_sent: answer.bytes_sent,
    }
}

/// Whether the same request may get another answer later.
fn is_transient(status: StatusCode) -> bool {
    match status.as_u16() {
        408 | 421 | 423 | 425 | 429 => true,
        501 | 505 => false,
        code => (500..600).contains(&code),
    }
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE)?.to_str().ok()
}

/// `HTTP 422 Unprocessable Entity: …`, the rest being what the server says in plain text or JSON.
fn message(answer: &HttpAnswer, redactor: &Redactor) -> String {
    let mut message = status_text(answer.status);
    // What refuses a credential is what repeats it, perhaps in a form we cannot recognise.
    let about_credentials = matches!(answer.status.as_u16(), 401 | 403 | 407);
    let kind = content_type(&answer.headers).unwrap_or_default();
    let is_legible = !answer.headers.contains_key(header::CONTENT_ENCODING);
    if !about_credentials && is_legible && (kind.starts_with("text/plain") || kind.contains("json"))
    {
        let said = redactor.clean(&String::from_utf8_lossy(&answer.body));
        if !said.is_empty() {
            message.push_str(": ");
            message.push_str(&said);
        }
    }
    message
}

/// `HTTP 404 Not Found`.
pub(crate) fn status_text(status: StatusCode) -> String {
    let reason = status.canonical_reason().unwrap_or_default();
    format!("HTTP {} {reason}", status.as_u16()).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::{AddressPolicy, ResolvedHeader, Target};

    fn answer(status: u16, headers: &[(header::HeaderName, &str)], body: &str) -> HttpAnswer {
        let status = StatusCode::from_u16(status).unwrap();
        let headers = headers.iter().map(|(n, v)| (n.clone(), v.parse().unwrap())).collect();
        HttpAnswer {
            status,
            headers,
            body: body.into(),
            is_body_cut: false,
            bytes_sent: 5,
            is_repeat: false,
        }
    }

    fn judged(answer: HttpAnswer) -> Result<Success, AttemptError> {
        let target = Target::parse("https://example.com", false, &AddressPolicy::strict()).unwrap();
        let secret = [ResolvedHeader::secret("Authorization", "Bearer ", "hunter22")];
        judge(answer, 0, &Redactor::new(&secret, [&target, &target], None))
    }

    #[test]
    fn every_status_is_success_a_retry_or_a_failure() {
        for status in [200, 201, 202, 204, 206, 299] {
            assert!(judged(answer(status, &[], "")).is_ok(), "{status}");
        }
        for status in [408, 421, 423, 425, 429, 500, 502, 503, 504, 507, 520, 599] {
            let Err(AttemptError::Retry(failure)) = judged(answer(status, &[], "")) else {
                panic!("{status} is not retried")
            };
            assert!(failure.message.starts_with(&format!("HTTP {status}")), "{failure:?}");
        }
        let permanent = [300, 304, 400, 401, 403, 404, 409, 410, 411, 413, 415, 422, 501, 505, 600];
        for status in permanent {
            let Err(AttemptError::Failed(failure)) = judged(answer(status, &[], "")) else {
                panic!("{status} is retried")
            };
            assert_eq!(failure.http_status, Some(status));
            let server = (500..600).contains(&status);
            assert_eq!(failure.code == ErrorCode::HttpServerError, server, "{status}");
        }
    }

    #[test]
    fn a_success_carries_the_answer() {
        let headers = [(header::CONTENT_TYPE, "application/json")];
        let success = judged(answer(201, &headers, "{}")).unwrap();
        assert_eq!(success.http_status, Some(201));
        assert_eq!(success.content_type.as_deref(), Some("application/json"));
        assert_eq!((success.body.as_slice(), success.bytes_sent), (b"{}".as_slice(), 5));
    }

    #[test]
    fn a_success_does_not_keep_a_credential_that_the_server_repeats() {
        let headers = [(header::CONTENT_TYPE, "application/json")];
        let said = r#"{"type": "Bearer", "you": "Bearer hunter22", "token": "hunter22"}"#;
        let kept = r#"{"type": "Bearer", "you": "***************", "token": "********"}"#;
        let success = judged(answer(200, &headers, said)).unwrap();
        assert_eq!(String::from_utf8(success.body).unwrap(), kept);
    }

    #[test]
    fn a_conflict_with_our_own_first_request_passes() {
        let again = HttpAnswer { is_repeat: true, ..answer(409, &[], "busy") };
        assert!(matches!(judged(again), Err(AttemptError::Retry(_))));
        let again = HttpAnswer { is_repeat: true, ..answer(422, &[], "no") };
        assert!(matches!(judged(again), Err(AttemptError::Failed(_))));
    }

    #[test]
    fn a_success_keeps_what_only_looks_like_a_credential() {
        for said in ["a hunt", "Bearer", r#"{"type": "Bearer", "ok": true}"#] {
            let success = judged(answer(200, &[], said)).unwrap();
            assert_eq!(String::from_utf8(success.body).unwrap(), said);
        }
    }

    #[test]
    fn a_retry_carries_what_the_server_asked_for() {
        let headers = [(header::RETRY_AFTER, "7")];
        let Err(AttemptError::Retry(failure)) = judged(answer(503, &headers, "")) else { panic!() };
        assert_eq!(failure.retry_after_ms, Some(7_000));
        assert_eq!(failure.message, "HTTP 503 Service Unavailable");
        for status in [409, 413] {
            let Err(AttemptError::Retry(failure)) = judged(answer(status, &headers, "")) else {
                panic!("{status}")
            };
            assert_eq!(failure.retry_after_ms, Some(7_000));
        }
        let Err(AttemptError::Failed(failure)) = judged(answer(404, &headers, "")) else {
            panic!()
        };
        assert_eq!(failure.retry_after_ms, None);
    }

    #[test]
    fn the_reason_is_told_where_it_is_text_and_not_about_credentials() {
        let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        let html = [(header::CONTENT_TYPE, "text/html")];
        let cases = [
            (answer(422, &plain, "no\n hunter22"), "HTTP 422 Unprocessable Entity: no [redacted]"),
            (answer(422, &html, "<html>"), "HTTP 422 Unprocessable Entity"),
            (answer(401, &plain, "dXNlcjpodW50ZXI="), "HTTP 401 Unauthorized"),
            (answer(499, &[], ""), "HTTP 499"),
        ];
        for (answer, message) in cases {
            let Err(AttemptError::Failed(failure)) = judged(answer) else { panic!("{message}") };
            assert_eq!(failure.message, message);
        }
    }
}
