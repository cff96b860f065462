//! What a node gets of a request of curl and curl of an answer, by the transforms of the route: the table T, over the wire.

use serde_json::{Value, json};

use super::{Web, to};
use crate::support::h1::{Message, origin};
use crate::support::upstream::{Server, refusing};
use crate::support::{curl, ports, soon};

const BASE: [&str; 3] = ["Host: in.example:5001", "Accept: */*", "header1: foo"];

/// One gateway for all rows of a test.
struct Rows {
    web: Web,
    origin: Server,
}

impl Rows {
    fn new() -> Self {
        let origin = origin("A");
        Self { web: Web::to(&origin), origin }
    }

    fn transforms(&self, transforms: &Value) {
        self.web.route("r", &json!({"upstream": to(&[&self.origin]), "transforms": transforms}));
    }

    /// What the node got.
    fn up(&self, method: &str, target: &str, lines: &[&str]) -> Value {
        let answer = curl::ask(self.web.at, method, target, lines, None);
        assert_eq!(answer.status(), 200, "{method} {target}");
        answer.json()
    }
}

/// The lines of a header as the node got them.
fn lines<'a>(up: &'a Value, name: &str) -> Vec<&'a str> {
    let all = up["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
    all.filter_map(|line| line.split_once(": ").filter(|(n, _)| *n == name).map(|(_, v)| v)).collect()
}

#[test]
fn without_transforms_the_node_gets_its_own_authority_and_the_forwarded_headers() {
    let rows = Rows::new();
    let up = rows.up("GET", "/request/path?a=v", &BASE);
    assert_eq!((&up["method"], &up["target"]), (&json!("GET"), &json!("/request/path?a=v")));
    assert_eq!(lines(&up, "host"), [rows.origin.node()]);
    for (name, value) in [
        ("accept", "*/*"),
        ("header1", "foo"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "in.example:5001"),
        ("x-forwarded-proto", "http"),
    ] {
        assert_eq!(lines(&up, name), [value], "{name}");
    }
    assert!(lines(&up, "x-forwarded-prefix").is_empty());
    assert_eq!(lines(&rows.up("GET", "/", &["X-Forwarded-For: 9.9.9.9"]), "x-forwarded-for"), ["127.0.0.1"]);
}

#[test]
fn paths_and_queries_are_changed_as_told_and_else_stay_byte_for_byte() {
    let rows = Rows::new();
    for (transforms, asked, expected) in [
        (json!([{"PathPrefix": "/prefix"}]), "/request/path?a=v", "/prefix/request/path?a=v"),
        (json!([{"PathRemovePrefix": "/prefix"}]), "/prefix/request/path", "/request/path"),
        (json!([{"PathRemovePrefix": "/prefix"}]), "/prefix2/request/path", "/prefix2/request/path"),
        (json!([{"PathSet": "/newpath"}]), "/request/path?a=v", "/newpath?a=v"),
        (json!([{"PathRemovePrefix": "/request"}, {"PathPrefix": "/v2"}]), "/request/path", "/v2/path"),
        (json!([{"PathPrefix": "p/"}]), "/x", "/p/x"),
        (json!([{"PathRemovePrefix": "/p"}]), "/P/x", "/x"),
        (json!([{"PathRemovePrefix": "/p"}]), "/p", "/"),
        (json!([{"PathSet": "/new?path"}]), "/x", "/new%3Fpath"),
        (json!([{"QueryValueParameter": "foo", "Append": "a b"}]), "/?foo=1&a=v", "/?foo=1&foo=a%20b&a=v"),
        (json!([{"QueryRemoveParameter": "foo"}]), "/?foo=1", "/"),
        (json!([{"QueryValueParameter": "foo", "Set": "bar"}]), "/?foo=1&a=v&foo=2", "/?foo=bar&a=v"),
        (json!([{"QueryRemoveParameter": "foo"}]), "/?a=v&foo=x", "/?a=v"),
        (json!([{"QueryRemoveParameter": "foo"}]), "/?FOO=x", "/"),
        (json!([]), "/a%2Fb", "/a%2Fb"),
        (json!([]), "/a%20b", "/a%20b"),
        (json!([]), "/%E4%BD%A0?%41=%zz&&=", "/%E4%BD%A0?%41=%zz&&="),
        (json!([]), "//a/../b/./?", "//a/../b/./?"),
    ] {
        rows.transforms(&transforms);
        assert_eq!(rows.up("GET", asked, &BASE)["target"], expected, "{transforms} {asked}");
    }
}

