//! One attempt of an upload over HTTP/1.1: connect, send exactly the body, read the answer, say
//! what it means.
//!
//! ```text
//! mod         Transfers::upload: idle or new connection, redirects, verdict
//! exchange    one request on one connection, driven by the caller; idle: those kept open
//! connect     lookups → guard (judge) → socket → proxy (proxy_env, tunnel) → tls
//! body        frames by offset · buffer: reused, counted · counter: what was sent · timer: time-outs
//! target · headers · redirect · retry_after · outcome · redact      pure; targets: the last one read
//! io          a socket on which an answer wins over a broken pipe · flushed: what of it has left us
//! attempt_error: how an attempt ends that did not succeed
//! ```
//!
//! **Architecture invariants.** An attempt is one future and owns its connection: dropping it
//! closes the socket, and nothing is left running. A body that was begun is sent again within an
//! attempt only from its first byte: where the server redirects, and, if it is small, where a
//! connection that was kept is lost.

mod attempt_error;
mod body;
mod buffer;
mod connect;
mod counter;
mod exchange;
mod flushed;
mod guard;
pub mod headers;
mod idle;
mod io;
mod lookups;
mod outcome;
mod proxy;
mod proxy_env;
mod redact;
mod redirect;
mod retry_after;
mod target;
mod targets;
mod timer;
mod tls;
mod tunnel;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, StatusCode, Uri};

use crate::model::spec::UploadMethod;
use crate::model::{Clock, Fault, Outcome, Success};
use crate::multipart::{Encoder, MEDIA_TYPE_UNKNOWN};
use crate::source::{Fingerprint, Source};
use body::{Material, UploadBody};
use connect::Connector;
use counter::BodyCounter;
use exchange::{Broken, Connection};
use headers::BodyFacts;
use idle::Idle;
use outcome::HttpAnswer;
use proxy::{Proxies, Proxy};
use redact::Redactor;
use timer::RequestTimer;
use tls::Tls;

pub(crate) use attempt_error::AttemptError;

pub use guard::{AddressPolicy, Refusal};
pub use headers::ResolvedHeader;
pub use redirect::REDIRECTS_MAX;
pub use target::{Target, URL_BYTES_MAX};
pub use targets::Targets;

/// Connections kept open while unused: few beside the 1024 files that a process may usually open.
pub const IDLE_MAX: usize = 64;

/// How transfers are made, for as long as a manager is open.
#[derive(Clone)]
pub struct Config {
    /// Which addresses may be connected to.
    pub addresses: AddressPolicy,
    /// The certificates to trust instead of the host's, as PEM.
    pub ca_file: Option<PathBuf>,
    /// Whether the proxies that the environment names are used. Loopback targets never are.
    pub env_proxies: bool,
    /// Bytes read and written at a time, 16 KiB to 4 MiB. A transfer holds at most two frames.
    pub frame_bytes: usize,
    /// At most this many connections to an origin are kept open while unused.
    pub idle_per_host: usize,
    /// At most this many in all.
    pub idle_max: usize,
    /// The wall clock, for a `Retry-After` that names a date.
    pub clock: Arc<dyn Clock>,
}

impl Config {
    /// What an embedded manager uses.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            addresses: AddressPolicy::permissive(),
            ca_file: None,
            env_proxies: true,
            frame_bytes: 512 * 1024,
            idle_per_host: 32,
            idle_max: IDLE_MAX,
            clock,
        }
    }
}

/// Makes transfers: the connections, the certificates and the proxies they share.
pub struct Transfers {
    connector: Connector,
    idle: Arc<Idle>,
    frame_bytes: usize,
    clock: Arc<dyn Clock>,
}

/// Hears how far an attempt is.
pub trait Observer: Send + Sync {
    /// The socket took body bytes: `body_bytes_so_far` in all since the body was begun. Called for
    /// every write, on the thread that writes: it must be cheap. A body that is sent again counts
    /// from 0 again.
    fn sent(&self, body_bytes_so_far: u64);
}

/// The time-outs of one attempt. There is none for the whole of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection, encryption and proxies included.
    pub connect: Duration,
    /// Without a byte moving while the body is sent. Noticed up to a quarter later.
    pub stall: Duration,
    /// From the last byte sent to the end of the answer.
    pub response: Duration,
}

