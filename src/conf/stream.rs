//! The entries of `stream_proxy.tcp` and `.udp`, each to a listener resource. Error texts follow those that APISIX prints at its
//! start. Opens nothing.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::{Map, Value, json};

use super::StaticListener;
use super::error::{Fault, Place};
use super::file::{Entry, Marks, ProxyProtocol};
use super::typed::At;
use crate::base::addr::{Transport, parse_listen};
use crate::base::id::Id;

/// A listener with the addresses that it claims.
pub(super) struct Claimed {
    /// The key that it stands under.
    pub(super) key: &'static str,
    pub(super) listener: StaticListener,
    pub(super) place: Place,
    pub(super) addrs: Vec<SocketAddr>,
}

/// Reads one list. `pp` are the switches for all TCP entries; UDP takes no part in the PROXY protocol.
pub(super) fn listeners(transport: Transport, list: Option<At<Vec<At<Entry>>>>, pp: &ProxyProtocol) -> Result<Vec<Claimed>, Fault> {
    let Some(list) = list else { return Ok(Vec::new()) };
    let word = word(transport);
    if list.value.is_empty() {
        return Err(Fault::new(list.place, format!("failed to validate config: stream_proxy.{word} needs at least one entry")));
    }
    let mut seen = BTreeSet::new();
    list.value.into_iter().enumerate().map(|(index, entry)| one(transport, index, &entry, pp, &mut seen)).collect()
}

const fn word(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    }
}

fn one(
    transport: Transport,
    index: usize,
    entry: &At<Entry>,
    pp: &ProxyProtocol,
    seen: &mut BTreeSet<SocketAddr>,
) -> Result<Claimed, Fault> {
    let word = word(transport);
    let wrong = |text: &dyn std::fmt::Display| Fault::new(entry.place.clone(), format!("invalid stream_proxy.{word} entry: {text}"));
    let schema = |text: &str| {
        let text = format!("failed to validate config: invalid stream_proxy.{word} entry: {text}");
        Fault::new(entry.place.clone(), text)
    };
    if transport == Transport::Udp && entry.value.long.is_some() {
        return Err(schema("an entry of udp is a port, an address or a range"));
    }
    let text = entry.value.addr.0.as_ref().map_err(|what| schema(what))?;
    let addrs = parse_listen(text).map_err(|bad| wrong(&bad))?;
    for addr in &addrs {
        if !seen.insert(*addr) {
            return Err(wrong(&format_args!("{addr} collides with an earlier entry")));
        }
    }
    let id = Id::parse(&format!("conf-{word}-{index}")).map_err(|bad| wrong(&bad))?;
    let value = value(transport, text, entry.value.long, pp);
    let key = match transport {
        Transport::Tcp => "gateway.stream_proxy.tcp",
        Transport::Udp => "gateway.stream_proxy.udp",
    };
    Ok(Claimed { key, listener: StaticListener { id, value }, place: entry.place.clone(), addrs })
}

