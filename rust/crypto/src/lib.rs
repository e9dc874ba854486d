//! The cryptography under TLS: on each processor what encrypts fastest there.
//!
//! It is AWS-LC, but for the records on some processors. AWS-LC encrypts AES-GCM with vector
//! instructions (VAES) only where they are 512 bits wide (AVX-512), *ring* also where they are 256
//! bits wide (AVX2), as on AMD's Zen 3 and on Intel's processors without AVX-512. SOURCE:
//! `crypto_gcm_avx512_enabled` in AWS-LC 0.47, `aead/aes_gcm.rs` in *ring* 0.17.14. `cargo bench -p
//! outhaul-crypto` says what it is worth.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// What a TLS configuration is built with.
pub fn provider() -> Arc<CryptoProvider> {
    #[cfg(target_arch = "x86_64")]
    if is_ring_faster() {
        return Arc::new(with_records_of_ring());
    }
    Arc::new(aws_lc_rs::default_provider())
}

/// AWS-LC, but that *ring* encrypts the records, and hashes what is said in a handshake: the same
/// suites in the same order.
#[cfg(target_arch = "x86_64")]
fn with_records_of_ring() -> CryptoProvider {
    let cipher_suites = rustls::crypto::ring::default_provider().cipher_suites;
    CryptoProvider { cipher_suites, ..aws_lc_rs::default_provider() }
}

/// Whether the processor has what *ring* needs for its fastest AES-GCM, and not what AWS-LC needs.
#[cfg(target_arch = "x86_64")]
fn is_ring_faster() -> bool {
    let has_vaes = is_x86_feature_detected!("vaes") && is_x86_feature_detected!("vpclmulqdq");
    let has_avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2");
    let has_avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    has_vaes && has_avx2 && !has_avx512
}

#[cfg(test)]
mod tests;
