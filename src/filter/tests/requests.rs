//! What reaches a node.

use http::Version;
use proptest::prelude::*;
use serde_json::json;

use super::super::{Facts, TooLong, Transforms};
use super::{compiled, difference, facts, request, sent};

const FIRST: &str = "GET /request/path?a=v";
const LINES: [&str; 3] = ["host: in.example:5001", "accept: */*", "header1: foo"];

/// The request of the tables with more lines.
fn lines<'l>(more: &[&'l str]) -> Vec<&'l str> {
    LINES.into_iter().chain(more.iter().copied()).collect()
}

/// What the transforms change of a request.
fn change(list: &serde_json::Value, first: &str, lines: &[&str], facts: &Facts<'_>) -> Vec<String> {
    let plain = sent(&Transforms::default(), request(first, lines), facts);
    difference(plain, sent(&compiled(list), request(first, lines), facts))
}

/// The target that the node sees.
fn target(list: &serde_json::Value, target: &str) -> String {
    sent(&compiled(list), request(&format!("GET {target}"), &LINES), &facts())[0].strip_prefix("GET ").unwrap().to_owned()
}

#[test]
fn a_route_without_transforms_tells_the_node_of_the_client() {
    assert_eq!(
        sent(&Transforms::default(), request(FIRST, &LINES), &facts()),
        [
            "GET /request/path?a=v",
            "host: 127.0.0.1:9001",
            "accept: */*",
            "header1: foo",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: in.example:5001",
            "x-forwarded-proto: http",
        ]
    );
}

#[test]
fn what_the_client_claims_of_itself_is_replaced() {
    let claims = lines(&[
        "x-forwarded-for: 9.9.9.9",
        "X-Forwarded-For: 8.8.8.8",
        "x-forwarded-host: evil",
        "x-forwarded-proto: gopher",
        "x-forwarded-prefix: /evil",
        "forwarded: for=evil",
    ]);
    let v6 = Facts { client: "[2001:db8::1]:7".parse().unwrap(), secure: true, ..facts() };
    let out = sent(&Transforms::default(), request(FIRST, &claims), &v6);
    assert_eq!(
        out.iter().filter(|line| line.contains("orwarded")).collect::<Vec<_>>(),
        ["x-forwarded-for: 2001:db8::1", "x-forwarded-host: in.example:5001", "x-forwarded-proto: https",]
    );
    assert!(!out.iter().any(|line| line.contains("evil")), "{out:?}");
}

#[test]
fn no_header_of_the_connection_goes_on() {
    let hops = [
        "connection: keep-alive, X-Foo",
        "x-foo: 1",
        "keep-alive: 5",
        "te: gzip",
        "te: trailers",
        "upgrade: websocket",
        "upgrade-insecure-requests: 1",
        "proxy-connection: close",
        "proxy-authenticate: z",
        "proxy-authentication-info: z",
        "proxy-authorization: z",
        "proxy-features: z",
        "proxy-instruction: z",
        "security-scheme: z",
        "alpn: h2",
        "close: z",
        "http2-settings: z",
        "alt-svc: z",
        "transfer-encoding: chunked",
        "content-length: 5",
    ];
    let stays = ["sec-websocket-key: k", "sec-websocket-version: 13", "trailer: x"];
    let plain = sent(&Transforms::default(), request(FIRST, &lines(&stays)), &facts());
    assert_eq!(sent(&Transforms::default(), request(FIRST, &lines(&[&stays[..], &hops].concat())), &facts()), plain);
}

#[test]
fn a_client_of_http_2_keeps_its_word_on_trailers_and_gets_one_cookie_line() {
    let h2 = Facts { version: Version::HTTP_2, host: "in.example", ..facts() };
    let head = request("GET https://in.example/p%2F?q", &["te: trailers", "cookie: a=1", "cookie: b=2", "x: 1", "x: 2"]);
    assert_eq!(
        sent(&Transforms::default(), head, &h2),
        [
            "GET /p%2F?q",
            "host: 127.0.0.1:9001",
            "cookie: a=1; b=2",
            "x: 1",
            "x: 2",
            "te: trailers",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: in.example",
            "x-forwarded-proto: http",
        ]
    );
}

