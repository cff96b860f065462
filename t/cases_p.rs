//! Cases P: keys, headers and the rest of the Admin API that is the same for every kind.

use serde_json::json;

use crate::support::conf::VIEWER;
use crate::support::http::call;
use crate::support::{Conf, Gateway};

#[test]
fn only_a_right_key_may_write() {
    let gateway = Gateway::start(Conf::new());
    let (to, path) = (gateway.admin_addr(), "/apisix/admin/upstreams/1");
    let body = br#"{"nodes":{},"type":"roundrobin"}"#;
    let ask = |method: &str, path: &str, headers: &[(&str, &str)]| call(to, method, path, headers, body).unwrap();

    let none = ask("PUT", path, &[]);
    assert_eq!(none.status, 401, "P01");
    assert_eq!(none.json(), json!({"error_msg": "failed to check token", "description": "missing apikey"}), "P01");
    let wrong = ask("PUT", path, &[("X-API-KEY", "wrong")]);
    assert_eq!((wrong.status, wrong.json()["description"].clone()), (401, json!("wrong apikey")), "P01");
    let key = gateway.conf.admin_key.clone();
    assert_eq!(ask("PUT", path, &[("X-API-KEY", &key)]).status, 201, "P01, P13");

    assert_eq!(ask("GET", path, &[("x-api-key", VIEWER)]).status, 200, "P02: a viewer reads");
    let viewer = ask("PUT", path, &[("X-API-KEY", VIEWER)]);
    assert_eq!((viewer.status, viewer.json()["description"].clone()), (401, json!("invalid method for role viewer")), "P02");

    assert_eq!(ask("GET", &format!("{path}?api_key={VIEWER}"), &[]).status, 200, "P03: as an argument");
    assert_eq!(ask("GET", path, &[("Cookie", &format!("x_api_key={VIEWER}"))]).status, 200, "P04: as a cookie");
    assert_eq!(ask("GET", &format!("{path}??api_key={VIEWER}"), &[]).status, 401, "P05");
    assert_eq!(ask("GET", "/admin/upstreams/1", &[("X-API-KEY", &key)]).status, 200, "the short path");
}

#[test]
fn after_ten_wrong_keys_a_client_is_told_to_wait() {
    let gateway = Gateway::start(Conf::new());
    let ask = |key: &str| call(gateway.admin_addr(), "GET", "/apisix/admin/upstreams", &[("X-API-KEY", key)], b"").unwrap();
    let statuses: Vec<u16> = (0..12).map(|n| ask(&format!("k{n}")).status).collect();
    assert_eq!(statuses, [[401; 10].as_slice(), &[429; 2]].concat());
    let right = ask(&gateway.conf.admin_key);
    assert_eq!(right.status, 429, "it would tell that the guess was right");
    let wait: u64 = right.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(gateway.count("sluice_admin_auth_failures_total", &[("reason", "wrong")]), 10);
    assert_eq!(gateway.count("sluice_admin_auth_failures_total", &[("reason", "throttled")]), 3);
}

#[test]
fn answers_carry_the_headers_that_clients_look_for() {
    let gateway = Gateway::start(Conf::new());
    let answer = gateway.admin().get("/upstreams");
    assert_eq!(answer.header("content-type").map(|t| t.split(';').next().unwrap().trim()), Some("application/json"), "P07");
    assert_eq!(answer.header("x-api-version"), Some("v3"), "P09");
    assert!(answer.header("server").is_some(), "P07");
}

#[test]
fn unknown_resources_and_verbs_say_so() {
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    let unknown = admin.call("PUT", "/routs/1", b"{}");
    assert_eq!((unknown.status, unknown.json()), (404, json!({"error_msg": "Unsupported resource type: routs"})), "P15");
    for method in ["PUT", "POST"] {
        assert_eq!(admin.call(method, "/schema/upstream", b"{}").status, 404, "P17: {method}");
    }
    for name in ["upstream", "stream_route", "listener"] {
        assert_eq!(admin.get(&format!("/schema/{name}")).status, 200, "P19: {name}");
    }
}

