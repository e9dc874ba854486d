//! A file, a client and a server whose every byte the test decides.

use std::future::Future;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outhaul_core::model::spec::UploadMethod;
use outhaul_core::model::{Clock, ErrorCode, Failure, Now, Outcome, Success};
use outhaul_core::multipart::{Boundary, Encoder, Escape, Part};
use outhaul_core::source::{PathPolicy, Source};
use outhaul_core::transfer::{
    AddressPolicy, Config, Observer, ResolvedHeader, Target, Timeouts, Transfers, Upload,
};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Now {
        Now::at(784_111_777_000) // Sun, 06 Nov 1994 08:49:37 GMT
    }
}

pub(crate) struct Sent {
    pub(crate) last: AtomicU64,
    pub(crate) calls: AtomicUsize,
    pub(crate) is_ascending: AtomicBool,
}

impl Observer for Sent {
    fn sent(&self, body_bytes_so_far: u64) {
        let before = self.last.swap(body_bytes_so_far, Ordering::SeqCst);
        self.is_ascending.fetch_and(before < body_bytes_so_far, Ordering::SeqCst);
        self.calls.fetch_add(1, Ordering::SeqCst);
    }
}

pub(crate) fn config() -> Config {
    let mut config = Config::new(Arc::new(Noon));
    config.env_proxies = false;
    config.frame_bytes = 64 * 1024;
    config
}

/// One file and what is needed to send it.
pub(crate) struct Kit {
    pub(crate) transfers: Transfers,
    pub(crate) sent: Arc<Sent>,
    pub(crate) timeouts: Timeouts,
    pub(crate) headers: Vec<ResolvedHeader>,
    dir: TempDir,
}

impl Kit {
    pub(crate) fn new(file: &[u8]) -> Self {
        Self::with(config(), file)
    }

    pub(crate) fn with(config: Config, file: &[u8]) -> Self {
        let second = Duration::from_secs(1);
        let timeouts = Timeouts { connect: second * 3, stall: second * 3, response: second * 3 };
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("file"), file).unwrap();
        let transfers = Transfers::new(config).unwrap();
        let sent = Arc::new(Sent {
            last: AtomicU64::new(0),
            calls: AtomicUsize::new(0),
            is_ascending: AtomicBool::new(true),
        });
        Self { transfers, sent, timeouts, headers: Vec::new(), dir }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("file")
    }

    pub(crate) fn append(&self, bytes: &[u8]) {
        let file = std::fs::File::options().append(true).open(self.path());
        file.unwrap().write_all(bytes).unwrap();
    }

    pub(crate) fn source(&self) -> Source {
        Source::open(&self.path(), &PathPolicy::anywhere()).unwrap()
    }

    /// The file and nothing else.
    pub(crate) fn raw(&self, url: &str) -> Upload {
        let len = self.source().fingerprint().unwrap().size;
        self.upload(url, Encoder::raw(len))
    }

    /// The file in a form.
    pub(crate) fn form(&self, url: &str) -> Upload {
        let len = self.source().fingerprint().unwrap().size;
        let parts = vec![Part::text("a", "b"), Part::file("photo", "file", "image/png", len)];
        let boundary = Boundary::from_random([7_u8; 16]);
        self.upload(url, Encoder::multipart(&boundary, parts, Escape::Html5).unwrap())
    }

    fn upload(&self, url: &str, encoder: Encoder) -> Upload {
        let source = self.source();
        let fingerprint = source.fingerprint().unwrap();
        let observer: Arc<dyn Observer> = self.sent.clone();
        Upload {
            method: UploadMethod::Post,
            target: Arc::new(Target::parse(url, false, &AddressPolicy::permissive()).unwrap()),
            headers: self.headers.clone(),
            encoder: Arc::new(encoder),
            source: Arc::new(source),
            fingerprint,
            media_type: None,
            idempotency_key: "key-1".to_owned(),
            is_repeat: false,
            timeouts: self.timeouts,
            observer,
        }
    }

    pub(crate) async fn send(&self, upload: Upload) -> Outcome {
        let most = Duration::from_secs(8);
        tokio::time::timeout(most, self.transfers.upload(upload)).await.expect("an outcome")
    }
}

/// `n` bytes; a frame that is lost, doubled or swapped shows, because no frame is a multiple of
/// 251.
pub(crate) fn bytes(n: usize) -> Vec<u8> {
    let period: Vec<u8> = (0..251).collect();
    let mut bytes = period.repeat(n / 251 + 1);
    bytes.truncate(n);
    bytes
}

/// A server that hands each connection, with its number from 0, to `handle`.
pub(crate) async fn serve<F, R>(handle: F) -> String
where
    F: Fn(TcpStream, usize) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            // Closing with bytes unread throws away an answer that Nagle still holds back.
            stream.set_nodelay(true).unwrap();
            tokio::spawn(handle(stream, number));
        }
    });
    format!("http://127.0.0.1:{port}/up")
}

/// A server for one connection, and what becomes of it there.
pub(crate) async fn serve_one<F, R>(handle: F) -> (String, JoinHandle<R::Output>)
where
    F: FnOnce(TcpStream) -> R + Send + 'static,
    R: Future<Output: Send> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = tokio::spawn(async move { handle(listener.accept().await.unwrap().0).await });
    (format!("http://127.0.0.1:{port}/up"), served)
}

/// A request as it came over the wire.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn content_length(&self) -> usize {
        self.header("content-length").unwrap().parse().unwrap()
    }
}

/// Reads one request; `None` where the client closed instead.
pub(crate) async fn read_request<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Seen> {
    let mut seen = read_head(stream).await?;
    let missing = seen.content_length() - seen.body.len();
    let mut rest = vec![0; missing];
    let read = stream.read_exact(&mut rest).await;
    seen.body.extend(rest);
    read.ok().map(|_| seen)
}

/// Reads a head and whatever came with it.
pub(crate) async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Seen> {
    let mut bytes = Vec::new();
    loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let body = bytes.split_off(at + 4);
            return Some(Seen { head: String::from_utf8(bytes).unwrap(), body });
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// Reads until the client closes; says how many bytes came.
pub(crate) async fn drain<S: AsyncRead + Unpin>(stream: &mut S) -> usize {
    let (mut count, mut buffer) = (0, vec![0; 64 * 1024]);
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        count += read;
    }
    count
}

pub(crate) async fn say<S: AsyncWrite + Unpin>(stream: &mut S, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}

/// A server that answers every request with `answer`, and the requests it saw.
pub(crate) async fn answering(answer: &'static str) -> (String, Arc<Mutex<Vec<Seen>>>) {
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let log = Arc::clone(&seen);
    let url = serve(move |mut stream, _| {
        let log = Arc::clone(&log);
        async move {
            while let Some(request) = read_request(&mut stream).await {
                log.lock().unwrap().push(request);
                say(&mut stream, answer).await;
            }
        }
    })
    .await;
    (url, seen)
}

pub(crate) fn succeeded(outcome: Outcome) -> Success {
    match outcome {
        Outcome::Succeeded(success) => success,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn retried(outcome: Outcome, code: ErrorCode) -> Failure {
    match outcome {
        Outcome::Retry(failure) if failure.code == code => failure,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn failed(outcome: Outcome, code: ErrorCode) -> Failure {
    match outcome {
        Outcome::Failed(failure) if failure.code == code => failure,
        other => panic!("{other:?}"),
    }
}
