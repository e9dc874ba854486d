//! The proxies that the environment names, and tunnels through them.

use std::future::{Ready, ready};
use std::task::{Context, Poll};

use http::{HeaderValue, Uri};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use tower_service::Service;
use url::Host;

use super::io::Stream;
use super::outcome::Ended;
use super::target::Target;
use crate::model::ErrorCode;

/// Which proxy a target is reached through.
pub(crate) struct Proxies {
    matcher: Option<Matcher>,
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
        Self { matcher: None }
    }

    /// What `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say now, in either case.
    pub(crate) fn from_env() -> Self {
        Self { matcher: Some(Matcher::from_env()) }
    }

    #[cfg(test)]
    pub(crate) fn of(all: &str) -> Self {
        Self { matcher: Some(Matcher::builder().all(all.to_owned()).build()) }
    }

    /// The proxy for `target`; never one for a loopback target.
    pub(crate) fn route(&self, target: &Target) -> Result<Option<Proxy>, Ended> {
        let Some(matcher) = self.matcher.as_ref().filter(|_| !target.is_loopback()) else {
            return Ok(None);
        };
        let uri = target.origin().parse::<Uri>().ok();
        let Some(found) = uri.and_then(|uri| matcher.intercept(&uri)) else { return Ok(None) };
        let uri = found.uri().clone();
        let is_secure = uri.scheme_str() == Some("https");
        let host = uri.host().and_then(|host| Host::parse(host).ok());
        let (true, Some(host)) = (is_secure || uri.scheme_str() == Some("http"), host) else {
            let message = "the environment names a proxy that is neither http:// nor https://";
            return Err(Ended::failed(ErrorCode::NetworkError, message));
        };
        let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        Ok(Some(Proxy { host, port, is_secure, authorization: found.basic_auth().cloned(), uri }))
    }
}

impl Proxy {
    /// Asks the proxy at the other end of `stream` for a way to `target`.
    pub(crate) async fn tunnel(&self, stream: Stream, target: &Target) -> Result<Stream, Ended> {
        let target: Uri =
            target.origin().parse().map_err(|_| Ended::network("the target is not a URI"))?;
        let mut tunnel = Tunnel::new(self.uri.clone(), Connected(Some(stream)));
        if let Some(authorization) = &self.authorization {
            tunnel = tunnel.with_auth(authorization.clone());
        }
        let tunnelled = tunnel.call(target).await;
        let failed = |error| Ended::network(format!("the proxy gave no way through: {error}"));
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
        Proxies { matcher: Some(Matcher::builder().all(all.to_owned()).no(no.to_owned()).build()) }
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
        let socks = proxies("socks5://proxy.example:1080", "");
        assert!(socks.route(&target("https://files.example/")).is_err());
    }

    /// What a proxy hears from a client that connects to `url`, when it answers `answer`.
    async fn heard(url: &str, answer: &'static str) -> (String, Result<Stream, Ended>) {
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
        let (addresses, tls) = (AddressPolicy::strict(), Tls::new(None).unwrap());
        let connector = Connector { addresses, proxies, tls };
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
        let Err(Ended::Retry(failure)) = connected else { panic!("a way through a closed door") };
        assert!(failure.message.contains("proxy authorization required"), "{}", failure.message);
        assert!(!failure.message.contains("hunter22") && !failure.message.contains("Ym9i"));
    }
}
