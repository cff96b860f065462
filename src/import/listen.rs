//! `Listen` becomes listeners. One that would serve something else than it did is left out.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::address;
use super::file::{Entry, File, named};
use super::note::Notes;
use super::put::Put as _;

const FIELDS: [&str; 5] = ["Protocols", "Address", "UseSni", "SniId", "RouteId"];
const WORDS: [(&str, u8); 5] = [("TCP", 1), ("UDP", 2), ("HTTP1", 4), ("HTTP2", 8), ("HTTP3", 16)];
const HTTP: u8 = 4 | 8 | 16;

/// What a port speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    Tcp,
    Udp,
    /// Versions as in `http.versions`.
    Http(Vec<&'static str>),
}

/// A listener that is carried over.
#[derive(Debug)]
pub(super) struct Listen<'f, 'a> {
    pub(super) entry: &'f Entry<'a>,
    pub(super) speaks: Speaks,
    pub(super) addrs: Vec<SocketAddr>,
    pub(super) tls: bool,
    /// The fixed entry of `Sni`.
    pub(super) sni: Option<&'f Entry<'a>>,
    /// The route that it names.
    pub(super) route: Option<&'f Entry<'a>>,
}

impl Listen<'_, '_> {
    /// Whether its sessions are matched by the name in the `ClientHello`.
    pub(super) fn matches_names(&self) -> bool {
        self.speaks == Speaks::Tcp && self.tls && self.sni.is_none()
    }

    /// Whether every session takes the route that it names.
    pub(super) fn is_fixed(&self) -> bool {
        self.speaks == Speaks::Udp || self.speaks == Speaks::Tcp && !self.tls
    }

    pub(super) fn resource(&self, stream_route: Option<&str>, ssl: Option<&str>) -> Value {
        let texts: Vec<String> = self.addrs.iter().map(ToString::to_string).collect();
        let (protocol, versions) = match &self.speaks {
            Speaks::Tcp => ("tcp", None),
            Speaks::Udp => ("udp", None),
            Speaks::Http(versions) => ("http", Some(versions)),
        };
        let mut listener = json!({ "id": self.entry.id, "protocol": protocol });
        listener.put("addr", texts.first().filter(|_| texts.len() == 1).map_or_else(|| json!(texts), |only| json!(only)));
        if self.tls {
            listener.put("tls", true);
        }
        for (name, value) in [("stream_route_id", stream_route), ("ssl_id", ssl)] {
            if let Some(value) = value {
                listener.put(name, value);
            }
        }
        if let Some(versions) = versions {
            listener.put("http", json!({ "versions": versions }));
        }
        listener
    }
}

/// All that can be carried over.
pub(super) fn read<'f, 'a>(file: &'f File<'a>, notes: &mut Notes) -> Vec<Listen<'f, 'a>> {
    file.listens.iter().filter_map(|entry| one(file, entry, notes)).collect()
}

fn one<'f, 'a>(file: &'f File<'a>, entry: &'f Entry<'a>, notes: &mut Notes) -> Option<Listen<'f, 'a>> {
    let part = &entry.part;
    part.strangers(&FIELDS, notes);
    let flags = protocols(entry, notes)?;
    let addrs = addresses(entry, notes)?;
    let use_sni = part.flag("UseSni", notes);
    let (sni_name, route_name) = (part.text("SniId", notes), part.text("RouteId", notes));
    let sni = sni_name.filter(|_| use_sni).and_then(|name| named(&file.snis, name));
    if sni_name.is_some() && sni.is_none() {
        let why = if use_sni { "there is no such Sni: the certificate is chosen by name" } else { "without UseSni it means nothing" };
        notes.differs(&part.at_of("SniId"), why);
    }
    let mut listen = Listen { entry, speaks: Speaks::Tcp, addrs, tls: use_sni, sni, route: None };
    match flags {
        1 => {}
        2 => (listen.speaks, listen.tls, listen.sni) = (Speaks::Udp, false, None),
        _ => listen.speaks = Speaks::Http(versions(entry, flags, use_sni, notes)?),
    }
    if matches!(listen.speaks, Speaks::Http(_)) && sni.is_some_and(|sni| sni.part.flag("Passthrough", notes)) {
        return left_out(entry, "SniId", "passes TLS through, which HTTP cannot: the listener is left out", notes);
    }
    route(file, listen, route_name, notes)
}

