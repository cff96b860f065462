//! What answers look like: their shapes, and those that many requests share.

use serde_json::{Map, Value, json};

use super::paths::schema;
use crate::base::id::Kind;

/// The name of a shape of one kind: `UpstreamItem`.
pub(super) fn shape(kind: Kind, what: &str) -> String {
    let words = kind.singular().split('_').map(|word| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
    });
    format!("{}{what}", words.collect::<String>())
}

/// The shapes that are no kind.
pub(super) fn schemas() -> Map<String, Value> {
    let mut all = Map::new();
    for kind in Kind::ALL {
        all.insert(shape(kind, "Written"), written(kind));
        all.insert(shape(kind, "Item"), item(kind));
        all.insert(shape(kind, "List"), list(kind));
    }
    for (name, schema) in [
        ("Deleted", closed(&json!({ "deleted": { "const": "1" }, "key": key() }), &["deleted", "key"])),
        ("Error", error()),
        ("Violation", violation()),
        ("SetError", set_error()),
        ("Refused", refused()),
        ("NoKey", closed(&json!({ "message": { "const": "Key not found" } }), &["message"])),
        ("NotApplied", not_applied()),
        ("Set", set()),
        ("Applied", applied()),
    ] {
        all.insert(name.to_owned(), schema);
    }
    all
}

