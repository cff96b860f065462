//! `GET /v1/certificates`: what the certificates say of themselves, and whether their objects serve. Never a key.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::control::ControlParts;
use super::envelope::Answer;
use crate::base::id::Kind;
use crate::control::status::ObjectState;
use crate::model::{Ssl, SslUsage};
use crate::telemetry::stamp::rfc3339;
use crate::tls::inspect::Facts;

/// One entry for each certificate whose key the gateway has, by object and place in it.
pub(super) fn list(parts: &ControlParts) -> Answer {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let snapshot = parts.cell.load_full();
    let mut shown = Vec::new();
    let mut found: Vec<&Ssl> = snapshot.objects().values().filter_map(|stored| stored.resource.ssl()).map(AsRef::as_ref).collect();
    found.sort_by(|a, b| a.id.cmp(&b.id));
    for ssl in found {
        let status = parts.status.get(&format!("{}/{}", Kind::Ssl.dir(), ssl.id));
        let state = status.as_ref().map(|status| status.state);
        shown.extend(ssl.pairs.iter().enumerate().map(|(pair, own)| certificate(ssl, state, pair, &own.cert, now)));
    }
    Answer::ok(&json!({ "total": shown.len(), "certificates": shown }))
}

fn certificate(ssl: &Ssl, state: Option<ObjectState>, pair: usize, pem: &str, now: i64) -> Value {
    let facts = Facts::of(pem).ok();
    let of = |field: fn(&Facts) -> &String| facts.as_ref().map(field);
    json!({
        "id": ssl.id,
        "pair": pair,
        "type": if ssl.usage == SslUsage::Client { "client" } else { "server" },
        "snis": ssl.snis.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "state": state.map(ObjectState::as_str),
        "validity": facts.as_ref().map(|facts| facts.validity(now).as_str()),
        "not_before": facts.as_ref().and_then(|facts| time(facts.not_before)),
        "not_after": facts.as_ref().and_then(|facts| time(facts.not_after)),
        "subject": of(|facts| &facts.subject),
        "issuer": of(|facts| &facts.issuer),
        "serial": of(|facts| &facts.serial),
        "fingerprint": of(|facts| &facts.fingerprint),
        "key_type": of(|facts| &facts.key_type),
        "names": facts.as_ref().map(|facts| &facts.names),
        "client_certificates": ssl.client.is_some(),
    })
}

/// `None` for a time before 1970.
fn time(seconds: i64) -> Option<String> {
    Some(rfc3339(UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))?))
}
