//! Limits of requests, asked by curl: who is refused, what they are told, whose requests count together, and who is not concerned.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{Head, Web, to};
use crate::support::gateway::upstream;
use crate::support::h1::origin;
use crate::support::upstream::{self as servers, Server};
use crate::support::{Conf, client, ports, soon};

impl Head {
    /// `RateLimit-Limit` and `RateLimit-Remaining`.
    fn standing(&self) -> (Option<u64>, Option<u64>) {
        (self.number("ratelimit-limit"), self.number("ratelimit-remaining"))
    }
}

impl Web {
    fn statuses(&self, path: &str, more: &[&str], times: usize) -> Vec<u16> {
        (0..times).map(|_| self.curl(path, more).status).collect()
    }

    /// A route of all paths below its own name, with a limit.
    fn limited(&self, id: &str, origin: &Server, limit: &Value) {
        let mut route = json!({"match": {"paths": [format!("/{id}*")]}, "upstream": to(&[origin])});
        if !limit.is_null() {
            route["limit"] = limit.clone();
        }
        self.route(id, &route);
    }

    fn refused(&self, id: &str) -> u64 {
        self.gateway.count("sluice_limiter_rejections_total", &[("kind", "routes"), ("route", id)])
    }

    fn limit(&self, route: &str) -> Value {
        self.gateway.control("GET", &format!("/v1/limits/{route}")).json()
    }
}

#[test]
fn a_request_too_many_is_answered_with_429_and_when_to_come_again() {
    let a = origin("A");
    let web = Web::start();
    web.limited("free", &a, &Value::Null);
    for (policy, more) in [
        ("fixed_window", json!({})),
        ("sliding_window", json!({"segments_per_window": 4})),
        ("token_bucket", json!({"tokens_per_period": 1})),
    ] {
        let mut limit = json!({"policy": policy, "permit_limit": 2, "window": "1h"});
        limit.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        web.limited(policy, &a, &limit);
        let path = format!("/{policy}");
        for left in [1, 0] {
            let head = web.curl(&path, &[]);
            assert_eq!((head.status, head.standing()), (200, (Some(2), Some(left))), "{policy}");
            assert_eq!(head.number("retry-after"), None, "{policy}");
        }
        let head = web.curl(&path, &[]);
        assert_eq!((head.status, head.standing()), (429, (Some(2), Some(0))), "{policy}");
        for told in ["retry-after", "ratelimit-reset"] {
            assert!(head.number(told).is_some_and(|seconds| (1..=3600).contains(&seconds)), "{policy}: {told}: {:?}", head.lines);
        }
        let free = web.curl("/free", &[]);
        assert_eq!((free.status, free.standing()), (200, (None, None)), "other routes are not concerned");
        assert_eq!(web.refused(policy), 1);
        let shown = web.limit(policy);
        assert_eq!((&shown["limit"], &shown["permits_left"]), (&json!(format!("routes/{policy}")), &json!(0)));
    }
    soon("their lines", || {
        let refused = |line: &&Value| line["status"] == 429 && line["reason"] == "limited" && line["endpoint"].is_null();
        web.gateway.access_log().iter().filter(refused).count() == 3
    });
}

#[test]
fn requests_at_once_are_bounded_and_those_in_the_queue_are_served_or_told_so() {
    let a = origin("A");
    let web = Web::start();
    let limit = json!({"policy": "concurrency", "permit_limit": 1, "queue_limit": 1});
    web.route("r", &json!({"upstream": to(&[&a]), "limit": limit, "timeout": "20s"}));
    let (mut first, mut second) = (web.client(), web.client());
    first.send("GET /sleep/2000 HTTP/1.1\r\nHost: a\r\n\r\n");
    soon("the first has the permit", || web.limit("r")["permits_left"] == 0);
    second.send("GET /second HTTP/1.1\r\nHost: a\r\n\r\n");
    soon("the second waits", || web.limit("r")["queued"] == 1);
    let third = web.curl("/third", &[]);
    assert_eq!((third.status, third.number("retry-after").is_some()), (429, true));
    assert_eq!((first.answer().status(), second.answer().status()), (200, 200));
    assert_eq!(web.curl("/fourth", &[]).status, 200);
    assert_eq!(web.refused("r"), 1);

    // whoever waits for as long as the route allows is told that the gateway cannot serve now
    first.send("GET /sleep/9000 HTTP/1.1\r\nHost: a\r\n\r\n");
    soon("the permit is taken again", || web.limit("r")["permits_left"] == 0);
    web.route("r", &json!({"upstream": to(&[&a]), "limit": limit, "timeout": "500ms"}));
    let late = web.curl("/late", &[]);
    assert_eq!((late.status, late.number("retry-after")), (503, None));
    soon("its line", || web.gateway.access_log().iter().any(|line| line["path"] == "/late" && line["reason"] == "queue_timeout"));
}

