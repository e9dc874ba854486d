//! How fast records of 16 KiB are encrypted with AES-256-GCM: by AWS-LC, by *ring*, and by what is
//! used here.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark is its own documentation")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rustls::crypto::CryptoProvider;
use rustls::crypto::cipher::{AeadKey, Iv, MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::{CipherSuite, ContentType, ProtocolVersion};

const RECORD_BYTES: usize = 16 * 1024;

fn encrypter(of: &CryptoProvider) -> Box<dyn MessageEncrypter> {
    let wanted = CipherSuite::TLS13_AES_256_GCM_SHA384;
    let suite = of.cipher_suites.iter().find(|suite| suite.suite() == wanted).unwrap();
    let key = AeadKey::from([7; 32]);
    suite.tls13().unwrap().aead_alg.encrypter(key, Iv::copy(&[7; 12]))
}

fn records(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a record of 16 KiB");
    group.throughput(Throughput::Bytes(u64::try_from(RECORD_BYTES).unwrap()));
    let said = vec![7; RECORD_BYTES];
    let mut measure = |name: &str, provider: &CryptoProvider| {
        let mut encrypter = encrypter(provider);
        let mut number = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let typ = ContentType::ApplicationData;
                let version = ProtocolVersion::TLSv1_3;
                let payload = OutboundChunks::Single(&said);
                let record = OutboundPlainMessage { typ, version, payload };
                black_box(encrypter.encrypt(record, number).unwrap());
                number += 1;
            });
        });
    };
    measure("AWS-LC", &rustls::crypto::aws_lc_rs::default_provider());
    #[cfg(target_arch = "x86_64")]
    measure("ring", &rustls::crypto::ring::default_provider());
    measure("what is used", &outhaul_crypto::provider());
}

criterion_group!(benches, records);
criterion_main!(benches);
