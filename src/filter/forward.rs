//! What a node is told of the client: `X-Forwarded-*` and `Forwarded` (RFC 7239).

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use http::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};

use super::work::Work;

/// What happens to one of these headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Set,
    Append,
    Remove,
    Off,
}

/// The words of the actions.
pub(super) const ACTIONS: [(&str, Action); 4] =
    [("Set", Action::Set), ("Append", Action::Append), ("Remove", Action::Remove), ("Off", Action::Off)];

pub(super) static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) static X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// Four headers with what happens to each.
#[derive(Debug)]
pub(super) struct XForwarded {
    pub(super) client: (HeaderName, Action),
    pub(super) proto: (HeaderName, Action),
    pub(super) host: (HeaderName, Action),
    /// The path below which the gateway serves; there is none, so that what the client says of it is only removed or kept.
    pub(super) prefix: (HeaderName, Action),
}

impl XForwarded {
    pub(super) fn apply(&self, work: &mut Work<'_>) {
        let all = [(&self.client, address(work.facts.client)), (&self.proto, Some(proto(work.facts.secure)))];
        for ((name, action), ours) in all.into_iter().chain([(&self.host, work.client_host.clone()), (&self.prefix, None)]) {
            match action {
                Action::Off => {}
                Action::Remove => drop(work.headers.remove(name)),
                Action::Set => replace(work.headers, name, ours),
                Action::Append => match ours {
                    Some(ours) => work.append(name, &ours),
                    None => work.adopt(name),
                },
            }
        }
        if [&self.client, &self.proto, &self.host, &self.prefix].iter().any(|(_, action)| *action != Action::Off) {
            work.headers.remove(FORWARDED);
        }
    }
}

/// What a route without any word on it does: all four set, and no `Forwarded` of the client's.
pub(super) fn defaults(work: &mut Work<'_>) {
    replace(work.headers, &X_FORWARDED_FOR, address(work.facts.client));
    replace(work.headers, &X_FORWARDED_HOST, work.client_host.clone());
    work.headers.insert(&X_FORWARDED_PROTO, proto(work.facts.secure));
    work.headers.remove(&X_FORWARDED_PREFIX);
    work.headers.remove(FORWARDED);
}

/// A value that is not known removes the header too: nobody may claim it in the gateway's place.
fn replace(headers: &mut HeaderMap, name: &HeaderName, value: Option<HeaderValue>) {
    match value {
        Some(value) => drop(headers.insert(name, value)),
        None => drop(headers.remove(name)),
    }
}

fn proto(secure: bool) -> HeaderValue {
    HeaderValue::from_static(if secure { "https" } else { "http" })
}

/// The client's address without its port, written on the stack.
fn address(client: SocketAddr) -> Option<HeaderValue> {
    // the longest IPv6 address has 39 characters
    let mut bytes = [0_u8; 48];
    let mut rest = &mut bytes[..];
    write!(rest, "{}", client.ip().to_canonical()).ok()?;
    let left = rest.len();
    HeaderValue::from_bytes(bytes.get(..bytes.len() - left)?).ok()
}

/// Which parts `Forwarded` has, in which form.
#[derive(Debug)]
pub(super) struct Forwarded {
    pub(super) action: Action,
    pub(super) proto: bool,
    pub(super) host: bool,
    pub(super) client: Option<Format>,
    pub(super) by: Option<Format>,
}

/// How an address is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format {
    node: Node,
    port: Port,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Ip,
    Unknown,
    Random,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    None,
    Known,
    Random,
}

impl Format {
    const fn new(node: Node, port: Port) -> Self {
        Self { node, port }
    }

    /// A new name for every request.
    pub(super) const RANDOM: Self = Self::new(Node::Random, Port::None);
}

/// The words of the formats.
pub(super) const FORMATS: [(&str, Format); 9] = [
    ("Random", Format::RANDOM),
    ("RandomAndPort", Format::new(Node::Random, Port::Known)),
    ("RandomAndRandomPort", Format::new(Node::Random, Port::Random)),
    ("Unknown", Format::new(Node::Unknown, Port::None)),
    ("UnknownAndPort", Format::new(Node::Unknown, Port::Known)),
    ("UnknownAndRandomPort", Format::new(Node::Unknown, Port::Random)),
    ("Ip", Format::new(Node::Ip, Port::None)),
    ("IpAndPort", Format::new(Node::Ip, Port::Known)),
    ("IpAndRandomPort", Format::new(Node::Ip, Port::Random)),
];

