//! A stream route object. Whether the upstream that it names exists is decided where all objects are known, not here.

use std::sync::Arc;

use serde_json::Value;

use super::fields::{Fields, Found, Least};
use super::secrets::Secrets;
use super::upstream;
use crate::base::addr::Protocol;
use crate::base::cidr::Cidr;
use crate::base::id::Id;
use crate::base::sni::SniPattern;
use crate::model::{StreamRoute, UpstreamRef};

pub(super) fn read(id: Id, fields: &Fields<'_>, secrets: &Secrets, found: &mut Found) -> StreamRoute {
    let remote_addr = addresses(fields, "remote_addr", found);
    let server_addr = addresses(fields, "server_addr", found);
    StreamRoute {
        id,
        server_addr,
        remote_addr,
        server_port: fields.number("server_port", found),
        snis: snis(fields, found),
        tls_passthrough: fields.get("tls_passthrough") == Some(&Value::Bool(true)),
        protocol: protocol(fields),
        order: fields.number("order", found).unwrap_or(0),
        upstream: target(fields, secrets, found),
        timeout: fields.duration("timeout", Least::AboveZero, found),
        max_duration: fields.duration("max_duration", Least::AboveZero, found),
        enabled: fields.enabled(),
    }
}

/// The schema lets only these two words pass.
fn protocol(fields: &Fields<'_>) -> Option<Protocol> {
    fields.text("protocol").map(|word| if word == "udp" { Protocol::Udp } else { Protocol::Tcp })
}

/// The patterns of `sni` or `snis` in the order given, without repeats.
fn snis(fields: &Fields<'_>, found: &mut Found) -> Vec<SniPattern> {
    if fields.get("sni").is_some() && fields.get("snis").is_some() {
        found.add(fields.at("snis"), "exclusive", "a route has sni or snis, not both");
    }
    let mut all = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for name in ["sni", "snis"] {
        for (at, value) in fields.each(name) {
            let text = value.as_str().unwrap_or_default();
            match SniPattern::parse(text) {
                Ok(sni) if seen.insert(sni.clone()) => all.push(sni),
                Ok(_) => {}
                Err(e) => found.add(at, "sni", format!("invalid {name}: {text}: {e}")),
            }
        }
    }
    all
}

/// Blocks in the order given, without repeats.
fn addresses(fields: &Fields<'_>, name: &str, found: &mut Found) -> Vec<Cidr> {
    let mut all = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for (at, value) in fields.each(name) {
        let text = value.as_str().unwrap_or_default();
        match text.parse::<Cidr>() {
            Ok(block) if seen.insert(block) => all.push(block),
            Ok(_) => {}
            Err(_) => found.add(at, "address", format!("invalid {name}: {text}")),
        }
    }
    all
}