#[test]
fn the_path_is_prefixed_cut_and_replaced_in_the_order_of_the_list() {
    for (list, sent, expected) in [
        (json!([{"PathPrefix": "/prefix"}]), "/request/path?a=v", "/prefix/request/path?a=v"),
        (json!([{"PathPrefix": "p/"}]), "/x", "/p/x"),
        (json!([{"PathRemovePrefix": "/prefix"}]), "/prefix/request/path", "/request/path"),
        (json!([{"PathRemovePrefix": "/prefix"}]), "/prefix2/request/path", "/prefix2/request/path"),
        (json!([{"PathRemovePrefix": "/p"}]), "/P/x", "/x"),
        (json!([{"PathRemovePrefix": "/p"}]), "/p", "/"),
        (json!([{"PathRemovePrefix": "/p"}]), "/p?a=v", "/?a=v"),
        (json!([{"PathRemovePrefix": "/p/"}]), "/p/x", "/p/x"),
        (json!([{"PathSet": "/newpath"}]), "/request/path?a=v", "/newpath?a=v"),
        (json!([{"PathSet": "/new?path"}]), "/x?", "/new%3Fpath?"),
        (json!([{"PathRemovePrefix": "/request"}, {"PathPrefix": "/v2"}]), "/request/path", "/v2/path"),
        (json!([{"PathPrefix": "/v2"}, {"PathRemovePrefix": "/request"}]), "/request/path", "/v2/request/path"),
        (json!([{"PathRemovePrefix": "/a"}, {"PathPrefix": "/v2"}]), "/a", "/v2"),
        (json!([{"PathPrefix": "/v2"}]), "/a%2Fb%20c%7e", "/v2/a%2Fb%20c%7e"),
        (json!([{"PathPrefix": "/v2"}]), "/../../admin/%2e%2E/x", "/v2/x"),
    ] {
        assert_eq!(target(&list, sent), expected, "{list} {sent}");
    }
}

#[test]
fn a_target_that_is_no_path_is_left_alone() {
    for first in ["OPTIONS *", "CONNECT in.example:5001"] {
        assert_eq!(change(&json!([{"PathPrefix": "/p"}, {"PathSet": "/x"}]), first, &LINES, &facts()), [""; 0], "{first}");
    }
}

#[test]
fn the_query_is_set_appended_to_and_cut() {
    for (list, sent, expected) in [
        (json!([{"QueryValueParameter": "foo", "Set": "bar"}]), "/p?foo=1&a=v&foo=2", "/p?foo=bar&a=v"),
        (json!([{"QueryValueParameter": "foo", "Append": "bar"}]), "/p?foo=1&a=v&foo=2", "/p?foo=1&foo=2&foo=bar&a=v"),
        (json!([{"QueryValueParameter": "foo", "Append": "a b"}]), "/p", "/p?foo=a%20b"),
        (json!([{"QueryValueParameter": "a", "Append": "2"}]), "/p?A=1&b", "/p?A=1&A=2&b="),
        (json!([{"QueryRemoveParameter": "foo"}]), "/p?a=v&foo=x", "/p?a=v"),
        (json!([{"QueryRemoveParameter": "foo"}]), "/p?FOO=x", "/p"),
        (json!([{"QueryRemoveParameter": "foo"}]), "/p?foo=1", "/p"),
        (json!([{"QueryRemoveParameter": "x"}]), "/p?A=1+2&a=2", "/p?A=1%202&A=2"),
        (json!([{"QueryRemoveParameter": "foo"}, {"QueryValueParameter": "foo", "Set": "n"}]), "/p%2F?foo=x", "/p%2F?foo=n"),
        (json!([{"QueryRouteParameter": "k", "Set": "id"}]), "/p?A=1+2&a=2", "/p?A=1+2&a=2"),
    ] {
        assert_eq!(target(&list, sent), expected, "{list} {sent}");
    }
}

#[test]
fn the_method_changes_when_it_is_the_one() {
    let list = json!([{"HttpMethodChange": "put", "Set": "Post"}]);
    assert_eq!(change(&list, "PUT /", &LINES, &facts()), ["-PUT /", "+POST /"]);
    assert_eq!(change(&list, "GET /", &LINES, &facts()), [""; 0]);
}