fn value(transport: Transport, addr: &str, long: Option<Marks>, pp: &ProxyProtocol) -> Value {
    let mut value = Map::new();
    value.insert("protocol".to_owned(), json!(word(transport)));
    value.insert("addr".to_owned(), json!([addr]));
    if transport == Transport::Udp {
        return Value::Object(value);
    }
    if long.and_then(|long| long.tls) == Some(true) {
        value.insert("tls".to_owned(), json!(true));
    }
    if long.and_then(|long| long.proxy_protocol).or(pp.enable_tcp_pp) == Some(true) {
        let mut accept = Map::from_iter([("accept".to_owned(), json!(true))]);
        if let Some(trusted) = &pp.trusted {
            accept.insert("trusted".to_owned(), trusted.iter().map(|cidr| json!(cidr.to_string())).collect());
        }
        value.insert("proxy_protocol".to_owned(), Value::Object(accept));
    }
    if long.and_then(|long| long.proxy_protocol_to_upstream).or(pp.enable_tcp_pp_to_upstream) == Some(true) {
        value.insert("proxy_protocol_to_upstream".to_owned(), json!("v1"));
    }
    Value::Object(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::file::Addr;

    fn read(transport: Transport, entries: Vec<Entry>, pp: &ProxyProtocol) -> Result<Vec<String>, String> {
        let list = entries.into_iter().map(|value| At { place: Place::Line(1), value }).collect();
        let list = At { place: Place::Line(1), value: list };
        let claimed = listeners(transport, Some(list), pp).map_err(|fault| fault.text)?;
        Ok(claimed.iter().map(|c| format!("{} {}", c.listener.id, c.listener.value)).collect())
    }

    fn short(text: &str) -> Entry {
        Entry { addr: Addr(Ok(text.to_owned())), long: None }
    }

    fn long(text: &str, tls: Option<bool>, accept: Option<bool>, send: Option<bool>) -> Entry {
        let marks = Marks { tls, proxy_protocol: accept, proxy_protocol_to_upstream: send };
        Entry { addr: Addr(Ok(text.to_owned())), long: Some(marks) }
    }

    #[test]
    fn entries_become_listeners_with_the_address_as_typed() {
        let none = ProxyProtocol::default();
        let entries = vec![short("9100"), short("127.0.0.1:2000-2005"), long("9443", Some(true), None, Some(true))];
        assert_eq!(
            read(Transport::Tcp, entries, &none).unwrap(),
            [
                r#"conf-tcp-0 {"protocol":"tcp","addr":["9100"]}"#,
                r#"conf-tcp-1 {"protocol":"tcp","addr":["127.0.0.1:2000-2005"]}"#,
                r#"conf-tcp-2 {"protocol":"tcp","addr":["9443"],"tls":true,"proxy_protocol_to_upstream":"v1"}"#,
            ]
        );
        assert_eq!(read(Transport::Udp, vec![short("9200")], &none).unwrap(), [r#"conf-udp-0 {"protocol":"udp","addr":["9200"]}"#]);
    }

    #[test]
    fn the_switches_for_all_reach_every_tcp_entry_that_does_not_decide_itself() {
        let all = ProxyProtocol {
            enable_tcp_pp: Some(true),
            enable_tcp_pp_to_upstream: Some(true),
            trusted: Some(vec!["10.0.0.0/8".parse().unwrap()]),
        };
        assert_eq!(
            read(Transport::Tcp, vec![short("1"), long("2", None, Some(false), Some(false))], &all).unwrap(),
            [
                r#"conf-tcp-0 {"protocol":"tcp","addr":["1"],"proxy_protocol":{"accept":true,"trusted":["10.0.0.0/8"]},"proxy_protocol_to_upstream":"v1"}"#,
                r#"conf-tcp-1 {"protocol":"tcp","addr":["2"]}"#,
            ]
        );
        assert_eq!(read(Transport::Udp, vec![short("1")], &all).unwrap(), [r#"conf-udp-0 {"protocol":"udp","addr":["1"]}"#]);
    }

    #[test]
    fn an_address_is_claimed_once() {
        let none = ProxyProtocol::default();
        for (first, second, says) in [
            ("9100", "9100", "invalid stream_proxy.tcp entry: 0.0.0.0:9100 collides with an earlier entry"),
            ("9100", "0.0.0.0:9100", "invalid stream_proxy.tcp entry: 0.0.0.0:9100 collides with an earlier entry"),
            ("2000-2005", "2003", "invalid stream_proxy.tcp entry: 0.0.0.0:2003 collides with an earlier entry"),
        ] {
            assert_eq!(read(Transport::Tcp, vec![short(first), short(second)], &none).unwrap_err(), says);
        }
        assert!(read(Transport::Tcp, vec![short("9100"), short("127.0.0.1:9100")], &none).is_ok());
    }
}