/// An inline upstream is read even where an id wins over it: a wrong one is a mistake either way.
pub(super) fn target(fields: &Fields<'_>, secrets: &Secrets, found: &mut Found) -> UpstreamRef {
    let inline = fields.get("upstream").and_then(Value::as_object).map(|object| {
        let inner = Fields::new(object, fields.at("upstream"));
        let upstream = upstream::read(&inner, secrets, found);
        if upstream.disabled {
            found.add(
                inner.at("status"),
                "unsupported",
                "an upstream that is written into a route is not disabled alone: disable the route",
            );
        }
        Arc::new(upstream)
    });
    match (fields.id("upstream_id", found), inline) {
        (Some(id), _) => UpstreamRef::Id(id),
        (None, Some(upstream)) => UpstreamRef::Inline(upstream),
        (None, None) => UpstreamRef::None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::super::tests::{accepted, meaningless};
    use super::*;
    use crate::base::id::Kind;
    use crate::model::Resource;

    fn route(value: &Value) -> StreamRoute {
        let Resource::StreamRoute(r) = accepted(Kind::StreamRoute, value) else { panic!("another kind") };
        (*r).clone()
    }

    #[test]
    fn an_empty_route_matches_all_and_leads_nowhere() {
        let r = route(&json!({}));
        assert!(r.remote_addr.is_empty() && r.server_addr.is_empty() && r.server_port.is_none());
        assert_eq!((r.order, &r.upstream, r.enabled), (0, &UpstreamRef::None, true));
    }

    #[test]
    fn every_field_is_read() {
        let r = route(&json!({
            "remote_addr": ["127.0.0.1/26", "127.0.0.0/26", "::1"], "server_addr": "127.0.0.2", "server_port": 2000.0, "protocol": "udp",
            "order": -7, "timeout": "11s", "max_duration": "1h", "status": 0, "metadata": {"a": [1]}, "name": "n", "labels": {"a": "b"},
        }));
        let text: Vec<_> = r.remote_addr.iter().map(ToString::to_string).collect();
        assert_eq!(text, ["127.0.0.0/26", "::1"]);
        assert_eq!(r.server_addr[0].to_string(), "127.0.0.2");
        assert_eq!((r.server_port, r.protocol, r.order, r.enabled), (Some(2000), Some(Protocol::Udp), -7, false));
        assert_eq!((r.timeout, r.max_duration), (Some(Duration::from_secs(11)), Some(Duration::from_secs(3600))));
    }

    #[test]
    fn a_bad_address_has_the_text_of_apisix() {
        for (value, path, says) in [
            (json!({"remote_addr": ":/8"}), "/remote_addr", "invalid remote_addr: :/8"),
            (json!({"server_addr": "127.0.0.256"}), "/server_addr", "invalid server_addr: 127.0.0.256"),
            (json!({"remote_addr": ["::1", "x"]}), "/remote_addr/1", "invalid remote_addr: x"),
            (json!({"server_addr": "y", "remote_addr": ""}), "/remote_addr", "invalid remote_addr: "),
        ] {
            let (at, rule, message) = meaningless(Kind::StreamRoute, &value);
            assert_eq!((at.as_str(), rule.as_str(), message.as_str()), (path, "address", says));
        }
    }

    #[test]
    fn names_are_one_or_a_list_without_repeats() {
        let names = |value: &Value| route(value).snis.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(&json!({"sni": "A.test.com"})), ["a.test.com"]);
        assert_eq!(names(&json!({"snis": ["*.B.com", "a.com.", "*", "*.b.com"]})), ["*.b.com", "a.com", "*"]);
        assert!(names(&json!({})).is_empty());
        for (value, path, rule, says) in [
            (json!({"sni": "a", "snis": ["b"]}), "/snis", "exclusive", "a route has sni or snis, not both"),
            (json!({"sni": "*a.com"}), "/sni", "sni", "invalid sni: *a.com: not a server name: a name, \"*.\" and a name, or \"*\""),
            (json!({"snis": ["a", ".."]}), "/snis/1", "sni", "invalid snis: ..: not a server name: a name, \"*.\" and a name, or \"*\""),
            (json!({"tls_passthrough": true}), "/tls_passthrough", "unsupported", "this build does not pass TLS through yet"),
        ] {
            let (at, found, message) = meaningless(Kind::StreamRoute, &value);
            assert_eq!((at.as_str(), found.as_str(), message.as_str()), (path, rule, says));
        }
    }

    #[test]
    fn an_upstream_id_wins_over_an_inline_upstream() {
        let r = route(&json!({"upstream_id": 1, "upstream": {"nodes": {"127.0.0.1:80": 1}}}));
        assert_eq!(r.upstream, UpstreamRef::Id(Id::parse("1").unwrap()));
        let r = route(&json!({"upstream": {"nodes": {"127.0.0.1:80": 1}}}));
        assert!(matches!(r.upstream, UpstreamRef::Inline(u) if u.nodes.len() == 1));
    }

    #[test]
    fn a_wrong_inline_upstream_is_shown_at_its_place() {
        let value = json!({"upstream_id": 1, "upstream": {"nodes": {"127.0.0.1:0": 1}}});
        assert_eq!(meaningless(Kind::StreamRoute, &value).0, "/upstream/nodes/127.0.0.1:0");
        let (path, rule, _) = meaningless(Kind::StreamRoute, &json!({"upstream": {"nodes": {}, "status": 0}}));
        assert_eq!((path.as_str(), rule.as_str()), ("/upstream/status", "unsupported"));
    }

    #[test]
    fn a_route_stands_for_a_bounded_number_of_pairs() {
        let many = |n: usize| (0..n).map(|i| format!("10.0.{}.{}", i / 256, i % 256)).collect::<Vec<_>>();
        route(&json!({"remote_addr": many(4096)}));
        assert_eq!(meaningless(Kind::StreamRoute, &json!({"remote_addr": many(300), "server_addr": many(300)})).1, "too_many_pairs");
        assert_eq!(meaningless(Kind::StreamRoute, &json!({"remote_addr": many(64), "snis": many(65)})).1, "too_many_pairs");
    }
}
