//! Cases L: upstreams through the Admin API.

use serde_json::{Value, json};

use crate::support::gateway::Admin;
use crate::support::http::call;
use crate::support::{Conf, Gateway};

fn simple() -> Value {
    json!({"nodes": {"127.0.0.1:8080": 1}, "type": "roundrobin"})
}

fn with(field: &str, value: Value) -> Value {
    let mut upstream = simple();
    upstream[field] = value;
    upstream
}

#[test]
fn an_upstream_is_put_read_listed_and_deleted() {
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    let empty = admin.get("/upstreams");
    assert_eq!((empty.status, empty.json()), (200, json!({"list": [], "total": 0})), "L25");

    let value = with("desc", json!("new upstream"));
    let put = admin.put("upstreams", "1", &value);
    assert_eq!(put.status, 201, "L01: {}", put.text());
    let got = admin.get("/upstreams/1");
    assert_eq!(got.status, 200, "L01");
    for (field, expected) in value.as_object().unwrap() {
        assert_eq!(&got.json()["value"][field], expected, "L01: {field}");
    }
    assert_eq!(admin.get("/upstreams/1/").status, 200, "a trailing slash is harmless");
    assert_eq!(admin.delete("upstreams", "1").status, 200, "L01");
    assert_eq!(admin.delete("upstreams", "1").status, 404, "L02");

    let posted = admin.post("upstreams", &simple());
    assert_eq!(posted.status, 201, "L03: {}", posted.text());
    let id = posted.json()["value"]["id"].as_str().unwrap().to_owned();
    assert_eq!(admin.delete("upstreams", &id).status, 200, "L03");
}

#[test]
fn a_put_keeps_the_create_time_and_answers_with_the_new_index() {
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    admin.must_put("upstreams", "1", &simple());
    let first = admin.get("/upstreams/1").json();
    admin.must_put("upstreams", "1", &with("desc", json!("x")));
    let second = admin.get("/upstreams/1").json();
    assert_eq!(first["value"]["create_time"], second["value"]["create_time"], "L27");
    assert_eq!(first["createdIndex"], second["createdIndex"], "L27");
    assert!(first["modifiedIndex"].as_u64() < second["modifiedIndex"].as_u64(), "L27");
}

#[test]
fn ids_are_checked() {
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    for (case, method, path, id, says) in [
        ("L05", "PUT", "/upstreams/1", json!(3), "wrong upstream id"),
        (
            "L07",
            "PUT",
            "/upstreams",
            json!(-100),
            "invalid configuration: property \"id\" validation failed: object matches none of the required",
        ),
        (
            "L08",
            "PUT",
            "/upstreams/*invalid",
            Value::Null,
            "invalid configuration: property \"id\" validation failed: object matches none of the required",
        ),
        ("L15", "POST", "/upstreams", json!(1), "wrong upstream id, do not need it"),
        ("c.3", "PUT", "/upstreams", Value::Null, "missing upstream id"),
        ("c.5", "DELETE", "/upstreams", Value::Null, "missing upstream id"),
    ] {
        let value = if id.is_null() { simple() } else { with("id", id) };
        let body = if method == "DELETE" { String::new() } else { value.to_string() };
        let answer = admin.call(method, path, body.as_bytes());
        assert_eq!((answer.status, answer.error_msg().as_str()), (400, says), "{case}");
    }
    assert_eq!(admin.call("PUT", "/upstreams", with("id", json!(5)).to_string().as_bytes()).status, 201, "c.3: the id of the body");
    assert_eq!(admin.get("/upstreams/5").status, 200, "c.3");
}

#[test]
fn what_an_upstream_may_be() {
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    let node = |host: &str, port: u16, weight: i64| json!([{"host": host, "port": port, "weight": weight}]);
    for (case, value) in [
        ("L23", with("nodes", json!({}))),
        ("L55", with("nodes", json!([]))),
        ("L41", with("retries", json!(0))),
        ("L13", with("nodes", json!({"127.0.0.1:8080": 0}))),
        ("L55", with("nodes", node("127.0.0.1", 80, 1))),
        ("L21", with("nodes", node("[::1]", 80, 1))),
        ("F01", with("nodes", json!({"localhost:1995": 1}))),
        ("L43", with("labels", json!({"build": "16", "env": "production", "version": "v2"}))),
        ("b.2", with("timeout", json!({"connect": 1, "send": 2, "read": 3}))),
        ("b.2", with("name", json!("n"))),
        ("b.2", with("retry_timeout", json!(2))),
    ] {
        let answer = admin.put("upstreams", "1", &value);
        assert!(answer.ok(), "{case}: {value}: {}", answer.text());
    }
}

