//! `Routes` as HTTP routes, and what every route has, whichever kind it becomes.

use serde_json::{Map, Value, json};

use super::cluster::{Targets, Use};
use super::file::Entry;
use super::note::Notes;
use super::part::Part;
use super::put::Put as _;
use super::{limit, match_part, transform};

const FIELDS: [&str; 8] = ["Order", "Timeout", "ClusterId", "UdpResponses", "Match", "Transforms", "Metadata", "Limit"];

/// What a route switches on by its metadata, as words that its keys hold, and what the user has to know.
const EXTRAS: [(&str, &str, Weight); 12] = [
    ("waf", "the firewall", Weight::Guards),
    ("JwtSigningKey", "the check of tokens", Weight::Guards),
    ("OnlyHttps", "the redirection to https", Weight::Adds),
    ("Access-Control-", "CORS", Weight::Adds),
    ("Cache", "the cache", Weight::Adds),
    ("ResponseCompression", "compression", Weight::Adds),
    ("_Content", "the fixed answer", Weight::Adds),
    ("MirrorCluster", "the mirror", Weight::Adds),
    ("Prometheus", "the page of metrics", Weight::Adds),
    ("socks5", "SOCKS5", Weight::Guards),
    ("DisableNoAuth", "SOCKS5", Weight::Adds),
    ("Jwt", "the check of tokens", Weight::Adds),
];

/// What happens without it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weight {
    /// More would pass than did.
    Guards,
    Adds,
}

/// An HTTP route. Without `matched` it takes every request.
pub(super) fn http<'a>(entry: &Entry<'a>, matched: bool, targets: &mut Targets<'_, 'a>, notes: &mut Notes) -> Option<Value> {
    let part = &entry.part;
    let matching = match part.get("Match").filter(|_| matched) {
        Some(conditions) => Some(match_part::read(&conditions, notes)?),
        None => None,
    };
    let mut route = json!({ "id": entry.id });
    if let Some(order) = part.number::<i64>("Order", notes) {
        route.put("order", order);
    }
    if let Some(matching) = matching {
        route.put("match", matching);
    }
    common(part, Use::Http, &mut route, targets, notes);
    let transforms = transform::list(part, notes);
    if !transforms.is_empty() {
        route.put("transforms", transforms);
    }
    Some(route)
}

/// Target, time limit, limit and metadata.
pub(super) fn common<'a>(part: &Part<'a>, from: Use, route: &mut Value, targets: &mut Targets<'_, 'a>, notes: &mut Notes) {
    part.strangers(&FIELDS, notes);
    if let Some(id) = targets.of(part, from, notes) {
        route.put("upstream_id", id);
    }
    if let Some(timeout) = part.span("Timeout", notes) {
        route.put("timeout", timeout);
    }
    if let Some(limit) = limit::of_route(part, notes) {
        route.put("limit", limit);
    }
    metadata(part, route, notes);
}

/// Kept as it is. What it switched on is not here; a route that it guarded is off.
fn metadata(part: &Part<'_>, route: &mut Value, notes: &mut Notes) {
    let fields = part.get("Metadata").map(|metadata| metadata.fields()).unwrap_or_default();
    let mut kept = Map::new();
    for (key, field) in fields {
        let Some(text) = field.scalar() else {
            notes.lost(&field.at, "expected one value");
            continue;
        };
        kept.insert(key.to_owned(), text.into());
        let lower = key.to_ascii_lowercase();
        let Some((_, what, weight)) = EXTRAS.iter().find(|(word, _, _)| lower.contains(&word.to_ascii_lowercase())) else { continue };
        if text.eq_ignore_ascii_case("false") {
            continue;
        }
        if *weight == Weight::Guards {
            route.put("status", 0);
            notes.lost(&field.at, format!("{what} is not there: the route is off (status 0), since more would pass without it"));
        } else {
            notes.lost(&field.at, format!("{what} is not there; the key is kept and does nothing"));
        }
    }
    if !kept.is_empty() {
        route.put("metadata", kept);
    }
}