#[test]
fn each_header_cookie_or_address_has_a_count_of_its_own() {
    let a = origin("A");
    let web = Web::start();
    let key = |more: Value| {
        let mut limit = json!({"policy": "fixed_window", "permit_limit": 2, "window": "1h", "by": "key"});
        limit.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        limit
    };
    web.limited("header", &a, &key(json!({"header": "X-User"})));
    web.limited("cookie", &a, &key(json!({"cookie": "sid"})));
    web.limited("address", &a, &key(json!({})));

    assert_eq!(web.statuses("/header", &["-H", "X-User: ann"], 3), [200, 200, 429]);
    assert_eq!(web.statuses("/header", &["-H", "x-user: bob"], 3), [200, 200, 429]);
    assert_eq!(web.statuses("/header", &[], 3), [200, 200, 429], "without the header it is the address");
    assert_eq!(web.statuses("/header", &["--interface", "127.0.0.2"], 1), [200]);
    assert_eq!(web.limit("header?key=ann")["permits_left"], 0);
    assert_eq!(web.limit("header?key=zoe")["permits_left"], 2);
    assert_eq!(web.limit("header")["keys"], 4);

    assert_eq!(web.statuses("/cookie", &["-b", "a=1; sid=ann; b=2"], 3), [200, 200, 429]);
    assert_eq!(web.statuses("/cookie", &["-b", "sid=bob"], 1), [200]);

    assert_eq!(web.statuses("/address", &[], 3), [200, 200, 429]);
    assert_eq!(web.statuses("/address", &["-H", "X-Forwarded-For: 10.0.0.1"], 1), [429], "a client does not say who it is");
    assert_eq!(web.statuses("/address", &["--interface", "127.0.0.2"], 3), [200, 200, 429]);
    assert_eq!(web.gateway.count("sluice_limiter_keys", &[("kind", "routes"), ("route", "address")]), 2);
}

#[test]
fn the_global_limit_counts_requests_of_all_routes_and_sessions_of_streams() {
    let a = origin("A");
    let port = ports::free();
    let web = Web::with(Conf::new().tcp(port));
    web.limited("one", &a, &Value::Null);
    web.limited("two", &a, &Value::Null);
    web.limited("own", &a, &json!({"policy": "fixed_window", "permit_limit": 1, "window": "1h"}));
    web.limited("free", &a, &json!({"policy": "none"}));
    let hello = servers::hello();
    web.gateway.put_live("stream_routes", "one", &json!({"upstream": upstream(&[&hello.node()])}));
    web.gateway.put_live("settings", "global", &json!({"limit": {"policy": "fixed_window", "permit_limit": 4, "window": "1h"}}));

    assert!(client::served(ports::local(port)));
    assert_eq!(web.statuses("/one", &[], 2), [200, 200]);
    assert_eq!(web.statuses("/two", &[], 2), [200, 429]);
    assert_eq!(web.statuses("/one", &[], 1), [429]);
    assert!(!client::served(ports::local(port)));
    assert_eq!(web.statuses("/own", &[], 2), [200, 429]);
    assert_eq!(web.statuses("/free", &[], 5), [200; 5]);

    // two routes of one id have figures of their own, and are asked for by their kind
    let count = |kind: &str, what: &str| web.gateway.count(&format!("sluice_limiter_{what}_total"), &[("kind", kind), ("route", "one")]);
    assert_eq!([count("routes", "allowed"), count("routes", "rejections")], [2, 1]);
    assert_eq!([count("stream_routes", "allowed"), count("stream_routes", "rejections")], [1, 1]);
    let moved = |kind: &str| web.gateway.count("sluice_bytes_total", &[("kind", kind), ("route", "one"), ("direction", "out")]);
    assert_ne!(moved("routes"), 0);
    assert_ne!(moved("routes"), moved("stream_routes"));
    let ask = |path: &str| web.gateway.control("GET", &format!("/v1/limits/{path}"));
    assert_eq!(ask("one").status, 409, "{}", ask("one").text());
    for path in ["routes/one", "stream_routes/one", "two"] {
        assert_eq!(ask(path).json()["limit"], "settings/global", "{path}");
    }
    assert_eq!(ask("own").json()["limit"], "routes/own");
    assert_eq!([ask("free").status, ask("stream_routes/two").status, ask("routes/nowhere").status], [404; 3]);
}

