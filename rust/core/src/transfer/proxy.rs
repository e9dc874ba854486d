//! The proxies that the environment names, and tunnels through them.

use std::future::{Ready, ready};
use std::task::{Context, Poll};

use http::{HeaderValue, Uri};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::rt::TokioIo;
use tower_service::Service;
use url::Host;

use super::attempt_error::AttemptError;
use super::io::Stream;
use super::proxy_env::ProxyEnv;
use super::target::Target;
use crate::model::ErrorCode;

/// Which proxy a target is reached through.
pub(crate) struct Proxies {
    env: Option<ProxyEnv>,
}

/// One proxy. Its credentials are never shown.
pub(crate) struct Proxy {
    pub(crate) host: Host,
    pub(crate) port: u16,
    pub(crate) is_secure: bool,
    /// The value of `Proxy-Authorization`.
    pub(crate) authorization: Option<HeaderValue>,
    uri: Uri,
}

impl Proxies {
    /// None at all.
    pub(crate) const fn none() -> Self {
        Self { env: None }
    }

    /// What the environment says now.
    pub(crate) fn from_env() -> Self {
        let unreadable = |_| char::REPLACEMENT_CHARACTER.to_string();
        let variable = |name: &str| {
            std::env::var_os(name).map(|value| value.into_string().unwrap_or_else(unreadable))
        };
        Self { env: ProxyEnv::read(variable) }
    }

    #[cfg(test)]
    pub(crate) fn of(all: &str) -> Self {
        Self { env: ProxyEnv::read(|name| (name == "ALL_PROXY").then(|| all.to_owned())) }
    }

    /// The proxy for `target`; never one for a loopback target.
    pub(crate) fn route(&self, target: &Target) -> Result<Option<Proxy>, AttemptError> {
        let Some(env) = self.env.as_ref().filter(|_| !target.is_loopback()) else {
            return Ok(None);
        };
        if env.is_direct(target.host(), target.port()) {
            return Ok(None);
        }
        let uri = target.origin().parse::<Uri>().ok();
        let Some(found) = uri.and_then(|uri| env.matcher.intercept(&uri)) else { return Ok(None) };
        let uri = found.uri().clone();
        let is_secure = uri.scheme_str() == Some("https");
        let host = uri.host().and_then(|host| Host::parse(host).ok());
        let (true, Some(host)) = (is_secure || uri.scheme_str() == Some("http"), host) else {
            let message = "the environment names a proxy that is neither http:// nor https://, or \
                           whose address cannot be read: look at HTTP_PROXY, HTTPS_PROXY, ALL_PROXY";
            return Err(AttemptError::failed(ErrorCode::NetworkError, message));
        };
        let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        Ok(Some(Proxy { host, port, is_secure, authorization: found.basic_auth().cloned(), uri }))
    }
}

impl Proxy {
    /// Asks the proxy at the other end of `stream` for a way to `target`.
    pub(crate) async fn tunnel(
        &self,
        stream: Stream,
        target: &Target,
    ) -> Result<Stream, AttemptError> {
        let target: Uri = target
            .origin()
            .parse()
            .map_err(|_| AttemptError::network("the target is not a URI"))?;
        let mut tunnel = Tunnel::new(self.uri.clone(), Connected(Some(stream)));
        if let Some(authorization) = &self.authorization {
            tunnel = tunnel.with_auth(authorization.clone());
        }
        let tunnelled = tunnel.call(target).await;
        let failed =
            |error| AttemptError::network(format!("the proxy gave no way through: {error}"));
        Ok(tunnelled.map_err(failed)?.into_inner())
    }
}

/// A connection that is already there, as the tunnel wants it.
struct Connected(Option<Stream>);

