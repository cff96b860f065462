//! Certificates and ssl objects for tests. Never in a build that serves.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair as RcgenKey, KeyUsagePurpose};

use crate::base::id::Id;
use crate::base::secret::Secret;
use crate::base::sni::SniPattern;
use crate::model::{ClientTrust, KeyPair, Ssl, SslUsage, TlsVersions};

/// An authority that issues certificates.
pub(crate) struct Issuer(CertifiedIssuer<'static, RcgenKey>);

impl Issuer {
    pub(crate) fn new() -> Self {
        Self(CertifiedIssuer::self_signed(authority("authority"), RcgenKey::generate().unwrap()).unwrap())
    }

    /// An authority below this one.
    pub(crate) fn below(&self) -> Self {
        Self(CertifiedIssuer::signed_by(authority("below"), RcgenKey::generate().unwrap(), &self.0).unwrap())
    }

    /// Its certificate.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A pair with an ECDSA key for names.
    pub(crate) fn pair(&self, names: &[&str]) -> KeyPair {
        self.pair_of(names, &RcgenKey::generate().unwrap())
    }

    /// A pair with an RSA key.
    pub(crate) fn rsa(&self, names: &[&str]) -> KeyPair {
        self.pair_of(names, &RcgenKey::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap())
    }

    fn pair_of(&self, names: &[&str], key: &RcgenKey) -> KeyPair {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let cert = CertificateParams::new(names).unwrap().signed_by(key, &self.0).unwrap();
        KeyPair { cert: cert.pem().into(), key: Secret::new(key.serialize_pem().into()) }
    }

    /// What trusts its certificates.
    pub(crate) fn trust(&self, depth: u8) -> ClientTrust {
        ClientTrust { ca: self.pem().into(), depth, crl: None }
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// An ssl object for clients.
pub(crate) fn ssl(id: &str, snis: &[&str], pairs: Vec<KeyPair>) -> Ssl {
    Ssl {
        id: Id::parse(id).unwrap(),
        snis: snis.iter().map(|name| SniPattern::parse(name).unwrap()).collect(),
        pairs,
        usage: SslUsage::Server,
        client: None,
        versions: TlsVersions::default(),
        enabled: true,
    }
}