#[test]
fn what_an_upstream_may_not_be() {
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    let none = "object matches none of the required";
    let node = |host: &str, port: Value, weight: Value| with("nodes", json!([{"host": host, "port": port, "weight": weight}]));
    for (case, value, says, pointer) in [
        (
            "L09",
            with("_service_name", json!("x")),
            "invalid configuration: additional properties forbidden, found _service_name",
            "/_service_name",
        ),
        ("L09", with("nodse", json!({})), "additional properties forbidden, found nodse (did you mean nodes?)", "/nodse"),
        ("L11", with("type", json!("unknown")), "roundrobin", "/type"),
        ("L13", with("nodes", json!({"127.0.0.1:8080": -100})), "nodes", "/nodes"),
        ("L21", node("::1", json!(80), json!(1)), "IPv6 address must be enclosed with '[' and ']'", "/nodes/0/host"),
        ("L41", with("retries", json!(-1)), "property \"retries\" validation failed: expected -1 to be at least 0", "/retries"),
        ("L47", with("create_time", json!(1)), "the property is forbidden:  create_time", ""),
        ("L55", node("127.0.0.1", json!(80), json!("1")), none, "/nodes"),
        ("L55", node("127.0.0.1", json!(80), json!(-100)), none, "/nodes"),
        ("L55", node("127.0.0.1", json!(0), json!(1)), none, "/nodes"),
        ("L55", node("127.#.%.1", json!(80), json!(1)), none, "/nodes"),
        ("not yet", with("type", json!("chash")), "chash", "/type"),
        ("not yet", with("checks", json!({"active": {"type": "tcp"}})), "checks", "/checks"),
    ] {
        let answer = admin.put("upstreams", "1", &value);
        assert_eq!(answer.status, 400, "{case}: {value}: {}", answer.text());
        assert!(answer.error_msg().contains(says), "{case}: {says}\n{}", answer.text());
        if !pointer.is_empty() {
            let paths = answer.violation_paths();
            assert!(paths.iter().any(|p| p.starts_with(pointer)), "{case}: {pointer} in {paths:?}");
        }
    }
    assert_eq!(admin.get("/upstreams").json()["total"], 0, "nothing was stored");
}

#[test]
fn an_upstream_in_use_is_not_deleted_unless_forced() {
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    admin.must_put("upstreams", "1", &simple());
    admin.must_put("stream_routes", "7", &json!({"upstream_id": "1"}));
    let refused = "can not delete this upstream, stream_route [7] is still using it now";
    for path in ["/upstreams/1", "/upstreams/1?force=anyvalue"] {
        let answer = admin.call("DELETE", path, b"");
        assert_eq!((answer.status, answer.error_msg().as_str()), (400, refused), "L53: {path}");
    }
    assert_eq!(admin.call("DELETE", "/upstreams/1?force=true", b"").status, 200, "L53");
}

#[test]
fn validation_alone_stores_nothing() {
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    assert_eq!(admin.call("POST", "/schema/validate/upstreams", simple().to_string().as_bytes()).status, 200, "L61");
    let bad = admin.call("POST", "/schema/validate/upstreams", b"{\"nodes\":[\"x\"]}");
    assert_eq!(bad.status, 400, "L61");
    assert!(!bad.error_msg().is_empty(), "L61");
    assert_eq!(admin.call("POST", "/schema/validate/upstreamz", b"{}").status, 404, "c.8");
    assert_eq!(admin.get("/upstreams").json()["total"], 0, "L61");
}

/// A patch that must succeed; the value in its answer, which is what is stored.
fn patched(admin: &Admin, path: &str, body: &Value) -> Value {
    let answer = admin.call("PATCH", path, body.to_string().as_bytes());
    assert_eq!(answer.status, 200, "PATCH {path} {body}: {}", answer.text());
    let value = answer.json()["value"].clone();
    let stored = admin.get("/upstreams/1");
    assert_eq!(stored.json()["value"], value, "PATCH {path} {body}");
    assert_eq!(stored.header("etag"), answer.header("etag"), "PATCH {path} {body}");
    value
}

