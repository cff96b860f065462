//! Addresses with their role in the type, and the protocols that a port can speak.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// An address on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Local<T>(pub T);

/// An address of the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Remote<T>(pub T);

impl<T: fmt::Display> fmt::Display for Local<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: fmt::Display> fmt::Display for Remote<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a listener speaks to its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Byte streams.
    Tcp,
    /// Datagrams.
    Udp,
    /// HTTP over TCP.
    Http,
}

impl Protocol {
    /// The name in configuration, metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Http => "http",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The transport whose port numbers an address is in. Two listeners conflict only within one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// TCP ports.
    Tcp,
    /// UDP ports.
    Udp,
}

impl From<Protocol> for Transport {
    fn from(p: Protocol) -> Self {
        match p {
            Protocol::Tcp | Protocol::Http => Self::Tcp,
            Protocol::Udp => Self::Udp,
        }
    }
}

/// One port that can be bound: the identity of a listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port {
    /// TCP or UDP.
    pub transport: Transport,
    /// Where it listens.
    pub addr: SocketAddr,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        write!(f, "{transport}://{}", self.addr)
    }
}

/// An IPv4 address that arrived in IPv6 clothes (`::ffff:a.b.c.d`) as the IPv4 address that it is.
pub fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// Why text is not a list of listening addresses. The texts follow those that APISIX prints at its start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadListen {
    /// A number outside 1–65535.
    #[error("port out of range (1-65535): {0}")]
    OutOfRange(String),
    /// A range whose end is before its start.
    #[error("invalid port range (start > end): {0}")]
    Reversed(String),
    /// Not a whole number.
    #[error("invalid port format: {0}")]
    Format(String),
    /// An address without a port.
    #[error("missing port: {0}")]
    Missing(String),
    /// The part before the port is not an IP address.
    #[error("invalid IP address: {0}")]
    Ip(String),
}

/// Reads `9100`, `:9100`, `127.0.0.1:9100`, `[::1]:9100` or a range (`2000-2005`, `127.0.0.1:2000-2005`) into the addresses it
/// names. A port without an address listens on `0.0.0.0`.
pub fn parse_listen(text: &str) -> Result<Vec<SocketAddr>, BadListen> {
    let (host, ports) = split_host(text)?;
    let ip: IpAddr = if host.is_empty() {
        IpAddr::from([0, 0, 0, 0])
    } else {
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        match (bare, host.parse::<IpAddr>()) {
            (Some(v6), _) => v6.parse::<std::net::Ipv6Addr>().map(IpAddr::V6).map_err(|_| BadListen::Ip(text.into()))?,
            (None, Ok(IpAddr::V4(v4))) => IpAddr::V4(v4),
            (None, _) => return Err(BadListen::Ip(text.into())),
        }
    };
    let port = |p: &str| -> Result<u16, BadListen> {
        if p.is_empty() || !p.bytes().all(|b| b.is_ascii_digit()) {
            return Err(BadListen::Format(text.into()));
        }
        match p.parse::<u16>() {
            Ok(0) | Err(_) => Err(BadListen::OutOfRange(text.into())),
            Ok(n) => Ok(n),
        }
    };
    let (from, to) = match ports.split_once('-') {
        Some((a, b)) => (port(a)?, port(b)?),
        None => (port(ports)?, port(ports)?),
    };
    if from > to {
        return Err(BadListen::Reversed(text.into()));
    }
    Ok((from..=to).map(|p| SocketAddr::new(ip, p)).collect())
}

fn split_host(text: &str) -> Result<(&str, &str), BadListen> {
    match text.rfind(':') {
        // a colon inside the brackets of a bare `[::1]` is not a port separator
        Some(at) if text.ends_with(']') && text.starts_with('[') && at < text.len() => Err(BadListen::Missing(text.into())),
        Some(at) => match (text.get(..at), text.get(at + 1..)) {
            (Some(_), Some("")) => Err(BadListen::Missing(text.into())),
            (Some(h), Some(p)) => Ok((h, p)),
            _ => Err(BadListen::Format(text.into())),
        },
        None if text.parse::<std::net::Ipv4Addr>().is_ok() => Err(BadListen::Missing(text.into())),
        None => Ok(("", text)),
    }
}

/// A host without its port. The colons of an IPv6 address in brackets are none of a port; an empty port is one (RFC 3986 3.2.3).
pub fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && (!name.contains(':') || name.ends_with(']')) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> String {
        parse_listen(text).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_form_of_the_seed_is_an_address() {
        assert_eq!(one("9100"), "0.0.0.0:9100");
        assert_eq!(one(":9100"), "0.0.0.0:9100");
        assert_eq!(one("127.0.0.10:9101"), "127.0.0.10:9101");
        assert_eq!(one("[::1]:9100"), "[::1]:9100");
        assert_eq!(one("2000-2002"), "0.0.0.0:2000 0.0.0.0:2001 0.0.0.0:2002");
        assert_eq!(one("127.0.0.1:2000-2001"), "127.0.0.1:2000 127.0.0.1:2001");
    }

    #[test]
    fn every_wrong_form_says_what_is_wrong_with_it() {
        for (text, says) in [
            ("0", "port out of range (1-65535): 0"),
            ("65536", "port out of range (1-65535): 65536"),
            ("0-100", "port out of range (1-65535): 0-100"),
            ("100-70000", "port out of range (1-65535): 100-70000"),
            ("127.0.0.1:0", "port out of range (1-65535): 127.0.0.1:0"),
            ("3000-2000", "invalid port range (start > end): 3000-2000"),
            ("80.5", "invalid port format: 80.5"),
            ("1e3", "invalid port format: 1e3"),
            ("", "invalid port format: "),
            ("127.0.0.1:", "missing port: 127.0.0.1:"),
            ("127.0.0.1", "missing port: 127.0.0.1"),
            ("[::1]", "missing port: [::1]"),
            ("localhost:80", "invalid IP address: localhost:80"),
            ("::1:80", "invalid IP address: ::1:80"),
            ("[1.2.3.4]:80", "invalid IP address: [1.2.3.4]:80"),
        ] {
            assert_eq!(parse_listen(text).unwrap_err().to_string(), says, "{text}");
        }
    }
}