#[test]
fn headers_are_set_appended_and_removed_in_one_line() {
    for (list, more, expected) in [
        (json!([{"RequestHeader": "h", "Set": "v"}]), &[][..], &["+h: v"][..]),
        (json!([{"RequestHeader": "Header1", "Set": ""}]), &[], &["-header1: foo", "+header1: "]),
        (json!([{"RequestHeader": "header1", "Set": "x"}]), &["header1: baz"], &["-header1: baz", "-header1: foo", "+header1: x"]),
        (json!([{"RequestHeader": "header1", "Append": "bar"}]), &[], &["-header1: foo", "+header1: foo, bar"]),
        (
            json!([{"RequestHeader": "header1", "Append": "bar"}]),
            &["header1: baz"],
            &["-header1: baz", "-header1: foo", "+header1: foo, baz, bar"],
        ),
        (json!([{"RequestHeader": "h", "Append": "bar"}]), &[], &["+h: bar"]),
        (json!([{"RequestHeader": "Cookie", "Append": "b=2"}]), &["cookie: a=1"], &["-cookie: a=1", "+cookie: a=1; b=2"]),
        (json!([{"RequestHeader": "User-Agent", "Append": "x/1"}]), &["user-agent: a/1"], &["-user-agent: a/1", "+user-agent: a/1 x/1"]),
        (json!([{"RequestHeaderRemove": "HEADER1"}]), &["header1: baz"], &["-header1: baz", "-header1: foo"]),
        (json!([{"RequestHeaderRemove": "absent"}]), &[], &[]),
        (json!([{"RequestHeaderRouteValue": "h", "Set": "id"}]), &[], &[]),
        (json!([{"RequestHeader": "h", "Set": "ü"}]), &[], &["+h: ü"]),
        // the defaults go last, so that nothing that a route writes by hand passes for them
        (json!([{"RequestHeader": "X-Forwarded-For", "Set": "1.1.1.1"}]), &[], &[]),
    ] {
        assert_eq!(change(&list, FIRST, &lines(more), &facts()), expected, "{list} {more:?}");
    }
}

#[test]
fn a_route_that_copies_no_headers_sends_those_that_it_names() {
    let sends = |list: &serde_json::Value, more: &[&str]| {
        let out = sent(&compiled(list), request(FIRST, &lines(more)), &facts());
        out.into_iter().skip(1).filter(|line| !line.starts_with("x-forwarded-")).collect::<Vec<_>>()
    };
    let host = "host: 127.0.0.1:9001";
    for (list, more, expected) in [
        (json!([{"RequestHeadersCopy": false}]), &["content-length: 5", "content-type: a/b"][..], &[host][..]),
        (json!([{"RequestHeadersCopy": "True"}]), &[], &[host, "accept: */*", "header1: foo"]),
        (json!([{"RequestHeadersCopy": false}, {"RequestHeader": "header1", "Append": "bar"}]), &[], &["header1: foo, bar", host]),
        (json!([{"RequestHeader": "header1", "Append": "bar"}, {"RequestHeadersCopy": false}]), &[], &["header1: foo, bar", host]),
        (json!([{"RequestHeadersCopy": false}, {"RequestHeader": "header1", "Set": "bar"}]), &[], &["header1: bar", host]),
        (
            json!([{"RequestHeadersAllowed": "Header1;header2"}]),
            &["header2: a", "header2: b", "other: x"],
            &["header1: foo", "header2: a", "header2: b", host],
        ),
        (json!([{"RequestHeadersAllowed": " header1 ; ;x"}, {"RequestHeadersCopy": false}]), &[], &["header1: foo", host]),
        (json!([{"RequestHeader": "header1", "Set": "x"}, {"RequestHeadersAllowed": "header1"}]), &[], &["header1: x, foo", host]),
        (json!([{"RequestHeadersAllowed": "header1"}, {"RequestHeader": "header1", "Set": "x"}]), &[], &["header1: x", host]),
        (
            json!([{"RequestHeadersAllowed": "Keep-Alive;Proxy-Authorization"}]),
            &["keep-alive: 5", "proxy-authorization: z"],
            &["keep-alive: 5", "proxy-authorization: z", host],
        ),
        (
            json!([{"RequestHeadersAllowed": "X-Foo;Content-Length"}]),
            &["connection: x-foo", "x-foo: 1", "content-length: 5"],
            &["content-length: 5", host],
        ),
        (json!([{"RequestHeadersAllowed": "Content-Length"}]), &["transfer-encoding: chunked", "content-length: 5"], &[host]),
        (json!([{"RequestHeadersAllowed": "Host"}]), &[], &[host]),
        (json!([{"RequestHeadersCopy": false}, {"RequestHeaderOriginalHost": true}]), &[], &["host: in.example:5001"]),
    ] {
        assert_eq!(sends(&list, more), expected, "{list} {more:?}");
    }
}

