//! The life of a client's connection: slow heads, drains, removed listeners, ended sessions, and what is told of each request.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use super::{Web, to};
use crate::support::h1::{Client, origin};
use crate::support::{Conf, ports, soon};

#[test]
fn a_head_that_does_not_end_is_answered_with_408() {
    let a = origin("A");
    let web = Web::to(&a);
    let mut client = web.client();
    assert_eq!(client.get("/").status(), 200);
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Slow");
    let answer = client.answer();
    assert_eq!((answer.status(), answer.header("connection")), (408, Some("close")));
    assert!(client.rest().is_empty());
}

#[test]
fn a_drain_closes_waiting_connections_and_lets_requests_end() {
    let a = origin("A");
    let mut web = Web::with(Conf::new().drain_timeout("20s"));
    web.route("r", &json!({"upstream": to(&[&a])}));
    let (mut waiting, mut fresh, mut busy) = (web.client(), web.client(), web.client());
    assert_eq!(waiting.get("/").status(), 200);
    busy.send("GET /sleep/2000 HTTP/1.1\r\nHost: a\r\n\r\n");
    soon("the request is under way", || a.connections() == 2 || in_flight(&web) == 1);
    web.gateway.signal(Signal::TERM);
    assert!(waiting.rest().is_empty() && fresh.rest().is_empty());
    let answer = busy.answer();
    assert_eq!((answer.status(), answer.header("connection")), (200, Some("close")));
    assert!(busy.rest().is_empty());
    assert!(web.gateway.wait_exit(Duration::from_secs(15)).success());
}

fn in_flight(web: &Web) -> u64 {
    web.gateway
        .control_list("/v1/upstreams")
        .iter()
        .flat_map(|u| u["nodes"].as_array().cloned().unwrap_or_default())
        .filter_map(|n| n["in_flight"].as_u64())
        .sum()
}

#[test]
fn a_removed_listener_closes_waiting_connections_and_lets_requests_end() {
    let a = origin("A");
    let web = Web::to(&a);
    let at = ports::free_addr();
    web.gateway.put_live("listeners", "web", &json!({"protocol": "http", "addr": at.to_string()}));
    let (mut waiting, mut busy, mut other) = (Client::connect(at), Client::connect(at), web.client());
    assert_eq!((waiting.get("/").status(), other.get("/").status()), (200, 200));
    busy.send("GET /sleep/2000 HTTP/1.1\r\nHost: a\r\n\r\n");
    soon("the request is under way", || in_flight(&web) == 1);
    web.gateway.admin().must_delete("listeners", "web");
    assert!(waiting.rest().is_empty());
    let answer = busy.answer();
    assert_eq!((answer.status(), answer.header("connection")), (200, Some("close")));
    assert!(crate::support::client::refused(at));
    assert_eq!(other.get("/").status(), 200, "another listener's connections go on");
}

#[test]
fn a_session_that_is_ended_ends_with_its_request() {
    let a = origin("A");
    let web = Web::to(&a);
    let mut client = web.client();
    client.send("GET /sleep/20000 HTTP/1.1\r\nHost: a\r\n\r\n");
    soon("the request is under way", || in_flight(&web) == 1);
    let id = web.gateway.control_list("/v1/sessions")[0]["id"].as_u64().unwrap();
    assert!(web.gateway.control("DELETE", &format!("/v1/sessions/{id}")).ok());
    assert!(client.rest().is_empty());
    soon("the node is left alone", || in_flight(&web) == 0);
}

#[test]
fn a_request_is_told_exactly_by_its_line_and_its_series() {
    let a = origin("A");
    let web = Web::to(&a);
    let mut client = web.client();
    client.send("POST /told?x=1 HTTP/1.1\r\nHost: A.com\r\nUser-Agent: t/1\r\nContent-Length: 7\r\n\r\nseventy");
    let answer = client.answer();
    assert_eq!(client.get("/status/404").status(), 404);
    assert_eq!(client.get("/status/500").status(), 500);
    soon("three lines", || web.gateway.access_log().iter().filter(|line| line.get("method").is_some()).count() == 3);
    let line = web.gateway.access_log().into_iter().find(|line| line["path"] == "/told").unwrap();
    for (field, value) in [
        ("method", json!("POST")),
        ("host", json!("A.com")),
        ("http_version", json!("HTTP/1.1")),
        ("status", json!(200)),
        ("user_agent", json!("t/1")),
        ("rx_bytes", json!(7)),
        ("tx_bytes", json!(answer.body.len())),
        ("reason", json!("ok")),
        ("route", json!("r")),
        ("upstream", json!("routes/r")),
        ("endpoint", json!(a.node())),
        ("listener", json!("conf-http-0")),
        ("retries", json!(0)),
    ] {
        assert_eq!(line[field], value, "{field}: {line}");
    }
    for (class, count) in [("2xx", 1), ("4xx", 1), ("5xx", 1), ("3xx", 0)] {
        assert_eq!(web.gateway.count("sluice_http_requests_total", &[("route", "r"), ("code_class", class)]), count, "{class}");
    }
    assert_eq!(web.gateway.count("sluice_http_request_seconds_count", &[("route", "r")]), 3);
    assert_eq!(web.gateway.count("sluice_bytes_total", &[("route", "r"), ("direction", "in")]), 7);
    assert_eq!(web.gateway.count("sluice_bytes_total", &[("route", "r"), ("direction", "out")]), answer.body.len() as u64);
}
