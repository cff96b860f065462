//! The schemas of the kinds, taken apart so that everything has a name under `components`. Writes no schema itself.

use serde_json::{Map, Value};

use crate::base::id::Kind;
use crate::schema::Schemas;

/// Set by the server, though a patch may change them.
const TIMES: [&str; 2] = ["create_time", "update_time"];

/// `<kind>` for each kind, `<file>.<name>` for what its schema or a shared file defines.
pub(super) fn schemas(schemas: &Schemas) -> Map<String, Value> {
    let mut named = Map::new();
    for kind in Kind::ALL {
        let mut document = schemas.document(kind).clone();
        for time in TIMES {
            if let Some(Value::Object(field)) = document.get_mut("properties").and_then(|fields| fields.get_mut(time)) {
                field.insert("readOnly".into(), Value::Bool(true));
            }
        }
        name(&mut named, kind.singular(), document);
    }
    named
}

/// Files a document and what it defines. A definition with an `$id` is a whole file of its own.
fn name(named: &mut Map<String, Value>, stem: &str, mut document: Value) {
    let defined = document.as_object_mut().and_then(|fields| {
        fields.shift_remove("$schema");
        fields.shift_remove("$id");
        fields.shift_remove("$defs")
    });
    point(&mut document, stem);
    named.insert(stem.to_owned(), document);
    let Some(Value::Object(defined)) = defined else { return };
    for (inner, mut schema) in defined {
        match schema.get("$id").and_then(Value::as_str).map(file_stem) {
            Some(file) if named.contains_key(&file) || Kind::ALL.iter().any(|kind| kind.singular() == file) => {}
            Some(file) => name(named, &file, schema),
            None => {
                point(&mut schema, stem);
                named.insert(format!("{stem}.{inner}"), schema);
            }
        }
    }
}

/// `sluice:/schemas/common.json` is `common`.
fn file_stem(id: &str) -> String {
    let file = id.rsplit('/').next().unwrap_or(id);
    file.strip_suffix(".json").unwrap_or(file).to_owned()
}

/// Turns every reference, which is relative to the file `stem`, into one to `components`.
fn point(value: &mut Value, stem: &str) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(to)) = fields.get_mut("$ref") {
                *to = target(to, stem);
            }
            fields.values_mut().for_each(|inner| point(inner, stem));
        }
        Value::Array(items) => items.iter_mut().for_each(|inner| point(inner, stem)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn target(reference: &str, stem: &str) -> String {
    let (file, fragment) = reference.split_once('#').unwrap_or((reference, ""));
    let file = if file.is_empty() { stem.to_owned() } else { file_stem(file) };
    match fragment.strip_prefix("/$defs/") {
        Some(inner) => format!("#/components/schemas/{file}.{inner}"),
        None => format!("#/components/schemas/{file}{fragment}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_lead_to_components() {
        for (reference, to) in [
            ("common.json#/$defs/id", "common.id"),
            ("upstream.json", "upstream"),
            ("#/$defs/node", "stream_route.node"),
            ("#", "stream_route"),
        ] {
            assert_eq!(target(reference, "stream_route"), format!("#/components/schemas/{to}"), "{reference}");
        }
    }

    #[test]
    fn every_definition_gets_a_name() {
        let named = schemas(&Schemas::compile().unwrap());
        for name in
            ["listener", "stream_route", "route", "upstream", "setting", "common.id", "common.duration", "upstream.node", "upstream.weight"]
        {
            assert!(named.contains_key(name), "{name}");
        }
        let text = Value::Object(named).to_string();
        assert!(!text.contains("$defs") && !text.contains("\"$id\"") && !text.contains("\"$schema\""));
    }
}
