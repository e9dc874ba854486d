//! The server of the upload benchmarks: reads requests, discards bodies, counts, and answers 200.
//!
//! It knows just enough HTTP/1.1 for the clients measured there: Content-Length, Expect, keep-alive.
//! Native, so that what is measured is the client: a server in Python spends more on a TLS record
//! than any client does. A thread a connection, a buffer of 1 MiB. `GET /` answers with what was
//! counted. It says its port on its first line and ends with its standard input.
//!
//! ```text
//! sink [CERTIFICATE KEY]
//! ```
#![allow(clippy::print_stdout, reason = "the port is told on the standard output")]

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

const BUFFER_BYTES: usize = 1024 * 1024;
const HEAD_BYTES_MAX: usize = 64 * 1024;
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok";

static REQUESTS: AtomicU64 = AtomicU64::new(0);
static BODY_BYTES: AtomicU64 = AtomicU64::new(0);
static CIPHERS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let tls = match (arguments.next(), arguments.next()) {
        (Some(certificate), Some(key)) => Some(Arc::new(tls(&certificate, &key)?)),
        _ => None,
    };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let tls = tls.clone();
            std::thread::spawn(move || serve(connection, tls));
        }
    });
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

fn tls(certificate: &str, key: &str) -> Result<ServerConfig, Box<dyn Error>> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_no_client_auth().with_single_cert(chain, key)?)
}

/// One connection, until the client ends it. What breaks it is the client's to report.
fn serve(connection: TcpStream, tls: Option<Arc<ServerConfig>>) -> Option<()> {
    connection.set_nodelay(true).ok()?;
    match tls {
        None => answer_all(connection, || None).ok(),
        Some(config) => {
            let session = ServerConnection::new(config).ok()?;
            let mut stream = StreamOwned::new(session, connection);
            while stream.conn.is_handshaking() {
                stream.conn.complete_io(&mut stream.sock).ok()?;
            }
            let suite = stream.conn.negotiated_cipher_suite();
            let version = stream.conn.protocol_version();
            let name = format!("{version:?} {:?}", suite.map(|suite| suite.suite()));
            answer_all(stream, || Some(name.clone())).ok()
        }
    }
}

fn answer_all<S: Read + Write>(
    mut stream: S,
    cipher: impl Fn() -> Option<String>,
) -> io::Result<()> {
    if let Some(name) = cipher() {
        let mut ciphers = CIPHERS.lock().unwrap_or_else(PoisonError::into_inner);
        if !ciphers.contains(&name) {
            ciphers.push(name);
        }
    }
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut head = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = head.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            let count = stream.read(&mut buffer)?;
            if count == 0 || head.len() > HEAD_BYTES_MAX {
                return Ok(());
            }
            head.extend_from_slice(buffer.get(..count).unwrap_or_default());
        };
        let rest = head.split_off(end);
        let request = String::from_utf8_lossy(&head).to_ascii_lowercase();
        if request.starts_with("get ") {
            stream.write_all(totals().as_bytes())?;
            head = rest;
            continue;
        }
        let length = length_of(&request).unwrap_or(0);
        if request.contains("\r\nexpect: 100-continue") {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        head = discard(&mut stream, &mut buffer, rest, length)?;
        REQUESTS.fetch_add(1, Ordering::Relaxed);
        BODY_BYTES.fetch_add(length, Ordering::Relaxed);
        stream.write_all(OK)?;
    }
}

fn length_of(request: &str) -> Option<u64> {
    let after = request.split_once("\r\ncontent-length:")?.1;
    after.split_once("\r\n")?.0.trim().parse().ok()
}

/// Reads a body of `length` bytes, of which `begun` is there; gives back what comes after it.
fn discard<S: Read>(
    stream: &mut S,
    buffer: &mut [u8],
    mut begun: Vec<u8>,
    length: u64,
) -> io::Result<Vec<u8>> {
    let there = u64::try_from(begun.len()).unwrap_or(u64::MAX);
    if there >= length {
        return Ok(begun.split_off(usize::try_from(length).unwrap_or_default()));
    }
    let mut left = length - there;
    while left > 0 {
        let count = stream.read(buffer)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        if count > left {
            let from = usize::try_from(left).unwrap_or_default();
            let to = usize::try_from(count).unwrap_or_default();
            return Ok(buffer.get(from..to).unwrap_or_default().to_vec());
        }
        left -= count;
    }
    Ok(Vec::new())
}

fn totals() -> String {
    let ciphers = CIPHERS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let body = format!(
        r#"{{"requests": {}, "body_bytes": {}, "ciphers": {ciphers:?}}}"#,
        REQUESTS.load(Ordering::Relaxed),
        BODY_BYTES.load(Ordering::Relaxed),
    );
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
