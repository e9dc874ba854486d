//! Where an upload goes: a URL that was read once, judged once, and is never parsed again.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::uri::PathAndQuery;
use http::{HeaderValue, Uri};
use url::{Host, Position, Url};

use super::guard::AddressPolicy;
use crate::model::{Fault, FaultCode};

/// The longest URL that is accepted.
pub const URL_BYTES_MAX: usize = 8 * 1024;

const ARGUMENT: &str = "url";

/// A checked `http` or `https` URL.
#[derive(Clone)]
pub struct Target {
    url: Url,
    host: Host,
    port: u16,
    origin: String,
    path: PathAndQuery,
    authority: HeaderValue,
}

impl Target {
    /// Reads and judges `url`. A literal address is judged here and again when it is connected to;
    /// a name is judged by what it resolves to, when it is connected to.
    pub fn parse(url: &str, allow_http: bool, addresses: &AddressPolicy) -> Result<Self, Fault> {
        check_text(url)?;
        let mut url =
            Url::parse(url).map_err(|error| invalid(format!("not a valid URL: {error}")))?;
        url.set_fragment(None);
        check_userinfo(&url)?;
        let host = url.host().ok_or_else(|| invalid("the host is missing"))?.to_owned();
        check_scheme(url.scheme(), allow_http || is_loopback(&host))?;
        check_addresses(&host, addresses)?;
        Self::assemble(url, host)
    }

    fn assemble(url: Url, host: Host) -> Result<Self, Fault> {
        let port = url.port_or_known_default().ok_or_else(|| invalid("the port is missing"))?;
        let path = PathAndQuery::try_from(&url[Position::BeforePath..Position::AfterQuery])
            .map_err(|_| invalid("the path or the query has a character that must be escaped"))?;
        let authority = HeaderValue::from_str(&url[Position::BeforeHost..Position::AfterPort])
            .map_err(|_| invalid("the host cannot be sent in a header"))?;
        let origin = format!("{}:{port}", &url[Position::BeforeScheme..Position::AfterHost]);
        Ok(Self { url, host, port, origin, path, authority })
    }

    /// `https://host:port`, the port always there: the lane that uploads to this server share.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether it is this machine: needs no network, no encryption and no proxy.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    /// Whether it is `https`.
    pub fn is_secure(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The URL without its query: what messages may say.
    pub fn redacted(&self) -> String {
        redacted(&self.url)
    }

    pub(crate) const fn host(&self) -> &Host {
        &self.host
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    pub(crate) const fn path(&self) -> &PathAndQuery {
        &self.path
    }

    /// The value of the `Host` header.
    pub(crate) const fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// The whole URL, as a proxy that forwards wants it.
    pub(crate) fn absolute(&self) -> Result<Uri, String> {
        self.url.as_str().parse().map_err(|_| "the URL cannot be sent to a proxy".to_owned())
    }

    pub(crate) const fn url(&self) -> &Url {
        &self.url
    }
}

/// A URL without its query, its fragment and its user.
pub(crate) fn redacted(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // These two fail only for a URL without a host, which has no user either.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Target").field(&self.redacted()).finish()
    }
}

fn invalid(message: impl Into<String>) -> Fault {
    Fault::invalid(ARGUMENT, message)
}

/// What the URL parser would silently forgive.
fn check_text(url: &str) -> Result<(), Fault> {
    if url.is_empty() {
        return Err(invalid("empty: pass the address to upload to"));
    }
    if url.len() > URL_BYTES_MAX {
        return Err(invalid(format!("longer than {URL_BYTES_MAX} bytes: put data into fields")));
    }
    if url.chars().any(char::is_control) {
        return Err(invalid("contains a control character: percent-encode it"));
    }
    let (scheme, rest) =
        url.split_once(':').ok_or_else(|| invalid("has no scheme: write https://…"))?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(invalid("unsupported URL scheme: only https:// and http:// are known"));
    }
    let host = rest.strip_prefix("//").unwrap_or_default();
    if host.is_empty() || host.starts_with(['/', '\\', '?', '#', ':']) {
        return Err(invalid("the host is missing: write https://host/path"));
    }
    Ok(())
}

fn check_userinfo(url: &Url) -> Result<(), Fault> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(());
    }
    let message = "has a user or password in it, which would be stored in plain text: send them \
                   in an Authorization header made by Secret.env, Secret.file or Secret.provider";
    Err(Fault::new(FaultCode::PlainSecret, ARGUMENT, message))
}

fn check_scheme(scheme: &str, may_be_plain: bool) -> Result<(), Fault> {
    if scheme == "https" || may_be_plain {
        return Ok(());
    }
    Err(invalid(
        "insecure URL scheme: http:// sends everything readable; use https://, or pass \
         allow_http=True",
    ))
}

