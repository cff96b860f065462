//! The files of `schemas/`, as part of the program, and joined so that each kind's document needs no other. Never reads a disk.

use serde_json::{Map, Value};

use super::SchemaError;
use crate::base::id::Kind;

const COMMON: (&str, &str) = ("common.json", include_str!("../../schemas/common.json"));
const LISTENER: (&str, &str) = ("listener.json", include_str!("../../schemas/listener.json"));
const STREAM_ROUTE: (&str, &str) = ("stream_route.json", include_str!("../../schemas/stream_route.json"));
const ROUTE: (&str, &str) = ("route.json", include_str!("../../schemas/route.json"));
const UPSTREAM: (&str, &str) = ("upstream.json", include_str!("../../schemas/upstream.json"));
const SSL: (&str, &str) = ("ssl.json", include_str!("../../schemas/ssl.json"));
const SETTING: (&str, &str) = ("setting.json", include_str!("../../schemas/setting.json"));

/// Where the documents say that they live. Nothing is ever fetched from there.
const BASE: &str = "sluice:/schemas/";

const fn source(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Listener => LISTENER,
        Kind::StreamRoute => STREAM_ROUTE,
        Kind::Route => ROUTE,
        Kind::Upstream => UPSTREAM,
        Kind::Ssl => SSL,
        Kind::Setting => SETTING,
    }
}

/// The file of a kind.
pub(super) const fn file_of(kind: Kind) -> &'static str {
    source(kind).0
}

/// All files, parsed.
#[derive(Debug)]
pub(super) struct Documents {
    all: Vec<(&'static str, Map<String, Value>)>,
}

impl Documents {
    pub(super) fn read() -> Result<Self, SchemaError> {
        let mut all = Vec::new();
        for (name, text) in std::iter::once(COMMON).chain(Kind::ALL.map(source)) {
            match serde_json::from_str(text) {
                Ok(Value::Object(map)) => all.push((name, map)),
                Ok(_) => return Err(SchemaError::Text { name, source: None }),
                Err(e) => return Err(SchemaError::Text { name, source: Some(e) }),
            }
        }
        Ok(Self { all })
    }

    fn get(&self, name: &str) -> Option<&Map<String, Value>> {
        self.all.iter().find(|(n, _)| *n == name).map(|(_, doc)| doc)
    }

    /// The document of a kind with those that it refers to under `$defs` (a compound document of draft 2020-12, 9.3).
    pub(super) fn bundle(&self, kind: Kind) -> Value {
        let mut document = self.get(file_of(kind)).cloned().unwrap_or_default();
        let parts: &[&str] = match kind {
            Kind::StreamRoute | Kind::Route => &["common", "upstream"],
            Kind::Listener | Kind::Upstream | Kind::Ssl | Kind::Setting => &["common"],
        };
        let defs = document.entry("$defs").or_insert_with(|| Value::Object(Map::new()));
        for part in parts {
            let doc = self.get(&format!("{part}.json")).cloned().unwrap_or_default();
            if let Value::Object(defs) = defs {
                defs.insert((*part).into(), Value::Object(doc));
            }
        }
        Value::Object(document)
    }

    /// The word `name` beside the keyword at `location`, an absolute location such as
    /// `sluice:/schemas/upstream.json#/properties/type/enum`.
    pub(super) fn beside(&self, location: &str, name: &str) -> Option<&Value> {
        let (uri, fragment) = location.split_once('#')?;
        let document = self.get(uri.strip_prefix(BASE)?)?;
        let (parent, _keyword) = fragment.rsplit_once('/')?;
        let mut segments = super::pointer::segments(parent).into_iter();
        let Some(first) = segments.next() else { return document.get(name) };
        let mut at = document.get(&first)?;
        for segment in segments {
            at = match at.as_array() {
                Some(items) => items.get(segment.parse::<usize>().ok()?)?,
                None => at.get(&segment)?,
            };
        }
        at.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_beside_a_keyword_are_found_at_any_depth() {
        let docs = Documents::read().unwrap();
        let at = |location, name| docs.beside(location, name).is_some();
        assert!(at("sluice:/schemas/upstream.json#/additionalProperties", "x-unserved"));
        assert!(at("sluice:/schemas/upstream.json#/properties/type/enum", "x-hint"));
        assert!(at("sluice:/schemas/upstream.json#/properties/nodes/anyOf/1/items", "items"));
        assert!(!at("sluice:/schemas/nothing.json#/properties", "x-unserved"));
        assert!(!at("no location", "x-unserved"));
    }

    #[test]
    fn every_file_carries_the_name_that_others_call_it_by() {
        let docs = Documents::read().unwrap();
        for (name, doc) in &docs.all {
            assert_eq!(doc.get("$id"), Some(&Value::String(format!("{BASE}{name}"))));
        }
    }
}
