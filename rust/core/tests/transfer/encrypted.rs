//! The same over TLS.

use std::future::Future;
use std::io::Write;
use std::sync::Arc;

use outhaul_core::model::ErrorCode;
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::NamedTempFile;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::kit::*;

const BIG: usize = 16 * 1024 * 1024;

/// A certificate for `name`, as a file to trust and as a server to use it.
struct Certificate {
    file: NamedTempFile,
    acceptor: TlsAcceptor,
}

impl Certificate {
    fn of(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(certificate.pem().as_bytes()).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Self { file, acceptor: TlsAcceptor::from(Arc::new(config)) }
    }

    fn trusted_by(&self, file: &[u8]) -> Kit {
        let mut config = config();
        config.ca_file = Some(self.file.path().to_owned());
        Kit::with(config, file)
    }

    async fn serve<F, R>(&self, handle: F) -> String
    where
        F: Fn(TlsStream<TcpStream>) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let (acceptor, handle) = (self.acceptor.clone(), Arc::new(handle));
        let url = serve(move |stream, _| {
            let (acceptor, handle) = (acceptor.clone(), Arc::clone(&handle));
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    handle(stream).await;
                }
            }
        })
        .await;
        url.replace("http:", "https:")
    }
}

async fn answer_all(mut stream: TlsStream<TcpStream>) {
    while let Some(seen) = read_request(&mut stream).await {
        let is_whole = seen.body == bytes(seen.body.len());
        say(&mut stream, if is_whole { OK } else { "HTTP/1.1 400 Bad\r\n\r\n" }).await;
    }
}

#[tokio::test]
async fn an_upload_over_tls_is_exact_and_keeps_its_connection() {
    let certificate = Certificate::of("127.0.0.1");
    let kit = certificate.trusted_by(&bytes(3_000_000));
    let url = certificate.serve(answer_all).await;
    for _ in 0..2 {
        assert_eq!(succeeded(kit.send(kit.raw(&url)).await).bytes_sent, 3_000_000);
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_final() {
    let certificate = Certificate::of("127.0.0.1");
    let url = certificate.serve(answer_all).await;
    let stranger = Certificate::of("127.0.0.1").trusted_by(b"x");
    let failure = failed(stranger.send(stranger.raw(&url)).await, ErrorCode::TlsError);
    assert!(failure.message.contains("certificate of 127.0.0.1 is not trusted"));
}

#[tokio::test]
async fn a_certificate_for_another_name_is_final() {
    let certificate = Certificate::of("example.com");
    let kit = certificate.trusted_by(b"x");
    let url = certificate.serve(answer_all).await;
    failed(kit.send(kit.raw(&url)).await, ErrorCode::TlsError);
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_may_do_so_later() {
    let kit = Certificate::of("127.0.0.1").trusted_by(b"x");
    let url = serve(|mut stream, _| async move { say(&mut stream, OK).await }).await;
    let job = kit.raw(&url.replace("http:", "https:"));
    let failure = retried(kit.send(job).await, ErrorCode::NetworkError);
    assert!(failure.message.contains("handshake"), "{}", failure.message);
}

#[tokio::test]
async fn an_early_refusal_wins_over_tls_too() {
    let certificate = Certificate::of("127.0.0.1");
    let url = certificate
        .serve(|mut stream| async move {
            read_head(&mut stream).await.unwrap();
            say(&mut stream, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n").await;
        })
        .await;
    for _ in 0..20 {
        let kit = certificate.trusted_by(&bytes(BIG));
        let failure = failed(kit.send(kit.raw(&url)).await, ErrorCode::HttpClientError);
        assert_eq!(failure.http_status, Some(413));
    }
}

#[tokio::test]
async fn a_certificate_file_that_holds_none_is_refused() {
    let mut file = NamedTempFile::new().unwrap();
    for text in ["", "not a certificate"] {
        file.write_all(text.as_bytes()).unwrap();
        let mut config = config();
        config.ca_file = Some(file.path().to_owned());
        let fault = outhaul_core::transfer::Transfers::new(config).unwrap_err();
        assert_eq!(fault.argument, "ca_file");
    }
}
