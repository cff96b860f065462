//! The nodes of an upstream: map and list forms, hosts and ports. No name is resolved here.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::Value;

use super::fields::{Fields, Found, integer};
use crate::model::{Host, Node};
use crate::schema::pointer;

/// Why text is not a node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum BadNode {
    /// An IPv6 address without brackets. The text is that of APISIX.
    #[error("IPv6 address must be enclosed with '[' and ']'")]
    BareV6,
    /// The part after the colon is not a port. The text is that of APISIX.
    #[error("invalid port {0}")]
    Port(String),
    /// No port at all.
    #[error("node {0} has no port; there is no default one")]
    NoPort(String),
    /// Ports in `host` and in `port` that differ.
    #[error("node {0} has another port in its host")]
    TwoPorts(String),
    /// Neither an address nor a name.
    #[error("invalid host {0}")]
    Host(String),
}

impl BadNode {
    const fn rule(&self) -> &'static str {
        match self {
            Self::BareV6 | Self::Host(_) => "host",
            Self::Port(_) | Self::NoPort(_) | Self::TwoPorts(_) => "port",
        }
    }
}

/// All nodes, in the order given; of two with the same host, port and priority the first keeps the place and the last gives the weight.
pub(super) fn read(fields: &Fields<'_>, found: &mut Found) -> Vec<Node> {
    let at = fields.at("nodes");
    let mut all = Nodes::default();
    match fields.get("nodes") {
        Some(Value::Object(map)) => {
            for (name, weight) in map {
                match from_map(name, weight) {
                    Ok(node) => all.put(node),
                    Err(e) => found.add(pointer::child(&at, name), e.rule(), e.to_string()),
                }
            }
        }
        Some(Value::Array(items)) => {
            for (i, item) in items.iter().enumerate() {
                let Some(object) = item.as_object() else { continue };
                let inner = Fields::new(object, pointer::child(&at, &i.to_string()));
                if let Some(node) = from_item(&inner, found) {
                    all.put(node);
                }
            }
        }
        _ => {}
    }
    all.list
}

#[derive(Default)]
struct Nodes {
    list: Vec<Node>,
    places: HashMap<(Host, u16, i32), usize>,
}

impl Nodes {
    fn put(&mut self, node: Node) {
        let place = *self.places.entry((node.host.clone(), node.port, node.priority)).or_insert(self.list.len());
        match self.list.get_mut(place) {
            Some(same) => same.weight = node.weight,
            None => self.list.push(node),
        }
    }
}

fn from_map(name: &str, weight: &Value) -> Result<Node, BadNode> {
    let (host, port) = host_and_port(name)?;
    let port = port.ok_or_else(|| BadNode::NoPort(name.into()))?;
    // the schema keeps weights within bounds
    let weight = integer(weight).and_then(|w| u32::try_from(w).ok()).unwrap_or(u32::MAX);
    Ok(Node { host, port, weight, priority: 0 })
}

fn from_item(fields: &Fields<'_>, found: &mut Found) -> Option<Node> {
    let text = fields.text("host").unwrap_or_default();
    let stated: Option<u16> = fields.number("port", found);
    let read = host_and_port(text).and_then(|(host, inside)| match (inside, stated) {
        (Some(a), Some(b)) if a != b => Err(BadNode::TwoPorts(text.into())),
        (Some(port), _) | (None, Some(port)) => Ok((host, port)),
        (None, None) => Err(BadNode::NoPort(text.into())),
    });
    match read {
        Ok((host, port)) => Some(Node {
            host,
            port,
            weight: fields.number("weight", found)?,
            priority: fields.get("priority").map_or(Some(0), |_| fields.number("priority", found))?,
        }),
        Err(e) => {
            found.add(fields.at("host"), e.rule(), e.to_string());
            None
        }
    }
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn host_and_port(text: &str) -> Result<(Host, Option<u16>), BadNode> {
    let bad = || BadNode::Host(text.into());
    if let Some(rest) = text.strip_prefix('[') {
        let (inside, after) = rest.split_once(']').ok_or_else(bad)?;
        let ip = inside.parse::<Ipv6Addr>().map_err(|_| bad())?;
        let port = match after.strip_prefix(':') {
            Some(digits) => Some(port(digits)?),
            None if after.is_empty() => None,
            None => return Err(bad()),
        };
        return Ok((Host::Ip(IpAddr::V6(ip).to_canonical()), port));
    }
    match text.split_once(':') {
        None => Ok((host(text)?, None)),
        Some((_, rest)) if rest.contains(':') => Err(BadNode::BareV6),
        Some((name, digits)) => Ok((host(name)?, Some(port(digits)?))),
    }
}

fn port(digits: &str) -> Result<u16, BadNode> {
    let number = if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse::<u16>().ok() } else { None };
    number.filter(|n| *n > 0).ok_or_else(|| BadNode::Port(digits.into()))
}

