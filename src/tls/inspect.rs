//! What a certificate says of itself, for people and metrics. Trusts nothing and verifies nothing.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

use super::check::{self, BadCert};

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whom it is for.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Its number, in hexadecimal with colons.
    pub serial: String,
    /// From when it is valid, in seconds since 1970.
    pub not_before: i64,
    /// Until when.
    pub not_after: i64,
    /// SHA-256 of all of it, in hexadecimal.
    pub fingerprint: String,
    /// `RSA-2048`, `EC-256`, `Ed25519`, or the number of the algorithm.
    pub key_type: String,
    /// The names that it is for.
    pub names: Vec<String>,
}

/// Whether a time is within a certificate's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// It is.
    Valid,
    /// The certificate is not valid yet.
    NotYet,
    /// Its time is over.
    Expired,
}

impl Validity {
    /// The word in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::NotYet => "not_yet_valid",
            Self::Expired => "expired",
        }
    }
}

impl Facts {
    /// Of the first certificate of a PEM text: the one whose key is used.
    pub fn of(pem: &str) -> Result<Self, BadCert> {
        let chain = check::chain(pem)?;
        let der = chain.first().ok_or(BadCert::None)?;
        let (_, cert) = X509Certificate::from_der(der).map_err(|_| BadCert::Der(1))?;
        Ok(Self {
            subject: cert.subject().to_string(),
            issuer: cert.issuer().to_string(),
            serial: cert.raw_serial_as_string(),
            not_before: cert.validity().not_before.timestamp(),
            not_after: cert.validity().not_after.timestamp(),
            fingerprint: hex(digest(&SHA256, der).as_ref()),
            key_type: key_type(&cert),
            names: names(&cert),
        })
    }

    /// At a time in seconds since 1970.
    pub const fn validity(&self, now: i64) -> Validity {
        if now < self.not_before {
            Validity::NotYet
        } else if now > self.not_after {
            Validity::Expired
        } else {
            Validity::Valid
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // writing to a String cannot fail
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn key_type(cert: &X509Certificate<'_>) -> String {
    let info = cert.public_key();
    match info.parsed() {
        Ok(PublicKey::RSA(key)) => format!("RSA-{}", key.key_size()),
        Ok(PublicKey::EC(key)) => format!("EC-{}", key.key_size()),
        // RFC 8410, 3
        Ok(_) | Err(_) if info.algorithm.algorithm.to_id_string() == "1.3.101.112" => "Ed25519".to_owned(),
        Ok(_) | Err(_) => info.algorithm.algorithm.to_id_string(),
    }
}

fn names(cert: &X509Certificate<'_>) -> Vec<String> {
    let names = cert.subject_alternative_name().ok().flatten().map(|found| found.value.general_names.as_slice());
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match *bytes {
            [a, b, c, d] => Some(std::net::Ipv4Addr::new(*a, *b, *c, *d).to_string()),
            other => <[u8; 16]>::try_from(other).ok().map(|v6| std::net::Ipv6Addr::from(v6).to_string()),
        },
        GeneralName::OtherName(..)
        | GeneralName::RFC822Name(_)
        | GeneralName::X400Address(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EDIPartyName(_)
        | GeneralName::URI(_)
        | GeneralName::RegisteredID(_)
        | GeneralName::Invalid(..) => None,
    };
    names.unwrap_or_default().iter().filter_map(name).collect()
}
