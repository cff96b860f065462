//! The one cryptography of the process: aws-lc-rs. Never asked of the library's global default, which any dependency may set.

use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ProtocolVersion, SupportedCipherSuite, SupportedProtocolVersion};

/// The provider. Its first key exchange is X25519MLKEM768, for clients that offer it; its first cipher is AES-128-GCM, which is
/// beyond attack as AES-256 is and costs less.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER
        .get_or_init(|| {
            let mut provider = aws_lc_rs::default_provider();
            // stable: TLS 1.3 stays before TLS 1.2
            let rank =
                |suite: &SupportedCipherSuite| (suite.tls13().is_none(), suite.suite().as_str().is_some_and(|n| !n.contains("AES_128")));
            provider.cipher_suites.sort_by_key(rank);
            Arc::new(provider)
        })
        .clone()
}

/// The versions that are wanted, newest first.
pub(super) fn versions(tls12: bool, tls13: bool) -> Vec<&'static SupportedProtocolVersion> {
    let wanted =
        |version: ProtocolVersion| (tls12 && version == ProtocolVersion::TLSv1_2) || (tls13 && version == ProtocolVersion::TLSv1_3);
    rustls::ALL_VERSIONS.iter().copied().filter(|v| wanted(v.version)).collect()
}
