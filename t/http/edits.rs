//! Edits of routes while requests run: none fails, each ends on the route that it began on, and a bad edit changes nothing.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Web, to};
use crate::support::h1::{Client, origin};
use crate::support::{poll, soon};

/// Requests a second, all clients together, and the clients.
const RATE: u32 = 500;
const CLIENTS: u32 = 10;
/// Seconds, in the short form and in `make faults`.
const SHORT: u32 = 4;
const LONG: u32 = 60;

/// The `n`th request of a client: some take a while, so that edits find them under way.
fn target(n: u32) -> &'static str {
    if n.is_multiple_of(20) { "/sleep/150" } else { "/x" }
}

/// One client's requests at its pace, each judged: it was answered, and all of it by one state of its route.
fn paced(at: SocketAddr, requests: u32) {
    let (mut client, began) = (Client::connect(at), Instant::now());
    for n in 0..requests {
        poll::not_before(began + Duration::from_secs(1) * n * CLIENTS / RATE);
        let answer = client.get(target(n));
        assert_eq!(answer.status(), 200, "request {n}: {answer:?}");
        let up = answer.json();
        let sent = up["lines"].as_array().unwrap().iter().find_map(|line| line.as_str().unwrap().strip_prefix("x-edit: ")).unwrap();
        let expected = format!("{sent} {}", up["up"].as_str().unwrap());
        assert_eq!(answer.header("x-edit"), Some(expected.as_str()), "request {n}");
    }
}

#[test]
fn no_paced_request_fails_while_routes_are_edited_and_each_ends_on_the_route_that_it_began_on() {
    let seconds = if std::env::var_os("SLUICE_FAULT_ROUNDS").is_some() { LONG } else { SHORT };
    let (a, b) = (origin("A"), origin("B"));
    let web = Web::start();
    // request and answer tell of the same edit, and the answer of the node that the edit chose
    let route = |edit: u32, more: Value| {
        let (node, name) = if edit.is_multiple_of(2) { (&a, "A") } else { (&b, "B") };
        let told = json!([{"RequestHeader": "x-edit", "Set": edit.to_string()}, {"ResponseHeader": "x-edit", "Set": format!("{edit} {name}"), "When": "Always"}]);
        json!({"match": more, "upstream": to(&[node]), "order": edit % 7, "transforms": told})
    };
    web.route("base", &route(0, json!({})));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let at = web.at;
            std::thread::spawn(move || paced(at, RATE / CLIENTS * seconds))
        })
        .collect();
    let mut edits = 0;
    while clients.iter().any(|client| !client.is_finished()) {
        edits += 1;
        // the base changes, and more specific routes come and go before it
        match edits % 4 {
            0 => web.gateway.admin().must_delete("routes", "over"),
            3 => web.route("over", &route(edits, json!({"hosts": ["in.example"], "paths": ["/*"]}))),
            _ => web.route("base", &route(edits, json!({}))),
        }
    }
    for client in clients {
        client.join().unwrap();
    }
    eprintln!("{edits} edits under {} requests in {seconds} s: 0 failed", RATE * seconds);
    assert!(edits > 5 * seconds, "{edits} edits");
}

#[test]
fn a_request_ends_on_the_route_that_it_began_on() {
    let (a, b) = (origin("A"), origin("B"));
    let web = Web::to(&a);
    let mut client = web.client();
    client.send("GET /sleep/1000 HTTP/1.1\r\nHost: a\r\n\r\n");
    soon("the node is asked", || a.connections() == 1);
    web.route("r", &json!({"upstream": to(&[&b])}));
    assert_eq!(web.get("/").json()["up"], "B");
    assert_eq!(client.answer().json()["up"], "A");
    assert_eq!(client.get("/").json()["up"], "B", "the next request of that connection sees the edit");
    web.gateway.admin().must_delete("routes", "r");
    soon("the route is gone", || client.get("/").status() == 404);
}

#[test]
fn a_bad_edit_leaves_the_last_good_route_serving() {
    let a = origin("A");
    let web = Web::to(&a);
    let put = web.gateway.admin().put("routes", "r", &json!({"upstream": to(&[&a]), "match": {"statement": "Paht = '/a'"}}));
    assert_eq!(put.status, 400, "{}", put.text());
    let put = web.gateway.admin().put("routes", "r", &json!({"upstream": to(&[&a]), "transforms": [{"PathPerfix": "/a"}]}));
    assert_eq!(put.status, 400, "{}", put.text());
    assert_eq!(web.get("/").json()["up"], "A");
}
