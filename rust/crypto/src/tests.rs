//! Sessions between what we use and AWS-LC by itself.

use std::io::{Read, Write};

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{CipherSuite, ClientConfig, ClientConnection, RootCertStore};
use rustls::{ServerConfig, ServerConnection};

use super::*;

/// More than a record, and not a multiple of one.
const MESSAGE_BYTES: usize = 100_001;

fn connected(
    client: Arc<CryptoProvider>,
    server: Arc<CryptoProvider>,
) -> (ClientConnection, ServerConnection) {
    let is_rsa = [&client, &server].iter().any(|of| is_for_rsa(of));
    let signs = if is_rsa { &PKCS_RSA_SHA256 } else { &PKCS_ECDSA_P256_SHA256 };
    let signing_key = KeyPair::generate_for(signs).unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let cert = params.self_signed(&signing_key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let server = ServerConfig::builder_with_provider(server)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let client = ClientConfig::builder_with_provider(client)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        carry(&mut client, &mut server);
        carry(&mut server, &mut client);
    }
    (client, server)
}

/// Carries what one side has to say to the other.
fn carry<A, B>(from: &mut rustls::ConnectionCommon<A>, to: &mut rustls::ConnectionCommon<B>) {
    let mut wire = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut wire).unwrap();
    }
    let mut wire = wire.as_slice();
    while !wire.is_empty() {
        to.read_tls(&mut wire).unwrap();
        to.process_new_packets().unwrap();
    }
}

/// Sends a message, and reads it on the other side.
fn tell<A, B>(from: &mut rustls::ConnectionCommon<A>, to: &mut rustls::ConnectionCommon<B>) {
    let said: Vec<u8> = (0..=250).cycle().take(MESSAGE_BYTES).collect();
    let mut heard = Vec::new();
    for piece in said.chunks(10_000) {
        from.writer().write_all(piece).unwrap();
        carry(from, to);
        // Errors where nothing is left to read, which is the end of this piece.
        drop(to.reader().read_to_end(&mut heard));
    }
    assert_eq!(heard, said);
}

/// A session in each suite, with what we use on either side.
fn talk(ours: &CryptoProvider) {
    let theirs = Arc::new(aws_lc_rs::default_provider());
    for suite in &ours.cipher_suites {
        let only = CryptoProvider { cipher_suites: vec![*suite], ..ours.clone() };
        let only = Arc::new(only);
        let (mut client, mut server) = connected(Arc::clone(&only), Arc::clone(&theirs));
        assert_eq!(client.negotiated_cipher_suite().unwrap().suite(), suite.suite());
        tell(&mut client, &mut server);
        tell(&mut server, &mut client);
        let (mut client, mut server) = connected(Arc::clone(&theirs), only);
        tell(&mut client, &mut server);
        tell(&mut server, &mut client);
    }
}

/// Whether its only suite asks the server for an RSA certificate.
fn is_for_rsa(of: &CryptoProvider) -> bool {
    matches!(names(of).as_slice(), [only] if format!("{only:?}").contains("_RSA_"))
}

fn names(of: &CryptoProvider) -> Vec<CipherSuite> {
    of.cipher_suites.iter().map(rustls::SupportedCipherSuite::suite).collect()
}

/// What is used here, and what is used on other processors.
fn ours() -> Vec<CryptoProvider> {
    vec![
        CryptoProvider::clone(&provider()),
        #[cfg(target_arch = "x86_64")]
        with_records_of_ring(),
    ]
}

#[test]
fn the_suites_are_those_of_aws_lc_in_its_order() {
    for ours in ours() {
        assert_eq!(names(&ours), names(&aws_lc_rs::default_provider()));
    }
}

#[test]
fn a_session_in_any_suite_is_understood_by_aws_lc() {
    for ours in ours() {
        talk(&ours);
    }
}

#[test]
fn a_post_quantum_exchange_is_offered() {
    for ours in ours() {
        let names: Vec<_> = ours.kx_groups.iter().map(|group| group.name()).collect();
        assert!(names.contains(&rustls::NamedGroup::X25519MLKEM768), "{names:?}");
    }
}
