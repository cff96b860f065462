//! Every path with its verbs, arguments and statuses.

use serde_json::{Map, Value, json};

use super::answers::{json_of, shape};
use crate::base::id::{Id, Kind};

/// A reference to a schema.
pub(super) fn schema(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn parameter(name: &str) -> Value {
    json!({ "$ref": format!("#/components/parameters/{name}") })
}

/// A status and the shared answer that it has.
type Status = (&'static str, &'static str);

/// What any request with a key may get.
const ALWAYS: [Status; 4] = [("401", "Unauthorized"), ("403", "Forbidden"), ("429", "TooMany"), ("503", "Unavailable")];
const BAD: Status = ("400", "Bad");
const NOT_FOUND: Status = ("404", "NotFound");
const STALE: Status = ("412", "Stale");
const NOT_APPLIED: Status = ("504", "NotApplied");

/// The arguments of every write.
const WRITE: [&str; 4] = ["ttl", "dry_run", "wait", "timeout"];

/// One verb of a path, in the making.
struct Operation(Map<String, Value>);

impl Operation {
    fn new(id: &str, tag: &str, summary: &str) -> Self {
        let fields = json!({ "operationId": id, "tags": [tag], "summary": summary, "parameters": [], "responses": {} });
        Self(if let Value::Object(fields) = fields { fields } else { Map::new() })
    }

    fn parameters(mut self, names: &[&str]) -> Self {
        if let Some(Value::Array(list)) = self.0.get_mut("parameters") {
            list.extend(names.iter().map(|name| parameter(name)));
        }
        self
    }

    fn argument(mut self, argument: Value) -> Self {
        if let Some(Value::Array(list)) = self.0.get_mut("parameters") {
            list.push(argument);
        }
        self
    }

    fn body(mut self, shape: &Value) -> Self {
        self.0.insert("requestBody".into(), json!({ "required": true, "content": { "application/json": { "schema": shape } } }));
        self
    }

    fn answer(mut self, status: &str, answer: Value) -> Self {
        if let Some(Value::Object(answers)) = self.0.get_mut("responses") {
            answers.insert(status.to_owned(), answer);
        }
        self
    }

    fn or(self, statuses: &[Status]) -> Self {
        statuses
            .iter()
            .chain(&ALWAYS)
            .fold(self, |operation, (status, name)| operation.answer(status, json!({ "$ref": format!("#/components/responses/{name}") })))
    }

    fn done(self) -> Value {
        Value::Object(self.0)
    }
}

/// The arguments, by the names that operations call them.
pub(super) fn parameters() -> Value {
    let argument =
        |name: &str, description: &str, schema: Value| json!({ "name": name, "in": "query", "description": description, "schema": schema });
    let limit = "At most this long, as a number of seconds or text: 5s, 250ms. 5 s when absent, never more than 25 s.";
    json!({
        "id": {
            "name": "id", "in": "path", "required": true, "description": "The object's id.",
            "schema": { "type": "string", "minLength": 1, "maxLength": Id::MAX, "pattern": "^[a-zA-Z0-9._-]+$" }
        },
        "path": {
            "name": "path", "in": "path", "required": true,
            "description": "The place that is replaced: names of fields, or places in lists from 0, with slashes between them.",
            "schema": { "type": "string", "minLength": 1 }
        },
        "if_match": {
            "name": "If-Match", "in": "header", "description": "Only over one of these versions (ETag), or * for any.",
            "schema": { "type": "string" }, "example": "\"17\""
        },
        "ttl": argument("ttl", "The object is deleted by itself after this many seconds.", json!({ "type": "number", "exclusiveMinimum": 0, "maximum": 31_622_400 })),
        "dry_run": argument("dry_run", "Checks everything, writes nothing.", json!({ "type": "boolean" })),
        "wait": argument("wait", "Answers once every living instance uses what was written.", json!({ "const": "applied" })),
        "timeout": argument("timeout", limit, json!({ "type": "string", "examples": ["5s"] })),
        "force": argument("force", "Deletes what is still in use as well.", json!({ "type": "boolean" })),
        "page": argument("page", "Which page, from 1; only with page_size. Pages are sorted by age.", json!({ "type": "integer" })),
        "page_size": argument("page_size", "How many on a page; only with page.", json!({ "type": "integer", "minimum": 10, "maximum": 500 })),
        "name": argument("name", "Only objects in whose name this regular expression is found.", json!({ "type": "string", "maxLength": 1024 })),
        "label": argument("label", "Only objects with a label of this very key.", json!({ "type": "string", "maxLength": 1024 })),
        "filter": argument("filter", "Only objects whose fields have these texts: upstream_id=1, encoded as a query.", json!({ "type": "string", "maxLength": 1024 }))
    })
}

/// All paths.
pub(super) fn all() -> Value {
    let mut paths = Map::new();
    for kind in Kind::ALL {
        let under = format!("/apisix/admin/{}", kind.dir());
        paths.insert(format!("{under}/{{id}}/{{path}}"), json!({ "patch": patch_place(kind) }));
        paths
            .insert(format!("{under}/{{id}}"), json!({ "get": get(kind), "put": put(kind), "patch": patch(kind), "delete": delete(kind) }));
        let mut whole = json!({ "get": list(kind), "put": put_by_body(kind) });
        if let (Value::Object(verbs), true) = (&mut whole, kind != Kind::Setting) {
            verbs.insert("post".into(), post(kind));
        }
        paths.insert(under, whole);
    }
    for (path, verbs) in [
        ("/apisix/admin/apply", json!({ "post": apply() })),
        ("/apisix/admin/configs/validate", json!({ "post": validate_set() })),
        ("/apisix/admin/schema/validate/{kind}", json!({ "post": validate() })),
        ("/apisix/admin/schema/{name}", json!({ "get": show_schema() })),
        ("/apisix/admin", json!({ "head": root() })),
        ("/openapi.json", json!({ "get": itself() })),
    ] {
        paths.insert(path.to_owned(), verbs);
    }
    Value::Object(paths)
}

/// A successful answer with the version that it shows.
fn tagged(description: &str, shape: &Value) -> Value {
    let mut answer = json_of(description, shape);
    if let Value::Object(fields) = &mut answer {
        let etag = json!({ "description": "The version, for If-Match.", "schema": { "type": "string" } });
        fields.insert("headers".into(), json!({ "ETag": etag }));
    }
    answer
}

/// [`tagged`], with where its object can be found.
fn linked(description: &str, kind: Kind) -> Value {
    let mut answer = tagged(description, &schema(&shape(kind, "Written")));
    let link = |verb: &str| {
        let to = json!({ "operationId": format!("{verb}_{}", kind.singular()), "parameters": { "id": "$response.body#/value/id" } });
        (verb.to_owned(), to)
    };
    if let Value::Object(fields) = &mut answer {
        let links: Map<String, Value> = ["get", "put", "patch", "patch_place", "delete"].map(link).into_iter().collect();
        fields.insert("links".into(), Value::Object(links));
    }
    answer
}

fn operation(verb: &str, kind: Kind, summary: &str) -> Operation {
    Operation::new(&format!("{verb}_{}", kind.singular()), kind.dir(), summary)
}

fn written(operation: Operation, kind: Kind) -> Operation {
    operation.answer("200", linked("Replaced; for a trial without an ETag.", kind))
}

fn created(operation: Operation, kind: Kind) -> Operation {
    operation.answer("201", linked("Created; for a trial without an ETag.", kind))
}

fn list(kind: Kind) -> Value {
    let mut arguments = vec!["page", "page_size", "name", "label"];
    if matches!(kind, Kind::StreamRoute | Kind::Route) {
        arguments.push("filter");
    }
    let found = json_of("Those that were found, by key, or with paging by age.", &schema(&shape(kind, "List")));
    operation("list", kind, "All objects of the kind").parameters(&arguments).answer("200", found).or(&[("400", "BadPage")]).done()
}

fn get(kind: Kind) -> Value {
    let found = tagged("The object as it is stored.", &schema(&shape(kind, "Item")));
    operation("get", kind, "One object").parameters(&["id"]).answer("200", found).or(&[BAD, NOT_FOUND]).done()
}

fn put(kind: Kind) -> Value {
    let put = operation("put", kind, "Creates or replaces an object").parameters(&["id", "if_match"]).parameters(&WRITE);
    created(written(put.body(&schema(kind.singular())), kind), kind).or(&[BAD, STALE, NOT_APPLIED]).done()
}

fn put_by_body(kind: Kind) -> Value {
    let body = json!({ "allOf": [schema(kind.singular()), { "type": "object", "required": ["id"] }] });
    let put = operation("put_by_body", kind, "Creates or replaces the object whose id the body has").parameters(&["if_match"]);
    created(written(put.parameters(&WRITE).body(&body), kind), kind).or(&[BAD, STALE, NOT_APPLIED]).done()
}

fn post(kind: Kind) -> Value {
    let post = operation("post", kind, "Creates an object; its id is made: twenty digits that grow").parameters(&WRITE);
    created(post.body(&schema(kind.singular())), kind).or(&[BAD, STALE, NOT_APPLIED]).done()
}

fn patch(kind: Kind) -> Value {
    let patch = operation("patch", kind, "Merges the body into an object; null takes a field away, lists replace");
    let patch = patch.parameters(&["id", "if_match"]).parameters(&WRITE).body(&json!({ "type": "object" }));
    written(patch, kind).or(&[BAD, NOT_FOUND, STALE, NOT_APPLIED]).done()
}

fn patch_place(kind: Kind) -> Value {
    let patch = operation("patch_place", kind, "Replaces one place of an object by the body");
    let patch = patch.parameters(&["id", "path", "if_match"]).parameters(&WRITE).body(&json!({}));
    written(patch, kind).or(&[BAD, NOT_FOUND, STALE, NOT_APPLIED]).done()
}

fn delete(kind: Kind) -> Value {
    let delete = operation("delete", kind, "Deletes an object that nothing names");
    let delete = delete.parameters(&["id", "if_match", "force", "dry_run", "wait", "timeout"]);
    delete.answer("200", json_of("Deleted.", &schema("Deleted"))).or(&[BAD, NOT_FOUND, STALE, NOT_APPLIED]).done()
}

fn apply() -> Value {
    let apply = Operation::new("apply", "sets", "Writes several objects in one transaction, or none of them").parameters(&["force"]);
    let apply = apply.parameters(&WRITE).body(&schema("Set")).answer("200", json_of("All are written.", &schema("Applied")));
    apply.or(&[("400", "BadSet"), ("412", "StaleSet"), NOT_APPLIED]).done()
}

/// 200 with nothing.
fn nothing(description: &str) -> Value {
    json!({ "description": description, "content": { "text/plain": { "schema": { "type": "string", "maxLength": 0 } } } })
}

fn validate_set() -> Value {
    let lists: Map<String, Value> = Kind::ALL.iter().map(|kind| (kind.dir().to_owned(), json!({ "type": "array" }))).collect();
    let body = json!({ "type": "object", "properties": lists, "examples": [{ "upstreams": [{ "id": "1", "nodes": {} }] }] });
    let check = Operation::new("validate_set", "sets", "Checks objects of all kinds and stores nothing; what they name is not looked for");
    check.body(&body).answer("200", nothing("All are right.")).or(&[("400", "BadSet")]).done()
}

fn validate() -> Value {
    let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.dir()).collect();
    let kind = json!({ "name": "kind", "in": "path", "required": true, "description": "The kind.", "schema": { "enum": kinds } });
    let check = Operation::new("validate", "schemas", "Checks one object against the schema of its kind and stores nothing");
    check.argument(kind).body(&json!({})).answer("200", nothing("It is right.")).or(&[BAD, NOT_FOUND]).done()
}

fn show_schema() -> Value {
    let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.singular()).collect();
    let name =
        json!({ "name": "name", "in": "path", "required": true, "description": "The kind, in the singular.", "schema": { "enum": names } });
    let found = json_of("A JSON Schema of draft 2020-12, complete in itself.", &json!({ "type": "object" }));
    Operation::new("schema", "schemas", "The schema of a kind").argument(name).answer("200", found).or(&[BAD, NOT_FOUND]).done()
}

/// Without a key, so without the statuses that come with one.
fn open(operation: Operation, status: &str, answer: Value) -> Value {
    let mut operation = operation.answer(status, answer).answer("403", json!({ "$ref": "#/components/responses/Forbidden" }));
    operation.0.insert("security".into(), json!([]));
    operation.done()
}

fn root() -> Value {
    open(Operation::new("ping", "about", "Whether the Admin API is there; needs no key"), "200", json!({ "description": "It is." }))
}

fn itself() -> Value {
    let document = json_of("An OpenAPI 3.1 document.", &json!({ "type": "object", "required": ["openapi", "paths"] }));
    open(Operation::new("openapi", "about", "This document; needs no key"), "200", document)
}
