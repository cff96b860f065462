//! Bodies and connections: what is sent is what arrives, both ways, and the next request finds the connection as it should be.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Mutex, mpsc};

use serde_json::json;

use super::{Web, to};
use crate::support::h1::{Client, origin};
use crate::support::ports;
use crate::support::upstream::{Server, pattern};

/// Larger than all buffers on the way.
const LARGE: usize = 28 << 20;

#[test]
fn a_large_body_goes_both_ways_unchanged() {
    let a = origin("A");
    let web = Web::to(&a);
    let mut client = web.client();
    client.send(format!("POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n"));
    client.send(pattern(LARGE));
    let up = client.answer().json();
    assert_eq!((&up["length"], &up["is_pattern"]), (&json!(LARGE), &json!(true)));
    let down = client.get(&format!("/bytes/{LARGE}"));
    assert!(down.body == pattern(LARGE), "{} bytes came back", down.body.len());
}

#[test]
fn chunked_bodies_go_both_ways_with_their_trailers() {
    let a = origin("A");
    let web = Web::to(&a);
    let mut client = web.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n");
    for chunk in pattern(100_000).chunks(777) {
        client.send(format!("{:x}\r\n", chunk.len()));
        client.send(chunk);
        client.send("\r\n");
    }
    client.send("0\r\nx-sum: 5\r\n\r\n");
    let up = client.answer().json();
    assert_eq!((&up["length"], &up["is_pattern"]), (&json!(100_000), &json!(true)));
    assert_eq!(up["trailers"], json!([["x-sum", "5"]]), "{up}");
    let down = client.ask("GET", "/chunked/50000", &["TE: trailers"]);
    assert!(down.body == pattern(50_000));
    assert_eq!(down.trailers, [("x-sum".to_owned(), "7".to_owned())]);
    assert_eq!(client.get("/status/200").status(), 200);
}