impl Forwarded {
    pub(super) fn apply(&self, work: &mut Work<'_>) {
        match self.action {
            Action::Off => return,
            Action::Remove => drop(work.headers.remove(FORWARDED)),
            Action::Set => replace(work.headers, &FORWARDED, self.value(work)),
            Action::Append => {
                if let Some(ours) = self.value(work) {
                    work.append(&FORWARDED, &ours);
                }
            }
        }
        for name in [&X_FORWARDED_FOR, &X_FORWARDED_HOST, &X_FORWARDED_PROTO, &X_FORWARDED_PREFIX] {
            work.headers.remove(name);
        }
    }

    /// One element, its parts in a fixed order; `None` if it would have none.
    fn value(&self, work: &Work<'_>) -> Option<HeaderValue> {
        let mut parts: Vec<String> = Vec::with_capacity(4);
        if self.proto {
            parts.push(format!("proto={}", if work.facts.secure { "https" } else { "http" }));
        }
        if self.host && !work.facts.host.is_empty() {
            parts.push(format!("host=\"{}\"", work.facts.host.replace('\\', "\\\\").replace('"', "\\\"")));
        }
        parts.extend(self.client.map(|format| format!("for={}", shown(work.facts.client, format))));
        parts.extend(self.by.map(|format| format!("by={}", shown(work.facts.local, format))));
        HeaderValue::from_str(&parts.join(";")).ok().filter(|value| !value.is_empty())
    }
}

/// An address as RFC 7239 6 writes it. A port of 0 is one that is not known.
fn shown(addr: SocketAddr, format: Format) -> String {
    let ip = addr.ip().to_canonical();
    let node = match (format.node, ip) {
        (Node::Ip, IpAddr::V4(ip)) => ip.to_string(),
        (Node::Ip, IpAddr::V6(ip)) => format!("[{ip}]"),
        (Node::Unknown, _) => "unknown".to_owned(),
        (Node::Random, _) => obfuscated(),
    };
    let port = match format.port {
        Port::Known if addr.port() != 0 => Some(addr.port().to_string()),
        Port::Random => Some(obfuscated()),
        Port::None | Port::Known => None,
    };
    match port {
        Some(port) => format!("\"{node}:{port}\""),
        None if node.starts_with('[') => format!("\"{node}\""),
        None => node,
    }
}

/// An obfuscated identifier (RFC 7239 6.3); without random numbers an `unknown` that says nothing either.
fn obfuscated() -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-";
    let mut bytes = [0_u8; 9];
    if getrandom::fill(&mut bytes).is_err() {
        return "_unknown".to_owned();
    }
    let letter = |byte: &u8| LETTERS.get(usize::from(byte & 63)).copied().map_or('_', char::from);
    std::iter::once('_').chain(bytes.iter().map(letter)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> String {
        // an obfuscated identifier is `_` and nine more characters
        let mut out = String::new();
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            out.push(c);
            if c == '_' {
                let id: String = rest.by_ref().take(9).collect();
                assert!(id.len() == 9 && id.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c)), "{text}");
            }
        }
        out
    }

    #[test]
    fn every_format_is_written_as_the_rfc_has_it() {
        let addrs = ["1.2.3.4:5678", "[::1]:5678", "[::ffff:1.2.3.4]:5678", "1.2.3.4:0"];
        for (word, expected) in [
            ("Ip", ["1.2.3.4", "\"[::1]\"", "1.2.3.4", "1.2.3.4"]),
            ("IpAndPort", ["\"1.2.3.4:5678\"", "\"[::1]:5678\"", "\"1.2.3.4:5678\"", "1.2.3.4"]),
            ("IpAndRandomPort", ["\"1.2.3.4:_\"", "\"[::1]:_\"", "\"1.2.3.4:_\"", "\"1.2.3.4:_\""]),
            ("Unknown", ["unknown"; 4]),
            ("UnknownAndPort", ["\"unknown:5678\"", "\"unknown:5678\"", "\"unknown:5678\"", "unknown"]),
            ("UnknownAndRandomPort", ["\"unknown:_\""; 4]),
            ("Random", ["_"; 4]),
            ("RandomAndPort", ["\"_:5678\"", "\"_:5678\"", "\"_:5678\"", "_"]),
            ("RandomAndRandomPort", ["\"_:_\""; 4]),
        ] {
            let (_, format) = FORMATS.into_iter().find(|(known, _)| *known == word).unwrap();
            for (addr, expected) in addrs.into_iter().zip(expected) {
                assert_eq!(pattern(&shown(addr.parse().unwrap(), format)), expected, "{word} {addr}");
            }
        }
    }

    #[test]
    fn an_obfuscated_name_is_new_every_time() {
        assert_ne!(obfuscated(), obfuscated());
    }

    #[test]
    fn the_longest_address_has_room() {
        let longest = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535".parse().unwrap();
        assert_eq!(address(longest).unwrap(), "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
        assert_eq!(address("[::ffff:10.0.0.1]:1".parse().unwrap()).unwrap(), "10.0.0.1");
    }
}
