//! What is too large: bodies beyond `max_body_size`, heads and targets beyond what a gateway reads.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{Web, curl, to};
use crate::support::h1::{Client, origin};
use crate::support::upstream::{self as servers, pattern};
use crate::support::{ports, soon};

/// Speaks HTTP/2 from the first byte.
const H2: &str = "--http2-prior-knowledge";

/// A file to upload.
fn upload(bytes: usize) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(bytes as u64).unwrap();
    file
}

impl Web {
    /// An address where HTTP/1.1 and HTTP/2 are spoken.
    fn either(&self) -> SocketAddr {
        let at = ports::free_addr();
        let versions = json!({"versions": ["h1", "h2"]});
        self.gateway.put_live("listeners", "either", &json!({"protocol": "http", "addr": at.to_string(), "http": versions}));
        at
    }

    /// Waits for the line of a request that was answered like this.
    fn told(&self, path: &str, status: u16, reason: &str) -> Value {
        let mut found = Value::Null;
        soon(&format!("the line of {path}"), || {
            let line = |line: &Value| line["path"] == path && line["status"] == status && line["reason"] == reason;
            found = self.gateway.access_log().into_iter().rfind(line).unwrap_or_default();
            !found.is_null()
        });
        found
    }
}

fn chunked(client: &mut Client, path: &str, bytes: usize) {
    client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"));
    for chunk in pattern(bytes).chunks(100) {
        client.send(format!("{:x}\r\n", chunk.len()));
        client.send(chunk);
        client.send("\r\n");
    }
}

#[test]
fn a_body_that_says_it_is_too_long_is_refused_before_a_node_is_asked() {
    let a = origin("A");
    let web = Web::start();
    web.route("r", &json!({"upstream": to(&[&a]), "max_body_size": 1000}));
    let mut client = web.client();
    client.send(format!("POST /fits HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{}", "x".repeat(1000)));
    assert_eq!(client.answer().json()["length"], 1000);
    let asked = a.connections();
    for (path, more) in [("/long", ""), ("/waits", "Expect: 100-continue\r\n")] {
        let mut client = web.client();
        client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n{more}\r\n"));
        let answer = client.answer();
        assert_eq!((answer.status(), answer.header("connection"), answer.body.len()), (413, Some("close"), 0), "{path}");
        assert!(client.rest().is_empty());
        assert_eq!(web.told(path, 413, "body_too_large")["endpoint"], Value::Null);
    }
    assert_eq!(a.connections(), asked);
    assert_eq!(web.get("/after").status(), 200);
    assert_eq!(web.gateway.count("sluice_http_requests_total", &[("route", "r"), ("code_class", "4xx")]), 2);
}

#[test]
fn a_body_of_unknown_length_is_cut_where_it_is_too_long() {
    let a = origin("A");
    let web = Web::start();
    web.route("r", &json!({"upstream": to(&[&a]), "max_body_size": 1000}));
    let mut client = web.client();
    chunked(&mut client, "/fits", 1000);
    client.send("0\r\n\r\n");
    assert_eq!(client.answer().json()["length"], 1000);
    chunked(&mut client, "/long", 1100);
    let answer = client.answer();
    assert_eq!((answer.status(), answer.header("connection")), (413, Some("close")));
    assert!(client.rest().is_empty());
    let line = web.told("/long", 413, "body_too_large");
    assert_eq!((&line["endpoint"], &line["rx_bytes"]), (&json!(a.node()), &json!(1000)));
    assert_eq!(web.get("/after").status(), 200);
}

#[test]
fn a_route_has_its_own_bound_or_that_of_the_settings() {
    let a = origin("A");
    let web = Web::start();
    web.gateway.put_live("settings", "global", &json!({"max_body_size": 10}));
    for (id, own) in [("none", Value::Null), ("more", json!(20)), ("any", json!(0))] {
        let mut route = json!({"match": {"paths": [format!("/{id}")]}, "upstream": to(&[&a])});
        if !own.is_null() {
            route["max_body_size"] = own;
        }
        web.route(id, &route);
    }
    let sent = |path: &str, bytes: usize| web.curl(path, &["-d", &"x".repeat(bytes)]).status;
    assert_eq!([sent("/none", 10), sent("/none", 11)], [200, 413]);
    assert_eq!([sent("/more", 20), sent("/more", 21)], [200, 413]);
    assert_eq!(sent("/any", 100_000), 200);
    let two = format!("http://{}/more", web.either());
    for (bytes, status) in [(20, 200), (21, 413)] {
        assert_eq!(curl(&two, &[H2, "-d", &"x".repeat(bytes)]).status, status, "of HTTP/2");
    }
    web.gateway.put_live("settings", "global", &json!({}));
    assert_eq!(sent("/none", 100_000), 200);
}

