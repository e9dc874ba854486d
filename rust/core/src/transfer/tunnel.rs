//! A way through a proxy, to a target that is asked for encrypted.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Context;

use http::{HeaderMap, Method, Request, StatusCode, header};
use hyper::client::conn::http1;
use hyper::upgrade::{Parts, Upgraded};
use hyper_util::rt::TokioIo;

use super::attempt_error::AttemptError;
use super::io::Stream;
use super::outcome::{self, HttpAnswer};
use super::proxy::Proxy;
use super::redact::Redactor;
use super::target::Target;
use crate::model::{Failure, UnixMillis};

impl Proxy {
    /// Asks the proxy at the other end of `stream` for a way to `target`. What it answers else is
    /// judged as a server's answer is. SOURCE: RFC 9110 §9.3.6.
    pub(crate) async fn tunnel(
        &self,
        stream: Stream,
        target: &Target,
        now: UnixMillis,
    ) -> Result<Stream, AttemptError> {
        match open_tunnel(stream, self.request_for(target)?).await? {
            Ok(stream) => Ok(stream),
            Err((status, headers)) => Err(self.refusal(status, headers, target, now)),
        }
    }

    fn request_for(&self, target: &Target) -> Result<Request<String>, AttemptError> {
        let authority = format!("{}:{}", target.host(), target.port());
        let mut request = Request::new(String::new());
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = authority.parse().map_err(|error| no_way(&error))?;
        let host = authority.parse().map_err(|error| no_way(&error))?;
        request.headers_mut().insert(header::HOST, host);
        if let Some(value) = &self.authorization {
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, value.clone());
        }
        Ok(request)
    }

    /// Why the proxy lets nobody through. Its text is left out: it may repeat what it was told.
    fn refusal(
        &self,
        status: StatusCode,
        headers: HeaderMap,
        target: &Target,
        now: UnixMillis,
    ) -> AttemptError {
        let redactor = Redactor::new(&[], [target, target], self.authorization.as_ref());
        let (body, is_body_cut, bytes_sent, is_repeat) = (Vec::new(), false, 0, false);
        let answer = HttpAnswer { status, headers, body, is_body_cut, bytes_sent, is_repeat };
        let through = |mut failure: Failure| {
            failure.message = format!("the proxy gave no way through: {}", failure.message);
            failure
        };
        match outcome::judge(answer, now, &redactor) {
            Err(AttemptError::Failed(failure)) => AttemptError::Failed(through(failure)),
            Err(AttemptError::Retry(failure)) => AttemptError::Retry(through(failure)),
            Ok(_) => no_way(&status),
        }
    }
}

/// The other end of a tunnel, or what the proxy has answered instead.
async fn open_tunnel(
    stream: Stream,
    request: Request<String>,
) -> Result<Result<Stream, (StatusCode, HeaderMap)>, AttemptError> {
    let (mut sender, driver) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| no_way(&error))?;
    let mut driver = Some(driver.with_upgrades());
    let mut drive = move |cx: &mut Context<'_>| {
        if driver.as_mut().is_some_and(|driver| Pin::new(driver).poll(cx).is_ready()) {
            driver = None; // what has become of it is told to who waits for the answer
        }
    };
    let mut sending = pin!(sender.send_request(request));
    let answer = poll_fn(|cx| {
        drive(cx);
        sending.as_mut().poll(cx)
    });
    let answer = answer.await.map_err(|error| no_way(&error))?;
    if !answer.status().is_success() {
        return Ok(Err((answer.status(), answer.headers().clone())));
    }
    let mut upgrading = hyper::upgrade::on(answer);
    let upgraded = poll_fn(|cx| {
        drive(cx);
        Pin::new(&mut upgrading).poll(cx)
    });
    match upgraded.await.map_err(|error| no_way(&error))?.downcast() {
        Ok(Parts { io, read_buf, .. }) if read_buf.is_empty() => Ok(Ok(TokioIo::into_inner(io))),
        Ok(_) => Err(no_way(&"it spoke first")),
        Err(Upgraded { .. }) => Err(no_way(&"it is no connection of ours")),
    }
}