#[test]
fn methods_and_headers_are_changed_as_told() {
    let rows = Rows::new();
    rows.transforms(&json!([{"HttpMethodChange": "PUT", "Set": "POST"}]));
    assert_eq!(rows.up("PUT", "/", &["Content-Length: 0"])["method"], "POST");
    assert_eq!(rows.up("GET", "/", &[])["method"], "GET");
    for (transforms, sent, name, expected) in [
        (
            json!([{"RequestHeadersCopy": false}, {"RequestHeader": "header1", "Append": "bar"}]),
            vec!["header1: foo"],
            "header1",
            vec!["foo, bar"],
        ),
        (json!([{"RequestHeader": "Host", "Set": "x.y"}]), vec![], "host", vec!["x.y"]),
        (json!([{"RequestHeader": "header1", "Append": "bar"}]), vec!["header1: foo", "header1: baz"], "header1", vec!["foo, baz, bar"]),
        (json!([{"RequestHeader": "header1", "Append": "bar"}]), vec![], "header1", vec!["bar"]),
        (json!([{"RequestHeadersAllowed": "Header1;header2"}]), vec!["header1: a", "other: b"], "header1", vec!["a"]),
        (json!([{"RequestHeadersAllowed": "Header1;header2"}]), vec!["header1: a", "other: b"], "other", vec![]),
        (
            json!([{"RequestHeader": "header1", "Set": "x"}, {"RequestHeadersAllowed": "header1"}]),
            vec!["header1: foo"],
            "header1",
            vec!["x, foo"],
        ),
        (json!([{"RequestHeaderRemove": "Header1"}]), vec!["header1: a", "header1: b"], "header1", vec![]),
        (json!([{"RequestHeader": "header1", "Set": ""}]), vec!["header1: a"], "header1", vec![""]),
        (json!([{"RequestHeadersCopy": false}]), vec!["header1: a"], "header1", vec![]),
        (json!([{"RequestHeaderOriginalHost": true}]), vec!["Host: in.example:5001"], "host", vec!["in.example:5001"]),
        (json!([{"X-Forwarded": "Remove"}]), vec!["X-Forwarded-For: 9.9.9.9"], "x-forwarded-for", vec![]),
        (json!([{"X-Forwarded": "append"}]), vec!["X-Forwarded-For: 9.9.9.9"], "x-forwarded-for", vec!["9.9.9.9, 127.0.0.1"]),
        (json!([{"X-Forwarded": "Set", "HeaderPrefix": "X-Real-"}]), vec![], "x-real-for", vec!["127.0.0.1"]),
        (json!([{"X-Forwarded": "Off"}]), vec!["Forwarded: x"], "forwarded", vec!["x"]),
        (json!([{"Forwarded": "for", "Action": "Off"}]), vec!["Forwarded: a", "X-Forwarded-For: 1.1.1.1"], "forwarded", vec!["a"]),
        (
            json!([{"Forwarded": "for", "Action": "Off"}]),
            vec!["Forwarded: a", "X-Forwarded-For: 1.1.1.1"],
            "x-forwarded-for",
            vec!["1.1.1.1"],
        ),
        (json!([{"X-Forwarded": "Off"}]), vec!["X-Forwarded-For: 9.9.9.9"], "x-forwarded-for", vec!["9.9.9.9"]),
        (
            json!([{"X-Forwarded": "Append"}]),
            vec!["X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 2.2.2.2"],
            "x-forwarded-for",
            vec!["1.1.1.1, 2.2.2.2, 127.0.0.1"],
        ),
    ] {
        rows.transforms(&transforms);
        let up = rows.up("GET", "/", &sent);
        assert_eq!(lines(&up, name), expected, "{transforms} {sent:?}: {up}");
    }
}

#[test]
fn headers_of_the_connection_never_reach_the_node() {
    let rows = Rows::new();
    let sent = [
        "Connection: keep-alive, X-Foo",
        "Keep-Alive: 5",
        "TE: gzip",
        "X-Foo: 1",
        "Proxy-Authorization: z",
        "Proxy-Connection: keep-alive",
        "Upgrade-Insecure-Requests: 1",
    ];
    let up = rows.up("GET", "/", &sent);
    for name in ["connection", "keep-alive", "te", "x-foo", "proxy-authorization", "proxy-connection", "upgrade-insecure-requests"] {
        assert!(lines(&up, name).is_empty(), "{name}: {up}");
    }
}

#[test]
fn the_upstream_says_which_authority_its_nodes_are_asked_for() {
    let rows = Rows::new();
    let upstream = |pass: &str| {
        let mut upstream = to(&[&rows.origin]);
        upstream["pass_host"] = json!(pass);
        upstream["upstream_host"] = json!("shop.example");
        json!({ "upstream": upstream })
    };
    for (pass, expected) in [("pass", "in.example:5001".to_owned()), ("node", rows.origin.node()), ("rewrite", "shop.example".to_owned())] {
        rows.web.route("r", &upstream(pass));
        assert_eq!(lines(&rows.up("GET", "/", &BASE), "host"), [expected]);
    }
}

