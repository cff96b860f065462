//! The gateway's side towards nodes: what `scheme: tls` of an upstream becomes. One for each compiled upstream, so that sessions
//! are resumed only towards its nodes.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, DnsName, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::alpn::{Alpn, Spoken};
use super::check::{self, BadTrust, PairError};
use super::provider::{provider, versions};
use crate::model::KeyPair;

/// The name that is asked for where nobody gives one, as APISIX does.
const DEFAULT_NAME: &str = "apisix_backend";
/// Names that sessions are remembered for.
const REMEMBERED: usize = 64;

/// What cannot be made into a configuration.
#[derive(Debug, thiserror::Error)]
pub enum BadClient {
    /// The certificate or its key.
    #[error(transparent)]
    Pair(#[from] PairError),
    /// Whom to trust.
    #[error(transparent)]
    Trust(#[from] BadTrust),
    /// The library refuses the authorities.
    #[error(transparent)]
    Verifier(#[from] rustls::client::VerifierBuilderError),
    /// The library refuses something else.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// The name to ask for is none.
    #[error("not a name: {0:?}")]
    Name(Arc<str>),
}

/// Whom the gateway trusts, and as whom it comes.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Profile {
    /// The certificate that it shows to nodes that ask for one.
    pub identity: Option<KeyPair>,
    /// Whether nodes must have a certificate for their name from a known authority.
    pub verify: bool,
    /// PEM: the known authorities; those of the system when absent.
    pub ca: Option<Arc<str>>,
    /// The name to ask for and to verify.
    pub sni: Option<Arc<str>>,
}

/// A profile in the library's form.
#[derive(Debug)]
pub struct Client {
    profile: Profile,
    config: Spoken<ClientConfig>,
    sni: Option<ServerName<'static>>,
}

impl Client {
    /// Makes one that has not met any node yet.
    pub fn new(profile: Profile) -> Result<Self, BadClient> {
        let provider = provider();
        let builder = ClientConfig::builder_with_provider(provider.clone());
        let builder = builder.with_protocol_versions(&versions(true, true))?.dangerous();
        let builder = if profile.verify {
            let roots = profile.ca.as_deref().map_or_else(|| Ok(system()), |ca| check::roots(ca).map(Arc::new))?;
            builder.with_custom_certificate_verifier(WebPkiServerVerifier::builder_with_provider(roots, provider).build()?)
        } else {
            builder.with_custom_certificate_verifier(Arc::new(Trusting(provider.signature_verification_algorithms.supported_schemes())))
        };
        let mut config = match &profile.identity {
            Some(pair) => {
                let pair = check::certified(&pair.cert, pair.key.reveal())?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair)))
            }
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::in_memory_sessions(REMEMBERED);
        let sni = profile.sni.as_ref().map(|text| name(text).ok_or_else(|| BadClient::Name(text.clone()))).transpose()?;
        Ok(Self { profile, config: Spoken::new(config), sni })
    }

    /// What it was made of.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    pub(super) fn config(&self, alpn: Alpn) -> &Arc<ClientConfig> {
        self.config.get(alpn)
    }

    /// The name to ask a node for: the profile's own, else the one that the client asked for, else the node's where it is to be
    /// verified, else that of APISIX.
    pub(super) fn name(&self, asked: Option<&str>, node: &str) -> Option<ServerName<'static>> {
        let by_node = || self.profile.verify.then(|| name(node)).flatten();
        self.sni.clone().or_else(|| asked.and_then(name)).or_else(by_node).or_else(|| name(DEFAULT_NAME))
    }
}

fn name(text: &str) -> Option<ServerName<'static>> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(ServerName::IpAddress(ip.into()));
    }
    DnsName::try_from(text.to_owned()).ok().map(ServerName::DnsName)
}

/// The authorities of the system, read at their first use.
fn system() -> Arc<RootCertStore> {
    static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let read = || {
        let found = rustls_native_certs::load_native_certs();
        for error in found.errors {
            tracing::warn!(%error, "an authority of the system cannot be read");
        }
        let mut roots = RootCertStore::empty();
        let (taken, _) = roots.add_parsable_certificates(found.certs);
        tracing::info!(taken, "read the authorities of the system");
        Arc::new(roots)
    };
    SYSTEM.get_or_init(read).clone()
}

/// Takes any certificate, as APISIX does: `tls.verify` is false.
#[derive(Debug)]
pub(super) struct Trusting(pub(super) Vec<SignatureScheme>);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _end: &CertificateDer<'_>,
        _between: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}
