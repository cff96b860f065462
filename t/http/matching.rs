//! Which route a request goes to: the tables M and SI, over the wire.

use serde_json::{Value, json};

use super::{Web, to};
use crate::support::h1::{Client, origin};

/// A route of these hosts and paths to an origin.
fn route(hosts: &[&str], paths: &[&str], upstream: &Value) -> Value {
    json!({"match": {"hosts": hosts, "paths": paths}, "upstream": upstream})
}

/// Who answers; 0 letters and the status where nobody does.
fn who(web: &Web, method: &str, host: &str, target: &str) -> String {
    let answer = web.client().ask(method, target, &[&format!("Host: {host}"), "Content-Length: 0"]);
    answer.header("x-up").map_or_else(|| answer.status().to_string(), ToOwned::to_owned)
}

#[test]
fn the_most_specific_host_wins_and_then_the_most_specific_path() {
    let (a, b, c, d) = (origin("A"), origin("B"), origin("C"), origin("D"));
    let (a, b, c, d) = (to(&[&a]), to(&[&b]), to(&[&c]), to(&[&d]));
    let web = Web::start();
    let check = |rows: &[(&str, &str, &str)]| {
        for (host, target, expected) in rows {
            assert_eq!(who(&web, "GET", host, target), *expected, "{host}{target}");
        }
    };
    web.routes(&[("m1", route(&["a.com"], &["*"], &a))]);
    check(&[("a.com", "/", "A"), ("A.COM", "/", "A"), ("aa.com", "/", "404"), ("x.a.com", "/", "404")]);
    web.routes(&[("m3", route(&["*a.com"], &["*"], &a))]);
    check(&[("a.com", "/", "A"), ("aa.com", "/", "A"), ("x.a.com", "/", "A"), ("ab.com", "/", "404")]);
    web.routes(&[
        ("any", route(&["*"], &["*"], &a)),
        ("suf", route(&["*.com"], &["*"], &b)),
        ("long", route(&["*.a.com"], &["*"], &c)),
        ("ex", route(&["x.a.com"], &["*"], &d)),
    ]);
    check(&[("x.a.com", "/", "D"), ("y.a.com", "/", "C"), ("b.com", "/", "B"), ("b.org", "/", "A")]);
    web.routes(&[("suf", route(&["*.com"], &["/only"], &a)), ("any", route(&["*"], &["*"], &b))]);
    check(&[("b.com", "/other", "B"), ("b.com", "/only", "A")]);
    web.routes(&[
        ("wide", route(&["a.com"], &["*"], &a)),
        ("pre", route(&["a.com"], &["/api*"], &b)),
        ("ex", route(&["a.com"], &["/api"], &c)),
    ]);
    check(&[("a.com", "/api", "C"), ("a.com", "/api/", "B"), ("a.com", "/apix", "B"), ("a.com", "/api/x", "B"), ("a.com", "/z", "A")]);
    web.routes(&[("m29", route(&["a.com"], &["/x"], &a))]);
    check(&[("a.com", "/x?y=1", "A"), ("a.com", "/x/", "404"), ("a.com", "/X", "A"), ("a.com", "/x%20", "404"), ("a.com", "/%78", "A")]);
    web.routes(&[("m27", route(&["a.com", "*.b.org"], &["/x", "/y*"], &a))]);
    check(&[("a.com", "/x", "A"), ("q.b.org", "/yy", "A"), ("b.org", "/x", "404")]);
}

#[test]
fn methods_and_statements_choose_among_routes_of_one_place() {
    let (a, b) = (origin("A"), origin("B"));
    let (a, b) = (to(&[&a]), to(&[&b]));
    let web = Web::start();
    web.routes(&[("m31", json!({"match": {"methods": ["GET", "post"]}, "upstream": a}))]);
    for (method, expected) in [("GET", "A"), ("POST", "A"), ("PUT", "404"), ("HEAD", "404")] {
        assert_eq!(who(&web, method, "a.com", "/"), expected, "{method}");
    }
    let canary = |order: i32, statement: &str, upstream: &Value| json!({"match": {"hosts": ["a.com"], "paths": ["/api*"], "statement": statement}, "order": order, "upstream": upstream});
    web.routes(&[("canary", canary(0, "Header('x-env') = 'test'", &b)), ("stable", canary(1, "", &a))]);
    for (line, expected) in [("x-env: test", "B"), ("X-ENV: TEST", "B"), ("x-env: prod", "A"), ("x-other: test", "A")] {
        let answer = web.client().ask("GET", "/api/1", &["Host: a.com", line]);
        assert_eq!(answer.header("x-up"), Some(expected), "{line}");
    }
    web.routes(&[
        ("ex", json!({"match": {"paths": ["/x"], "statement": "Method = 'PUT'"}, "upstream": a})),
        ("pre", json!({"match": {"paths": ["/x*"]}, "upstream": b})),
    ]);
    assert_eq!(who(&web, "GET", "a.com", "/x"), "B", "a route that refuses gives way to the next");
    web.routes(&[("si7", json!({"match": {"methods": ["GET"], "statement": "Method = 'POST'"}, "upstream": a}))]);
    assert_eq!((who(&web, "GET", "a.com", "/"), who(&web, "POST", "a.com", "/")), ("404".into(), "404".into()));
}

#[test]
fn a_form_that_a_statement_reads_still_goes_to_the_node_whole() {
    let a = origin("A");
    let web = Web::start();
    web.routes(&[("si5", json!({"match": {"statement": "Form('role') = 'admin'"}, "upstream": to(&[&a])}))]);
    let ask = |body: &str| {
        let mut client = web.client();
        client.send(format!(
            "POST /form HTTP/1.1\r\nHost: a.com\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        client.answer()
    };
    let up = ask("user=Bob&role=admin").json();
    assert_eq!((&up["text"], &up["length"]), (&json!("user=Bob&role=admin"), &json!(19)));
    assert_eq!(ask("user=Bob&role=user!").status(), 404);
}

#[test]
fn the_host_of_a_request_of_http_1_0_may_be_missing_and_of_1_1_may_not() {
    let a = origin("A");
    let web = Web::to(&a);
    let first = |request: &str| {
        let mut client = Client::connect(web.at);
        client.send(request);
        client.answer()
    };
    assert_eq!(first("GET / HTTP/1.0\r\n\r\n").status(), 200);
    assert_eq!(first("GET / HTTP/1.1\r\n\r\n").status(), 400);
}
