//! The one cryptography of the process: aws-lc-rs. Never asked of the library's global default, which any dependency may set.

use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ProtocolVersion, SupportedProtocolVersion};

/// The provider. Its first key exchange is X25519MLKEM768, for clients that offer it.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(aws_lc_rs::default_provider())).clone()
}

/// The versions that are wanted, newest first.
pub(super) fn versions(tls12: bool, tls13: bool) -> Vec<&'static SupportedProtocolVersion> {
    let wanted = |version: ProtocolVersion| match version {
        ProtocolVersion::TLSv1_2 => tls12,
        ProtocolVersion::TLSv1_3 => tls13,
        _ => false,
    };
    rustls::ALL_VERSIONS.iter().copied().filter(|v| wanted(v.version)).collect()
}