/// Judges the addresses that are known without asking: one of them must be allowed.
fn check_addresses(host: &Host, policy: &AddressPolicy) -> Result<(), Fault> {
    let mut refused = None;
    for ip in known_addresses(host) {
        match policy.judge(ip) {
            Ok(()) => return Ok(()),
            Err(refusal) => refused = Some(refusal),
        }
    }
    refused.map_or(Ok(()), |refusal| {
        Err(Fault::new(FaultCode::SecurityViolation, ARGUMENT, refusal.to_string()))
    })
}

/// The addresses of a host that needs no name server: a literal, or this machine's own name, which
/// is never asked of one that might say something else. Empty for any other name.
pub(crate) fn known_addresses(host: &Host) -> Vec<IpAddr> {
    match host {
        Host::Ipv4(ip) => vec![IpAddr::V4(*ip)],
        Host::Ipv6(ip) => vec![IpAddr::V6(*ip)],
        Host::Domain(name) if is_loopback_name(name) => {
            vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]
        }
        Host::Domain(_) => Vec::new(),
    }
}

fn is_loopback(host: &Host) -> bool {
    match host {
        Host::Domain(name) => is_loopback_name(name),
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    }
}

/// `localhost` and everything below it (SOURCE: RFC 6761 §6.3).
fn is_loopback_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Target, Fault> {
        Target::parse(url, false, &AddressPolicy::permissive())
    }

    #[test]
    fn what_is_not_a_place_to_upload_to_is_refused_with_the_reason() {
        let cases = [
            ("", "empty"),
            ("photo.jpg", "no scheme"),
            ("ftp://example.com/", "unsupported URL scheme"),
            ("file:///etc/passwd", "unsupported URL scheme"),
            ("http://example.com/", "insecure URL scheme"),
            ("https://", "host is missing"),
            ("https:///path", "host is missing"),
            ("https:path", "host is missing"),
            ("https://:443/", "host is missing"),
            ("https://exa\nmple.com/", "control character"),
            ("https://exa mple.com/", "not a valid URL"),
            ("https://example.com:99999/", "not a valid URL"),
            ("https://1.2.3.256/", "not a valid URL"),
        ];
        for (url, reason) in cases {
            let fault = parse(url).expect_err(url);
            assert_eq!(fault.argument, "url");
            assert!(fault.message.contains(reason), "{url}: {fault}");
        }
        let long = format!("https://example.com/{}", "a".repeat(URL_BYTES_MAX));
        assert!(parse(&long).unwrap_err().message.contains("longer than"));
    }

    #[test]
    fn a_user_in_the_url_is_a_plain_secret_and_is_not_repeated() {
        for url in ["https://bob@example.com/", "https://bob:hunter2@example.com/"] {
            let fault = parse(url).unwrap_err();
            assert_eq!(fault.code, FaultCode::PlainSecret);
            for way in ["Secret.env", "Secret.file", "Secret.provider"] {
                assert!(fault.message.contains(way));
            }
            assert!(!fault.message.contains("hunter2"));
        }
    }

    #[test]
    fn the_origin_names_the_port_and_ignores_spelling() {
        let cases = [
            ("https://Example.COM/a?b#c", "https://example.com:443"),
            ("https://example.com:8443/", "https://example.com:8443"),
            ("http://localhost/", "http://localhost:80"),
            ("https://bücher.example/", "https://xn--bcher-kva.example:443"),
            ("https://[2001:4860::1]/", "https://[2001:4860::1]:443"),
        ];
        for (url, origin) in cases {
            assert_eq!(parse(url).expect(url).origin(), origin);
        }
    }

    #[test]
    fn plain_http_is_for_this_machine_however_it_is_written() {
        let here =
            ["localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "[::1]", "0x7f.1", "2130706433"];
        for host in here {
            let target = parse(&format!("http://{host}:8080/")).expect(host);
            assert!(target.is_loopback(), "{host}");
        }
        for host in ["localhost.example", "notlocalhost", "10.0.0.1", "128.0.0.1"] {
            assert!(parse(&format!("http://{host}/")).is_err(), "{host}");
            let url = format!("http://{host}/");
            assert!(
                !Target::parse(&url, true, &AddressPolicy::permissive()).unwrap().is_loopback()
            );
        }
    }

    #[test]
    fn a_literal_address_is_judged_at_once() {
        let strict = AddressPolicy::strict();
        for host in ["127.0.0.1", "0x7f.1", "[::ffff:10.0.0.1]", "169.254.169.254"] {
            let fault = Target::parse(&format!("https://{host}/"), false, &strict).expect_err(host);
            assert_eq!(fault.code, FaultCode::SecurityViolation);
        }
        assert!(Target::parse("https://8.8.8.8/", false, &strict).is_ok());
    }

    #[test]
    fn the_fragment_is_dropped_and_the_query_is_not_shown() {
        let target = parse("https://example.com/a%20b?token=t#f").unwrap();
        assert_eq!(target.path().as_str(), "/a%20b?token=t");
        assert_eq!(target.redacted(), "https://example.com/a%20b");
        assert!(!format!("{target:?}").contains("token"));
    }
}
