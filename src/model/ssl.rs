//! Certificates with their keys, and who vouches for clients. Keys are clear here, and only here: in memory, never in bytes that
//! leave the process.

use std::sync::Arc;

use crate::base::id::Id;
use crate::base::secret::Secret;
use crate::base::sni::SniPattern;

/// One ssl object. Its pairs belong together: each key is that of its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ssl {
    /// Its id.
    pub id: Id,
    /// The names that it is shown for, without repeats; none for one of [`SslUsage::Client`].
    pub snis: Vec<SniPattern>,
    /// At least one. Of several, the TLS library takes the first that the client can check.
    pub pairs: Vec<KeyPair>,
    /// Who shows it.
    pub usage: SslUsage,
    /// Who vouches for clients; `None`: clients need no certificate.
    pub client: Option<ClientTrust>,
    /// The versions of TLS that are spoken with it.
    pub versions: TlsVersions,
    /// False: known but never shown.
    pub enabled: bool,
}

/// Who shows a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SslUsage {
    /// The gateway, to its clients.
    Server,
    /// The gateway, to the nodes that it connects to.
    Client,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// PEM: the certificate, then those of its issuers.
    pub cert: Arc<str>,
    /// PEM, clear.
    pub key: Secret<Arc<str>>,
}

/// Who vouches for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTrust {
    /// PEM: one or more certificates.
    pub ca: Arc<str>,
    /// The longest chain from the client's certificate to one of `ca`, in certificates; 1 when not given.
    pub depth: u8,
    /// PEM: what was revoked.
    pub crl: Option<Arc<str>>,
}

/// Versions of TLS; at least one is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TlsVersions {
    /// RFC 5246
    pub tls12: bool,
    /// RFC 8446
    pub tls13: bool,
}

impl Default for TlsVersions {
    fn default() -> Self {
        Self { tls12: true, tls13: true }
    }
}