/// One attempt.
pub struct Upload {
    /// `POST` or `PUT`.
    pub method: UploadMethod,
    /// Where to.
    pub target: Arc<Target>,
    /// The caller's headers, in order.
    pub headers: Vec<ResolvedHeader>,
    /// The body.
    pub encoder: Arc<Encoder>,
    /// The file in it.
    pub source: Arc<Source>,
    /// What the file was when it was enqueued.
    pub fingerprint: Fingerprint,
    /// The media type of a raw body, where `headers` has none.
    pub media_type: Option<String>,
    /// The same in every attempt of a task.
    pub idempotency_key: String,
    /// Whether an earlier attempt may have reached the server.
    pub is_repeat: bool,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// Hears how far it is.
    pub observer: Arc<dyn Observer>,
}

impl Transfers {
    /// Reads the environment and the certificates once.
    pub fn new(config: Config) -> Result<Self, Fault> {
        let proxies = if config.env_proxies { Proxies::from_env() } else { Proxies::none() };
        let tls = Tls::new(config.ca_file.as_deref())?;
        Ok(Self {
            connector: Connector::new(config.addresses, proxies, tls),
            idle: Idle::new(config.idle_per_host, config.idle_max, Arc::clone(&config.clock)),
            frame_bytes: config.frame_bytes.clamp(16 * 1024, 4 * 1024 * 1024),
            clock: config.clock,
        })
    }

    /// Closes the connections that nobody uses: the network is another one now, and does not know
    /// them.
    pub fn forget_idle(&self) {
        self.idle.clear();
    }

    /// Makes one attempt. Dropping the future ends it at once and closes the connection.
    pub async fn upload(&self, job: Upload) -> Outcome {
        match self.attempt(&job).await {
            Ok(success) => Outcome::Succeeded(success),
            Err(ended) => ended.into(),
        }
    }

    async fn attempt(&self, job: &Upload) -> Result<Success, AttemptError> {
        // As it was a moment ago: to look again might block here. The end of the body looks.
        job.source.verify_opened(&job.fingerprint)?;
        let material = job.material();
        let mut target = Arc::clone(&job.target);
        let mut hops = 0;
        loop {
            let proxy = self.connector.proxies.route(&target)?;
            // A server that redirects may close, which is not known yet: only the first asks over a
            // connection that was kept.
            let kept = if hops == 0 { self.idle.take(target.origin()) } else { None };
            let mut answer = self.ask(kept, job, &material, &target, proxy.as_ref()).await?;
            answer.is_repeat |= job.is_repeat;
            let at_proxy = proxy.as_ref().and_then(|proxy| proxy.authorization.as_ref());
            let redactor = Redactor::new(&job.headers, [&job.target, &target], at_proxy);
            match redirect::next(&target, &answer, self.connector.addresses(), &redactor)? {
                Some(_) if hops == REDIRECTS_MAX => return Err(redirect::too_many(&answer)),
                Some(next) => target = Arc::new(next),
                None => return outcome::judge(answer, self.clock.now().wall_ms, &redactor),
            }
            hops += 1;
        }
    }

    /// One answer, over a connection that was kept or, where that was stale, a new one.
    async fn ask(
        &self,
        kept: Option<Connection>,
        job: &Upload,
        from: &Material,
        to: &Target,
        proxy: Option<&Proxy>,
    ) -> Result<HttpAnswer, AttemptError> {
        let is_repeat = kept.is_some();
        if let Some(kept) = kept {
            match self.ask_over(kept, job, from, to, proxy).await {
                Err(Broken::Stale) => {}
                Err(Broken::Ended(ended)) => return Err(ended),
                Ok(answer) => return Ok(answer),
            }
        }
        let (most, now) = (job.timeouts.connect, self.clock.now().wall_ms);
        let stream = self.connector.connect(to, proxy, most, now).await?;
        let new = Connection::open(stream, self.frame_bytes).await?;
        match self.ask_over(new, job, from, to, proxy).await {
            Err(Broken::Stale) => Err(AttemptError::network("the connection was closed at once")),
            Err(Broken::Ended(ended)) => Err(ended),
            Ok(answer) => Ok(HttpAnswer { is_repeat, ..answer }),
        }
    }

