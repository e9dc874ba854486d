//! Request headers: what a caller may set, what we set, in which order.

use std::fmt;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::model::spec::HeaderValueSpec;
use crate::model::{ErrorCode, Failure, Fault, FaultCode};

/// At most this many headers of the caller's.
pub const REQUEST_HEADERS_MAX: usize = 100;

/// At most this many bytes of names and values together.
pub const REQUEST_HEADERS_BYTES_MAX: usize = 64 * 1024;

const USER_AGENT: &str = concat!("outhaul/", env!("CARGO_PKG_VERSION"));

/// What frames the message or belongs to one connection is ours to say.
const OURS: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A name with one of these words in it has a credential for its value, wherever it is seen.
const SENSITIVE: &[&str] = &[
    "apikey",
    "authorization",
    "bearer",
    "cookie",
    "credential",
    "credentials",
    "passphrase",
    "passwd",
    "password",
    "pwd",
    "secret",
    "token",
];

/// So has one that ends in `key` after one of these, and `X-Auth`.
const KEYS: &[&str] = &[
    "access",
    "api",
    "auth",
    "client",
    "customer",
    "encryption",
    "fastly",
    "functions",
    "private",
    "subscription",
];

/// A name that ends so is about a credential, and its value is none.
const ABOUT: &[&str] =
    &["consent", "count", "expires", "id", "level", "name", "policy", "type", "version"];

/// One header of an attempt, its secret resolved.
#[derive(Clone, PartialEq, Eq)]
pub struct ResolvedHeader {
    name: String,
    value: String,
    /// Where in the value the secret begins, if it holds one.
    secret_from: Option<usize>,
}

impl ResolvedHeader {
    /// A header whose value is stored as it is.
    pub fn text(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into(), secret_from: None }
    }

    /// A header whose value is a prefix, such as `Bearer `, and a resolved secret; never shown.
    pub fn secret(name: impl Into<String>, prefix: &str, secret: &str) -> Self {
        let value = format!("{prefix}{secret}");
        Self { name: name.into(), value, secret_from: Some(prefix.len()) }
    }

    /// The secret by itself, and with its prefix.
    pub(crate) fn secret_values(&self) -> Option<[&str; 2]> {
        let secret = self.value.get(self.secret_from?..)?;
        Some([secret, &self.value])
    }
}

impl fmt::Debug for ResolvedHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = self.secret_from.is_some() || is_sensitive(&self.name.to_ascii_lowercase());
        let value = if hidden { "[redacted]" } else { &self.value };
        write!(f, "{}: {value}", self.name)
    }
}

/// Checks a caller's headers when the task is enqueued.
pub fn check(headers: &[(String, HeaderValueSpec)]) -> Result<(), Fault> {
    if headers.len() > REQUEST_HEADERS_MAX {
        let message = format!("more than {REQUEST_HEADERS_MAX} headers: leave some out");
        return Err(Fault::invalid("headers", message));
    }
    let mut bytes = 0;
    for (name, value) in headers {
        check_one(name, value)?;
        bytes += name.len() + text_of(value).len();
    }
    if bytes > REQUEST_HEADERS_BYTES_MAX {
        let message = format!(
            "more than {REQUEST_HEADERS_BYTES_MAX} bytes: put data into fields or the file"
        );
        return Err(Fault::invalid("headers", message));
    }
    Ok(())
}

fn check_one(name: &str, value: &HeaderValueSpec) -> Result<(), Fault> {
    let argument = format!("headers[{name:?}]");
    let refuse = |message: &str| Err(Fault::invalid(&argument, message));
    let Ok(known) = HeaderName::from_bytes(name.as_bytes()) else {
        return refuse("not a header name: use letters, digits and -, as in X-Request-Id");
    };
    if OURS.contains(&known.as_str()) {
        return refuse("set by outhaul itself: leave it out");
    }
    if HeaderValue::from_bytes(text_of(value).as_bytes()).is_err() {
        return refuse("the value has a line break or another control character: take it out");
    }
    if matches!(value, HeaderValueSpec::Text(_)) && is_sensitive(known.as_str()) {
        let message = "a credential in plain text would be stored: pass Secret.env(\"NAME\"), \
                       Secret.file(\"/path\") or Secret.provider(\"name\") instead";
        return Err(Fault::new(FaultCode::PlainSecret, &argument, message));
    }
    Ok(())
}

