//! The Admin API's own description: it is a sound document, it tells every route, and every answer is one that it tells.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::http::{Answer, call};
use crate::support::{Conf, Gateway};

const VERBS: [&str; 5] = ["get", "put", "post", "patch", "delete"];

fn document(gateway: &Gateway) -> Value {
    let answer = call(gateway.admin_addr(), "GET", "/openapi.json", &[], b"").unwrap();
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{}", answer.text());
    answer.json()
}

/// Follows a reference, if it is one.
fn follow<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let Some(to) = value.get("$ref").and_then(Value::as_str) else { return value };
    document.pointer(to.strip_prefix('#').unwrap()).unwrap_or_else(|| panic!("{to} leads nowhere"))
}

/// Method, path and operation, for all.
fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let all =
        paths.iter().flat_map(|(path, verbs)| verbs.as_object().unwrap().iter().map(move |(verb, op)| (verb.clone(), path.clone(), op)));
    all.collect()
}

/// A validator of a schema that may refer to the document's components.
fn validator(document: &Value, schema: &Value) -> jsonschema::Validator {
    let whole = json!({ "allOf": [schema], "components": document["components"] });
    jsonschema::draft202012::options().offline().build(&whole).unwrap_or_else(|e| panic!("{schema}: {e}"))
}

#[test]
fn the_document_is_sound() {
    let gateway = Gateway::start(Conf::new());
    let document = document(&gateway);
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        assert!(jsonschema::draft202012::meta::is_valid(schema), "{name}: {schema}");
        validator(&document, schema);
    }
    let mut ids = BTreeSet::new();
    for (verb, path, operation) in operations(&document) {
        let place = format!("{verb} {path}");
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{place}: the id is there twice");
        assert!(operation["summary"].is_string() && operation["tags"].is_array(), "{place}");
        let given: BTreeSet<&str> = operation["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .map(|parameter| follow(&document, parameter))
            .inspect(|parameter| drop(validator(&document, &parameter["schema"])))
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        let named: BTreeSet<&str> = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        assert_eq!(given, named, "{place}");
        let answers = operation["responses"].as_object().unwrap();
        assert!(answers.keys().any(|status| status.starts_with('2')), "{place}");
        for (status, answer) in answers {
            let answer = follow(&document, answer);
            assert!(answer["description"].is_string(), "{place} {status}");
            for link in answer["links"].as_object().into_iter().flatten() {
                let to = &link.1["operationId"];
                assert!(operations(&document).iter().any(|(_, _, op)| op["operationId"] == *to), "{place} {status}: {to}");
            }
        }
        for scheme in operation["security"].as_array().or(document["security"].as_array()).unwrap() {
            for name in scheme.as_object().unwrap().keys() {
                assert!(document["components"]["securitySchemes"][name].is_object(), "{place}: {name}");
            }
        }
    }
}

#[test]
fn every_route_is_told_and_every_told_route_is_served() {
    let gateway = Gateway::start(Conf::new());
    let document = document(&gateway);
    let mut routes: BTreeSet<(String, String)> = [
        ("get", "/openapi.json"),
        ("head", "/apisix/admin"),
        ("post", "/apisix/admin/apply"),
        ("post", "/apisix/admin/configs/validate"),
        ("post", "/apisix/admin/schema/validate/{kind}"),
        ("get", "/apisix/admin/schema/{name}"),
    ]
    .map(|(verb, path)| (verb.to_owned(), path.to_owned()))
    .into();
    for kind in sluice::base::id::Kind::ALL {
        let under = format!("/apisix/admin/{}", kind.dir());
        for verb in ["get", "put", "patch", "delete"] {
            routes.insert((verb.to_owned(), format!("{under}/{{id}}")));
        }
        routes.insert(("patch".to_owned(), format!("{under}/{{id}}/{{path}}")));
        routes.insert(("get".to_owned(), under.clone()));
        routes.insert(("put".to_owned(), under.clone()));
        if kind.dir() != "settings" {
            routes.insert(("post".to_owned(), under));
        }
    }
    let told: BTreeSet<(String, String)> = operations(&document).into_iter().map(|(verb, path, _)| (verb, path)).collect();
    assert_eq!(told, routes);

    // the other way round: what is not told is not served
    for path in told.iter().map(|(_, path)| path).filter(|path| path.starts_with("/apisix/admin/")) {
        let real = path.replace("{id}", "1").replace("{path}", "desc").replace("{kind}", "upstreams").replace("{name}", "upstream");
        let real = real.strip_prefix("/apisix/admin").unwrap();
        for verb in VERBS {
            let answer = gateway.admin().call(&verb.to_uppercase(), real, b"");
            let served = !["not found"].contains(&answer.error_msg().as_str()) && answer.status != 405;
            let is_told = told.contains(&(verb.to_owned(), path.clone()));
            // a verb that lacks an id, or has one too many, is served to say so
            assert!(served || !is_told, "{verb} {path} is told but not served: {}", answer.text());
            assert!(
                is_told || !served || answer.status == 400,
                "{verb} {path} is served but not told: {} {}",
                answer.status,
                answer.text()
            );
        }
    }
}

