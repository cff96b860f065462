//! Which field of which kind names an object of which other kind, and what follows from it: what is named must exist when it is
//! named, and what is named is not deleted.

use serde_json::Value;

use super::envelope::{Answer, value_of};
use super::gate::AdminParts;
use crate::base::id::{Id, Key, Kind};
use crate::base::violation::Violation;
use crate::store::Guard;

/// One kind of reference.
struct Reference {
    from: Kind,
    field: &'static str,
    to: Kind,
}

/// Every kind of reference.
const REFERENCES: [Reference; 2] = [
    Reference { from: Kind::StreamRoute, field: "upstream_id", to: Kind::Upstream },
    Reference { from: Kind::Listener, field: "stream_route_id", to: Kind::StreamRoute },
];

/// Whether something can refer to objects of this kind.
pub(super) fn is_referred_to(kind: Kind) -> bool {
    REFERENCES.iter().any(|reference| reference.to == kind)
}

/// An id as text, be it a string or a number; `None` for what is neither.
pub(super) fn text_of(id: &Value) -> Option<String> {
    id.as_str().map(str::to_owned).or_else(|| id.is_number().then(|| id.to_string()))
}

/// Guards that hold as long as everything that the value names is there as it is now; `400` if something is not.
pub(super) async fn guards(parts: &AdminParts, kind: Kind, value: &Value) -> Result<Vec<Guard>, Answer> {
    let mut guards = Vec::new();
    for reference in REFERENCES.iter().filter(|r| r.from == kind) {
        let Some(named) = value.get(reference.field).and_then(text_of) else { continue };
        let found = match Id::parse(&named) {
            Ok(id) => parts.store.get(&Key::new(reference.to, id).path(&parts.prefix)).await?,
            Err(_) => None,
        };
        let Some(entry) = found else { return Err(missing(reference, &named)) };
        guards.push(Guard { key: entry.key.to_string(), modified: Some(entry.modified) });
    }
    Ok(guards)
}

fn missing(reference: &Reference, named: &str) -> Answer {
    let label = reference.to.label();
    let message = format!("failed to fetch {label} info by {label} id [{named}], response code: 404");
    let violation = Violation::new(format!("/{}", reference.field), "reference", format!("there is no {label} {named}"));
    Answer::invalid(message, &[violation])
}

/// `400` if a stored object names this one.
pub(super) async fn unused(parts: &AdminParts, key: &Key) -> Result<(), Answer> {
    for reference in REFERENCES.iter().filter(|r| r.to == key.kind) {
        let under = format!("{}/{}/", parts.prefix, reference.from.dir());
        let listing = parts.store.list(&under).await?;
        let names = |value: Value| value.get(reference.field).and_then(text_of).is_some_and(|named| named == key.id.as_str());
        if let Some(entry) = listing.entries.iter().find(|entry| names(value_of(entry))) {
            let user = entry.key.strip_prefix(&under).unwrap_or(&entry.key);
            let (label, from) = (key.kind.label(), reference.from.singular());
            return Err(Answer::bad(format!("can not delete this {label}, {from} [{user}] is still using it now")));
        }
    }
    Ok(())
}
