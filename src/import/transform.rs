//! `Transforms` are copied as they are, without what `VKProxy` drops silently and this gateway would refuse.

use serde_json::{Map, Value};

use super::json::same;
use super::note::Notes;
use super::part::Part;
use crate::filter::words;

/// The keys that give a value, of which an element has one.
const VALUES: [&str; 2] = ["Set", "Append"];

/// How an element with a key too many, or half of its keys, is taken there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Strict {
    /// The key is ignored.
    No,
    /// The element is.
    Yes,
}

/// The main keys whose elements are ignored as a whole.
const STRICT: [&str; 6] = ["QueryValueParameter", "QueryRemoveParameter", "HttpMethodChange", "X-Forwarded", "Forwarded", "ClientCert"];

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
    let Some((main, beside)) = words().find(|(main, _)| is(main)) else {
        notes.lost(&element.at, "no known transform");
        return None;
    };
    let strict = if STRICT.contains(&main) { Strict::Yes } else { Strict::No };
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
    let values: Vec<String> = kept.keys().filter(|key| VALUES.iter().any(|name| same(name, key))).cloned().collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_here_is_a_transform() {
        for name in STRICT.into_iter().chain(IDLE) {
            assert!(words().any(|(main, _)| main == name), "{name}");
        }
    }
}