/// The part of a value that is stored.
fn text_of(value: &HeaderValueSpec) -> &str {
    match value {
        HeaderValueSpec::Text(text) => text,
        HeaderValueSpec::Secret(reference) => &reference.prefix,
    }
}

fn is_sensitive(name: &str) -> bool {
    let words: Vec<&str> = name.split(['-', '_']).collect();
    if words.last().is_some_and(|last| ABOUT.contains(last)) {
        return false;
    }
    words.iter().any(|word| SENSITIVE.contains(word))
        || matches!(words.as_slice(), [.., of, "key"] if KEYS.contains(of))
        || matches!(words.as_slice(), ["auth"] | ["x", "auth"])
}

/// What the body says about itself.
pub(crate) struct BodyFacts {
    pub(crate) content_length: u64,
    /// A multipart type, which holds the boundary: the caller cannot replace it.
    pub(crate) multipart_type: Option<String>,
    /// The type of a raw body where the caller says none.
    pub(crate) media_type: String,
}

/// All headers of one request. A caller's value wins over a default, never over the framing.
pub(crate) fn build(
    host: &HeaderValue,
    headers: &[ResolvedHeader],
    body: &BodyFacts,
    idempotency_key: &str,
) -> Result<HeaderMap, Failure> {
    let mut map = HeaderMap::with_capacity(headers.len() + 6);
    map.insert(header::HOST, host.clone());
    map.insert(header::CONTENT_LENGTH, body.content_length.into());
    map.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    map.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    let key = resolve(&ResolvedHeader::text("Idempotency-Key", format!("\"{idempotency_key}\"")))?;
    map.insert(key.0, key.1);
    let kind = body.multipart_type.as_ref().unwrap_or(&body.media_type);
    map.insert(header::CONTENT_TYPE, resolve(&ResolvedHeader::text("Content-Type", kind))?.1);
    for (at, given) in headers.iter().enumerate() {
        let (name, value) = resolve(given)?;
        let is_framing = name == header::CONTENT_TYPE && body.multipart_type.is_some();
        if is_framing || OURS.contains(&name.as_str()) {
            continue;
        }
        if headers.iter().take(at).any(|earlier| earlier.name.eq_ignore_ascii_case(&given.name)) {
            map.append(name, value);
        } else {
            map.insert(name, value);
        }
    }
    Ok(map)
}