/// An object with these properties and no others.
fn closed(properties: &Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn key() -> Value {
    json!({ "type": "string", "description": "The object's key in the store.", "examples": ["/sluice/upstreams/1"] })
}

fn revision(description: &str) -> Value {
    json!({ "type": "integer", "minimum": 0, "description": description })
}

fn written(kind: Kind) -> Value {
    closed(&json!({ "key": key(), "value": schema(kind.singular()) }), &["key", "value"])
}

fn item(kind: Kind) -> Value {
    let value = json!({
        "description": "As it is stored. What others wrote to the store may be of any form; such an object is not served.",
        "anyOf": [schema(kind.singular()), {}]
    });
    let properties = json!({
        "key": key(),
        "value": value,
        "createdIndex": revision("The revision at which the object came into being."),
        "modifiedIndex": revision("The revision of this value; the ETag is the same number in quotes.")
    });
    closed(&properties, &["key", "value", "createdIndex", "modifiedIndex"])
}

fn list(kind: Kind) -> Value {
    let total = json!({ "type": "integer", "minimum": 0, "description": "How many there are, filtered, on all pages." });
    closed(&json!({ "list": { "type": "array", "items": schema(&shape(kind, "Item")) }, "total": total }), &["list", "total"])
}

fn violation() -> Value {
    let properties = json!({
        "path": { "type": "string", "description": "Where, as a JSON Pointer into the object; empty for the whole." },
        "rule": { "type": "string", "description": "The rule that was broken: a keyword of JSON Schema, or a word such as duplicate_key." },
        "message": { "type": "string", "description": "What is wrong, for people." }
    });
    closed(&properties, &["path", "rule", "message"])
}

fn violations() -> Value {
    json!({ "type": "array", "items": schema("Violation"), "description": "Everything that is wrong with the object." })
}

fn error() -> Value {
    let properties = json!({
        "error_msg": { "type": "string", "description": "What is wrong, for people." },
        "description": { "type": "string", "description": "What is wrong with the key." },
        "req_body": { "type": "string", "description": "The body that is no JSON." },
        "violations": violations()
    });
    closed(&properties, &["error_msg"])
}

fn set_error() -> Value {
    let properties = json!({
        "resource_type": { "type": "string", "description": "The kind, as in the body." },
        "resource_id": { "type": ["string", "null"], "description": "The object's id, if it has one." },
        "index": { "type": "integer", "minimum": 0, "description": "Its place in its list, from 0." },
        "error": { "type": ["string", "null"], "description": "What is wrong, for people." },
        "violations": violations()
    });
    closed(&properties, &["resource_type", "error"])
}

fn refused() -> Value {
    let properties = json!({
        "error_msg": { "type": "string", "description": "What is wrong, for people." },
        "errors": { "type": "array", "items": schema("SetError"), "minItems": 1, "description": "Every wrong object." }
    });
    closed(&properties, &["error_msg", "errors"])
}

fn not_applied() -> Value {
    let properties = json!({
        "error_msg": { "type": "string" },
        "revision": revision("What was written."),
        "applied": { "type": ["integer", "null"], "minimum": 0, "description": "What this gateway uses; null before the first." },
        "behind": { "type": "array", "items": { "type": "string" }, "description": "The living instances that do not use the revision." }
    });
    closed(&properties, &["error_msg", "revision", "applied", "behind"])
}

fn version(description: &str) -> Value {
    json!({ "type": "integer", "minimum": 0, "description": description })
}

fn set() -> Value {
    let guard = "The version that the object must have now; 0: it must not be there.";
    let of_kind = |kind: Kind| {
        let object =
            json!({ "type": "object", "properties": { "id": schema("common.id"), "modifiedIndex": version(guard) }, "required": ["id"] });
        let description = format!("Objects as for `PUT {}/{{id}}`, each with its id.", kind.dir());
        (kind.dir().to_owned(), json!({ "type": "array", "items": object, "description": description }))
    };
    let kinds: Map<String, Value> = Kind::ALL.into_iter().map(of_kind).collect();
    let name = json!({ "type": "string", "pattern": "^[a-z_]+/[a-zA-Z0-9._-]+$", "examples": ["stream_routes/1"] });
    let guarded = closed(&json!({ "key": name, "modifiedIndex": version(guard) }), &["key"]);
    let properties = json!({
        "put": { "type": "object", "properties": kinds, "additionalProperties": false, "description": "Created or replaced, by kind." },
        "delete": {
            "type": "array", "items": { "anyOf": [name, guarded] },
            "description": "Deleted. What is not there is no error."
        }
    });
    let mut set = closed(&properties, &[]);
    if let Value::Object(set) = &mut set {
        set.insert("description".into(), "At most 128 operations in all; no object twice.".into());
        let upstream = json!({ "id": "1", "nodes": { "127.0.0.1:3306": 1 } });
        set.insert("examples".into(), json!([{ "put": { "upstreams": [upstream] }, "delete": ["stream_routes/old"] }]));
    }
    set
}

fn applied() -> Value {
    let one = closed(
        &json!({ "key": key(), "value": { "type": "object" }, "created": { "type": "boolean", "description": "Whether it is new." } }),
        &["key", "value", "created"],
    );
    let properties = json!({
        "revision": revision("The one revision of all; absent if nothing was written."),
        "put": { "type": "array", "items": one },
        "deleted": { "type": "array", "items": key() }
    });
    closed(&properties, &["put", "deleted"])
}

/// A JSON answer of a shape.
pub(super) fn json_of(description: &str, shape: &Value) -> Value {
    json!({ "description": description, "content": { "application/json": { "schema": shape } } })
}

/// The answers that many requests share, by the names that `paths` calls them.
pub(super) fn shared() -> Value {
    let error = schema("Error");
    let mut too_many = json_of("Too many wrong keys from this address; whatever comes now is not looked at.", &error);
    let wait = json!({ "description": "Seconds to wait.", "schema": { "type": "integer", "minimum": 1 } });
    if let Value::Object(answer) = &mut too_many {
        answer.insert("headers".into(), json!({ "Retry-After": wait }));
    }
    let bad_page = json!({
        "description": "An argument is wrong; a wrong page_size is told in plain text.",
        "content": { "application/json": { "schema": error }, "text/plain": { "schema": { "type": "string" } } }
    });
    let nowhere = json!({ "anyOf": [schema("NoKey"), schema("Error")] });
    let set = json!({ "anyOf": [schema("Refused"), schema("Error")] });
    json!({
        "Bad": json_of("Refused; nothing is written.", &error),
        "BadPage": bad_page,
        "BadSet": json_of("Refused, with every wrong object; nothing is written.", &set),
        "Unauthorized": json_of("The key is missing, wrong, or of a role that may not do this.", &error),
        "Forbidden": json_of("The address is not allowed, or without keys a page of another site asked.", &error),
        "NotFound": json_of("There is no such object, or no such kind.", &nowhere),
        "Stale": json_of("The object has another version than If-Match names; nothing is written.", &error),
        "StaleSet": json_of("Objects have other versions than modifiedIndex names; nothing is written.", &schema("Refused")),
        "TooMany": too_many,
        "Unavailable": json_of("The store does not answer, or a race was lost again and again; nothing is written, unless the text says else.", &error),
        "NotApplied": json_of("Written, but not applied in time.", &schema("NotApplied"))
    })
}
