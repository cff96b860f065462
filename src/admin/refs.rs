//! Which field of which kind names an object of which other kind, and what follows from it: what is named must exist when it is
//! named, and what is named is not deleted.

use std::collections::BTreeMap;

use serde_json::Value;

use super::envelope::{Answer, value_of};
use super::gate::AdminParts;
use crate::base::id::{Id, Key, Kind};
use crate::base::violation::Violation;
use crate::control::ingest::id_text;
use crate::store::Guard;

/// One kind of reference.
struct Reference {
    from: Kind,
    /// Where it is, as a JSON Pointer.
    at: &'static str,
    to: Kind,
}

impl Reference {
    /// The type of an ssl object that it can name: upstreams show those of clients, listeners those of servers.
    fn ssl_type(&self) -> &'static str {
        if self.from == Kind::Listener { "server" } else { "client" }
    }
}

/// Every kind of reference.
const REFERENCES: [Reference; 7] = [
    Reference { from: Kind::StreamRoute, at: "/upstream_id", to: Kind::Upstream },
    Reference { from: Kind::StreamRoute, at: "/upstream/tls/client_cert_id", to: Kind::Ssl },
    Reference { from: Kind::Route, at: "/upstream_id", to: Kind::Upstream },
    Reference { from: Kind::Route, at: "/upstream/tls/client_cert_id", to: Kind::Ssl },
    Reference { from: Kind::Upstream, at: "/tls/client_cert_id", to: Kind::Ssl },
    Reference { from: Kind::Listener, at: "/stream_route_id", to: Kind::StreamRoute },
    Reference { from: Kind::Listener, at: "/ssl_id", to: Kind::Ssl },
];

/// Whether something can refer to objects of this kind.
pub(super) fn is_referred_to(kind: Kind) -> bool {
    REFERENCES.iter().any(|reference| reference.to == kind)
}

/// What a set of writes that happen together says of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is written.
    Put,
    /// It is deleted.
    Deleted,
    /// It stays as it is.
    Untouched,
}

/// Guards that hold as long as everything that the value names is there as it is now, or comes with the same writes; `400` if
/// something is not.
pub(super) async fn guards(parts: &AdminParts, kind: Kind, value: &Value, fate: impl Fn(&Key) -> Fate) -> Result<Vec<Guard>, Answer> {
    let mut guards = Vec::new();
    for reference in REFERENCES.iter().filter(|r| r.from == kind) {
        let Some(named) = value.pointer(reference.at).and_then(id_text) else { continue };
        let key = Id::parse(&named).ok().map(|id| Key::new(reference.to, id));
        let found = match key.as_ref().map(|key| (key, fate(key))) {
            Some((_, Fate::Put)) => continue,
            Some((key, Fate::Untouched)) => parts.store.get(&key.path(&parts.prefix)).await?,
            Some((_, Fate::Deleted)) | None => None,
        };
        let Some(entry) = found else { return Err(missing(reference, &named)) };
        let wanted = reference.ssl_type();
        if reference.to == Kind::Ssl && value_of(&entry).get("type").and_then(Value::as_str).unwrap_or("server") != wanted {
            return Err(wrong_type(reference, &named));
        }
        guards.push(Guard { key: entry.key.to_string(), modified: Some(entry.modified) });
    }
    Ok(guards)
}

fn missing(reference: &Reference, named: &str) -> Answer {
    let label = reference.to.label();
    let message = format!("failed to fetch {label} info by {label} id [{named}], response code: 404");
    let violation = Violation::new(reference.at, "reference", format!("there is no {label} {named}"));
    Answer::invalid(message, &[violation])
}

/// Each shows certificates of one type only; one that comes with the same writes is looked at when it is linked.
fn wrong_type(reference: &Reference, named: &str) -> Answer {
    let message = format!("failed to fetch ssl info by ssl id [{named}], wrong ssl type");
    let violation = Violation::new(reference.at, "reference", format!("ssl {named} is not of type {}", reference.ssl_type()));
    Answer::invalid(message, &[violation])
}

/// For each of these keys that a stored object names, except one whose fate is decided as well, why it cannot be deleted.
pub(super) async fn in_use(parts: &AdminParts, keys: &[Key], fate: impl Fn(&Key) -> Fate) -> Result<BTreeMap<Key, Answer>, Answer> {
    let mut used = BTreeMap::new();
    for reference in REFERENCES.iter().filter(|r| keys.iter().any(|key| key.kind == r.to)) {
        let under = format!("{}/{}/", parts.prefix, reference.from.dir());
        for entry in parts.store.list(&under).await?.entries {
            let user = entry.key.strip_prefix(&under).unwrap_or(&entry.key);
            let named = value_of(&entry).pointer(reference.at).and_then(id_text);
            let Some(key) = keys.iter().find(|key| key.kind == reference.to && named.as_deref() == Some(key.id.as_str())) else { continue };
            let goes = Id::parse(user).is_ok_and(|id| fate(&Key::new(reference.from, id)) != Fate::Untouched);
            if !goes && !used.contains_key(key) {
                let (label, from) = (key.kind.label(), reference.from.singular());
                let message = format!("can not delete this {label}, {from} [{user}] is still using it now");
                used.insert(key.clone(), Answer::bad(message));
            }
        }
    }
    Ok(used)
}
