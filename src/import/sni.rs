//! `Sni` becomes certificates, and names for stream routes. One whose certificate cannot be had shows none.

use std::path::Path;

use serde_json::{Value, json};

use super::file::{Entry, File, named};
use super::note::Notes;
use super::part::Part;
use super::put::Put as _;
use super::{ReadFile, pem};
use crate::base::sni::SniPattern;

const FIELDS: [&str; 9] = [
    "Order",
    "Host",
    "Certificate",
    "Passthrough",
    "HandshakeTimeout",
    "Protocols",
    "CheckCertificateRevocation",
    "ClientCertificateMode",
    "RouteId",
];
/// Versions of TLS by their names and flags, and what they are called here.
const VERSIONS: [(&str, u32, Option<&str>); 8] = [
    ("Tls12", 3072, Some("TLSv1.2")),
    ("Tls13", 12288, Some("TLSv1.3")),
    ("Tls11", 768, None),
    ("Tls", 192, None),
    ("Ssl3", 48, None),
    ("Ssl2", 12, None),
    ("Default", 240, None),
    ("SystemDefault", 0, None),
];

/// One entry that has names.
#[derive(Debug)]
pub(super) struct Sni<'f, 'a> {
    pub(super) entry: &'f Entry<'a>,
    /// As in `snis`.
    pub(super) names: Vec<String>,
    pub(super) passthrough: bool,
    pub(super) order: Option<i64>,
    pub(super) route: Option<&'f Entry<'a>>,
    /// Its certificate as a resource.
    pub(super) ssl: Option<Value>,
}

pub(super) fn read<'f, 'a>(file: &'f File<'a>, read_file: ReadFile<'_>, notes: &mut Notes) -> Vec<Sni<'f, 'a>> {
    file.snis.iter().filter_map(|entry| one(file, entry, read_file, notes)).collect()
}

fn one<'f, 'a>(file: &'f File<'a>, entry: &'f Entry<'a>, read_file: ReadFile<'_>, notes: &mut Notes) -> Option<Sni<'f, 'a>> {
    let part = &entry.part;
    part.strangers(&FIELDS, notes);
    let names = names(part, notes);
    if names.is_empty() {
        notes.lost(&part.at_of("Host"), "no name: the Sni is left out");
        return None;
    }
    let passthrough = part.flag("Passthrough", notes);
    let route_name = part.text("RouteId", notes);
    let route = route_name.and_then(|name| named(&file.routes, name));
    if route_name.is_some() && route.is_none() {
        notes.differs(&part.at_of("RouteId"), "there is no such route: sessions are closed");
    }
    if part.get("HandshakeTimeout").is_some() {
        notes.lost(&part.at_of("HandshakeTimeout"), "the time for a handshake is not set by certificate");
    }
    let ssl = if passthrough { None } else { ssl(entry, &names, read_file, notes) };
    Some(Sni { entry, names, passthrough, order: part.number("Order", notes), route, ssl })
}

/// `*a.com` is `a.com` and all below it: whole labels only.
fn names(part: &Part<'_>, notes: &mut Notes) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (at, host) in part.texts("Host", notes) {
        let host = host.trim();
        let several = match host.strip_prefix('*') {
            Some(rest) if !rest.is_empty() && !rest.starts_with('.') => vec![rest.to_owned(), format!("*.{rest}")],
            _ => vec![host.to_owned()],
        };
        if several.len() > 1 {
            notes.differs(&at, format!("{host} is {} here: whole labels only", several.join(" and ")));
        }
        if host == "*" {
            notes.differs(&at, "a ClientHello without a name has no match by name here");
        }
        for name in several {
            match SniPattern::parse(&name) {
                Ok(_) if names.contains(&name) => {}
                Ok(_) => names.push(name),
                Err(_) => notes.lost(&at, format!("{name} is no name for TLS")),
            }
        }
    }
    names
}

