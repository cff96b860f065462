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
