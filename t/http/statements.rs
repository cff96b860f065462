//! The language of conditions over the wire: every documented row on a request of curl, and what becomes of text that does not parse.

use serde_json::{Value, json};

use super::{Web, to};
use crate::support::h1::{Message, origin};
use crate::support::{Conf, Etcd, Gateway, curl, ports, soon};

/// The documented rows: a request, what the condition is worth, and the condition.
const ROWS: &str = include_str!("../../src/route/statement/documented.txt");

/// The requests of the documented rows; R2 as far as HTTP/1.1 in clear can say it.
fn send(web: &Web, request: &str) -> Message {
    let r1 = [
        "Host: api.example.com:8080",
        "User-Agent: curl/8.0",
        "X-Env: Test",
        "X-Multi: a",
        "X-Multi: b",
        "X-Csv: a, b",
        "Cookie: sid=ABC; theme=dark",
    ];
    let r2 = ["Host: shop.example.org", "Content-Type: application/json; charset=utf-8"];
    match request {
        "R1" => curl::ask(web.at, "GET", "/Users/42?id=7&tag=a&tag=b&empty=", &r1, None),
        "R2" => curl::ask(web.at, "POST", "/cart", &r2, Some("{\"thirty\": \"bytes of content\"}")),
        "R3" => curl::ask(web.at, "POST", "/form", &["Host: a.com"], Some("user=Bob&role=admin")),
        _ => curl::ask(web.at, "GET", "/", &["Host: a.com", "User-Agent:", "Accept:"], None),
    }
}

#[test]
fn every_documented_row_chooses_among_requests_of_curl() {
    let a = origin("A");
    let web = Web::start();
    for line in ROWS.lines() {
        let (request, rest) = line.split_once(' ').unwrap();
        let (expected, statement) = rest.split_at(6);
        web.route("r", &json!({"match": {"hosts": ["*"], "paths": ["*"], "statement": statement}, "upstream": to(&[&a])}));
        let status = send(&web, request).status();
        assert_eq!(status, if expected.trim() == "true" { 200 } else { 404 }, "{line}");
    }
}

/// Each with the column of its mistake.
const WRONG: [(&str, u32); 16] = [
    ("1 = 1", 1),
    ("Path", 5),
    ("Method = GET", 10),
    ("Path ~= ''", 9),
    ("Path ~= null", 9),
    ("IsHttps = null", 11),
    ("ContentLength ~= '3'", 15),
    ("Header = 'a'", 1),
    ("Header(x) = 'a'", 8),
    ("Path in '/a'", 9),
    ("Method = 'GET' Path = '/a'", 16),
    ("and Method = 'GET'", 1),
    ("Method = 'GET')", 15),
    ("Path = 1.2.3", 8),
    ("Path = '/a' && Method = 'GET'", 13),
    ("not", 4),
];

/// A route of this condition on the line after an empty one.
fn on_line_two(statement: &str, upstream: &Value) -> Value {
    json!({"match": {"statement": format!("\n{statement}")}, "upstream": upstream})
}

#[test]
fn a_statement_that_does_not_parse_is_refused_with_its_place_and_widens_no_route() {
    let a = origin("A");
    let web = Web::start();
    let upstream = to(&[&a]);
    web.route("r", &json!({"match": {"statement": "Method = 'PUT'"}, "upstream": upstream}));
    let admin = web.gateway.admin();
    for (statement, column) in WRONG {
        let route = on_line_two(statement, &upstream);
        let apply = json!({"put": {"routes": [{"id": "r", "match": route["match"], "upstream": upstream}]}}).to_string();
        let patch = json!({"match": route["match"]}).to_string();
        for (way, answer) in [
            ("PUT", admin.put("routes", "r", &route)),
            ("PUT of a new one", admin.put("routes", "new", &route)),
            ("PATCH", admin.call("PATCH", "/routes/r", patch.as_bytes())),
            ("apply", admin.call("POST", "/apply", apply.as_bytes())),
        ] {
            let says = format!("line 2, column {column}: ");
            assert!(answer.status == 400 && answer.text().contains(&says), "{way} {statement}: {} {}", answer.status, answer.text());
        }
        let asked = |method| curl::ask(web.at, method, "/", &[], None).status();
        assert_eq!((asked("GET"), asked("PUT")), (404, 200), "{statement}");
    }
}

#[test]
fn a_statement_that_came_by_etcd_and_does_not_parse_leaves_the_last_good_route() {
    let (a, etcd) = (origin("A"), Etcd::start());
    let at = ports::free_addr();
    let gateway = Gateway::start(Conf::new().etcd(&etcd.urls(), "one").http(format!("{{ip: 127.0.0.1, port: {}}}", at.port())));
    let asked = |method| curl::ask(at, method, "/", &[], None).status();
    etcd.put("/sluice/routes/r", &json!({"match": {"statement": "Method = 'PUT'"}, "upstream": to(&[&a])}).to_string());
    soon("the route is live", || asked("PUT") == 200);
    for id in ["r", "new"] {
        etcd.put(&format!("/sluice/routes/{id}"), &on_line_two("Path = GET", &to(&[&a])).to_string());
        soon("it is refused with its place", || {
            gateway.rejection(&format!("routes/{id}")).is_some_and(|rejection| rejection.to_string().contains("line 2, column 8: "))
        });
        assert_eq!((asked("GET"), asked("PUT")), (404, 200), "{id}");
    }
    etcd.put("/sluice/routes/r", &json!({"upstream": to(&[&a])}).to_string());
    soon("a good one is live again", || asked("GET") == 200);
}
