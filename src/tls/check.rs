//! Whether PEM text is what it is taken for, and whether a key is that of a certificate. Its errors never repeat the text.

use std::sync::Arc;

use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{CertRevocationListError, RootCertStore};
use x509_parser::certificate::X509Certificate;
use x509_parser::parse_x509_crl;
use x509_parser::prelude::FromDer;

use super::provider::provider;

/// Why PEM text is no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCert {
    /// Not PEM, or PEM of something else.
    #[error("there is no certificate in the PEM text")]
    None,
    /// It would be stored and shown where no key belongs.
    #[error("there is a private key in the text of the certificate; it belongs into a field for keys")]
    PrivateKey,
    /// PEM around something that is no certificate.
    #[error("certificate {0} of the PEM text is not an X.509 certificate")]
    Der(usize),
}

/// Why PEM text is no private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// Not PEM, or PEM of something else.
    #[error("there is no private key in the PEM text")]
    None,
    /// It needs a password.
    #[error("the private key is encrypted with a password; decrypt it first (openssl pkey), it is sealed when it is stored")]
    Encrypted,
    /// More than one.
    #[error("there is more than one private key in the PEM text")]
    Several,
    /// PEM around something that is no key that TLS can sign with.
    #[error("the private key is not of RSA (2048 bits or more), ECDSA (P-256, P-384, P-521) or Ed25519")]
    Der,
}

/// Why a certificate and a key are no pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// The certificate alone is wrong.
    #[error("failed to parse cert: {0}")]
    Cert(#[from] BadCert),
    /// The key alone is wrong.
    #[error("failed to parse key: {0}")]
    Key(#[from] BadKey),
    /// Each is right, but they are not of one another.
    #[error("the key is not that of the certificate")]
    Mismatch,
}

/// Why text says nothing about whom to trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTrust {
    /// The certificates of the authorities are wrong.
    #[error("{0}")]
    Ca(#[from] BadCert),
    /// A certificate that cannot vouch for others.
    #[error("certificate {0} of the PEM text cannot vouch for others")]
    Anchor(usize),
    /// The revocation lists are wrong.
    #[error("{0}")]
    Crl(#[from] BadCrl),
}

/// Why a text is no revocation lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCrl {
    /// There is none, or one is damaged.
    #[error("there is no revocation list in the PEM text, or one that cannot be read")]
    None,
    /// RFC 5280, 5.1.2.1, asks for version 2. OpenSSL writes version 1 where nothing says otherwise.
    #[error("a revocation list is of version 1: make one of version 2, which has a number (`crlnumber` in the configuration of openssl)")]
    Version,
    /// RFC 5280, 5.2.4.
    #[error("a revocation list is a delta, which tells only what has changed since another one")]
    Delta,
    /// Of several issuers, or of a part of the certificates, or with what must be understood and is not.
    #[error("a revocation list has an extension that is not understood, such as that of an indirect list")]
    Extension,
}

impl From<CertRevocationListError> for BadCrl {
    fn from(error: CertRevocationListError) -> Self {
        use CertRevocationListError::{UnsupportedCriticalExtension, UnsupportedDeltaCrl, UnsupportedIndirectCrl};
        if matches!(error, UnsupportedDeltaCrl) {
            Self::Delta
        } else if matches!(error, UnsupportedIndirectCrl | UnsupportedCriticalExtension) {
            Self::Extension
        } else {
            Self::None
        }
    }
}

/// The certificates of a PEM text, in order; at least one, each well-formed. Of any version: the library takes those of version 1, which
/// `openssl x509 -req` makes when it is told of no extensions, for no ends of a chain that it verifies, but ours are verified by others.
pub fn chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, BadCert> {
    if pem.contains("PRIVATE KEY-----") {
        return Err(BadCert::PrivateKey);
    }
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let found = found.map_err(|_| BadCert::None)?;
    if found.is_empty() {
        return Err(BadCert::None);
    }
    for (at, cert) in found.iter().enumerate() {
        read(cert).ok_or(BadCert::Der(at.saturating_add(1)))?;
    }
    Ok(found)
}

fn read<'a>(cert: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(cert).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, cert)| cert)
}

/// The one private key of a PEM text. What else is in there, such as the parameters of a curve, does not matter.
pub fn key(pem: &str) -> Result<PrivateKeyDer<'static>, BadKey> {
    let mut found = None;
    // the crate's own errors repeat lines of the text
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem.as_bytes()) {
        let (kind, der) = section.map_err(|_| BadKey::None)?;
        let Some(one) = PrivateKeyDer::from_pem(kind, der) else { continue };
        if found.replace(one).is_some() {
            return Err(BadKey::Several);
        }
    }
    // both the form of PKCS #8 and that of old (RFC 1421, 4.6.1.1)
    if pem.contains("BEGIN ENCRYPTED PRIVATE KEY") || pem.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(BadKey::Encrypted);
    }
    found.ok_or(BadKey::None)
}

/// A certificate chain with its key, ready to sign.
pub fn certified(cert: &str, key_pem: &str) -> Result<CertifiedKey, PairError> {
    let (chain, key) = (chain(cert)?, key(key_pem)?);
    let signing = provider().key_provider.load_private_key(key).map_err(|_| BadKey::Der)?;
    let of_cert = chain.first().and_then(read).ok_or(BadCert::Der(1))?;
    let of_key = signing.public_key();
    if of_key.is_none_or(|info| info.as_ref() != of_cert.public_key().raw) {
        return Err(PairError::Mismatch);
    }
    Ok(CertifiedKey::new(chain, signing))
}

/// Whether a certificate and a key belong together.
pub fn pair(cert: &str, key: &str) -> Result<(), PairError> {
    certified(cert, key).map(drop)
}

/// The authorities of a PEM text.
pub fn roots(ca: &str) -> Result<RootCertStore, BadTrust> {
    let mut roots = RootCertStore::empty();
    for (at, cert) in chain(ca)?.into_iter().enumerate() {
        roots.add(cert).map_err(|_| BadTrust::Anchor(at.saturating_add(1)))?;
    }
    Ok(roots)
}

/// The revocation lists of a PEM text; at least one.
pub fn crls(pem: &str) -> Result<Vec<CertificateRevocationListDer<'static>>, BadTrust> {
    let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(pem.as_bytes()).collect();
    found.ok().filter(|lists| !lists.is_empty()).ok_or(BadTrust::Crl(BadCrl::None))
}

/// Whether authorities, and what they revoked, can be used to verify others.
pub fn trust(ca: &str, crl: Option<&str>) -> Result<(), BadTrust> {
    let roots = Arc::new(roots(ca)?);
    let lists = crl.map(crls).transpose()?.unwrap_or_default();
    // the library calls it malformed
    let is_first = |list: &CertificateRevocationListDer<'_>| parse_x509_crl(list).is_ok_and(|(_, crl)| crl.version().is_none());
    if lists.iter().any(is_first) {
        return Err(BadCrl::Version.into());
    }
    match WebPkiClientVerifier::builder_with_provider(roots, provider()).with_crls(lists).build() {
        Ok(_) => Ok(()),
        Err(VerifierBuilderError::InvalidCrl(error)) => Err(BadCrl::from(error).into()),
        Err(_) => Err(BadTrust::Anchor(1)),
    }
}
