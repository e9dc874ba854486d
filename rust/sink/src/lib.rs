//! The server of the upload benchmarks: reads requests, discards bodies, counts, and answers 200.
//!
//! It knows just enough HTTP/1.1 for the clients measured there: a body by its length or in chunks,
//! Expect, keep-alive. Native, so that what is measured is the client: a server in Python spends
//! more on a TLS record than any client does. A thread a connection, a buffer of 1 MiB. `GET`
//! answers with what was counted.

mod body;

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use body::{Body, length_of};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

const BUFFER_BYTES: usize = 1024 * 1024;
const HEAD_BYTES_MAX: usize = 64 * 1024;
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok";

static REQUESTS: AtomicU64 = AtomicU64::new(0);
static BODY_BYTES: AtomicU64 = AtomicU64::new(0);
static CIPHERS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Serves on loopback until the process ends, over TLS where a certificate and its key are given
/// (PEM files). Returns the port.
pub fn serve(tls: Option<(&Path, &Path)>) -> Result<u16, Box<dyn Error>> {
    let tls = tls.map(|(certificate, key)| config(certificate, key)).transpose()?.map(Arc::new);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let tls = tls.clone();
            std::thread::spawn(move || answer(connection, tls));
        }
    });
    Ok(port)
}

fn config(certificate: &Path, key: &Path) -> Result<ServerConfig, Box<dyn Error>> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let builder = ServerConfig::builder_with_provider(outhaul_crypto::provider())
        .with_safe_default_protocol_versions()?;
    Ok(builder.with_no_client_auth().with_single_cert(chain, key)?)
}

/// One connection, until the client ends it. What breaks it is the client's to report.
fn answer(connection: TcpStream, tls: Option<Arc<ServerConfig>>) -> Option<()> {
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
        if request.contains("\r\nexpect: 100-continue") {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let mut body = Body::new(length_of(&request));
        head = discard(&mut stream, &mut buffer, rest, &mut body)?;
        REQUESTS.fetch_add(1, Ordering::Relaxed);
        BODY_BYTES.fetch_add(body.bytes(), Ordering::Relaxed);
        stream.write_all(OK)?;
    }
}

/// Reads a body to its end, of which `begun` is there; gives back what comes after it.
fn discard<S: Read>(
    stream: &mut S,
    buffer: &mut [u8],
    begun: Vec<u8>,
    body: &mut Body,
) -> io::Result<Vec<u8>> {
    let taken = body.take(&begun)?;
    if body.is_whole() {
        return Ok(begun.get(taken..).unwrap_or_default().to_vec());
    }
    loop {
        let count = stream.read(buffer)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let piece = buffer.get(..count).unwrap_or_default();
        let taken = body.take(piece)?;
        if body.is_whole() {
            return Ok(piece.get(taken..).unwrap_or_default().to_vec());
        }
    }
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