#[test]
fn the_host_is_that_of_the_node_unless_the_route_or_the_upstream_wants_the_clients() {
    let pass = Facts { original_host: true, ..facts() };
    let none = Facts { host: "", original_host: true, ..facts() };
    let called = Facts { node_authority: "dest.local", ..facts() };
    let (node, client) = ("127.0.0.1:9001", "in.example:5001");
    for (list, facts, expected) in [
        (json!([]), facts(), node),
        (json!([]), pass, client),
        (json!([]), none, node),
        (json!([]), called, "dest.local"),
        (json!([{"RequestHeaderOriginalHost": true}]), facts(), client),
        (json!([{"RequestHeaderOriginalHost": true}]), called, client),
        (json!([{"RequestHeaderOriginalHost": "False"}]), pass, node),
        (json!([{"RequestHeader": "Host", "Set": "x.y"}]), facts(), "x.y"),
        (json!([{"RequestHeader": "Host", "Set": "x.y"}]), pass, "x.y"),
        (json!([{"RequestHeaderOriginalHost": true}, {"RequestHeader": "Host", "Set": "x.y"}]), facts(), "x.y"),
        // that a step wrote what the client sent does not show
        (json!([{"RequestHeader": "Host", "Set": client}]), facts(), node),
        (json!([{"RequestHeader": "Host", "Set": client}]), pass, client),
        (json!([{"RequestHeaderRemove": "Host"}]), pass, node),
    ] {
        let host: Vec<&str> = if facts.host.is_empty() { vec![] } else { vec![LINES[0]] };
        let out = sent(&compiled(&list), request(FIRST, &host), &facts);
        assert!(out.contains(&format!("host: {expected}")), "{list} {out:?}");
        assert_eq!(out.iter().filter(|line| line.starts_with("host:")).count(), 1);
        let told = out.iter().find(|line| line.starts_with("x-forwarded-host"));
        assert_eq!(told.map(String::as_str), (!facts.host.is_empty()).then_some("x-forwarded-host: in.example:5001"), "{list}");
    }
}

#[test]
fn x_forwarded_does_what_each_action_says() {
    let claims = ["x-forwarded-for: 1.1.1.1", "x-forwarded-for: 2.2.2.2", "x-forwarded-proto: p", "x-forwarded-host: h"];
    let claims = lines(&[&claims[..], &["x-forwarded-prefix: /x", "forwarded: for=f"]].concat());
    let told = |list: &serde_json::Value| {
        let mut out = sent(&compiled(list), request(FIRST, &claims), &facts());
        out.retain(|line| line.contains("forwarded"));
        out.sort();
        out
    };
    let (set_for, set_host, set_proto) = ("x-forwarded-for: 127.0.0.1", "x-forwarded-host: in.example:5001", "x-forwarded-proto: http");
    for (list, expected) in [
        (json!([{"X-Forwarded": "Set"}]), &[set_for, set_host, set_proto][..]),
        (
            json!([{"X-Forwarded": "Append"}]),
            &[
                "x-forwarded-for: 1.1.1.1, 2.2.2.2, 127.0.0.1",
                "x-forwarded-host: h, in.example:5001",
                "x-forwarded-prefix: /x",
                "x-forwarded-proto: p, http",
            ],
        ),
        (
            json!([{"x_forwarded": "append", "for": "Off", "PROTO": "remove", "Host": "SET", "Prefix": "Set"}]),
            &["x-forwarded-for: 1.1.1.1", "x-forwarded-for: 2.2.2.2", set_host],
        ),
        (json!([{"X-Forwarded": "Remove"}]), &[]),
        (
            json!([{"X-Forwarded": "Off"}]),
            &[
                "forwarded: for=f",
                "x-forwarded-for: 1.1.1.1",
                "x-forwarded-for: 2.2.2.2",
                "x-forwarded-host: h",
                "x-forwarded-prefix: /x",
                "x-forwarded-proto: p",
            ],
        ),
        (
            json!([{"X-Forwarded": "Off", "For": "Append"}]),
            &["x-forwarded-for: 1.1.1.1, 2.2.2.2, 127.0.0.1", "x-forwarded-host: h", "x-forwarded-prefix: /x", "x-forwarded-proto: p"],
        ),
        (
            json!([{"RequestHeadersCopy": false}, {"X-Forwarded": "Append", "Host": "Off"}]),
            &["x-forwarded-for: 1.1.1.1, 2.2.2.2, 127.0.0.1", "x-forwarded-prefix: /x", "x-forwarded-proto: p, http"],
        ),
        (json!([{"RequestHeadersCopy": false}]), &[set_for, set_host, set_proto]),
    ] {
        assert_eq!(told(&list), expected, "{list}");
    }
    let list = json!([{"X-Forwarded": "Off", "HeaderPrefix": "X-Real-", "For": "Set"}]);
    assert_eq!(
        change(&list, FIRST, &LINES, &facts()),
        ["-x-forwarded-for: 127.0.0.1", "-x-forwarded-host: in.example:5001", "-x-forwarded-proto: http", "+x-real-for: 127.0.0.1",]
    );
}