impl Service<Uri> for Connected {
    type Response = TokioIo<Stream>;
    type Error = std::io::Error;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let stream = self.0.take().map(TokioIo::new);
        ready(stream.ok_or_else(|| std::io::ErrorKind::NotConnected.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::transfer::AddressPolicy;
    use crate::transfer::connect::Connector;
    use crate::transfer::tls::Tls;

    fn target(url: &str) -> Target {
        Target::parse(url, true, &AddressPolicy::permissive()).unwrap()
    }

    fn proxies(all: &str, no: &str) -> Proxies {
        env(&[("ALL_PROXY", all), ("NO_PROXY", no)])
    }

    fn env(variables: &[(&str, &str)]) -> Proxies {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Proxies { env: ProxyEnv::read(variable) }
    }

    /// The proxy that a target is reached through: its host, port and credentials.
    fn way(proxies: &Proxies, url: &str) -> Option<(String, u16, Option<String>)> {
        let found = proxies.route(&target(url)).unwrap()?;
        let said = found.authorization.map(|value| value.to_str().unwrap().to_owned());
        Some((found.host.to_string(), found.port, said))
    }

    #[test]
    fn a_loopback_target_is_never_proxied() {
        let all = proxies("http://proxy.example:3128", "");
        for url in ["http://localhost/", "http://127.0.0.1:8080/", "https://[::1]/"] {
            assert!(all.route(&target(url)).unwrap().is_none(), "{url}");
        }
        let proxy = all.route(&target("https://files.example/")).unwrap().unwrap();
        assert_eq!((proxy.host.to_string(), proxy.port), ("proxy.example".to_owned(), 3128));
        let except = proxies("http://proxy.example", "files.example");
        assert!(except.route(&target("https://files.example/")).unwrap().is_none());
        assert!(Proxies::none().route(&target("https://files.example/")).unwrap().is_none());
    }

    #[test]
    fn a_proxy_that_we_cannot_speak_to_is_not_passed_by() {
        for address in [
            "socks5://proxy.example:1080",
            "socks://proxy.example:1080",
            "ftp://proxy.example",
            "http://bob:hunt#er22@proxy.example",
            "http://proxy.example:99999",
            "http://",
            "://",
            "\u{fffd}",
        ] {
            let proxies = proxies(address, "other.example");
            let Err(AttemptError::Failed(failure)) =
                proxies.route(&target("https://files.example/"))
            else {
                panic!("{address}")
            };
            assert!(!failure.message.contains("bob"), "{}", failure.message);
            assert!(proxies.route(&target("https://other.example/")).unwrap().is_none());
        }
    }

    #[test]
    fn an_address_is_read_however_it_is_spelled() {
        let (host, basic) = ("proxy.example".to_owned(), "Basic Ym9iOnBAc3M=".to_owned());
        for (address, port, said) in [
            ("proxy.example:3128", 3128, None),
            ("proxy.example:3128/", 3128, None),
            (" http://proxy.example:3128 ", 3128, None),
            ("http://proxy.example:3128/path?a=b", 3128, None),
            ("https://proxy.example", 443, None),
            ("http://bob:p@ss@proxy.example", 80, Some(&basic)),
            ("http://bob:p%40ss@proxy.example", 80, Some(&basic)),
        ] {
            let found = way(&proxies(address, ""), "https://files.example/");
            assert_eq!(found, Some((host.clone(), port, said.cloned())), "{address}");
        }
    }

    #[test]
    fn the_scheme_decides_and_what_is_empty_says_nothing() {
        let some = env(&[("HTTP_PROXY", " "), ("http_proxy", "a"), ("HTTPS_PROXY", "b")]);
        let host = |url: &str| way(&some, url).map(|found| found.0);
        assert_eq!(host("http://files.example/"), Some("a".to_owned()));
        assert_eq!(host("https://files.example/"), Some("b".to_owned()));
        let script = env(&[("HTTP_PROXY", "a"), ("REQUEST_METHOD", "GET")]);
        assert_eq!(way(&script, "http://files.example/"), None);
    }

    #[test]
    fn an_exception_may_name_a_port_or_be_all_there_is() {
        for (no, url, is_direct) in [
            ("*", "http://192.0.2.2:8080/", true),
            ("a.example, *", "https://files.example/", true),
            ("192.0.2.2:8080", "http://192.0.2.2:8080/", true),
            ("192.0.2.2:8080", "http://192.0.2.2:8081/", false),
            ("192.0.2.0/24", "http://192.0.2.2:8081/", true),
            ("Files.example:443", "https://files.example/", true),
            ("example:443", "https://files.example/", true),
            (".example:443", "https://files.example/", true),
            ("les.example:443", "https://files.example/", false),
            ("2.2:8080", "http://192.0.2.2:8080/", false),
            ("[2001:db8::1]:80", "http://[2001:db8::1]/", true),
            ("[2001:db8::1]:81", "http://[2001:db8::1]/", false),
        ] {
            let found = way(&proxies("proxy.example", no), url);
            assert_eq!(found.is_none(), is_direct, "{no} {url}");
        }
    }

    /// What a proxy hears from a client that connects to `url`, when it answers `answer`.
    async fn heard(url: &str, answer: &'static str) -> (String, Result<Stream, AttemptError>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let hearing = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = vec![0; 4096];
            let read = stream.read(&mut text).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&text[..read]).into_owned()
        });
        let proxies = proxies(&format!("http://bob:hunter22@127.0.0.1:{port}"), "");
        let (addresses, tls) = (AddressPolicy::permissive(), Tls::new(None).unwrap());
        let connector = Connector::new(addresses, proxies, tls);
        let target = target(url);
        let proxy = connector.proxies.route(&target).unwrap();
        let most = Duration::from_secs(3);
        let connected = connector.connect(&target, proxy.as_ref(), most).await;
        (hearing.await.unwrap(), connected)
    }

    #[tokio::test]
    async fn https_goes_through_a_tunnel_and_a_refusal_tells_no_credentials() {
        let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
        let (text, connected) = heard("https://files.example/up", refusal).await;
        assert!(text.starts_with("CONNECT files.example:443 HTTP/1.1\r\n"), "{text}");
        assert!(text.contains("Basic Ym9iOmh1bnRlcjIy"), "{text}");
        let Err(AttemptError::Retry(failure)) = connected else {
            panic!("a way through a closed door")
        };
        assert!(failure.message.contains("proxy authorization required"), "{}", failure.message);
        assert!(!failure.message.contains("hunter22") && !failure.message.contains("Ym9i"));
    }

    #[tokio::test]
    async fn a_strict_policy_judges_a_name_here_before_the_proxy_is_asked() {
        let target = target("https://files.invalid/up"); // a name that nobody may have
        let mut said = Vec::new();
        for addresses in [AddressPolicy::strict(), AddressPolicy::permissive()] {
            let nobody = proxies("http://127.0.0.1:1", "");
            let connector = Connector::new(addresses, nobody, Tls::new(None).unwrap());
            let proxy = connector.proxies.route(&target).unwrap();
            let connected =
                connector.connect(&target, proxy.as_ref(), Duration::from_secs(20)).await;
            let Err(AttemptError::Retry(failure)) = connected else { panic!("a way to nowhere") };
            said.push(failure.message);
        }
        assert!(said[0].starts_with("files.invalid does not resolve"), "{said:?}");
        assert!(said[1].starts_with("cannot connect to 127.0.0.1:1"), "{said:?}");
    }
}