/// Requests with keys that nobody has sent before, of a kilobyte each, on one connection. What answers is the gateway.
fn send_keys(at: SocketAddr, numbers: std::ops::Range<u32>) {
    const AT_ONCE: usize = 250;
    let mut stream = client::connect(at);
    let numbers: Vec<u32> = numbers.collect();
    for part in numbers.chunks(AT_ONCE) {
        let request = |n: &u32| format!("GET / HTTP/1.1\r\nHost: a\r\nX-Key: {n:01000}\r\n\r\n");
        stream.write_all(part.iter().map(request).collect::<String>().as_bytes()).unwrap();
        let (mut answers, mut text, mut buffer) = (0, Vec::new(), [0; 16 * 1024]);
        while answers < part.len() {
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0, "closed after {answers} answers");
            text.extend_from_slice(&buffer[..read]);
            answers = text.windows(9).filter(|bytes| bytes == b"HTTP/1.1 ").count();
        }
    }
}

#[test]
fn a_hundred_thousand_keys_of_a_kilobyte_cost_a_fifth_of_that() {
    const KEYS: u32 = 100_000;
    let web = Web::start();
    let limit = json!({"policy": "token_bucket", "permit_limit": 1, "window": "1h", "by": "key", "header": "X-Key"});
    web.route("r", &json!({"limit": limit}));
    send_keys(web.at, KEYS..KEYS + 1000);
    let before = web.gateway.resident_mib();
    std::thread::scope(|scope| {
        for n in 0..4 {
            let at = web.at;
            scope.spawn(move || send_keys(at, n * (KEYS / 4)..(n + 1) * (KEYS / 4)));
        }
    });
    assert_eq!(web.limit("r")["keys"], KEYS + 1000, "{}", web.limit("r"));
    let grown = web.gateway.resident_mib().saturating_sub(before);
    assert!(grown <= 25, "{grown} MiB");
}

#[test]
fn what_a_client_is_told_of_a_limit_is_not_transformed() {
    let a = origin("A");
    let web = Web::start();
    let transforms =
        json!([{"ResponseHeader": "H", "Set": "v", "When": "Always"}, {"ResponseHeaderRemove": "Retry-After", "When": "Always"}]);
    let limit = json!({"policy": "fixed_window", "permit_limit": 1, "window": "1h"});
    let route = json!({"upstream": to(&[&a]), "transforms": transforms, "limit": limit, "max_body_size": 3});
    web.route("r", &route);
    let (passed, refused) = (web.curl("/", &[]), web.curl("/", &[]));
    assert_eq!((passed.status, passed.line("h")), (200, Some("v")));
    assert_eq!((refused.status, refused.line("h"), refused.number("retry-after").is_some()), (429, None, true));
    let large = web.curl("/", &["-d", "four"]);
    assert_eq!((large.status, large.line("h")), (413, None));
}