#[test]
fn forwarded_replaces_the_others_and_joins_what_came() {
    let told = |list: &serde_json::Value, more: &[&str], facts: &Facts<'_>| {
        let mut out = sent(&compiled(list), request(FIRST, &lines(more)), facts);
        out.retain(|line| line.contains("forwarded"));
        out
    };
    let (came, both) = (&["forwarded: for=9.9.9.9"][..], &["forwarded: a", "x-forwarded-for: 1.1.1.1"][..]);
    let v6 = Facts { client: "[::1]:5678".parse().unwrap(), secure: true, ..facts() };
    let all = json!([{"Forwarded": "by,for,host,proto", "ByFormat": "Ip", "ForFormat": "IpAndPort", "Action": "Append"}]);
    for (list, more, facts, expected) in [
        (
            all.clone(),
            came,
            facts(),
            &["forwarded: for=9.9.9.9, proto=http;host=\"in.example:5001\";for=\"127.0.0.1:40000\";by=127.0.0.1"][..],
        ),
        (all, &["x-forwarded-for: 1.1.1.1"], v6, &["forwarded: proto=https;host=\"in.example:5001\";for=\"[::1]:5678\";by=127.0.0.1"]),
        (json!([{"Forwarded": "FOR PROTO", "ForFormat": "unknown"}]), came, facts(), &["forwarded: proto=http;for=unknown"]),
        (json!([{"Forwarded": "for", "ForFormat": "Ip"}]), &[], v6, &["forwarded: for=\"[::1]\""]),
        (json!([{"Forwarded": "host", "Action": "set"}]), both, facts(), &["forwarded: host=\"in.example:5001\""]),
        (json!([{"Forwarded": "host"}]), came, Facts { host: "", ..facts() }, &[]),
        (json!([{"Forwarded": "host"}]), &[], Facts { host: "a\"b", ..facts() }, &["forwarded: host=\"a\\\"b\""]),
        (json!([{"Forwarded": "for", "Action": "Remove"}]), both, facts(), &[]),
        (json!([{"Forwarded": "for", "Action": "Off"}]), both, facts(), both),
        (json!([{"Forwarded": "proto"}, {"X-Forwarded": "Off", "For": "Set"}]), both, facts(), &["x-forwarded-for: 127.0.0.1"]),
        (json!([{"X-Forwarded": "Set"}, {"Forwarded": "proto"}]), both, facts(), &["forwarded: proto=http"]),
        (json!([{"Forwarded": "proto"}, {"X-Forwarded": "Off"}]), both, facts(), &["forwarded: proto=http"]),
    ] {
        assert_eq!(told(&list, more, &facts), expected, "{list}");
    }
    let [one] = &told(&json!([{"Forwarded": "by"}]), came, &facts())[..] else { panic!("one line") };
    assert!(one.starts_with("forwarded: by=_") && one.len() == "forwarded: by=_".len() + 9, "{one}");
}

#[test]
fn the_certificate_of_the_client_is_what_it_proved_and_not_what_it_says() {
    let list = json!([{"ClientCert": "X-Client-Cert"}]);
    let fake = lines(&["x-client-cert: fake", "x-client-cert: fake2"]);
    assert_eq!(change(&list, FIRST, &fake, &facts()), ["-x-client-cert: fake", "-x-client-cert: fake2"]);
    let proved = Facts { client_certificate: Some(&[0x30, 0x82, 0xff, 0x00]), ..facts() };
    let expected = ["-x-client-cert: fake", "-x-client-cert: fake2", "+x-client-cert: MIL/AA=="];
    assert_eq!(change(&list, FIRST, &fake, &proved), expected);
}