fn ssl(entry: &Entry<'_>, names: &[String], read_file: ReadFile<'_>, notes: &mut Notes) -> Option<Value> {
    let part = &entry.part;
    let Some(certificate) = part.get("Certificate") else {
        notes.lost(&part.at, "neither Passthrough nor a Certificate: there is none to show");
        return None;
    };
    let (cert, key) = match pair(&certificate, read_file, notes) {
        Ok(pair) => pair,
        Err(why) => {
            notes.lost(&certificate.at, format!("no certificate: {why}"));
            return None;
        }
    };
    let mut ssl = json!({ "id": entry.id, "snis": names, "cert": cert, "key": key });
    if names.iter().any(|name| name.starts_with("*.")) {
        notes.differs(&part.at_of("Host"), "a certificate's wildcard stands for one label");
    }
    if let Some(versions) = versions(part, notes)? {
        ssl.put("ssl_protocols", versions);
    }
    clients(part, &mut ssl, notes);
    Some(ssl)
}

/// The texts of the certificate and its key. No message holds them.
fn pair(part: &Part<'_>, read_file: ReadFile<'_>, notes: &mut Notes) -> Result<(String, String), String> {
    part.strangers(&["PEM", "PEMKey", "Password", "Path", "KeyPath", "Subject", "Store", "Location", "AllowInvalid"], notes);
    let file = |name: &str| {
        let path = part.get(name).as_ref().and_then(Part::scalar).filter(|path| !path.trim().is_empty());
        path.map(|path| read_file(Path::new(path)).map_err(|error| format!("{path}: {error}"))).transpose()
    };
    if part.text("Password", notes).is_some() {
        return Err("keys with a password are not read; write it without one: openssl pkey -in KEY -out KEY".into());
    }
    if let Some(cert) = part.text("PEM", notes) {
        return Ok(pem::pair(cert, part.text("PEMKey", notes))?);
    }
    if let Some(cert) = file("Path")? {
        return Ok(pem::pair(&cert, file("KeyPath")?.as_deref())?);
    }
    Err("only PEM text and PEM files are read, no certificate stores".into())
}

/// The versions that it is spoken with; `None` outside: none of them is served.
#[expect(clippy::option_option, reason = "absent means all of them, and that is something else than none")]
fn versions(part: &Part<'_>, notes: &mut Notes) -> Option<Option<Vec<&'static str>>> {
    let mut spoken = Vec::new();
    let mut given = false;
    for (at, text) in part.texts("Protocols", notes) {
        for word in text.split([',', '|']).map(str::trim).filter(|word| !word.is_empty()) {
            if word.eq_ignore_ascii_case("None") || word == "0" {
                continue;
            }
            given = true;
            let number: Option<u32> = word.parse().ok();
            let is = |(name, flag, _): &&(&str, u32, _)| {
                name.eq_ignore_ascii_case(word) || number.is_some_and(|n| *flag > 0 && n & flag == *flag)
            };
            let some: Vec<Option<&str>> = VERSIONS.iter().filter(is).map(|(_, _, ours)| *ours).collect();
            if some.is_empty() || some.contains(&None) {
                notes.lost(&at, format!("{word} is not served"));
            }
            spoken.extend(some.into_iter().flatten().filter(|version| !spoken.contains(version)).collect::<Vec<_>>());
        }
    }
    if given && spoken.is_empty() {
        notes.lost(&part.at_of("Protocols"), "no version is left: the certificate is left out");
        return None;
    }
    spoken.sort_unstable();
    Some(given.then_some(spoken))
}

/// What is asked of clients. Whoever had to show a certificate is not let in without one.
fn clients(part: &Part<'_>, ssl: &mut Value, notes: &mut Notes) {
    let at = part.at_of("ClientCertificateMode");
    match part.text("ClientCertificateMode", notes).map(str::trim) {
        None | Some("0") => {}
        Some(word) if word.eq_ignore_ascii_case("NoCertificate") => {}
        Some(word) if word == "2" || word.eq_ignore_ascii_case("RequireCertificate") => {
            ssl.put("status", 0);
            notes.lost(&at, "no ca to check clients with: the certificate is off (status 0) until it has client.ca");
        }
        Some(_) => notes.lost(&at, "clients are not asked for a certificate without a ca to check it with"),
    }
    if part.flag("CheckCertificateRevocation", notes) {
        notes.lost(&part.at_of("CheckCertificateRevocation"), "revoked certificates of clients are those of client.crl");
    }
}
