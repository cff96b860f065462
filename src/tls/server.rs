//! The gateway's side towards clients: what one ssl object becomes, and its long life across edits of others. A ticket is good
//! only with the certificates and the client trust that it was given out under: each identity has keys of its own for them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};

use super::alpn::{Alpn, Spoken};
use super::check::{self, BadTrust, PairError};
use super::provider::{provider, versions};
use crate::base::id::Id;
use crate::model::{ClientTrust, KeyPair, Ssl, TlsVersions};

/// Tickets for each full handshake of TLS 1.3. One is enough for a client that opens one connection after the other; each
/// costs 10 µs.
const TICKETS: usize = 1;

/// What cannot be made into a configuration. Objects are checked before they come here, so this is a fault of that check.
#[derive(Debug, thiserror::Error)]
pub enum BadIdentity {
    /// A certificate or its key.
    #[error(transparent)]
    Pair(#[from] PairError),
    /// Whom to trust.
    #[error(transparent)]
    Trust(#[from] BadTrust),
    /// The library refuses the authorities of clients.
    #[error(transparent)]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// The library refuses something else.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// One ssl object as clients see it. Found by its id, and the same for as long as what clients see of it is the same.
#[derive(Debug)]
pub struct Identity {
    seen: Seen,
    config: Spoken<ServerConfig>,
}

/// What clients see of an ssl object; its names are not in it.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    pairs: Vec<KeyPair>,
    client: Option<ClientTrust>,
    versions: TlsVersions,
}

impl Identity {
    /// Makes one, with ticket keys of its own.
    pub fn new(ssl: &Ssl) -> Result<Self, BadIdentity> {
        let seen = Seen { pairs: ssl.pairs.clone(), client: ssl.client.clone(), versions: ssl.versions };
        Ok(Self { config: Spoken::new(config(&seen)?), seen })
    }

    /// What handshakes are made with.
    pub fn config(&self, alpn: Alpn) -> &Arc<ServerConfig> {
        self.config.get(alpn)
    }

    /// Whether a client that this one let in may be served as one of `other`, too: `other` asks for no certificate, or for one of the
    /// same authorities.
    pub fn vouches_for(&self, other: &Self) -> bool {
        other.seen.client.is_none() || other.seen.client == self.seen.client
    }
}

/// All live identities. Cheap to clone; all clones are one registry.
#[derive(Clone, Debug, Default)]
pub struct Identities(Arc<Mutex<HashMap<Id, Weak<Identity>>>>);

impl Identities {
    /// The identity of an ssl object: the one that is there already, if clients would not see a difference.
    pub fn identity(&self, ssl: &Ssl) -> Result<Arc<Identity>, BadIdentity> {
        let mut live = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let same = |had: &Arc<Identity>| had.seen.pairs == ssl.pairs && had.seen.client == ssl.client && had.seen.versions == ssl.versions;
        if let Some(same) = live.get(&ssl.id).and_then(Weak::upgrade).filter(same) {
            return Ok(same);
        }
        let made = Arc::new(Identity::new(ssl)?);
        if live.len() == live.capacity() {
            // swept only when the table would grow, so that an edit among many costs no walk over all
            live.retain(|_, held| held.strong_count() > 0);
        }
        live.insert(ssl.id.clone(), Arc::downgrade(&made));
        Ok(made)
    }
}

fn config(seen: &Seen) -> Result<ServerConfig, BadIdentity> {
    let provider = provider();
    let pairs =
        seen.pairs.iter().map(|pair| Ok(Arc::new(check::certified(&pair.cert, pair.key.reveal())?))).collect::<Result<_, PairError>>()?;
    let versions = versions(seen.versions.tls12, seen.versions.tls13);
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&versions)?;
    let builder = match &seen.client {
        Some(trust) => builder.with_client_cert_verifier(Arc::new(verifier(trust, &provider)?)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(Pairs(pairs)));
    config.ticketer = Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = TICKETS;
    // the gateway's own order: see `provider`
    config.ignore_client_order = true;
    Ok(config)
}

fn verifier(trust: &ClientTrust, provider: &Arc<CryptoProvider>) -> Result<Bounded, BadIdentity> {
    let crls = trust.crl.as_deref().map(check::crls).transpose()?.unwrap_or_default();
    let roots = Arc::new(check::roots(&trust.ca)?);
    // a list of revocations is that of the clients' own issuer; nobody lists those of the issuers above it here
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).with_crls(crls).only_check_end_entity_revocation();
    Ok(Bounded { inner: builder.build()?, depth: usize::from(trust.depth) })
}

/// The certificates of one identity. Of those that a client can check, one with another key than RSA goes first: its signature
/// costs a tenth.
#[derive(Debug)]
struct Pairs(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for Pairs {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits = |pair: &&Arc<CertifiedKey>| pair.key.choose_scheme(hello.signature_schemes()).is_some();
        let is_rsa = |pair: &&Arc<CertifiedKey>| pair.key.algorithm() == rustls::SignatureAlgorithm::RSA;
        // false goes before true, and among equals the first stays
        // where none fits, any: the library then says that no signature is in common, and not that access is denied
        self.0.iter().filter(fits).min_by_key(is_rsa).or(self.0.first()).cloned()
    }
}

/// Verifies chains of at most so many certificates between the client's and one of the trusted ones, as OpenSSL counts its
/// depth.
#[derive(Debug)]
struct Bounded {
    inner: Arc<dyn ClientCertVerifier>,
    depth: usize,
}

impl ClientCertVerifier for Bounded {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        // a chain is sent in its order (RFC 5246, 7.4.2): what is beyond the depth cannot be needed within it
        self.inner.verify_client_cert(end, between.get(..self.depth).unwrap_or(between), now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
