//! The entries of `node_listen` and of `ssl.listen`, each to a listener resource of HTTP. Opens nothing.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::{Value, json};

use super::StaticListener;
use super::error::Fault;
use super::file::{HttpEntry, NodeListen};
use super::stream::Claimed;
use super::typed::At;
use crate::base::id::Id;

/// One of the two places where ports of HTTP are configured.
struct Part {
    key: &'static str,
    /// The key in the words of APISIX's messages.
    word: &'static str,
    id: &'static str,
    tls: bool,
}

const PLAIN: Part = Part { key: "gateway.node_listen", word: "node_listen", id: "conf-http", tls: false };
const SECURE: Part = Part { key: "gateway.ssl.listen", word: "ssl.listen", id: "conf-https", tls: true };

/// Both parts: one port, or a list. An address is claimed once.
pub(super) fn listeners(plain: Option<At<NodeListen>>, secure: Option<At<NodeListen>>) -> Result<Vec<Claimed>, Fault> {
    let mut seen = BTreeSet::new();
    let mut all = part(&PLAIN, plain, &mut seen)?;
    all.extend(part(&SECURE, secure, &mut seen)?);
    Ok(all)
}

fn part(part: &Part, given: Option<At<NodeListen>>, seen: &mut BTreeSet<SocketAddr>) -> Result<Vec<Claimed>, Fault> {
    let Some(At { place, value }) = given else { return Ok(Vec::new()) };
    let entries = match value {
        NodeListen::One(entry) => vec![At { place, value: entry }],
        NodeListen::Many(entries) if entries.is_empty() => {
            return Err(Fault::new(place, format!("failed to validate config: {} needs at least one entry", part.word)));
        }
        NodeListen::Many(entries) => entries,
    };
    entries.iter().enumerate().map(|(index, entry)| one(part, index, entry, seen)).collect()
}

fn one(part: &Part, index: usize, entry: &At<HttpEntry>, seen: &mut BTreeSet<SocketAddr>) -> Result<Claimed, Fault> {
    let wrong = |text: &dyn std::fmt::Display| Fault::new(entry.place.clone(), format!("invalid {} entry: {text}", part.word));
    let HttpEntry { ip, port, enable_http2, enable_http3 } = &entry.value;
    if *enable_http3 == Some(true) {
        return Err(wrong(&"this build does not serve HTTP/3 yet"));
    }
    if *port == 0 {
        return Err(wrong(&"port out of range (1-65535): 0"));
    }
    let addr = SocketAddr::new(ip.as_ref().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ip| ip.0), *port);
    if !seen.insert(addr) {
        return Err(wrong(&format_args!("{addr} collides with an earlier entry")));
    }
    let mut value = json!({"protocol": "http", "addr": [addr.to_string()]});
    if let Value::Object(value) = &mut value {
        if part.tls {
            value.insert("tls".to_owned(), json!(true));
        }
        if let Some(enabled) = enable_http2 {
            let versions: &[&str] = if *enabled { &["h1", "h2"] } else { &["h1"] };
            value.insert("http".to_owned(), json!({ "versions": versions }));
        }
    }
    let id = Id::parse(&format!("{}-{index}", part.id)).map_err(|bad| wrong(&bad))?;
    Ok(Claimed { key: part.key, listener: StaticListener { id, value }, place: entry.place.clone(), addrs: vec![addr] })
}