/// The route that it names, if it has to have one.
fn route<'f, 'a>(file: &'f File<'a>, mut listen: Listen<'f, 'a>, name: Option<&str>, notes: &mut Notes) -> Option<Listen<'f, 'a>> {
    let entry = listen.entry;
    let found = name.and_then(|name| named(&file.routes, name));
    match (listen.is_fixed(), name, found) {
        (true, None, _) => return left_out(entry, "", "a listener of TCP without UseSni, or of UDP, needs a RouteId: left out", notes),
        (true, Some(_), None) => {
            return left_out(entry, "RouteId", "there is no such route: the listener, which served nothing, is left out", notes);
        }
        (false, Some(_), _) if listen.speaks == Speaks::Tcp => {
            notes.differs(&entry.part.at_of("RouteId"), "with UseSni the route is that of the Sni; this one is not used");
        }
        (false, Some(_), None) => notes.differs(&entry.part.at_of("RouteId"), "there is no such route: requests are matched"),
        (true, Some(_), Some(_)) | (false, _, _) => listen.route = found,
    }
    Some(listen)
}

fn left_out<T>(entry: &Entry<'_>, field: &str, why: &str, notes: &mut Notes) -> Option<T> {
    let at = if field.is_empty() { entry.part.at.clone() } else { entry.part.at_of(field) };
    notes.lost(&at, why);
    None
}

/// The flags; HTTP1 when absent.
fn protocols(entry: &Entry<'_>, notes: &mut Notes) -> Option<u8> {
    let mut flags = 0;
    for (at, text) in entry.part.texts("Protocols", notes) {
        for word in text.split([',', '|']).map(str::trim).filter(|word| !word.is_empty()) {
            let number = word.parse().ok().filter(|number: &u8| *number < 32);
            let Some(flag) = WORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, flag)| *flag).or(number) else {
                notes.lost(&at, format!("{word} is no protocol: the listener is left out"));
                return None;
            };
            flags |= flag;
        }
    }
    match flags {
        0 => Some(4),
        1 | 2 => Some(flags),
        _ if flags & !HTTP == 0 => Some(flags),
        _ => left_out(entry, "Protocols", "TCP, UDP and HTTP need a listener each: left out", notes),
    }
}

/// As `VKProxy` chooses: without TLS, HTTP/1.1 alone wherever it is among them.
fn versions(entry: &Entry<'_>, flags: u8, tls: bool, notes: &mut Notes) -> Option<Vec<&'static str>> {
    let mut versions: Vec<&'static str> =
        [(4, "h1"), (8, "h2")].into_iter().filter(|(flag, _)| flags & flag != 0).map(|(_, version)| version).collect();
    let at = entry.part.at_of("Protocols");
    if flags & 16 != 0 {
        notes.lost(&at, "HTTP/3 is not served");
    }
    if !tls && versions.len() > 1 {
        versions.truncate(1);
        notes.differs(&at, "without UseSni only HTTP/1.1 is spoken, as in VKProxy");
    }
    if versions.is_empty() {
        return left_out(entry, "Protocols", "nothing is left to speak: the listener is left out", notes);
    }
    Some(versions)
}

/// Where it listens. An address that cannot be bound here is left out, and the listener with the last one.
fn addresses(entry: &Entry<'_>, notes: &mut Notes) -> Option<Vec<SocketAddr>> {
    let mut addrs = Vec::new();
    for (at, text) in entry.part.texts("Address", notes) {
        match address::socket(text) {
            Ok(addr) if addrs.contains(&addr) => {}
            Ok(addr) => addrs.push(addr),
            Err(why) => notes.lost(&at, format!("{text} {why}")),
        }
    }
    if addrs.is_empty() {
        return left_out(entry, "Address", "no address: the listener is left out", notes);
    }
    Some(addrs)
}
