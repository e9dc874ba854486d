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
