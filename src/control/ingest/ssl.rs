//! An ssl object. Whether its keys are those of its certificates is decided where they are compiled, not here.

use std::sync::Arc;

use super::fields::{Fields, Found};
use super::secrets::Secrets;
use crate::base::id::Id;
use crate::base::sni::SniPattern;
use crate::model::{ClientTrust, KeyPair, Ssl, SslUsage, TlsVersions};

/// The longest private key, in bytes, once it is open; the schema bounds only what is written.
const LONGEST_KEY: usize = 65536;

pub(super) fn read(id: Id, fields: &Fields<'_>, secrets: &Secrets, found: &mut Found) -> Ssl {
    let usage = if fields.text("type") == Some("client") { SslUsage::Client } else { SslUsage::Server };
    Ssl {
        id,
        snis: snis(fields, found),
        pairs: pairs(fields, secrets, found),
        usage,
        client: client(fields, secrets, found),
        versions: versions(fields),
        enabled: fields.enabled(),
    }
}

/// In the order given, without repeats.
fn snis(fields: &Fields<'_>, found: &mut Found) -> Vec<SniPattern> {
    if fields.get("sni").is_some() && fields.get("snis").is_some() {
        found.add(fields.at("snis"), "exclusive", "sni and snis exclude each other");
    }
    let mut all = Vec::new();
    for (at, value) in fields.each("sni").into_iter().chain(fields.each("snis")) {
        let text = value.as_str().unwrap_or_default();
        match SniPattern::parse(text) {
            Ok(pattern) if all.contains(&pattern) => {}
            Ok(pattern) => all.push(pattern),
            Err(error) => found.add(at, "sni", format!("invalid sni: {text}: {error}")),
        }
    }
    all
}

fn pairs(fields: &Fields<'_>, secrets: &Secrets, found: &mut Found) -> Vec<KeyPair> {
    let (certs, keys) = (fields.each("certs"), fields.each("keys"));
    if certs.len() != keys.len() {
        found.add(fields.at("keys"), "pairs", "mismatched number of certs and keys");
    }
    let certs = fields.each("cert").into_iter().chain(certs);
    let keys = fields.each("key").into_iter().chain(keys);
    let mut pairs = Vec::new();
    for (index, ((cert_at, cert), (key_at, key))) in certs.zip(keys).enumerate() {
        let cert = certificate(&cert_at, cert.as_str().unwrap_or_default(), secrets, found);
        let key = key_of(&key_at, index, key.as_str().unwrap_or_default(), secrets, found);
        if let (Some(cert), Some(key)) = (cert, key) {
            pairs.push(KeyPair { cert, key });
        }
    }
    pairs
}

/// The certificate at a place, read from where it refers to.
pub(super) fn certificate(at: &str, text: &str, secrets: &Secrets, found: &mut Found) -> Option<Arc<str>> {
    let read = secrets.text(text);
    read.map_err(|error| found.add(at, error.rule(), error.to_string())).ok()
}

/// The private key at a place, open. `index`: of which pair; 0 is the one that needs no number.
pub(super) fn key_of(
    at: &str,
    index: usize,
    text: &str,
    secrets: &Secrets,
    found: &mut Found,
) -> Option<crate::base::secret::Secret<Arc<str>>> {
    let mut refuse = |rule: &str, why: String| {
        let of = if index == 0 { String::new() } else { format!("failed to handle cert-key pair[{index}]: ") };
        found.add(at, rule, format!("{of}{why}"));
    };
    let key = match secrets.key(text) {
        Ok((key, _)) => key,
        Err(error) => {
            refuse(error.rule(), error.to_string());
            return None;
        }
    };
    if key.reveal().len() > LONGEST_KEY {
        refuse("private_key", format!("failed to parse key: longer than {LONGEST_KEY} bytes"));
        return None;
    }
    Some(key)
}

fn client(fields: &Fields<'_>, secrets: &Secrets, found: &mut Found) -> Option<ClientTrust> {
    let inner = fields.object("client")?;
    let mut text = |name| certificate(&inner.at(name), inner.text(name)?, secrets, found);
    let (ca, crl) = (text("ca"), text("crl"));
    let depth = inner.get("depth").map_or(Some(1), |_| inner.number("depth", found));
    Some(ClientTrust { ca: ca?, depth: depth?, crl })
}

fn versions(fields: &Fields<'_>) -> TlsVersions {
    let given: Vec<&str> = fields.each("ssl_protocols").into_iter().filter_map(|(_, value)| value.as_str()).collect();
    if given.is_empty() {
        return TlsVersions::default();
    }
    TlsVersions { tls12: given.contains(&"TLSv1.2"), tls13: given.contains(&"TLSv1.3") }
}
