//! Encryption: rustls, with the host's certificates or a given file of them.

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, IpAddr, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio_rustls::TlsConnector;
use url::Host;

use super::attempt_error::AttemptError;
use super::io::Stream;
use crate::model::{ErrorCode, Fault};

/// As much is encrypted before the socket takes it: six records, with one system call. rustls has
/// 64 KiB. With 512 KiB glibc gave the records' memory back to the kernel after each call
/// (`M_TRIM_THRESHOLD` is 128 KiB).
const UNSENT_BYTES_MAX: usize = 96 * 1024;

/// Wraps streams in TLS.
pub(crate) struct Tls {
    given: Option<Arc<ClientConfig>>,
    /// The host's own certificates, read when the first `https` target needs them.
    system: OnceLock<Arc<ClientConfig>>,
}

impl Tls {
    /// With `ca_file` (PEM) only its certificates are trusted, as everywhere else.
    pub(crate) fn new(ca_file: Option<&Path>) -> Result<Self, Fault> {
        let given = ca_file.map(roots_of).transpose()?.map(config).transpose();
        let given = given.map_err(|message| Fault::invalid("ca_file", message))?;
        Ok(Self { given, system: OnceLock::new() })
    }

    /// A handshake with `host` over `stream`.
    pub(crate) async fn wrap(&self, stream: Stream, host: &Host) -> Result<Stream, AttemptError> {
        let failed = |message: String| AttemptError::failed(ErrorCode::TlsError, message);
        let config = self.config()?;
        let name = match host {
            Host::Domain(name) => ServerName::try_from(name.clone())
                .map_err(|_| failed(format!("TLS: {name} cannot be in a certificate")))?,
            Host::Ipv4(ip) => ServerName::IpAddress(IpAddr::from(std::net::IpAddr::V4(*ip))),
            Host::Ipv6(ip) => ServerName::IpAddress(IpAddr::from(std::net::IpAddr::V6(*ip))),
        };
        let set_up = |session: &mut ClientConnection| {
            session.set_buffer_limit(Some(UNSENT_BYTES_MAX));
        };
        let stream = TlsConnector::from(config).connect_with(name, stream, set_up).await;
        Ok(Box::new(stream.map_err(|error| refused(&error, host))?))
    }

    fn config(&self) -> Result<Arc<ClientConfig>, AttemptError> {
        if let Some(known) = self.given.as_ref().or_else(|| self.system.get()) {
            return Ok(Arc::clone(known));
        }
        let made = config(system_roots()?);
        let made = made.map_err(|message| AttemptError::failed(ErrorCode::TlsError, message))?;
        Ok(Arc::clone(self.system.get_or_init(|| made)))
    }
}

fn config(roots: RootCertStore) -> Result<Arc<ClientConfig>, String> {
    let builder = ClientConfig::builder_with_provider(outhaul_crypto::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn roots_of(file: &Path) -> Result<RootCertStore, Fault> {
    let refuse = |why: String| Fault::invalid("ca_file", format!("{}: {why}", file.display()));
    let mut roots = RootCertStore::empty();
    for certificate in
        CertificateDer::pem_file_iter(file).map_err(|error| refuse(error.to_string()))?
    {
        let certificate = certificate.map_err(|error| refuse(error.to_string()))?;
        roots.add(certificate).map_err(|error| refuse(error.to_string()))?;
    }
    if roots.is_empty() { Err(refuse("has no certificate in PEM form".into())) } else { Ok(roots) }
}

/// What the host trusts; where it has nothing to say, what browsers trust. That it could not be
/// asked now is no answer: another attempt asks again.
fn system_roots() -> Result<RootCertStore, AttemptError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    match found.errors.first() {
        Some(error) if roots.is_empty() => Err(AttemptError::network(format!(
            "TLS: the host's certificates cannot be read: {error}"
        ))),
        _ => {
            if roots.is_empty() {
                roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            }
            Ok(roots)
        }
    }
}

/// What is said where a server asks for a client's certificate.
pub(crate) const NO_CERTIFICATE: &str =
    "TLS: the server wants a client certificate, and outhaul has none to show";

/// Whether a connection ended because the server wants a client's certificate. With TLS 1.3 that is
/// known only after the handshake. SOURCE: RFC 8446 §6.2.
pub(crate) fn wants_certificate(error: &(dyn std::error::Error + 'static)) -> bool {
    use rustls::{AlertDescription, Error as Tls};
    let wanted = Tls::AlertReceived(AlertDescription::CertificateRequired);
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.any(|cause| {
        let of_io = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        of_io.and_then(|inner| inner.downcast_ref::<Tls>()) == Some(&wanted)
    })
}

/// What a failed handshake means: a certificate that is not trusted stays so, a lost record not.
fn refused(error: &io::Error, host: &Host) -> AttemptError {
    use rustls::{AlertDescription, Error as Tls};
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Tls>());
    match inner {
        Some(reason @ (Tls::InvalidCertificate(_) | Tls::NoCertificatesPresented)) => {
            let message = format!(
                "TLS: the certificate of {host} is not trusted: {reason}; if it is of a CA of your own, \
                 give that as ca_file"
            );
            AttemptError::failed(ErrorCode::TlsError, message)
        }
        Some(
            reason @ (Tls::PeerIncompatible(_)
            | Tls::NoApplicationProtocol
            | Tls::AlertReceived(
                AlertDescription::HandshakeFailure
                | AlertDescription::ProtocolVersion
                | AlertDescription::InsufficientSecurity
                | AlertDescription::NoApplicationProtocol,
            )),
        ) => {
            let message = format!("TLS: {host} and outhaul have no protocol in common: {reason}");
            AttemptError::failed(ErrorCode::TlsError, message)
        }
        Some(Tls::AlertReceived(AlertDescription::CertificateRequired)) => {
            AttemptError::failed(ErrorCode::TlsError, NO_CERTIFICATE)
        }
        _ => AttemptError::network(format!("TLS: the handshake with {host} failed: {error}")),
    }
}
