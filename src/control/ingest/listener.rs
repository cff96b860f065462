//! A listener object: its addresses expanded, and what this build cannot open refused. Never looks at the machine.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::Value;

use super::fields::{Fields, Found, Least, integer};
use crate::base::addr::{Protocol, parse_listen};
use crate::base::cidr::Cidr;
use crate::base::id::Id;
use crate::model::{HttpVersions, Listener, ProxyProtocol, ProxyVersion};

/// How many ports one listener may name.
const MOST_PORTS: usize = 65_535;

pub(super) fn read(id: Id, fields: &Fields<'_>, found: &mut Found) -> Listener {
    if protocol(fields) == Protocol::Udp {
        of_streams(fields, found);
    }
    Listener {
        id,
        protocol: protocol(fields),
        http: versions(fields, found),
        addrs: addresses(fields, found),
        stream_route_id: fields.id("stream_route_id", found),
        ssl_id: ssl_id(fields, found),
        tls: fields.get("tls") == Some(&Value::Bool(true)),
        proxy_protocol: proxy_protocol(fields, found),
        proxy_protocol_to_upstream: proxy_version(fields),
        drain_timeout: fields.duration("drain_timeout", Least::Zero, found),
        enabled: fields.enabled(),
    }
}

/// The one certificate. Without TLS nobody would see it.
fn ssl_id(fields: &Fields<'_>, found: &mut Found) -> Option<Id> {
    let id = fields.id("ssl_id", found)?;
    if protocol(fields) != Protocol::Udp && fields.get("tls") != Some(&Value::Bool(true)) {
        found.add(fields.at("ssl_id"), "not_applicable", "ssl_id has no meaning on a listener without tls");
    }
    Some(id)
}

/// The schema lets only these words pass.
fn protocol(fields: &Fields<'_>) -> Protocol {
    match fields.text("protocol") {
        Some("udp") => Protocol::Udp,
        Some("http") => Protocol::Http,
        _ => Protocol::Tcp,
    }
}

/// The versions of HTTP that are spoken. What is about HTTP on another listener, or about L4 on one of HTTP, is a mistake.
fn versions(fields: &Fields<'_>, found: &mut Found) -> HttpVersions {
    let http = protocol(fields) == Protocol::Http;
    for (name, belongs) in [("http", http), ("stream_route_id", !http), ("proxy_protocol_to_upstream", !http)] {
        if fields.get(name).is_some() && !belongs {
            let other = if http { "an http listener" } else { "a listener that is not of http" };
            found.add(fields.at(name), "not_applicable", format!("{name} has no meaning on {other}"));
        }
    }
    let mut versions = HttpVersions { h1: false, h2: false };
    let given = fields.object("http").map(|http| http.each("versions").into_iter().map(|(at, v)| (at, v.clone())).collect::<Vec<_>>());
    for (at, version) in given.filter(|given| !given.is_empty()).unwrap_or_default() {
        match version.as_str() {
            Some("h1") => versions.h1 = true,
            Some("h2") => versions.h2 = true,
            _ => found.add(at, "unsupported", "this build does not serve h3 yet (known: h1, h2)"),
        }
    }
    if versions.h1 || versions.h2 { versions } else { HttpVersions::default() }
}

/// Fields that mean nothing where there is no stream of bytes are refused, so that nobody relies on them.
fn of_streams(fields: &Fields<'_>, found: &mut Found) {
    let mut refuse = |name: &str| found.add(fields.at(name), "unsupported", format!("a udp listener takes no `{name}`"));
    if fields.get("tls").is_some_and(|tls| *tls != Value::Bool(false)) {
        refuse("tls");
    }
    for name in ["ssl_id", "http", "proxy_protocol", "proxy_protocol_to_upstream"] {
        if fields.get(name).is_some() {
            refuse(name);
        }
    }
}

