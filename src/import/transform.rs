//! `Transforms` are copied as they are, without what `VKProxy` drops silently and this gateway would refuse.

use std::collections::BTreeMap;

use serde_json::Value;

use super::json::same;
use super::note::Notes;
use super::part::Part;
use crate::base::violation::Violation;
use crate::filter::{Transforms, words};

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

/// Main keys of which the last one counts there, and which contradict each other here.
const RIVALS: [&[&str]; 4] = [
    &["RequestHeadersCopy", "RequestHeadersAllowed"],
    &["RequestHeaderOriginalHost"],
    &["ResponseHeadersCopy", "ResponseHeadersAllowed"],
    &["ResponseTrailersCopy", "ResponseTrailersAllowed"],
];

/// Lists of names, and what says the same of an empty one.
const LISTS: [(&str, &str); 3] = [
    ("RequestHeadersAllowed", "RequestHeadersCopy"),
    ("ResponseHeadersAllowed", "ResponseHeadersCopy"),
    ("ResponseTrailersAllowed", "ResponseTrailersCopy"),
];

/// An element as a route of ours has it.
type Spec = BTreeMap<String, String>;

/// One that is carried over.
struct Carried<'a> {
    at: String,
    main: &'a str,
    spec: Spec,
}

/// The transforms of a route that are carried over.
pub(super) fn list(route: &Part<'_>, notes: &mut Notes) -> Vec<Value> {
    let elements = route.get("Transforms").map(|list| list.items()).unwrap_or_default();
    let mut all: Vec<Carried<'_>> = Vec::new();
    for element in &elements {
        let Some(carried) = one(element, notes).and_then(|carried| sound(carried, notes)) else { continue };
        let rivals = RIVALS.into_iter().find(|rivals| rivals.contains(&carried.main)).unwrap_or_default();
        if let Some(at) = all.iter().position(|other| rivals.contains(&other.main) && wrong(&[&other.spec, &carried.spec]).is_some()) {
            notes.differs(&all.remove(at).at, format!("contradicts {} after it, which counts in VKProxy", carried.main));
        }
        all.push(carried);
    }
    all.into_iter().map(|carried| Value::from_iter(carried.spec)).collect()
}

/// What the gateway would refuse of elements.
fn wrong(specs: &[&Spec]) -> Option<Violation> {
    let specs: Vec<Spec> = specs.iter().map(|spec| (*spec).clone()).collect();
    Transforms::compile(&specs).err()?.into_iter().next()
}

/// An element without the values that would be refused. One that keeps headers from passing goes on to do so.
fn sound<'a>(mut carried: Carried<'a>, notes: &mut Notes) -> Option<Carried<'a>> {
    let Some(violation) = wrong(&[&carried.spec]) else { return Some(carried) };
    if let Some((main, copy)) = LISTS.into_iter().find(|(main, _)| *main == carried.main) {
        let names = carried.spec.values().next().cloned().unwrap_or_default();
        let is_good = |name: &&str| wrong(&[&Spec::from([(main.to_owned(), (*name).to_owned())])]).is_none();
        let good: Vec<&str> = names.split(';').map(str::trim).filter(|name| !name.is_empty()).filter(is_good).collect();
        notes.lost(&carried.at, violation.message);
        let (key, value) = if good.is_empty() { (copy, "false".to_owned()) } else { (main, good.join(";")) };
        carried.spec = Spec::from([(key.to_owned(), value)]);
        return Some(carried);
    }
    let when = carried.spec.keys().find(|key| same(key, "When")).cloned();
    if let Some(when) = when
        && let Some(text) = carried.spec.remove(&when)
        && wrong(&[&carried.spec]).is_none()
    {
        notes.differs(&carried.at, format!("{text} is no When: it works on Success, as in VKProxy"));
        return Some(carried);
    }
    notes.lost(&carried.at, violation.message);
    None
}

fn one<'a>(element: &Part<'_>, notes: &mut Notes) -> Option<Carried<'a>> {
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
    let mut kept = Spec::new();
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
        kept.insert(key.to_owned(), text.to_owned());
    }
    whole(element, main, beside, strict, &mut kept, notes).then(|| Carried { at: element.at.clone(), main, spec: kept })
}

/// Whether it has the `Set` or `Append` that it needs, and only one of them.
fn whole(element: &Part<'_>, main: &str, beside: &[&str], strict: Strict, kept: &mut Spec, notes: &mut Notes) -> bool {
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