#[test]
fn a_target_that_became_too_long_is_not_sent() {
    let path = format!("GET /{}", "x".repeat(65_530));
    let mut head = request(&path, &LINES);
    assert_eq!(compiled(&json!([{"PathPrefix": "/abcd"}])).request(&mut head, &facts()), Err(TooLong));
    let mut head = request(&path, &LINES);
    assert_eq!(compiled(&json!([{"PathPrefix": "/ab"}])).request(&mut head, &facts()), Ok(()));
    assert_eq!(head.uri.path().len(), 65_534);
    let mut head = request(&format!("GET /?a={}", ":".repeat(30_000)), &LINES);
    assert_eq!(compiled(&json!([{"QueryRemoveParameter": "b"}])).request(&mut head, &facts()), Err(TooLong));
}

proptest! {
    #[test]
    fn without_a_step_on_them_path_and_query_keep_their_bytes(
        path in "/[a-zA-Z0-9%/.~!$&'()*+,;=:@_-]{0,40}", query in "(\\?[a-zA-Z0-9%/.~!$&'()*+,;=:@_?-]{0,40})?"
    ) {
        let raw = format!("{path}{query}");
        let list = json!([{"RequestHeader": "a", "Set": "b"}, {"X-Forwarded": "Append"}]);
        prop_assert_eq!(target(&list, &raw), raw.clone());
        prop_assert_eq!(target(&json!([]), &raw), raw);
    }

    #[test]
    fn a_step_on_one_of_them_leaves_the_bytes_of_the_other(path in "/[a-z0-9%~/]{0,20}", query in "[a-zA-Z0-9%/+?&=]{1,20}") {
        prop_assert_eq!(target(&json!([{"PathSet": "/n"}]), &format!("{path}?{query}")), format!("/n?{query}"));
        let out = target(&json!([{"QueryValueParameter": "k", "Set": "v"}]), &format!("{path}?{query}"));
        prop_assert_eq!(out.split('?').next().unwrap(), path);
    }

    #[test]
    fn no_target_and_no_header_makes_it_panic(
        path in "/[ -~]{0,30}", value in "[ -~]{0,30}", prefix in "\\PC{1,10}", name in "(connection|te|cookie|forwarded|x-forwarded-for|host)"
    ) {
        let Ok(uri) = path.parse::<http::Uri>() else { return Ok(()) };
        let line = format!("{name}: {value}");
        let mut head = request("GET /", &[LINES[0], &line]);
        head.uri = uri;
        let list = json!([
            {"PathPrefix": prefix}, {"PathRemovePrefix": prefix}, {"QueryValueParameter": prefix, "Append": prefix},
            {"Forwarded": "for by host", "Action": "Append"}, {"X-Forwarded": "Append"},
        ]);
        prop_assert_eq!(compiled(&list).request(&mut head, &facts()), Ok(()));
    }
}

#[test]
fn an_absolute_target_without_a_path_gets_one() {
    for (target, expected) in
        [("http://in.example:5001?a=v", "GET /?a=v"), ("http://in.example:5001", "GET /"), ("http://in.example:5001/x?", "GET /x?")]
    {
        assert_eq!(sent(&Transforms::default(), request(&format!("GET {target}"), &LINES), &facts())[0], expected, "{target}");
    }
}

#[test]
fn the_host_is_known_before_it_is_written() {
    let client = |host: &'static str| Facts { host, ..facts() };
    for list in [
        json!([]),
        json!([{"RequestHeaderOriginalHost": true}]),
        json!([{"RequestHeaderOriginalHost": false}]),
        json!([{"RequestHeader": "Host", "Set": "x.y"}]),
        json!([{"RequestHeader": "host", "Set": "x.y"}, {"RequestHeader": "Host", "Set": "in.example:5001"}]),
        json!([{"RequestHeader": "Host", "Set": "in.example:5001"}, {"RequestHeaderOriginalHost": true}]),
        json!([{"RequestHeader": "Host", "Set": "x.y"}, {"RequestHeaderRemove": "Host"}]),
        json!([{"RequestHeadersCopy": false}]),
        json!([{"RequestHeadersCopy": false}, {"RequestHeaderOriginalHost": true}]),
        json!([{"RequestHeadersAllowed": "Host"}, {"RequestHeader": "Host", "Set": "x.y"}]),
    ] {
        let transforms = compiled(&list);
        for facts in [client("in.example:5001"), Facts { original_host: true, ..client("in.example:5001") }] {
            let out = sent(&transforms, request(FIRST, &LINES), &facts);
            let host = out.iter().find_map(|line| line.strip_prefix("host: ")).unwrap();
            assert_eq!(transforms.host(facts.host, facts.original_host).unwrap_or(facts.node_authority), host, "{list} {out:?}");
        }
    }
}