    async fn ask_over(
        &self,
        connection: Connection,
        job: &Upload,
        from: &Material,
        to: &Target,
        proxy: Option<&Proxy>,
    ) -> Result<HttpAnswer, Broken> {
        let total = job.encoder.content_length();
        let counter = Arc::new(BodyCounter::new(total, Arc::clone(&job.observer)));
        let body = UploadBody::new(from.clone(), self.frame_bytes, Arc::clone(&counter));
        let request = job.request(body, to, proxy)?;
        let timer = RequestTimer::new(Arc::clone(&counter), job.timeouts);
        let (answer, connection) = connection.send(request, &counter, timer).await?;
        // SOURCE: RFC 9110 §15.5.9, §15.5.20: these two are about the connection.
        let is_about_connection =
            matches!(answer.status, StatusCode::REQUEST_TIMEOUT | StatusCode::MISDIRECTED_REQUEST);
        if let Some(connection) = connection.filter(|_| !is_about_connection) {
            self.idle.put(to.origin(), connection);
        }
        Ok(answer)
    }
}

impl fmt::Debug for Transfers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transfers").finish_non_exhaustive()
    }
}

impl Upload {
    fn material(&self) -> Material {
        Material {
            encoder: Arc::clone(&self.encoder),
            source: Arc::clone(&self.source),
            fingerprint: self.fingerprint,
        }
    }

    fn request(
        &self,
        body: UploadBody,
        to: &Target,
        proxy: Option<&Proxy>,
    ) -> Result<Request<UploadBody>, AttemptError> {
        let media_type = self.media_type.as_deref().unwrap_or(MEDIA_TYPE_UNKNOWN);
        let facts = BodyFacts {
            content_length: self.encoder.content_length(),
            multipart_type: self.encoder.content_type(),
            media_type: media_type.to_owned(),
        };
        let mut headers =
            headers::build(to.authority(), &self.headers, &facts, &self.idempotency_key)
                .map_err(AttemptError::Failed)?;
        let mut uri = Uri::from(to.path().clone());
        // A proxy that forwards in the clear is told where to; a tunnel knows already.
        if let Some(proxy) = proxy.filter(|_| !to.is_secure()) {
            uri = to.absolute().map_err(AttemptError::network)?;
            if let Some(value) = &proxy.authorization {
                headers.insert(http::header::PROXY_AUTHORIZATION, value.clone());
            }
        }
        let mut request = Request::new(body);
        *request.method_mut() = match self.method {
            UploadMethod::Post => Method::POST,
            UploadMethod::Put => Method::PUT,
        };
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use tempfile::NamedTempFile;

    use super::*;
    use crate::source::PathPolicy;

    struct Nobody;

    impl Observer for Nobody {
        fn sent(&self, _: u64) {}
    }

    #[test]
    fn a_proxy_that_forwards_is_told_the_whole_address_and_its_own_credentials() {
        let file = NamedTempFile::new().unwrap();
        let source = Source::open(file.path(), &PathPolicy::anywhere()).unwrap();
        let url = "http://files.example:81/up?a=b";
        let second = Duration::from_secs(1);
        let job = Upload {
            method: UploadMethod::Put,
            target: Arc::new(Target::parse(url, true, &AddressPolicy::permissive()).unwrap()),
            headers: Vec::new(),
            encoder: Arc::new(Encoder::raw(0)),
            fingerprint: source.fingerprint().unwrap(),
            source: Arc::new(source),
            media_type: Some("image/png".to_owned()),
            idempotency_key: "k".to_owned(),
            is_repeat: false,
            timeouts: Timeouts { connect: second, stall: second, response: second },
            observer: Arc::new(Nobody),
        };
        let proxies = Proxies::of("http://bob:hunter22@proxy.example:3128");
        let proxy = proxies.route(&job.target).unwrap();
        let request = |proxy: Option<&Proxy>| {
            let counter = Arc::new(BodyCounter::new(0, Arc::new(Nobody)));
            job.request(UploadBody::new(job.material(), 1, counter), &job.target, proxy).unwrap()
        };
        let (direct, forwarded) = (request(None), request(proxy.as_ref()));
        assert_eq!(direct.uri(), "/up?a=b");
        assert_eq!(forwarded.uri(), url);
        for request in [&direct, &forwarded] {
            assert_eq!(request.method(), Method::PUT);
            assert_eq!(request.headers()["host"], "files.example:81");
            assert_eq!(request.headers()["content-type"], "image/png");
        }
        assert!(!direct.headers().contains_key("proxy-authorization"));
        assert_eq!(forwarded.headers()["proxy-authorization"], "Basic Ym9iOmh1bnRlcjIy");
    }
}