/// An IPv4 address or a name: labels of 1–63 characters, 253 in all. A last label of digits only is no name (RFC 3696, 2): it is
/// an address with a slip.
fn host(text: &str) -> Result<Host, BadNode> {
    if let Ok(v4) = text.parse::<Ipv4Addr>() {
        return Ok(Host::Ip(IpAddr::V4(v4)));
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let legal = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let last_is_number = name.rsplit('.').next().is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()));
    if name.len() > 253 || !name.split('.').all(legal) || last_is_number {
        return Err(BadNode::Host(text.into()));
    }
    Ok(Host::Name(name.to_ascii_lowercase().into()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{accepted, meaningless};
    use super::*;
    use crate::base::id::Kind;
    use crate::model::Resource;

    fn nodes(value: &Value) -> Vec<String> {
        let Resource::Upstream(u) = accepted(Kind::Upstream, &json!({"nodes": value})) else { panic!() };
        u.nodes.iter().map(|n| format!("{n}*{}^{}", n.weight, n.priority)).collect()
    }

    #[test]
    fn map_and_list_mean_the_same() {
        assert_eq!(
            nodes(&json!({"127.0.0.1:80": 1, "[::1]:81": 0, "DB.example.com.:82": 3})),
            ["127.0.0.1:80*1^0", "[::1]:81*0^0", "db.example.com:82*3^0"]
        );
        assert_eq!(
            nodes(&json!([
                {"host": "127.0.0.1", "port": 80, "weight": 1},
                {"host": "[::1]", "port": 81, "weight": 0, "priority": -1, "metadata": {"zone": "a"}},
                {"host": "127.0.0.1:1980", "weight": 1},
                {"host": "localhost:82", "port": 82, "weight": 1.0},
            ])),
            ["127.0.0.1:80*1^0", "[::1]:81*0^-1", "127.0.0.1:1980*1^0", "localhost:82*1^0"]
        );
        assert!(nodes(&json!({})).is_empty());
        assert!(nodes(&json!([])).is_empty());
    }

    #[test]
    fn repeats_collapse_within_a_priority_and_the_last_weight_wins() {
        assert_eq!(
            nodes(&json!([
                {"host": "a", "port": 1, "weight": 1}, {"host": "b", "port": 1, "weight": 1},
                {"host": "A", "port": 1, "weight": 5}, {"host": "a", "port": 1, "weight": 2, "priority": 1},
            ])),
            ["a:1*5^0", "b:1*1^0", "a:1*2^1"]
        );
        assert_eq!(nodes(&json!({"a:1": 1, "A:1": 4})), ["a:1*4^0"]);
    }

    #[test]
    fn wrong_nodes_have_their_place_and_their_text() {
        for (value, path, rule, says) in [
            (json!([{"host": "::1", "port": 80, "weight": 1}]), "/nodes/0/host", "host", "IPv6 address must be enclosed with '[' and ']'"),
            (json!({"::1": 1}), "/nodes/::1", "host", "IPv6 address must be enclosed with '[' and ']'"),
            (json!({"127.0.0.1:70000": 1}), "/nodes/127.0.0.1:70000", "port", "invalid port 70000"),
            (json!({"127.0.0.1:0": 1}), "/nodes/127.0.0.1:0", "port", "invalid port 0"),
            (json!({"a:": 1}), "/nodes/a:", "port", "invalid port "),
            (json!({"a:x": 1}), "/nodes/a:x", "port", "invalid port x"),
            (json!({"127.0.0.1": 1}), "/nodes/127.0.0.1", "port", "node 127.0.0.1 has no port; there is no default one"),
            (json!([{"host": "[::1]", "weight": 1}]), "/nodes/0/host", "port", "node [::1] has no port; there is no default one"),
            (json!([{"host": "a:1", "port": 2, "weight": 1}]), "/nodes/0/host", "port", "node a:1 has another port in its host"),
            (json!({"127.0.0.256:80": 1}), "/nodes/127.0.0.256:80", "host", "invalid host 127.0.0.256"),
            (json!({"a..b:80": 1}), "/nodes/a..b:80", "host", "invalid host a..b"),
            (json!({"[1.2.3.4]:80": 1}), "/nodes/[1.2.3.4]:80", "host", "invalid host [1.2.3.4]:80"),
            (json!({":80": 1}), "/nodes/:80", "host", "invalid host "),
        ] {
            let got = meaningless(Kind::Upstream, &json!({"nodes": value}));
            assert_eq!(got, (path.to_owned(), rule.to_owned(), says.to_owned()));
        }
    }
}
