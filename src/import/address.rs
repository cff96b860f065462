//! Addresses as `VKProxy` writes them, of listeners and of destinations.

use std::net::{IpAddr, SocketAddr};

/// A destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// As in a node of ours: IPv6 in brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) https: bool,
    /// What stands before every path; empty for none.
    pub(super) path: String,
}

const LOCAL: &str = "is no TCP address; only those are served";

/// `ip:port`, `host:port`, or a URL with either.
pub(super) fn node(text: &str) -> Result<Node, &'static str> {
    let (https, rest) = scheme(text)?;
    let (authority, path) = rest.split_once('/').map_or((rest, String::new()), |(a, path)| (a, format!("/{path}")));
    let (host, port) = authority_of(authority, if https { 443 } else { 80 })?;
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let host = match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(v6)) => format!("[{v6}]"),
        Ok(IpAddr::V4(v4)) => v4.to_string(),
        Err(_) if !host.is_empty() && host.chars().all(legal) => host.to_owned(),
        Err(_) => return Err("has no host"),
    };
    Ok(Node { host, port, https, path: path.trim_end_matches('/').to_owned() })
}

/// `ip:port`, or a URL with it.
pub(super) fn socket(text: &str) -> Result<SocketAddr, &'static str> {
    let given = text.contains("://");
    let (https, rest) = scheme(text)?;
    let authority = rest.split('/').next().unwrap_or(rest);
    let default = if https { 443 } else { 80 };
    let (host, port) = authority_of(authority, if given { default } else { 0 })?;
    let ip: IpAddr = host.parse().map_err(|_| "is no IP address and port; write 0.0.0.0 or [::] for all")?;
    if port == 0 { Err("has no port: a random one is not served") } else { Ok(SocketAddr::new(ip, port)) }
}

fn scheme(text: &str) -> Result<(bool, &str), &'static str> {
    let (scheme, rest) = text.trim().split_once("://").unwrap_or(("http", text.trim()));
    if rest.starts_with("unix:") || rest.starts_with("pipe:") {
        return Err(LOCAL);
    }
    match scheme.to_ascii_lowercase().as_str() {
        "http" | "tcp" | "udp" => Ok((false, rest)),
        "https" => Ok((true, rest)),
        _ => Err("has an unknown scheme"),
    }
}

fn authority_of(text: &str, default: u16) -> Result<(&str, u16), &'static str> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok((text, default));
    }
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, tail)) => (host, Some(tail.strip_prefix(':').unwrap_or(tail))),
        None => text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Ok(default), |port| port.parse().map_err(|_| "has a port that is no number up to 65535"))?;
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_destination_is_read() {
        for (text, expected) in [
            ("127.0.0.1:9001", "127.0.0.1 9001 false "),
            ("db.example.com:5432", "db.example.com 5432 false "),
            ("http://127.0.0.1:9001", "127.0.0.1 9001 false "),
            ("https://api.example.com/v1/", "api.example.com 443 true /v1"),
            ("HTTP://[::1]:80/", "[::1] 80 false "),
            ("[2001:db8::1]", "[2001:db8::1] 80 false "),
            ("::1", "[::1] 80 false "),
        ] {
            let n = node(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(format!("{} {} {} {}", n.host, n.port, n.https, n.path), expected, "{text}");
        }
        for text in ["http://unix:/x.sock", "http://pipe:/n", "ftp://a", "a:99999", "a b:1", ":80", "http://u@h:1"] {
            assert!(node(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_listener_has_an_address_and_a_port() {
        for (text, expected) in [
            ("127.0.0.1:5001", "127.0.0.1:5001"),
            ("[::]:80", "[::]:80"),
            ("http://127.0.0.1:5000", "127.0.0.1:5000"),
            ("https://0.0.0.0", "0.0.0.0:443"),
        ] {
            assert_eq!(socket(text).map(|a| a.to_string()).as_deref(), Ok(expected), "{text}");
        }
        for text in ["*:80", "localhost:5000", "127.0.0.1", "127.0.0.1:0", "http://unix:/x.sock", "http://localhost:5000"] {
            assert!(socket(text).is_err(), "{text}");
        }
    }
}
