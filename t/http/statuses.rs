//! What a client gets where there is no answer of a node, and when another node is tried.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read};

use serde_json::{Value, json};

use super::{Web, to};
use crate::support::h1::origin;
use crate::support::soon;
use crate::support::upstream::{blackhole, refusing};

#[test]
fn each_failure_has_its_status_and_its_reason() {
    let a = origin("A");
    let (refusing, black) = (refusing(), blackhole());
    let web = Web::start();
    let nodes = |addr: &str| json!({"nodes": {addr: 1}});
    let at = |path: &str, more: Value| {
        let mut route = json!({"match": {"paths": [path]}});
        route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        route
    };
    let mut slow = nodes(&black.addr.to_string());
    slow["timeout"] = json!({"connect": 0.3, "send": 9, "read": 9});
    web.routes(&[
        ("none", at("/none", json!({}))),
        ("empty", at("/empty", json!({"upstream": {"nodes": {}}}))),
        ("refused", at("/refused", json!({"upstream": nodes(&refusing.addr.to_string())}))),
        ("black", at("/black", json!({ "upstream": slow }))),
        ("slow", at("/sleep*", json!({"upstream": to(&[&a]), "timeout": "500ms"}))),
        ("silent", at("/silent", json!({"upstream": to(&[&a])}))),
        ("garbage", at("/garbage", json!({"upstream": to(&[&a])}))),
    ]);
    let rows = [
        ("/none", 503, "no_upstream"),
        ("/empty", 503, "no_healthy_node"),
        ("/refused", 502, "upstream_refused"),
        ("/black", 504, "upstream_timeout"),
        ("/sleep/9000", 504, "upstream_timeout"),
        ("/silent", 502, "upstream_reset"),
        ("/garbage", 502, "bad_response"),
        ("/nowhere", 404, "no_route"),
    ];
    let mut client = web.client();
    for (target, status, _) in rows {
        let answer = client.get(target);
        assert_eq!((answer.status(), answer.body.len()), (status, 0), "{target}");
    }
    for (target, status, reason) in rows {
        soon(&format!("the line of {target}"), || {
            let line = web.gateway.access_log().into_iter().find(|line| line["path"] == target);
            line.is_some_and(|line| (&line["status"], &line["reason"]) == (&json!(status), &json!(reason)))
        });
    }
}

#[test]
fn an_answer_that_breaks_off_breaks_off_for_the_client_too() {
    let a = origin("A");
    let web = Web::to(&a);
    let mut client = web.client();
    client.send("GET /cut HTTP/1.1\r\nHost: a\r\n\r\n");
    let error = client.try_answer(false).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{error}");
    soon("its reason", || web.gateway.access_log().iter().any(|line| line["path"] == "/cut" && line["reason"] == "upstream_reset"));
}

#[test]
fn a_body_that_trickles_is_not_late() {
    let a = origin("A");
    let web = Web::start();
    web.route("r", &json!({"upstream": to(&[&a]), "timeout": "1s"}));
    assert_eq!(web.get("/slowbody/300").body, b"ssssssssss");
}

#[test]
fn the_next_node_is_tried_when_a_connect_fails_and_never_after_that() {
    let a = origin("A");
    let refusing = refusing();
    let web = Web::start();
    let nodes = json!({a.node(): 1, refusing.addr.to_string(): 1});
    web.route("r", &json!({"upstream": {"nodes": nodes}}));
    for _ in 0..10 {
        assert_eq!(web.get("/").status(), 200);
    }
    let (b, c) = (origin("B"), origin("C"));
    web.route("r", &json!({"upstream": to(&[&b, &c])}));
    for _ in 0..6 {
        assert_eq!(web.get("/silent").status(), 502);
    }
    assert_eq!(b.connections() + c.connections(), 6, "each was asked once");
}

#[test]
fn a_tunnel_to_anywhere_is_refused() {
    let a = origin("A");
    let web = Web::to(&a);
    let mut client = web.client();
    client.send(format!("CONNECT {} HTTP/1.1\r\nHost: {}\r\n\r\n", a.node(), a.node()));
    let answer = client.answer();
    assert!((400..600).contains(&answer.status()), "{}", answer.status());
    assert_eq!(a.connections(), 0);
}

#[test]
fn the_nodes_of_an_upstream_take_turns() {
    let (a, b, c) = (origin("A"), origin("B"), origin("C"));
    let web = Web::start();
    web.route("r", &json!({"upstream": to(&[&a, &b, &c])}));
    let mut client = web.client();
    let ups: Vec<String> = (0..6).map(|_| client.get("/").json()["up"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ups[..3], ups[3..]);
    assert_eq!(ups.iter().collect::<BTreeSet<_>>().len(), 3);
}

#[test]
fn what_came_before_an_answer_broke_off_is_passed_on() {
    let a = origin("A");
    let web = Web::to(&a);
    let mut client = web.client();
    client.send("GET /cut HTTP/1.1\r\nHost: a\r\n\r\n");
    let told = String::from_utf8(client.rest()).unwrap();
    assert!(told.starts_with("HTTP/1.1 200 ") && told.ends_with("\r\n\r\nhalf"), "{told}");
}

#[test]
fn a_broken_answer_does_not_look_whole_to_a_client_of_http_1_0() {
    let a = origin("A");
    let web = Web::to(&a);
    let mut client = web.client();
    client.send("GET /cut-chunks HTTP/1.0\r\n\r\n");
    let mut told = Vec::new();
    let end = client.stream.read_to_end(&mut told);
    assert_eq!(end.map_err(|e| e.kind()), Err(ErrorKind::ConnectionReset), "{}", String::from_utf8_lossy(&told));
    soon("its reason", || web.gateway.access_log().iter().any(|line| line["path"] == "/cut-chunks" && line["reason"] == "upstream_reset"));
    let mut client = web.client();
    client.send("GET /chunked/5000 HTTP/1.0\r\n\r\n");
    assert!(client.stream.read_to_end(&mut told).is_ok(), "one that is whole is none");
}

#[test]
fn the_reason_of_a_broken_answer_is_what_was_wrong_with_it() {
    let a = origin("A");
    let web = Web::to(&a);
    let mut client = web.client();
    client.send("GET /bad-chunk HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.try_answer(false).is_err());
    soon("its reason", || web.gateway.access_log().iter().any(|line| line["path"] == "/bad-chunk" && line["reason"] == "bad_response"));
}
