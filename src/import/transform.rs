//! `Transforms` are copied as they are, without what `VKProxy` drops silently and this gateway would refuse.

use serde_json::{Map, Value};

use super::json::same;
use super::note::Notes;
use super::part::Part;

const SET: &[&str] = &["Set", "Append"];
const SET_WHEN: &[&str] = &["Set", "Append", "When"];
const WHEN: &[&str] = &["When"];

/// How an element with a key too many, or half of its keys, is taken there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Strict {
    /// The key is ignored.
    No,
    /// The element is.
    Yes,
}

type Row = (&'static str, &'static [&'static str], Strict);

/// The main keys, with what may stand beside each.
const ROWS: [Row; 22] = [
    ("PathPrefix", &[], Strict::No),
    ("PathRemovePrefix", &[], Strict::No),
    ("PathSet", &[], Strict::No),
    ("QueryValueParameter", SET, Strict::Yes),
    ("QueryRemoveParameter", &[], Strict::Yes),
    ("HttpMethodChange", &["Set"], Strict::Yes),
    ("RequestHeadersCopy", &[], Strict::No),
    ("RequestHeadersAllowed", &[], Strict::No),
    ("RequestHeaderOriginalHost", &[], Strict::No),
    ("RequestHeader", SET, Strict::No),
    ("RequestHeaderRemove", &[], Strict::No),
    ("X-Forwarded", &["For", "Proto", "Host", "Prefix", "HeaderPrefix"], Strict::Yes),
    ("Forwarded", &["ForFormat", "ByFormat", "Action"], Strict::Yes),
    ("ClientCert", &[], Strict::Yes),
    ("ResponseHeadersCopy", &[], Strict::No),
    ("ResponseHeadersAllowed", &[], Strict::No),
    ("ResponseHeader", SET_WHEN, Strict::No),
    ("ResponseHeaderRemove", WHEN, Strict::No),
    ("ResponseTrailersCopy", &[], Strict::No),
    ("ResponseTrailersAllowed", &[], Strict::No),
    ("ResponseTrailer", SET_WHEN, Strict::No),
    ("ResponseTrailerRemove", WHEN, Strict::No),
];

/// What `VKProxy` takes and never does.
const IDLE: [&str; 2] = ["QueryRouteParameter", "RequestHeaderRouteValue"];

/// The transforms of a route that are carried over.
pub(super) fn list(route: &Part<'_>, notes: &mut Notes) -> Vec<Value> {
    let elements = route.get("Transforms").map(|list| list.items()).unwrap_or_default();
    elements.iter().filter_map(|element| one(element, notes)).collect()
}

fn one(element: &Part<'_>, notes: &mut Notes) -> Option<Value> {
    let is = |main: &str| element.get(main).is_some();
    if IDLE.into_iter().any(is) {
        notes.lost(&element.at, "there are no route values: it does nothing in VKProxy either");
        return None;
    }
    let Some((main, beside, strict)) = ROWS.into_iter().find(|(main, _, _)| is(main)) else {
        notes.lost(&element.at, "no known transform");
        return None;
    };
    let mut kept = Map::new();
    for (key, part) in element.fields() {
        let known = std::iter::once(&main).chain(beside).any(|name| same(name, key));
        let Some(text) = part.scalar().filter(|_| known) else {
            if strict == Strict::Yes {
                notes.lost(&part.at, format!("does not belong to {main}: the transform, which did nothing, is left out"));
                return None;
            }
            notes.lost(&part.at, format!("does not belong to {main}"));
            continue;
        };
        kept.insert(key.to_owned(), text.into());
    }
    whole(element, main, beside, strict, &mut kept, notes).then_some(Value::Object(kept))
}

/// Whether it has the `Set` or `Append` that it needs, and only one of them.
fn whole(element: &Part<'_>, main: &str, beside: &[&str], strict: Strict, kept: &mut Map<String, Value>, notes: &mut Notes) -> bool {
    let values: Vec<String> = kept.keys().filter(|key| SET.iter().any(|name| same(name, key))).cloned().collect();
    if beside.contains(&"Set") && values.is_empty() {
        notes.lost(&element.at, format!("{main} without a value: the transform, which did nothing, is left out"));
        return false;
    }
    if values.len() > 1 {
        if strict == Strict::Yes {
            notes.lost(&element.at, "both Set and Append: the transform, which did nothing, is left out");
            return false;
        }
        kept.retain(|key, _| !same(key, "Append"));
        notes.differs(&element.at_of("Append"), "beside Set it does nothing, and is left out");
    }
    true
}
