//! Edits of routes while requests run: none fails, each ends on the route that it began on, and a bad edit changes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::json;

use super::{Web, to};
use crate::support::h1::{Client, origin};
use crate::support::soon;

/// Edits while the load runs.
const EDITS: usize = 60;

#[test]
fn no_request_fails_while_its_route_is_edited_again_and_again() {
    let (a, b) = (origin("A"), origin("B"));
    let web = Web::to(&a);
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let loads: Vec<_> = (0..8)
        .map(|_| {
            let (at, stop, done) = (web.at, stop.clone(), done.clone());
            std::thread::spawn(move || {
                let mut client = Client::connect(at);
                while !stop.load(Ordering::Acquire) {
                    let answer = client.get("/x");
                    assert_eq!(answer.status(), 200);
                    done.fetch_add(1, Ordering::AcqRel);
                }
            })
        })
        .collect();
    for edit in 0..EDITS {
        let upstream = if edit % 2 == 0 { to(&[&b]) } else { to(&[&a]) };
        let route = json!({"upstream": upstream, "order": edit, "transforms": [{"RequestHeader": "x-edit", "Set": edit.to_string()}]});
        let before = done.load(Ordering::Acquire);
        web.route("r", &route);
        soon("requests go on", || done.load(Ordering::Acquire) > before + 8);
    }
    stop.store(true, Ordering::Release);
    for load in loads {
        load.join().unwrap();
    }
    assert!(done.load(Ordering::Acquire) > 500);
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
