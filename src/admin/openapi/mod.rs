//! `GET /openapi.json`: the Admin API as an `OpenAPI` 3.1 document, made once from the schemas of the kinds. Describes; decides nothing.

mod answers;
mod kinds;
mod paths;

use hyper::body::Bytes;
use serde_json::{Map, Value, json};

use crate::schema::Schemas;

const ABOUT: &str = "Objects of the gateway: listeners, stream routes, upstreams, settings. Every path is served without its first part \
    (`/admin/…`) as well, and a slash at its end is harmless. What is written is in the store when the answer comes and live a moment \
    later; see the argument `wait`. `OPTIONS` on any path answers 200.";

const KEY: &str = "The argument `api_key` and the cookie `x_api_key` do as well; the argument comes first, then the header. A key of the role \
    viewer may only GET. After ten wrong keys from one address within a minute the rest of the minute is answered 429.";

/// The document's text.
pub(super) fn text(schemas: &Schemas) -> Bytes {
    document(schemas).to_string().into()
}

fn document(schemas: &Schemas) -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Sluice Admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" }
        },
        "servers": [{ "url": "/", "description": "This gateway" }],
        "security": [{ "key": [] }],
        "tags": tags(),
        "paths": paths::all(),
        "components": {
            "securitySchemes": { "key": { "type": "apiKey", "in": "header", "name": "X-API-KEY", "description": KEY } },
            "parameters": paths::parameters(),
            "responses": answers::shared(),
            "schemas": joined(kinds::schemas(schemas), answers::schemas())
        }
    })
}

fn tags() -> Value {
    let kinds = crate::base::id::Kind::ALL.iter().map(|kind| json!({ "name": kind.dir(), "description": format!("{}s", kind.label()) }));
    let rest = [("sets", "several objects at once"), ("schemas", "what objects look like"), ("about", "the API itself")];
    kinds.chain(rest.iter().map(|(name, description)| json!({ "name": name, "description": description }))).collect()
}

fn joined(first: Map<String, Value>, second: Map<String, Value>) -> Value {
    Value::Object(first.into_iter().chain(second).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Kind;

    #[test]
    fn the_document_has_every_kind_and_nothing_points_nowhere() {
        let document = document(&Schemas::compile().unwrap());
        for kind in Kind::ALL {
            let one = format!("/paths/~1apisix~1admin~1{}~1{{id}}/put", kind.dir());
            assert!(document.pointer(&one).is_some(), "{one}");
        }
        let mut open = vec![&document];
        while let Some(value) = open.pop() {
            if let Some(to) = value.get("$ref").and_then(Value::as_str) {
                assert!(document.pointer(to.strip_prefix('#').unwrap()).is_some(), "{to}");
            }
            match value {
                Value::Object(fields) => open.extend(fields.values()),
                Value::Array(items) => open.extend(items),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
    }
}
