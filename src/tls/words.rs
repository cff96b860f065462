//! The words for what TLS agreed on and for what it failed with, as logs and metrics have them.

use rustls::Error;

/// The name of a cipher suite as the IANA has it: the library calls those of TLS 1.3 `TLS13_…`.
pub(super) fn suite(name: &'static str) -> &'static str {
    match name {
        "TLS13_AES_128_GCM_SHA256" => "TLS_AES_128_GCM_SHA256",
        "TLS13_AES_256_GCM_SHA384" => "TLS_AES_256_GCM_SHA384",
        "TLS13_CHACHA20_POLY1305_SHA256" => "TLS_CHACHA20_POLY1305_SHA256",
        other => other,
    }
}

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// What came is no TLS.
    NotTls,
    /// The peer breaks the protocol.
    Malformed,
    /// A ClientHello of more than 16 KiB.
    TooLarge,
    /// It was not over in time.
    Timeout,
    /// The peer went away.
    Closed,
    /// No certificate for the name, or no name.
    NoCertificate,
    /// No version, cipher suite, group or signature in common.
    Incompatible,
    /// The peer shows no certificate.
    PeerCertificateMissing,
    /// The peer's certificate is refused.
    PeerCertificateRefused,
    /// The peer ended it with an alert: it refuses what it was shown.
    Alert,
    /// A fault of ours.
    Internal,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::NotTls,
        Self::Malformed,
        Self::TooLarge,
        Self::Timeout,
        Self::Closed,
        Self::NoCertificate,
        Self::Incompatible,
        Self::PeerCertificateMissing,
        Self::PeerCertificateRefused,
        Self::Alert,
        Self::Internal,
    ];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotTls => "not_tls",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::NoCertificate => "no_certificate",
            Self::Incompatible => "incompatible",
            Self::PeerCertificateMissing => "peer_certificate_missing",
            Self::PeerCertificateRefused => "peer_certificate_refused",
            Self::Alert => "alert",
            Self::Internal => "internal",
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library's list grows; what is new in it is not the peer's doing")]
impl From<&Error> for Kind {
    fn from(error: &Error) -> Self {
        match error {
            Error::NoCertificatesPresented => Self::PeerCertificateMissing,
            Error::InvalidCertificate(_) | Error::InvalidCertRevocationList(_) | Error::UnsupportedNameType => Self::PeerCertificateRefused,
            Error::PeerIncompatible(_) => Self::Incompatible,
            Error::AlertReceived(_) => Self::Alert,
            Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            | Error::InvalidMessage(_)
            | Error::PeerMisbehaved(_)
            | Error::PeerSentOversizedRecord
            | Error::DecryptError => Self::Malformed,
            _ => Self::Internal,
        }
    }
}
