//! `POST configs/validate`: judges many objects of all kinds at once and stores nothing. What they refer to is not looked for.

use std::collections::BTreeSet;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::envelope::Answer;
use super::gate::AdminParts;
use super::resource;
use crate::base::id::Kind;
use crate::control::ingest::id_text;

/// 200 and nothing, or every wrong object by its kind and its place in the list.
pub(super) fn answer(parts: &AdminParts, raw: &[u8], body: Option<&Value>) -> Answer {
    let Some(body) = body else { return Answer::bad("invalid request body: empty request body") };
    if let Err(refusal) = resource::clear(raw) {
        return refusal;
    }
    let Some(kinds) = body.as_object() else { return Answer::bad("invalid request body: expected an object of lists") };
    let errors: Vec<Value> = kinds.iter().flat_map(|(dir, items)| list(parts, dir, items)).collect();
    if errors.is_empty() {
        return Answer::text(StatusCode::OK, "");
    }
    failed(StatusCode::BAD_REQUEST, "Configuration validation failed", &errors)
}

/// What is wrong with a set, object by object.
pub(super) fn failed(status: StatusCode, message: &str, errors: &[Value]) -> Answer {
    Answer::json(status, &json!({ "error_msg": message, "errors": errors }))
}

fn list(parts: &AdminParts, dir: &str, items: &Value) -> Vec<Value> {
    let wrong = |message: String| vec![json!({ "resource_type": dir, "error": message })];
    let Some(kind) = Kind::from_dir(dir) else { return wrong(format!("Unsupported resource type: {dir}")) };
    let Some(items) = items.as_array() else { return wrong(format!("{dir} should be a list")) };
    let mut seen = BTreeSet::new();
    let mut errors = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let id = item.get("id").and_then(id_text);
        let twice = id.as_ref().is_some_and(|id| !seen.insert(id.clone()));
        let error = if twice { Some(twin(dir, id.as_deref())) } else { resource::judge_item(parts, kind, id.as_deref(), item).err() };
        errors.extend(error.map(|error| report(dir, id.as_deref(), index, error)));
    }
    errors
}

/// The refusal of what is in a list twice.
pub(super) fn twin(dir: &str, id: Option<&str>) -> Answer {
    Answer::bad(format!("found duplicate id {} in {dir}", id.unwrap_or_default()))
}

/// One wrong object of a set.
pub(super) fn report(dir: &str, id: Option<&str>, index: usize, error: Answer) -> Value {
    let told = error.into_json();
    let (text, violations) = (told.get("error_msg"), told.get("violations").cloned().unwrap_or_else(|| json!([])));
    json!({ "resource_type": dir, "resource_id": id, "index": index, "error": text, "violations": violations })
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use serde_json::{Value, json};

    async fn validate(body: &Value) -> (u16, Value) {
        let fake = Fake::new();
        let told = fake.ask("POST", "/apisix/admin/configs/validate", &body.to_string()).await;
        assert_eq!(fake.store.len(), 0);
        told
    }

    #[tokio::test]
    async fn good_objects_are_fine_together() {
        let good = json!({ "id": "1", "nodes": {}, "type": "roundrobin" });
        for body in [json!({}), json!({ "upstreams": [good, { "nodes": {} }], "stream_routes": [{ "id": 1, "upstream_id": "1" }] })] {
            assert_eq!(validate(&body).await, (200, "".into()));
        }
    }

    #[tokio::test]
    async fn every_wrong_object_is_reported_with_its_place() {
        let body = json!({
            "upstreams": [{ "id": "1", "nodes": {} }, { "id": "2", "nodes": {}, "retries": -1 }, { "id": "1", "nodes": {} }],
            "stream_routes": [{ "id": "r", "server_port": 0 }, 5],
            "colours": [], "settings": {}
        });
        let (status, told) = validate(&body).await;
        assert_eq!((status, &told["error_msg"]), (400, &json!("Configuration validation failed")));
        let errors = told["errors"].as_array().unwrap();
        let seen: Vec<Value> = errors.iter().map(|e| json!([e["resource_type"], e["resource_id"], e["index"]])).collect();
        let expected = [
            json!(["upstreams", "2", 1]),
            json!(["upstreams", "1", 2]),
            json!(["stream_routes", "r", 0]),
            json!(["stream_routes", null, 1]),
            json!(["colours", null, null]),
            json!(["settings", null, null]),
        ];
        assert_eq!(seen, expected);
        assert_eq!(errors[0]["violations"][0]["path"], "/retries");
        assert_eq!(errors[1]["error"], "found duplicate id 1 in upstreams");
    }

    #[tokio::test]
    async fn what_is_no_set_of_lists_is_refused() {
        let fake = Fake::new();
        for body in ["", "[]", r#"{"upstreams":[],"upstreams":[]}"#] {
            assert_eq!(fake.ask("POST", "/apisix/admin/configs/validate", body).await.0, 400, "{body}");
        }
        assert_eq!(fake.ask("GET", "/apisix/admin/configs/validate", "").await.0, 404);
    }
}