/// Whoever sends a hundred megabytes reads the answer all the same: the connection is not reset under it.
#[test]
fn a_large_upload_gets_to_see_its_413() {
    let a = origin("A");
    let web = Web::start();
    web.route("r", &json!({"upstream": to(&[&a])}));
    let url = |path: &str, at: SocketAddr| format!("http://{at}{path}");
    let (file, at) = (upload(100_000_000), web.either());
    let body = format!("@{}", file.path().display());
    let lengths: [&[&str]; 2] = [&[], &["-H", "Transfer-Encoding: chunked"]];
    for (n, more) in lengths.into_iter().enumerate() {
        let args = [&["-H", "Expect:", "--data-binary", &body], more].concat();
        assert_eq!(curl(&url(&format!("/h1-{n}"), at), &args).status, 413, "{args:?}");
        web.told(&format!("/h1-{n}"), 413, "body_too_large");
    }
    assert_eq!(curl(&url("/after", at), &[]).status, 200);
}

#[test]
fn a_body_that_is_cut_on_its_way_to_a_node_of_http_2_is_told_as_what_it_is() {
    let a = origin("A");
    let web = Web::start();
    // the node of the outer route is the gateway itself
    let at = web.either();
    let node = json!({"nodes": {at.to_string(): 1}, "scheme": "h2c"});
    let outer = json!({"match": {"paths": ["/outer*"]}, "upstream": node, "max_body_size": 1000, "transforms": [{"PathSet": "/inner"}]});
    web.route("outer", &outer);
    web.route("inner", &json!({"match": {"paths": ["/inner"]}, "upstream": to(&[&a])}));
    let mut client = Client::connect(at);
    chunked(&mut client, "/outer/fits", 1000);
    client.send("0\r\n\r\n");
    assert_eq!(client.answer().json()["length"], 1000);
    chunked(&mut client, "/outer/long", 1100);
    assert_eq!(client.answer().status(), 413);
    web.told("/outer/long", 413, "body_too_large");
    assert_eq!(Client::connect(at).get("/outer/after").status(), 200);
}

/// The node answers at once and goes on reading; the client finds its answer broken off where its body is too long.
#[test]
fn an_answer_that_had_begun_breaks_off_with_a_body_that_is_too_long() {
    let eager = servers::Server::start(ports::free_addr(), |mut stream, _| {
        use std::io::{Read, Write};
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
        let mut sink = [0; 4096];
        while matches!(stream.read(&mut sink), Ok(n) if n > 0) {}
    });
    let web = Web::start();
    web.route("r", &json!({"upstream": to(&[&eager]), "max_body_size": 1000}));
    let mut client = web.client();
    chunked(&mut client, "/eager", 100);
    soon("the answer has begun", || crate::support::client::pending(&client.stream));
    for _ in 0..20 {
        client.send(format!("64\r\n{}\r\n", "x".repeat(100)));
    }
    assert!(client.try_answer(false).is_err(), "it has no end");
    web.told("/eager", 200, "body_too_large");
}

#[test]
fn heads_and_targets_have_bounds_in_both_versions() {
    let a = origin("A");
    let web = Web::to(&a);
    let at = web.either();
    let long = "x".repeat(9000);
    // curl itself sends no larger head of HTTP/2 than 60,000 bytes, but each line counts with 32 more
    let lines: Vec<String> = (0..1500).flat_map(|n| ["-H".to_owned(), format!("x-{n:04}: {n:08}")]).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    for version in ["--http1.1", H2] {
        assert_eq!(curl(&format!("http://{at}/{long}"), &[version]).status, 414, "{version}");
        assert_eq!(curl(&format!("http://{at}/"), &[&[version][..], &lines].concat()).status, 431, "{version}");
        assert_eq!(curl(&format!("http://{at}/"), &[version]).status, 200);
    }
    web.told(&format!("/{long}"), 414, "bad_request");
}

/// A client of HTTP/2 that still sends sees the answer, whatever it is: the rest of its request is read.
#[test]
fn an_early_answer_of_http_2_is_no_error_to_curl() {
    let a = origin("A");
    let web = Web::start();
    web.route("r", &json!({"match": {"paths": ["/one"]}, "upstream": to(&[&a]), "max_body_size": 10}));
    web.route("node", &json!({"match": {"paths": ["/refuse"]}, "upstream": to(&[&a])}));
    let (file, at) = (upload(3_000_000), web.either());
    let body = format!("@{}", file.path().display());
    for (path, status) in [("/one", 413), ("/none", 404), ("/refuse", 417)] {
        for data in ["x".repeat(21), body.clone()] {
            let seen = curl(&format!("http://{at}{path}"), &[H2, "--data-binary", &data]);
            assert_eq!(seen.status, status, "{path}");
        }
    }
}