fn no_way(why: &dyn fmt::Display) -> AttemptError {
    AttemptError::network(format!("the proxy gave no way through: {why}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::model::ErrorCode;
    use crate::transfer::AddressPolicy;
    use crate::transfer::connect::Connector;
    use crate::transfer::proxy::Proxies;
    use crate::transfer::tls::Tls;

    fn target(url: &str) -> Target {
        Target::parse(url, true, &AddressPolicy::permissive()).unwrap()
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
        let proxies = Proxies::of(&format!("http://bob:hunter22@127.0.0.1:{port}"));
        let (addresses, tls) = (AddressPolicy::permissive(), Tls::new(None).unwrap());
        let connector = Connector::new(addresses, proxies, tls);
        let target = target(url);
        let proxy = connector.proxies.route(&target).unwrap();
        let most = Duration::from_secs(3);
        let connected = connector.connect(&target, proxy.as_ref(), most, 0).await;
        (hearing.await.unwrap(), connected)
    }

    #[tokio::test]
    async fn https_goes_through_a_tunnel_and_a_refusal_tells_no_credentials() {
        let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
        let (text, connected) = heard("https://files.example/up", refusal).await;
        assert!(text.starts_with("CONNECT files.example:443 HTTP/1.1\r\n"), "{text}");
        assert!(text.contains("Basic Ym9iOmh1bnRlcjIy"), "{text}");
        let Err(AttemptError::Failed(failure)) = connected else {
            panic!("a way through a closed door")
        };
        let said = "the proxy gave no way through: HTTP 407 Proxy Authentication Required";
        assert_eq!(failure.message, said);
    }

    #[tokio::test]
    async fn a_proxy_that_lets_nobody_through_is_judged_as_a_server_is() {
        let busy = "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n";
        let (_, connected) = heard("https://files.example/up", busy).await;
        let Err(AttemptError::Retry(failure)) = connected else { panic!("a way through") };
        assert_eq!((failure.http_status, failure.retry_after_ms), (Some(503), Some(7_000)));
        let (_, connected) = heard("https://files.example/up", "220 smtp.example\r\n\r\n").await;
        let Err(AttemptError::Retry(failure)) = connected else { panic!("a way through") };
        assert_eq!(failure.code, ErrorCode::NetworkError);
    }

    #[tokio::test]
    async fn a_way_on_which_somebody_speaks_first_is_none() {
        let early = "HTTP/1.1 200 Connection established\r\n\r\nwelcome";
        let (_, connected) = heard("https://files.example/up", early).await;
        let Err(AttemptError::Retry(failure)) = connected else { panic!("a way through") };
        assert_eq!(failure.message, "the proxy gave no way through: it spoke first");
    }

    #[tokio::test]
    async fn what_goes_through_a_tunnel_is_the_target_s_and_not_the_proxy_s() {
        let (ours, mut proxy) = tokio::io::duplex(1024);
        let asked = tokio::spawn(async move {
            let mut text = vec![0; 1024];
            let read = proxy.read(&mut text).await.unwrap();
            proxy.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
            let mut through = [0; 5];
            proxy.read_exact(&mut through).await.unwrap();
            proxy.write_all(&through).await.unwrap();
            String::from_utf8_lossy(&text[..read]).into_owned()
        });
        let proxies = Proxies::of("http://proxy.example");
        let target = target("https://[2001:db8::1]:8443/up");
        let proxy = proxies.route(&target).unwrap().unwrap();
        let mut stream = proxy.tunnel(Box::new(ours), &target, 0).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        let mut echo = [0; 5];
        stream.read_exact(&mut echo).await.unwrap();
        assert_eq!(&echo, b"hello");
        assert!(asked.await.unwrap().starts_with("CONNECT [2001:db8::1]:8443 HTTP/1.1\r\n"));
    }

    #[tokio::test]
    async fn a_strict_policy_judges_a_name_here_before_the_proxy_is_asked() {
        let target = target("https://files.invalid/up"); // a name that nobody may have
        let mut said = Vec::new();
        for addresses in [AddressPolicy::strict(), AddressPolicy::permissive()] {
            let nobody = Proxies::of("http://127.0.0.1:1");
            let connector = Connector::new(addresses, nobody, Tls::new(None).unwrap());
            let proxy = connector.proxies.route(&target).unwrap();
            let connected =
                connector.connect(&target, proxy.as_ref(), Duration::from_secs(20), 0).await;
            let Err(AttemptError::Retry(failure)) = connected else { panic!("a way to nowhere") };
            said.push(failure.message);
        }
        assert!(said[0].starts_with("files.invalid does not resolve"), "{said:?}");
        assert!(said[1].starts_with("cannot connect to 127.0.0.1:1"), "{said:?}");
    }
}