#[test]
fn answers_are_changed_by_their_status_also_those_of_the_gateway() {
    let rows = Rows::new();
    let ask = |target: &str| -> Message { curl::ask(rows.web.at, "GET", target, &[], None) };
    rows.transforms(&json!([{"ResponseHeader": "H", "Append": "v", "When": "Success"}]));
    assert_eq!((ask("/status/200").lines("h"), ask("/status/404").lines("h")), (vec!["v"], vec![]));
    rows.transforms(&json!([{"ResponseHeader": "X-Up", "Append": "v"}]));
    assert_eq!((ask("/status/200").lines("x-up"), ask("/status/404").lines("x-up")), (vec!["A", "v"], vec!["A"]));
    rows.transforms(&json!([{"ResponseHeaderRemove": "X-Up"}]));
    assert_eq!((ask("/status/200").header("x-up"), ask("/status/500").header("x-up")), (None, Some("A")));
    let always = json!([{"ResponseHeader": "H", "Set": "v", "When": "Always"}]);
    rows.transforms(&always);
    for status in [200, 204, 302, 500] {
        let answer = ask(&format!("/status/{status}"));
        assert_eq!((answer.status(), answer.header("h")), (status, Some("v")));
    }
    let refusing = refusing();
    rows.web.route("r", &json!({"upstream": {"nodes": {refusing.addr.to_string(): 1}}, "transforms": always}));
    assert_eq!((ask("/").status(), ask("/").header("h")), (502, Some("v")));
    rows.web.route("r", &json!({"transforms": always}));
    assert_eq!((ask("/").status(), ask("/").header("h")), (503, Some("v")));
}

#[test]
fn the_route_is_found_by_the_method_that_came() {
    let rows = Rows::new();
    let route =
        json!({"match": {"methods": ["PUT"]}, "upstream": to(&[&rows.origin]), "transforms": [{"HttpMethodChange": "PUT", "Set": "POST"}]});
    rows.web.route("r", &route);
    assert_eq!(rows.up("PUT", "/", &["Content-Length: 0"])["method"], "POST", "T19");
    assert_eq!(curl::ask(rows.web.at, "POST", "/", &["Content-Length: 0"], None).status(), 404, "T19");
}

#[test]
fn forwarded_stands_alone_and_names_the_client_as_told() {
    let rows = Rows::new();
    rows.transforms(&json!([{"Forwarded": "by,for,host,proto", "ByFormat": "Random", "ForFormat": "IpAndPort", "Action": "Append"}]));
    let up = rows.up("GET", "/", &["Host: in.example:5001", "Forwarded: for=9.9.9.9"]);
    let [line] = lines(&up, "forwarded")[..] else { panic!("T41: {up}") };
    let told =
        line.strip_prefix("for=9.9.9.9, proto=http;host=\"in.example:5001\";for=\"127.0.0.1:").unwrap_or_else(|| panic!("T41: {line}"));
    let (port, by) = told.split_once("\";by=_").unwrap_or_else(|| panic!("T41: {line}"));
    assert!(port.parse::<u16>().is_ok() && by.len() == 9, "T41: {line}");
    assert!(!up.to_string().contains("x-forwarded"), "T41: {up}");

    let at = std::net::SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), ports::free());
    rows.web.gateway.put_live("listeners", "v6", &json!({"protocol": "http", "addr": at.to_string()}));
    soon("it listens", || std::net::TcpStream::connect(at).is_ok());
    rows.transforms(&json!([{"Forwarded": "for", "ForFormat": "Ip"}]));
    assert_eq!(lines(&curl::ask(at, "GET", "/", &[], None).json(), "forwarded"), ["for=\"[::1]\""], "T43");
    rows.transforms(&json!([]));
    assert_eq!(lines(&curl::ask(at, "GET", "/", &[], None).json(), "x-forwarded-for"), ["::1"], "T43");
}

#[test]
fn an_answer_has_the_headers_that_the_route_lets_through_and_no_length_without_a_body() {
    let rows = Rows::new();
    let ask = |target: &str| curl::ask(rows.web.at, "GET", target, &[], None);
    rows.transforms(&json!([{"ResponseHeadersCopy": false}]));
    assert_eq!((ask("/status/200").header("x-up"), ask("/x").header("content-type")), (None, None));
    rows.transforms(&json!([{"ResponseHeadersAllowed": "X-Up"}]));
    assert_eq!((ask("/x").header("x-up"), ask("/x").header("content-type")), (Some("A"), None));
    let node = Server::start(ports::free_addr(), |mut stream, _| {
        use std::io::{Read, Write};
        while matches!(stream.read(&mut [0; 4096]), Ok(1..)) {
            if stream.write_all(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nX-Up: N\r\n\r\n").is_err() {
                return;
            }
        }
    });
    rows.web.route("r", &json!({"upstream": to(&[&node])}));
    let answer = ask("/");
    assert_eq!((answer.status(), answer.header("x-up"), answer.header("content-length")), (204, Some("N"), None), "T59");
}

#[test]
fn transforms_that_say_nothing_or_two_things_are_refused() {
    let rows = Rows::new();
    for transforms in
        [json!([{"RequestHeader": "h", "Set": "a", "Append": "b"}]), json!([{"Foo": "1"}]), json!([{"X-Forwarded": "For,Host"}])]
    {
        let put = rows.web.gateway.admin().put("routes", "r", &json!({"upstream": to(&[&rows.origin]), "transforms": transforms}));
        assert!(put.status == 400 && put.text().contains("/transforms/0"), "T29, T61: {transforms}: {}", put.text());
    }
}