/// Checks that an answer is one of those that the document tells; returns its status.
fn conforms(document: &Value, verb: &str, path: &str, answer: &Answer) -> u16 {
    let place = format!("{verb} {path}: {} {}", answer.status, answer.text());
    let told = &document["paths"][path][verb]["responses"][answer.status.to_string()];
    assert!(told.is_object(), "the status is not told: {place}");
    let told = follow(document, told);
    let content = answer.header("content-type").unwrap().split(';').next().unwrap().trim().to_owned();
    let schema = &told["content"][&content]["schema"];
    assert!(!schema.is_null(), "the type {content} is not told: {place}");
    let body = if content == "application/json" { answer.json() } else { Value::String(answer.text()) };
    let wrong: Vec<String> = validator(document, schema).iter_errors(&body).map(|e| format!("{} {e}", e.instance_path())).collect();
    assert!(wrong.is_empty(), "{wrong:#?}: {place}");
    for header in told["headers"].as_object().into_iter().flatten() {
        let trial = body.get("value").is_some() && answer.header("etag").is_none();
        assert!(trial || answer.header(header.0).is_some(), "{} is missing: {place}", header.0);
    }
    answer.status
}

#[test]
fn every_answer_is_one_that_the_document_tells() {
    let gateway = Gateway::start(Conf::new().tcp(crate::support::ports::free()));
    let document = document(&gateway);
    let key = gateway.conf.admin_key.clone();
    let (one, place, all) = ("/apisix/admin/upstreams/{id}", "/apisix/admin/upstreams/{id}/{path}", "/apisix/admin/upstreams");
    let (route, routes, listener) = ("/apisix/admin/stream_routes/{id}", "/apisix/admin/stream_routes", "/apisix/admin/listeners/{id}");
    let (setting, apply) = ("/apisix/admin/settings/{id}", "/apisix/admin/apply");
    let (schema, check, check_set) =
        ("/apisix/admin/schema/{name}", "/apisix/admin/schema/validate/{kind}", "/apisix/admin/configs/validate");
    let good = r#"{"nodes":{"127.0.0.1:1":1},"name":"n","labels":{"a":"b"},"timeout":{"connect":1,"send":"2s","read":3}}"#;
    let mut seen: BTreeMap<(&str, &str), BTreeSet<u16>> = BTreeMap::new();
    for (verb, path, real, headers, body, status) in [
        ("put", one, "upstreams/1", "", good, 201),
        ("put", one, "upstreams/1", "", good, 200),
        ("put", one, "upstreams/1?dry_run=true", "", good, 200),
        ("put", one, "upstreams/1?wait=applied&timeout=9s&ttl=900", "", good, 200),
        ("put", one, "upstreams/1", "If-Match: \"0\"", good, 412),
        ("put", one, "upstreams/1", "", "{", 400),
        ("put", one, "upstreams/1", "", r#"{"nodes":5,"retries":-1}"#, 400),
        ("put", one, "upstreams/1?ttl=x", "", good, 400),
        ("put", one, "upstreams/*x", "", good, 400),
        ("put", all, "upstreams", "", r#"{"id":2,"nodes":[]}"#, 201),
        ("put", all, "upstreams", "", r#"{"id":2,"nodes":[]}"#, 200),
        ("put", all, "upstreams", "", "{}", 400),
        ("post", all, "upstreams", "", good, 201),
        ("post", all, "upstreams", "", r#"{"id":"1"}"#, 400),
        ("post", all, "upstreams", "If-Match: *", good, 412),
        ("get", one, "upstreams/1", "", "", 200),
        ("get", one, "upstreams/9", "", "", 404),
        ("get", one, "upstreams/9", "", "[", 400),
        ("get", all, "upstreams", "", "", 200),
        ("get", all, "upstreams?page=1&page_size=10&name=n&label=a", "", "", 200),
        ("get", all, "upstreams?page=1&page_size=1", "", "", 400),
        ("get", all, "upstreams?name=(", "", "", 400),
        ("patch", one, "upstreams/1", "", r#"{"desc":"d"}"#, 200),
        ("patch", one, "upstreams/1", "", "[]", 400),
        ("patch", one, "upstreams/9", "", "{}", 404),
        ("patch", one, "upstreams/1", "If-Match: \"0\"", "{}", 412),
        ("patch", place, "upstreams/1/retries", "", "3", 200),
        ("patch", place, "upstreams/1/retries/x", "", "3", 400),
        ("patch", place, "upstreams/9/retries", "", "3", 404),
        ("put", route, "stream_routes/1", "", r#"{"upstream_id":"1"}"#, 201),
        ("put", route, "stream_routes/1", "", r#"{"upstream_id":"9"}"#, 400),
        ("get", routes, "stream_routes?filter=upstream_id%3D1", "", "", 200),
        ("put", listener, "listeners/conf-tcp-0", "", r#"{"addr":1}"#, 400),
        ("get", listener, "listeners/conf-tcp-0", "", "", 404),
        ("put", setting, "settings/global", "", r#"{"default_timeout":"5m"}"#, 201),
        ("put", setting, "settings/other", "", "{}", 400),
        ("delete", one, "upstreams/1", "", "", 400),
        ("delete", one, "upstreams/1?force=true", "If-Match: \"0\"", "", 412),
        ("delete", one, "upstreams/1?force=true", "", "", 200),
        ("delete", one, "upstreams/1", "", "", 404),
        (
            "post",
            apply,
            "apply?wait=applied&timeout=9s",
            "",
            r#"{"put":{"upstreams":[{"id":"3","nodes":{}}]},"delete":["upstreams/2"]}"#,
            200,
        ),
        ("post", apply, "apply?dry_run=true", "", r#"{"put":{"upstreams":[{"id":"3","nodes":{}}]}}"#, 200),
        ("post", apply, "apply", "", r#"{"put":{"upstreams":[{"id":"3","x":{}},{"id":"4","nodes":{}}],"x":[]},"delete":[5]}"#, 400),
        ("post", apply, "apply", "", r#"{"delete":[{"key":"upstreams/3","modifiedIndex":0}]}"#, 412),
        ("post", apply, "apply", "", "[]", 400),
        ("get", schema, "schema/upstream", "", "", 200),
        ("get", schema, "schema/upstreams", "", "", 400),
        ("post", check, "schema/validate/upstreams", "", good, 200),
        ("post", check, "schema/validate/upstreams", "", "5", 400),
        ("post", check, "schema/validate/x", "", "{}", 404),
        ("post", check_set, "configs/validate", "", r#"{"upstreams":[{"id":"1","nodes":{}}]}"#, 200),
        ("post", check_set, "configs/validate", "", r#"{"upstreams":[{"id":"1","x":{}},{}],"x":[],"settings":5}"#, 400),
        ("get", all, "upstreams", "X-API-KEY: wrong", "", 401),
        ("get", all, "upstreams", "X-API-KEY:", "", 401),
        ("put", one, "upstreams/1", "X-API-KEY: test-key-of-the-viewer-000000002", good, 401),
    ] {
        let mut sent = vec![("X-API-KEY", key.as_str())];
        if let Some((name, value)) = headers.split_once(':') {
            if name == "X-API-KEY" {
                sent.clear();
            }
            sent.push((name, value.trim()));
        }
        let uri = format!("/apisix/admin/{real}");
        let answer = call(gateway.admin_addr(), &verb.to_uppercase(), &uri, &sent, body.as_bytes()).unwrap();
        assert_eq!(conforms(&document, verb, path, &answer), status, "{verb} {real} {body}: {}", answer.text());
        seen.entry((verb, path)).or_default().insert(status);
    }
    assert_eq!(seen[&("put", one)], BTreeSet::from([200, 201, 400, 401, 412]));
    for _ in 0..10 {
        call(gateway.admin_addr(), "GET", all, &[("X-API-KEY", "wrong")], b"").unwrap();
    }
    let slow = call(gateway.admin_addr(), "GET", all, &[("X-API-KEY", &key)], b"").unwrap();
    assert_eq!(conforms(&document, "get", all, &slow), 429);
}