#[test]
fn requests_in_a_row_are_answered_in_their_order_on_few_connections() {
    let a = origin("A");
    let web = Web::to(&a);
    let mut client = web.client();
    let row: Vec<String> = (0..50).map(|n| format!("GET /n/{n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    client.send(row.concat());
    for n in 0..50 {
        assert_eq!(client.answer().json()["target"], format!("/n/{n}"));
    }
    assert_eq!(a.connections(), 1, "one after the other, on one connection to the node");
}

#[test]
fn answers_without_a_body_leave_the_connection_usable() {
    let a = origin("A");
    let web = Web::to(&a);
    let mut client = web.client();
    let head = client.ask("HEAD", "/anything", &[]);
    assert!(head.header("content-length").is_some_and(|length| length != "0"), "{head:?}");
    for status in [204, 304, 200] {
        assert_eq!(client.get(&format!("/status/{status}")).status(), status);
    }
    assert_eq!(client.get("/status/204").header("content-length"), None);
    assert_eq!(client.get("/last").json()["target"], "/last");
}

#[test]
fn the_node_is_asked_whether_it_wants_the_body_where_the_client_asks() {
    let a = origin("A");
    let web = Web::to(&a);
    let mut client = web.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    assert_eq!(client.answer().status(), 100);
    client.send("body");
    assert_eq!(client.answer().json()["text"], "body");

    let mut client = web.client();
    client.send("POST /refuse HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    assert_eq!(client.answer().status(), 417, "and no 100 before it");
}

#[test]
fn a_client_of_http_1_0_gets_an_answer_that_it_understands() {
    let a = origin("A");
    let web = Web::to(&a);
    let mut client = web.client();
    client.send("GET /chunked/5000 HTTP/1.0\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.status(), answer.header("transfer-encoding")), (200, None));
    assert!(answer.body == pattern(5000));
    assert!(client.rest().is_empty(), "the connection has ended");
    let mut client = web.client();
    client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(client.answer().status(), 200);
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.answer().status(), 200);
}

#[test]
fn an_answer_that_ends_with_its_connection_is_whole() {
    let a = origin("A");
    let web = Web::to(&a);
    let mut client = web.client();
    assert_eq!(client.get("/close").body, b"to the end");
    assert_eq!(client.get("/n").json()["target"], "/n");
}

/// A node that answers the first request on each connection, and closes it when the second one has come.
fn closes_at_the_second() -> Server {
    Server::start(ports::free_addr(), |stream, _| {
        let mut requests = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok).filter(String::is_empty);
        if requests.next().is_some() && (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx").is_ok() {
            requests.next();
        }
    })
}

#[test]
fn a_connection_that_the_node_closes_under_a_request_costs_no_answer() {
    let a = closes_at_the_second();
    let web = Web::to(&a);
    let mut client = web.client();
    for n in 1..=20 {
        assert_eq!(client.ask("GET", "/", &[]).status(), 200);
        assert_eq!(a.connections(), n, "each but the first one met a connection that was closed");
    }
    // what may mean another thing the second time is left to the client
    assert_eq!(client.ask("POST", "/", &["Content-Length: 0"]).status(), 502);
    assert_eq!(client.ask("POST", "/", &["Content-Length: 0"]).status(), 200);
    assert_eq!(a.connections(), 21);
}

#[test]
fn connections_to_a_node_are_kept_as_the_upstream_says() {
    let a = origin("A");
    let web = Web::start();
    let mut upstream = to(&[&a]);
    upstream["keepalive_pool"] = json!({"requests": 2});
    web.route("r", &json!({ "upstream": upstream }));
    let mut client = web.client();
    for _ in 0..6 {
        client.get("/");
    }
    assert_eq!(a.connections(), 3, "two requests each");

    let b = origin("B");
    let mut upstream = to(&[&b]);
    upstream["keepalive_pool"] = json!({"idle_timeout": 0.2});
    web.route("r", &json!({ "upstream": upstream }));
    assert_eq!(client.get("/").json()["up"], "B");
    let port = b.addr.port();
    crate::support::soon("the idle connection is closed", || connected_to(port) == 0);
    assert_eq!(client.get("/").json()["up"], "B");
    assert_eq!(b.connections(), 2);
}

/// Connections to a local port that are open.
fn connected_to(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let remote = format!(":{port:04X}");
    table
        .lines()
        .filter(|line| {
            line.split_whitespace().nth(2).is_some_and(|to| to.ends_with(&remote)) && line.split_whitespace().nth(3) == Some("01")
        })
        .count()
}

#[test]
fn a_client_that_goes_away_takes_its_request_with_it() {
    let a = origin("A");
    let web = Web::to(&a);
    let port = a.addr.port();
    let mut client: Client = web.client();
    client.send("GET /sleep/20000 HTTP/1.1\r\nHost: a\r\n\r\n");
    crate::support::soon("the node is asked", || connected_to(port) == 1);
    drop(client);
    crate::support::soon("the node's connection is closed", || connected_to(port) == 0);
}

/// Events of a server (the `EventSource` of the HTML standard): each arrives when it is sent, not when the answer ends.
#[test]
fn events_arrive_one_by_one() {
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let (ask, asked) = mpsc::channel::<usize>();
        let asked = Mutex::new(asked);
        let node = Server::start(ports::free_addr(), move |mut stream, _| {
            let mut buffer = [0; 4096];
            if !matches!(stream.read(&mut buffer), Ok(1..)) {
                return;
            }
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            // an event goes out only once the one before has arrived
            while let Ok(number) = asked.lock().unwrap().recv() {
                let event = format!("data: {number}\n\n");
                write!(stream, "{:x}\r\n{event}\r\n", event.len()).unwrap();
            }
        });
        let web = Web::to(&node);
        let mut command = Command::new("curl");
        let url = format!("http://{}/events", web.at);
        let mut curl = command.args(["-sSN", "--max-time", "60", version, &url]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(curl.stdout.take().unwrap()).lines();
        for number in 0..20 {
            ask.send(number).unwrap();
            assert_eq!(lines.next().unwrap().unwrap(), format!("data: {number}"), "{version}");
            assert_eq!(lines.next().unwrap().unwrap(), "");
        }
        curl.kill().unwrap();
        curl.wait().unwrap();
    }
}

#[test]
fn a_client_may_send_the_rest_of_its_request_after_an_early_answer() {
    let a = origin("A");
    let web = Web::to(&a);
    for path in ["/refuse", "/nowhere"] {
        if path == "/nowhere" {
            web.route("r", &json!({"match": {"paths": ["/refuse"]}, "upstream": to(&[&a])}));
        }
        let mut client = web.client();
        client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\nbegin"));
        assert!((400..500).contains(&client.answer().status()), "{path}");
        assert!(client.rest().is_empty(), "{path}: its end is told");
        // a reset would fail one of these
        for _ in 0..20 {
            client.send([b'x'; 10_000]);
            std::thread::yield_now();
        }
        assert_eq!(client.stream.take_error().unwrap().map(|e| e.kind()), None, "{path}");
    }
}

#[test]
fn a_node_that_never_asks_for_a_body_gets_it_all_the_same() {
    let a = origin("A");
    let web = Web::to(&a);
    let mut client = web.client();
    for expected in ["100-continue", "something"] {
        client.send(format!("POST /never-asks HTTP/1.1\r\nHost: a\r\nExpect: {expected}\r\nContent-Length: 4\r\n\r\nbody"));
        let mut answer = client.answer();
        if answer.status() == 100 {
            answer = client.answer();
        }
        assert_eq!(answer.json()["text"], "body", "{expected}");
    }
    let mut client = web.client();
    client.send("POST /never-asks HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(client.answer().json()["text"], "body");
}

#[test]
fn a_body_that_is_none_is_refused_with_its_reason() {
    let a = origin("A");
    let web = Web::to(&a);
    let mut client = web.client();
    client.send("POST /fault HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nno size\r\n");
    let answer = client.answer();
    assert_eq!((answer.status(), answer.header("connection")), (400, Some("close")));
    crate::support::soon("its reason", || web.gateway.access_log().iter().any(|l| l["path"] == "/fault" && l["reason"] == "bad_request"));
}