#[test]
fn a_body_that_is_no_json_is_shown_back() {
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    let answer = admin.call("PUT", "/upstreams/1", b"{\"nodes\": ");
    assert_eq!(answer.status, 400, "c.1");
    assert!(answer.error_msg().starts_with("invalid request body: "), "c.1: {}", answer.text());
    assert_eq!(answer.json()["req_body"], "{\"nodes\": ", "c.1");
    let none = admin.call("PUT", "/upstreams/1", b"");
    assert_eq!((none.status, none.error_msg().as_str()), (400, "missing configurations"), "c.3");
    let ttl = admin.call("PUT", "/upstreams/1?ttl=soon", b"{\"nodes\":{}}");
    assert_eq!((ttl.status, ttl.error_msg().as_str()), (400, "invalid argument ttl: should be a number"), "c.1");
}

#[test]
fn a_set_of_objects_is_validated_at_once() {
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    let validate = |body: serde_json::Value| admin.call("POST", "/configs/validate", body.to_string().as_bytes());
    let good = json!({"id": "1", "nodes": {"127.0.0.1:80": 1}, "type": "roundrobin"});
    assert_eq!(validate(json!({"upstreams": [good]})).status, 200, "P21");
    assert_eq!(validate(json!({"upstreams": [good], "stream_routes": [{"id": "r", "upstream_id": "1"}]})).status, 200, "P21");
    assert_eq!(validate(json!({})).status, 200, "P21");

    let bad =
        validate(json!({"upstreams": [good, {"id": "2", "nodes": {}, "retries": -1}], "stream_routes": [{"id": "r", "server_port": 0}]}));
    assert_eq!(bad.status, 400, "P23: {}", bad.text());
    assert_eq!(bad.error_msg(), "Configuration validation failed", "P23");
    let errors = bad.json()["errors"].as_array().cloned().unwrap();
    assert_eq!(errors.len(), 2, "P23: {errors:?}");
    let found = |kind: &str, id: &str, index: u64| {
        errors.iter().any(|e| e["resource_type"] == kind && e["resource_id"] == id && e["index"] == index && e["error"].is_string())
    };
    assert!(found("upstreams", "2", 1) && found("stream_routes", "r", 0), "P23: {errors:?}");
    assert_eq!(admin.get("/upstreams").json()["total"], 0, "P21: nothing is stored");
}

#[test]
fn a_lost_race_is_a_412_and_changes_nothing() {
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    let value = |n: u32| json!({"nodes": {}, "type": "roundrobin", "desc": n.to_string()});
    admin.must_put("upstreams", "1", &value(1));
    let tag = admin.get("/upstreams/1").header("etag").expect("an ETag").to_owned();
    admin.must_put("upstreams", "1", &value(2));
    let key = ("X-API-KEY", admin.key.as_str());
    let put = |tag: &str, n: u32| {
        call(admin.addr, "PUT", "/apisix/admin/upstreams/1", &[key, ("If-Match", tag)], value(n).to_string().as_bytes()).unwrap()
    };
    assert_eq!(put(&tag, 3).status, 412);
    assert_eq!(admin.get("/upstreams/1").json()["value"]["desc"], "2");
    let tag = admin.get("/upstreams/1").header("etag").unwrap().to_owned();
    assert_eq!(put(&tag, 3).status, 200);
    assert_eq!(admin.get("/upstreams/1").json()["value"]["desc"], "3");
}

#[test]
fn a_dry_run_judges_and_stores_nothing() {
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    let good = admin.call("PUT", "/upstreams/1?dry_run=true", b"{\"nodes\":{},\"type\":\"roundrobin\"}");
    assert!(good.ok(), "{}", good.text());
    assert_eq!(admin.call("PUT", "/upstreams/1?dry_run=true", b"{\"nodes\":5}").status, 400);
    assert_eq!(admin.get("/upstreams/1").status, 404);
}

#[test]
fn an_answer_can_wait_until_the_change_is_live() {
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    let hello = crate::support::upstream::hello();
    let addr = crate::support::ports::free_addr();
    admin.must_put("stream_routes", "1", &json!({"upstream": crate::support::gateway::upstream(&[&hello.node()])}));
    let body = json!({"protocol": "tcp", "addr": addr.to_string()}).to_string();
    let answer = admin.call("PUT", "/listeners/l?wait=applied&timeout=5s", body.as_bytes());
    assert!(answer.ok(), "{}", answer.text());
    assert!(crate::support::client::served(addr), "the very next connection is served");
}