/// Whose headers are believed; `None` where none is read. The list is read even then: a wrong one is a mistake either way.
fn proxy_protocol(fields: &Fields<'_>, found: &mut Found) -> Option<ProxyProtocol> {
    let inner = fields.object("proxy_protocol")?;
    let mut trusted = Vec::new();
    for (at, value) in inner.each("trusted") {
        let text = value.as_str().unwrap_or_default();
        match text.parse::<Cidr>() {
            Ok(block) => trusted.push(block),
            Err(_) => found.add(at, "address", format!("invalid proxy_protocol.trusted: {text}")),
        }
    }
    (inner.get("accept") == Some(&Value::Bool(true))).then_some(ProxyProtocol { trusted })
}

/// The schema lets only these two words pass.
fn proxy_version(fields: &Fields<'_>) -> Option<ProxyVersion> {
    fields.text("proxy_protocol_to_upstream").map(|word| if word == "v2" { ProxyVersion::V2 } else { ProxyVersion::V1 })
}

/// All addresses, sorted and without repeats. Counted before repeats are dropped, so that the work is bounded too.
fn addresses(fields: &Fields<'_>, found: &mut Found) -> Vec<SocketAddr> {
    let mut all = BTreeSet::new();
    let mut count = 0_usize;
    for (at, value) in fields.each("addr") {
        let text = match (value.as_str(), integer(value)) {
            (Some(text), _) => text.trim().to_owned(),
            (None, Some(port)) => port.to_string(),
            (None, None) => value.to_string(),
        };
        match parse_listen(&text) {
            Ok(some) => {
                count = count.saturating_add(some.len());
                all.extend(some);
            }
            Err(e) => found.add(at, "address", e.to_string()),
        }
        if count > MOST_PORTS {
            found.add(fields.at("addr"), "too_many", format!("a listener names at most {MOST_PORTS} ports"));
            return Vec::new();
        }
    }
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{accepted, meaningless};
    use super::*;
    use crate::base::id::Kind;
    use crate::model::Resource;

    fn listener(value: &Value) -> Listener {
        let Resource::Listener(l) = accepted(Kind::Listener, value) else { panic!("another kind") };
        (*l).clone()
    }

    #[test]
    fn addresses_are_expanded_sorted_and_without_repeats() {
        let l = listener(&json!({"addr": ["127.0.0.1:2001-2002", 9100, "[::1]:80", "127.0.0.1:2002", ":9100"]}));
        let all: Vec<_> = l.addrs.iter().map(ToString::to_string).collect();
        assert_eq!(all, ["0.0.0.0:9100", "127.0.0.1:2001", "127.0.0.1:2002", "[::1]:80"]);
        assert_eq!(l.protocol, Protocol::Tcp);
        assert!(l.enabled);
    }

    #[test]
    fn every_field_is_read() {
        let l = listener(&json!({"protocol": "tcp", "addr": 80.0, "stream_route_id": 3, "drain_timeout": "1m", "status": 0, "tls": true}));
        assert_eq!(l.stream_route_id.unwrap().as_str(), "3");
        assert_eq!(l.drain_timeout.unwrap().as_secs(), 60);
        assert!(!l.enabled && l.tls);
        assert_eq!(l.addrs[0].port(), 80);
    }

    #[test]
    fn the_proxy_protocol_trusts_nobody_who_is_not_named() {
        let read = |value: Value| listener(&json!({"addr": 80, "proxy_protocol": value})).proxy_protocol.map(|pp| pp.trusted);
        assert_eq!(read(json!({"accept": true})), Some(Vec::new()));
        assert_eq!(read(json!({"accept": false, "trusted": ["::1"]})), None);
        let blocks = read(json!({"accept": true, "trusted": ["10.1.2.3/8", "::1"]})).unwrap();
        assert_eq!(blocks.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.0/8", "::1"]);
        for (word, version) in [("v1", ProxyVersion::V1), ("v2", ProxyVersion::V2)] {
            let l = listener(&json!({"addr": 80, "proxy_protocol_to_upstream": word}));
            assert_eq!((l.proxy_protocol, l.proxy_protocol_to_upstream), (None, Some(version)));
        }
        for accept in [true, false] {
            let bad = json!({"addr": 80, "proxy_protocol": {"accept": accept, "trusted": ["::1", "lb"]}});
            let (path, rule, message) = meaningless(Kind::Listener, &bad);
            let expected = ("/proxy_protocol/trusted/1", "address", "invalid proxy_protocol.trusted: lb");
            assert_eq!((path.as_str(), rule.as_str(), message.as_str()), expected);
        }
    }

    #[test]
    fn a_bad_address_is_shown_with_its_place() {
        let (path, rule, message) = meaningless(Kind::Listener, &json!({"addr": [9100, "127.0.0.1"]}));
        assert_eq!((path.as_str(), rule.as_str(), message.as_str()), ("/addr/1", "address", "missing port: 127.0.0.1"));
        assert_eq!(meaningless(Kind::Listener, &json!({"addr": 0})).2, "port out of range (1-65535): 0");
        assert_eq!(meaningless(Kind::Listener, &json!({"addr": -1})).0, "/addr");
    }

    #[test]
    fn a_listener_names_at_most_as_many_ports_as_there_are() {
        assert_eq!(listener(&json!({"addr": "1-65535"})).addrs.len(), MOST_PORTS);
        assert_eq!(meaningless(Kind::Listener, &json!({"addr": ["1-65535", "127.0.0.1:80"]})).1, "too_many");
        assert_eq!(meaningless(Kind::Listener, &json!({"addr": vec!["1-65535"; 50_000]})).1, "too_many");
    }

    #[test]
    fn a_udp_listener_takes_nothing_that_needs_a_stream() {
        let l = listener(&json!({"protocol": "udp", "addr": ["9200", 9200], "stream_route_id": "r", "tls": false}));
        assert_eq!((l.protocol, l.addrs.len()), (Protocol::Udp, 1));
        for (field, value) in [
            ("tls", json!(true)),
            ("ssl_id", json!("site")),
            ("proxy_protocol", json!({"accept": true})),
            ("proxy_protocol_to_upstream", json!("v2")),
        ] {
            let mut object = json!({"addr": 9100, "protocol": "udp"});
            object[field] = value;
            let (path, rule, message) = meaningless(Kind::Listener, &object);
            assert_eq!((path, rule.as_str()), (format!("/{field}"), "unsupported"));
            assert_eq!(message, format!("a udp listener takes no `{field}`"));
        }
    }

    #[test]
    fn one_certificate_is_for_listeners_with_tls() {
        assert_eq!(listener(&json!({"addr": 9443, "tls": true, "ssl_id": 7})).ssl_id.unwrap().as_str(), "7");
        let (path, rule, message) = meaningless(Kind::Listener, &json!({"addr": 9100, "ssl_id": "site"}));
        let says = "ssl_id has no meaning on a listener without tls";
        assert_eq!((path.as_str(), rule.as_str(), message.as_str()), ("/ssl_id", "not_applicable", says));
    }

    #[test]
    fn an_http_listener_may_speak_tls() {
        let l = listener(&json!({"addr": 443, "protocol": "http", "tls": true, "http": {"versions": ["h1"]}}));
        assert_eq!((l.tls, l.http), (true, HttpVersions { h1: true, h2: false }));
        assert_eq!(listener(&json!({"addr": 443, "protocol": "http", "tls": true})).http, HttpVersions::default());
    }

    #[test]
    fn fields_of_http_belong_to_http_listeners_and_those_of_l4_to_the_others() {
        for (object, field) in [
            (json!({"addr": 9100, "http": {"versions": ["h1"]}}), "/http"),
            (json!({"addr": 9100, "protocol": "http", "stream_route_id": "1"}), "/stream_route_id"),
            (json!({"addr": 9100, "protocol": "http", "proxy_protocol_to_upstream": "v1"}), "/proxy_protocol_to_upstream"),
        ] {
            let (path, rule, _) = meaningless(Kind::Listener, &object);
            assert_eq!((path.as_str(), rule.as_str()), (field, "not_applicable"), "{object}");
        }
    }
}