#[test]
fn an_upstream_is_patched_as_a_whole() {
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    let first = admin.must_put("upstreams", "1", &simple()).json()["value"].clone();
    let old = json!({"create_time": 1_600_000_000, "update_time": 1_600_000_001});
    patched(&admin, "/upstreams/1", &old);

    let whole = patched(&admin, "/upstreams/1", &with("desc", json!("new upstream")));
    assert_eq!(whole["create_time"], 1_600_000_000, "L27");
    assert!(whole["update_time"].as_u64() >= first["update_time"].as_u64(), "L27: {whole}");
    assert_eq!((&whole["desc"], &whole["nodes"]), (&json!("new upstream"), &first["nodes"]), "L27");

    let more = patched(&admin, "/upstreams/1", &json!({"nodes": {"127.0.0.1:8081": 3, "127.0.0.1:8082": 4}}));
    assert_eq!(more["nodes"], json!({"127.0.0.1:8080": 1, "127.0.0.1:8081": 3, "127.0.0.1:8082": 4}), "L29");
    let slash = patched(&admin, "/upstreams/1/", &with("desc", json!("slash")));
    assert_eq!((&slash["desc"], slash["nodes"].as_object().unwrap().len()), (&json!("slash"), 3), "L31");
    let gone = patched(&admin, "/upstreams/1", &json!({"nodes": {"127.0.0.1:8080": null}}));
    assert_eq!(gone["nodes"], json!({"127.0.0.1:8081": 3, "127.0.0.1:8082": 4}), "T09");

    patched(&admin, "/upstreams/1", &json!({"labels": {"build": "16", "env": "production", "version": "v2"}}));
    let labels = patched(&admin, "/upstreams/1", &json!({"labels": {"build": "17"}}));
    assert_eq!(labels["labels"], json!({"build": "17", "env": "production", "version": "v2"}), "L43");
    let time = patched(&admin, "/upstreams/1", &json!({"create_time": 1_705_252_779}));
    assert_eq!(time["create_time"], 1_705_252_779, "L45");
}

#[test]
fn one_place_of_an_upstream_is_replaced() {
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    admin.must_put("upstreams", "1", &simple());
    let nodes = json!({"127.0.0.2:8081": 3, "127.0.0.3:8082": 0});
    assert_eq!(patched(&admin, "/upstreams/1/nodes", &nodes)["nodes"], nodes, "L33");
    let list = json!([{"host": "127.0.0.1", "port": 80, "weight": 0}]);
    assert_eq!(patched(&admin, "/upstreams/1/nodes", &list)["nodes"], list, "L33");
    assert_eq!(patched(&admin, "/upstreams/1/retries", &json!(2))["retries"], 2, "c.6");
    assert_eq!(patched(&admin, "/upstreams/1/labels/env", &json!("x"))["labels"], json!({"env": "x"}), "c.6");
}

#[test]
fn every_wrong_patch_says_why_and_changes_nothing() {
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    admin.must_put("upstreams", "1", &simple());
    let before = admin.get("/upstreams/1").json();
    for (path, body, status, says) in [
        ("/upstreams/1", "", 400, "missing new configuration"),
        ("/upstreams/1", "[1]", 400, "invalid configuration"),
        ("/upstreams", "{}", 400, "missing upstream id"),
        ("/upstreams/1/retries", "null", 400, "wrong type"),
        ("/upstreams/1/type/x", "1", 400, "invalid sub-path: /type"),
        ("/upstreams/1", "{\"retries\":-1}", 400, "property \"retries\" validation failed: expected -1 to be at least 0"),
        ("/upstreams/1", "{\"id\":\"2\"}", 400, "wrong upstream id"),
        ("/upstreams/2", "{}", 404, ""),
    ] {
        let answer = admin.call("PATCH", path, body.as_bytes());
        assert_eq!(answer.status, status, "c.6: {path} {body}: {}", answer.text());
        assert!(answer.error_msg().contains(says), "c.6: {path} {body}: {}", answer.text());
    }
    assert_eq!(admin.get("/upstreams/1").json(), before);
}

#[test]
fn a_thousand_pairs_of_writers_lose_no_update() {
    const PAIRS: usize = 1000;
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    admin.must_put("upstreams", "1", &with("labels", json!({"count": "0"})));
    let both_read = std::sync::Barrier::new(2);
    let writer = || -> Vec<u16> {
        let one = || {
            both_read.wait();
            let now = admin.get("/upstreams/1");
            let count: usize = now.json()["value"]["labels"]["count"].as_str().unwrap().parse().unwrap();
            let body = json!({"labels": {"count": (count + 1).to_string()}}).to_string();
            let headers = [("X-API-KEY", admin.key.as_str()), ("If-Match", now.header("etag").unwrap())];
            both_read.wait();
            call(admin.addr, "PATCH", "/apisix/admin/upstreams/1", &headers, body.as_bytes()).unwrap().status
        };
        (0..PAIRS).map(|_| one()).collect()
    };
    let (first, second) = std::thread::scope(|scope| {
        let other = scope.spawn(writer);
        (writer(), other.join().unwrap())
    });
    for (round, pair) in first.into_iter().zip(second).enumerate() {
        assert!(matches!(pair, (200, 412) | (412, 200)), "{round}: {pair:?}");
    }
    assert_eq!(admin.get("/upstreams/1").json()["value"]["labels"]["count"], PAIRS.to_string());
}
