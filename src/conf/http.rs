//! The entries of `node_listen`, each to a listener resource of HTTP. Opens nothing.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::{Value, json};

use super::StaticListener;
use super::error::Fault;
use super::file::{HttpEntry, NodeListen};
use super::stream::Claimed;
use super::typed::At;
use crate::base::id::Id;

/// Where ports of HTTP are configured.
pub(super) const KEY: &str = "gateway.node_listen";

/// Reads one port, or a list.
pub(super) fn listeners(given: Option<At<NodeListen>>) -> Result<Vec<Claimed>, Fault> {
    let Some(At { place, value }) = given else { return Ok(Vec::new()) };
    let entries = match value {
        NodeListen::One(entry) => vec![At { place, value: entry }],
        NodeListen::Many(entries) if entries.is_empty() => {
            return Err(Fault::new(place, "failed to validate config: node_listen needs at least one entry"));
        }
        NodeListen::Many(entries) => entries,
    };
    let mut seen = BTreeSet::new();
    entries.iter().enumerate().map(|(index, entry)| one(index, entry, &mut seen)).collect()
}

fn one(index: usize, entry: &At<HttpEntry>, seen: &mut BTreeSet<SocketAddr>) -> Result<Claimed, Fault> {
    let wrong = |text: &dyn std::fmt::Display| Fault::new(entry.place.clone(), format!("invalid node_listen entry: {text}"));
    let HttpEntry { ip, port, enable_http2 } = &entry.value;
    if *port == 0 {
        return Err(wrong(&"port out of range (1-65535): 0"));
    }
    let addr = SocketAddr::new(ip.as_ref().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ip| ip.0), *port);
    if !seen.insert(addr) {
        return Err(wrong(&format_args!("{addr} collides with an earlier entry")));
    }
    let mut value = json!({"protocol": "http", "addr": [addr.to_string()]});
    if let Value::Object(value) = &mut value
        && let Some(enabled) = enable_http2
    {
        let versions: &[&str] = if *enabled { &["h1", "h2"] } else { &["h1"] };
        value.insert("http".to_owned(), json!({ "versions": versions }));
    }
    let id = Id::parse(&format!("conf-http-{index}")).map_err(|bad| wrong(&bad))?;
    Ok(Claimed { key: KEY, listener: StaticListener { id, value }, place: entry.place.clone(), addrs: vec![addr] })
}