fn resolve(header: &ResolvedHeader) -> Result<(HeaderName, HeaderValue), Failure> {
    let (code, what) = if header.secret_from.is_some() {
        (ErrorCode::SecretUnavailable, "the secret it names")
    } else {
        (ErrorCode::Unknown, "its value")
    };
    let failure = || {
        let message = format!("headers[{:?}]: {what} has a control character", header.name);
        Failure::new(code, message)
    };
    let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| failure())?;
    let mut value = HeaderValue::from_bytes(header.value.as_bytes()).map_err(|_| failure())?;
    value.set_sensitive(header.secret_from.is_some());
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::spec::{SecretRef, SecretSource};

    fn text(value: &str) -> HeaderValueSpec {
        HeaderValueSpec::Text(value.to_owned())
    }

    fn secret(prefix: &str) -> HeaderValueSpec {
        let (name, prefix) = ("TOKEN".to_owned(), prefix.to_owned());
        HeaderValueSpec::Secret(SecretRef { source: SecretSource::Env, name, prefix })
    }

    fn check_header(name: &str, value: HeaderValueSpec) -> Result<(), Fault> {
        check(&[(name.to_owned(), value)])
    }

    #[test]
    fn a_header_that_would_break_the_message_is_refused_by_name() {
        let cases = [
            ("", "x"),
            ("two words", "x"),
            ("X-Break\r\n", "x"),
            ("X-Ok", "a\r\nEvil: b"),
            ("X-Ok", "a\0b"),
            ("X-Ok", "\u{7f}"),
            ("Content-Length", "5"),
            ("Transfer-Encoding", "chunked"),
            ("HOST", "evil.example"),
            ("Connection", "close"),
            ("Expect", "100-continue"),
            ("TE", "trailers"),
            ("Upgrade", "h2c"),
            ("Trailer", "X"),
        ];
        for (name, value) in cases {
            let fault = check_header(name, text(value)).expect_err(name);
            assert_eq!(fault.argument, format!("headers[{name:?}]"));
            assert_eq!(fault.code, FaultCode::InvalidArgument);
        }
        assert!(check_header("X-Ok", secret("a\nb")).is_err());
        assert!(check_header("X-Ok", text("naïve")).is_ok());
    }

    #[test]
    fn a_credential_in_plain_text_is_refused_and_a_reference_is_not() {
        let names = [
            "Authorization",
            "proxy-authorization",
            "Cookie",
            "X-Api-Key",
            "Api-Key",
            "X-Auth-Token",
            "X-Amz-Security-Token",
            "X-My-Secret",
            "token",
            "Password",
            "api_key",
            "access_token",
            "X-Auth",
            "X-Auth-Key",
            "X-Access-Key",
            "X-Authorization",
            "Ocp-Apim-Subscription-Key",
            "x-amz-server-side-encryption-customer-key",
            "X-Functions-Key",
            "passphrase",
            "Set-Cookie",
        ];
        for name in [
            "X-Request-Id",
            "Idempotency-Key",
            "X-Object-Key",
            "X-Author",
            "Tokens-Used",
            "X-Token-Type",
            "X-Secret-Version",
            "X-Cookie-Consent",
        ] {
            assert!(check_header(name, text("plain")).is_ok(), "{name}");
        }
        for name in names {
            let fault = check_header(name, text("hunter2")).expect_err(name);
            assert_eq!(fault.code, FaultCode::PlainSecret);
            for way in ["Secret.env", "Secret.file", "Secret.provider"] {
                assert!(fault.message.contains(way));
            }
            assert!(!fault.to_string().contains("hunter2"));
            assert!(check_header(name, secret("Bearer ")).is_ok());
        }
    }

    #[test]
    fn headers_are_bounded_in_number_and_bytes() {
        let header = ("X-A".to_owned(), text("v"));
        assert!(check(&vec![header.clone(); REQUEST_HEADERS_MAX]).is_ok());
        assert!(check(&vec![header; REQUEST_HEADERS_MAX + 1]).is_err());
        let big = |bytes: usize| check_header("X-Big", text(&"v".repeat(bytes - "X-Big".len())));
        assert!(big(REQUEST_HEADERS_BYTES_MAX).is_ok());
        assert!(big(REQUEST_HEADERS_BYTES_MAX + 1).is_err());
    }

    fn facts(is_multipart: bool) -> BodyFacts {
        let multipart_type = is_multipart.then(|| "multipart/ours".to_owned());
        BodyFacts { content_length: 7, multipart_type, media_type: "ours/type".to_owned() }
    }

    fn built(headers: &[ResolvedHeader], is_multipart: bool) -> HeaderMap {
        let host = HeaderValue::from_static("example.com");
        build(&host, headers, &facts(is_multipart), "k-1").unwrap()
    }

    #[test]
    fn the_caller_replaces_defaults_but_not_the_boundary() {
        let given = [
            ResolvedHeader::text("content-type", "image/png"),
            ResolvedHeader::text("User-Agent", "mine"),
            ResolvedHeader::text("Idempotency-Key", "mine"),
            ResolvedHeader::text("X-Two", "a"),
            ResolvedHeader::text("X-Two", "b"),
        ];
        let raw = built(&given, false);
        assert_eq!(raw.get("content-type").unwrap(), "image/png");
        assert_eq!(raw.get("user-agent").unwrap(), "mine");
        assert_eq!(raw.get_all("idempotency-key").iter().collect::<Vec<_>>(), ["mine"]);
        assert_eq!(raw.get_all("x-two").iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(built(&given, true).get("content-type").unwrap(), "multipart/ours");
        let plain = built(&[], false);
        assert_eq!(plain.get("idempotency-key").unwrap(), "\"k-1\"");
        assert_eq!(plain.get("content-type").unwrap(), "ours/type");
        assert_eq!(plain.get("content-length").unwrap(), "7");
    }

    #[test]
    fn a_secret_that_cannot_be_a_header_fails_without_being_shown() {
        let headers = [ResolvedHeader::secret("Authorization", "", "hunter2\n")];
        let host = HeaderValue::from_static("example.com");
        let failure = build(&host, &headers, &facts(false), "k").unwrap_err();
        assert_eq!(failure.code, ErrorCode::SecretUnavailable);
        assert!(!failure.message.contains("hunter2"));
        let shown = format!("{headers:?} {:?}", ResolvedHeader::text("Cookie", "hunter2"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
