//! An upstream object, or one written into a route. Its nodes are read in `nodes`; none is resolved or reached here.

use serde_json::Value;

use super::fields::{Fields, Found, Least};
use super::secrets::Secrets;
use super::{nodes, ssl};
use crate::model::{ClientIdentity, Keepalive, KeyPair, PassHost, Scheme, Timeouts, Upstream, UpstreamTls};

pub(super) fn read(fields: &Fields<'_>, secrets: &Secrets, found: &mut Found) -> Upstream {
    Upstream {
        nodes: nodes::read(fields, found),
        retries: fields.number("retries", found),
        retry_timeout: fields.duration("retry_timeout", Least::Zero, found),
        timeout: timeouts(fields, found),
        disabled: !fields.enabled(),
        scheme: scheme(fields),
        tls: tls(fields, secrets, found),
        pass_host: pass_host(fields, found),
        keepalive: keepalive(fields, found),
    }
}

/// Absent is the node's own: a gateway that forwards to a site by its name has to ask for it by that name.
fn pass_host(fields: &Fields<'_>, found: &mut Found) -> PassHost {
    match (fields.text("pass_host"), fields.text("upstream_host")) {
        (Some("pass"), _) => PassHost::Pass,
        (Some("rewrite"), Some(host)) => PassHost::Rewrite(host.into()),
        (Some("rewrite"), None) => {
            found.add(fields.at("upstream_host"), "pass_host", "`upstream_host` can't be empty when `pass_host` is `rewrite`");
            PassHost::Node
        }
        // the schema lets only `node` pass besides these
        (Some(_) | None, _) => PassHost::Node,
    }
}

fn keepalive(fields: &Fields<'_>, found: &mut Found) -> Keepalive {
    let absent = Keepalive::default();
    let Some(inner) = fields.object("keepalive_pool") else { return absent };
    Keepalive {
        size: inner.number::<u32>("size", found).map_or(absent.size, |n| usize::try_from(n).unwrap_or(usize::MAX)),
        idle: inner.duration("idle_timeout", Least::Zero, found).unwrap_or(absent.idle),
        requests: inner.number("requests", found).unwrap_or(absent.requests),
    }
}

fn timeouts(fields: &Fields<'_>, found: &mut Found) -> Option<Timeouts> {
    let inner = fields.object("timeout")?;
    let mut one = |name| inner.duration(name, Least::AboveZero, found);
    let (connect, send, read) = (one("connect"), one("send"), one("read"));
    Some(Timeouts { connect: connect?, send: send?, read: read? })
}

fn scheme(fields: &Fields<'_>) -> Scheme {
    match fields.text("scheme") {
        Some("tls") => Scheme::Tls,
        Some("udp") => Scheme::Udp,
        Some("h2c" | "grpc") => Scheme::H2c,
        Some("https") => Scheme::Https,
        Some("grpcs") => Scheme::Grpcs,
        // the schema lets only these pass; http and kafka are plain bytes here
        Some(_) | None => Scheme::Tcp,
    }
}

fn tls(fields: &Fields<'_>, secrets: &Secrets, found: &mut Found) -> Option<UpstreamTls> {
    let inner = fields.object("tls")?;
    let client = identity(&inner, secrets, found);
    Some(UpstreamTls {
        client,
        verify: inner.get("verify").and_then(Value::as_bool).unwrap_or(false),
        ca: inner.text("ca").and_then(|text| ssl::certificate(&inner.at("ca"), text, secrets, found)),
        sni: inner.text("sni").map(|name| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase().into()),
    })
}

/// A certificate by id, or written out with its key; never both.
fn identity(tls: &Fields<'_>, secrets: &Secrets, found: &mut Found) -> Option<ClientIdentity> {
    let (cert, key) = (tls.text("client_cert"), tls.text("client_key"));
    if tls.get("client_cert_id").is_some() {
        if let Some(other) = [("client_cert", cert), ("client_key", key)].iter().find_map(|(name, given)| given.map(|_| *name)) {
            let text = format!(
                "property \"tls\" validation failed: failed to validate dependent schema for \"{other}\": value wasn't supposed to match schema: \
                 client_cert_id excludes it"
            );
            found.add(tls.at(other), "dependentSchemas", text);
        }
        return tls.id("client_cert_id", found).map(ClientIdentity::ById);
    }
    let (cert, key) = match (cert, key) {
        (Some(cert), Some(key)) => (cert, key),
        (None, None) => return None,
        (cert, _) => {
            let (there, missing) = if cert.is_some() { ("client_cert", "client_key") } else { ("client_key", "client_cert") };
            let text = format!("property \"tls\" validation failed: property \"{missing}\" is required when \"{there}\" is set");
            found.add(tls.at(there), "dependentRequired", text);
            return None;
        }
    };
    let cert = ssl::certificate(&tls.at("client_cert"), cert, secrets, found);
    let key = ssl::key_of(&tls.at("client_key"), 0, key, secrets, found);
    Some(ClientIdentity::Inline(KeyPair { cert: cert?, key: key? }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::super::tests::{accepted, meaningless};
    use super::*;
    use crate::base::id::Kind;
    use crate::model::Resource;

    fn upstream(value: &Value) -> Upstream {
        let Resource::Upstream(u) = accepted(Kind::Upstream, value) else { panic!("another kind") };
        (*u).clone()
    }

    #[test]
    fn every_field_is_read() {
        let u = upstream(&json!({
            "nodes": {"127.0.0.1:1": 1}, "type": "roundrobin", "scheme": "tcp", "retries": 2, "retry_timeout": "1500ms",
            "timeout": {"connect": 0.5, "send": "1m", "read": "00:00:11"}, "status": 1,
        }));
        assert_eq!((u.retries, u.retry_timeout), (Some(2), Some(Duration::from_millis(1500))));
        let t = u.timeout.unwrap();
        assert_eq!((t.connect.as_millis(), t.send.as_secs(), t.read.as_secs()), (500, 60, 11));
    }

    #[test]
    fn fields_of_http_are_read_and_the_authority_is_the_nodes_unless_told() {
        let u = upstream(&json!({
            "nodes": {}, "pass_host": "rewrite", "upstream_host": "a.com", "keepalive_pool": {"size": 4}, "scheme": "http", "retry_timeout": 0,
        }));
        assert!(u.nodes.is_empty());
        assert_eq!((u.pass_host, u.keepalive), (PassHost::Rewrite("a.com".into()), Keepalive { size: 4, ..Keepalive::default() }));
        let u = upstream(&json!({"nodes": {}, "keepalive_pool": {"idle_timeout": 0.5, "requests": 7}}));
        let kept = Keepalive { size: 320, idle: Duration::from_millis(500), requests: 7 };
        assert_eq!((u.pass_host, u.keepalive), (PassHost::Node, kept));
        let of = |word: &str| upstream(&json!({"nodes": {}, "pass_host": word, "upstream_host": "b"})).pass_host;
        assert_eq!((of("pass"), of("node")), (PassHost::Pass, PassHost::Node));
    }

    #[test]
    fn a_rewritten_host_must_be_given() {
        let (path, _, message) = meaningless(Kind::Upstream, &json!({"pass_host": "rewrite"}));
        assert_eq!(path, "/upstream_host");
        assert_eq!(message, "`upstream_host` can't be empty when `pass_host` is `rewrite`");
    }

    #[test]
    fn a_wrong_time_is_shown_at_its_place() {
        let (path, rule, message) = meaningless(Kind::Upstream, &json!({"timeout": {"connect": "0", "send": 1, "read": 1}}));
        assert_eq!((path.as_str(), rule.as_str()), ("/timeout/connect", "duration"));
        assert_eq!(message, "invalid timeout.connect: must be longer than 0");
    }

    #[test]
    fn an_upstream_may_be_switched_off() {
        assert!(upstream(&json!({"nodes": {}, "status": 0})).disabled && !upstream(&json!({"nodes": {}})).disabled);
    }
}
