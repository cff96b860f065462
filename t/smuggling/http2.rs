//! Requests of HTTP/2 that would be two, or others, as HTTP/1.1: what a node may see is said beside each, and nothing else may arrive.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;

use super::nodes::Node;
use crate::support::conf::Conf;
use crate::support::gateway::Gateway;
use crate::support::h2::{DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS, frame, frames, literals};
use crate::support::{client, poll, ports};

type Fields<'a> = Vec<(&'a [u8], &'a [u8])>;

struct Case {
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    body: Option<&'static [u8]>,
    /// `method target body` as the node sees it; `None`: nothing.
    may: Option<String>,
    /// What the node may have seen before the fault was: a head that asked for no body.
    early: Option<String>,
}

const HIDDEN: &[u8] = b"x\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";

/// The fields of a request, of which some are replaced, removed or added.
fn head<'a>(method: &'a str, path: &'a str, more: &[(&'a [u8], &'a [u8])]) -> Fields<'a> {
    let first: Fields<'a> =
        vec![(b":method", method.as_bytes()), (b":scheme", b"http"), (b":path", path.as_bytes()), (b":authority", b"a")];
    first.into_iter().chain(more.iter().copied()).collect()
}

fn case(fields: Fields<'_>, body: Option<&'static [u8]>, may: Option<&str>) -> Case {
    let fields = fields.into_iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    Case { fields, body, may: may.map(ToOwned::to_owned), early: None }
}

/// Every case; its number is in its path where it has one.
#[expect(clippy::too_many_lines, reason = "a table")]
fn cases() -> Vec<Case> {
    let mut all = vec![
        case(head("GET", "/0", &[]), None, Some("GET /0 ")),
        case(head("POST", "/1", &[(b"content-length", b"5")]), Some(b"hello"), Some("POST /1 hello")),
        case(head("POST", "/2", &[]), Some(b"hello"), Some("POST /2 hello")),
        // a body that is not as long as it says
        case(head("POST", "/3", &[(b"content-length", b"4")]), Some(b"hello"), None),
        case(head("POST", "/4", &[(b"content-length", b"6")]), Some(b"hello"), None),
        Case { early: Some("POST /5 ".to_owned()), ..case(head("POST", "/5", &[(b"content-length", b"0")]), Some(HIDDEN), None) },
        case(head("GET", "/6", &[(b"content-length", b"5")]), None, None),
    ];
    let bad_lengths: [&[u8]; 8] = [b"+5", b"-5", b"0x5", b"5,5", b"5 5", b"5\0", b"", b"99999999999999999999"];
    for value in bad_lengths {
        all.push(case(head("POST", "/N", &[(b"content-length", value)]), Some(b"hello"), None));
    }
    all.push(case(head("POST", "/N", &[(b"content-length", b"5"), (b"content-length", b"5")]), Some(b"hello"), None));
    // fields of the connection (RFC 9113, 8.2.2)
    let of_connections: [(&[u8], &[u8]); 9] = [
        (b"transfer-encoding", b"chunked"),
        (b"transfer-encoding", b"identity"),
        (b"Transfer-Encoding", b"chunked"),
        (b"transfer-encoding ", b"chunked"),
        (b"connection", b"close"),
        (b"connection", b"keep-alive, content-length"),
        (b"upgrade", b"h2c"),
        (b"keep-alive", b"timeout=5"),
        (b"proxy-connection", b"close"),
    ];
    for field in of_connections {
        all.push(case(head("POST", "/N", &[field]), Some(b"0\r\n\r\n"), None));
    }
    all.push(case(head("GET", "/N", &[(b"te", b"gzip")]), None, None));
    all.push(case(head("GET", "/N", &[(b"te", b"trailers")]), None, Some("GET /N ")));
    // bytes that end a line or a field in HTTP/1.1 (8.2.1)
    let values: [&[u8]; 8] =
        [HIDDEN, b"x\ntransfer-encoding: chunked", b"x\rcontent-length: 0", b"x\0y", b"\r\n", b"x\r\n\r\n", b"\nx", b"a\x7fb"];
    for value in values {
        all.push(case(head("GET", "/N", &[(b"x-a", value)]), None, None));
    }
    let names: [&[u8]; 13] = [
        b"x: y\r\nz",
        b"x\r\n\r\nGET /hidden HTTP/1.1\r\nhost: a\r\n\r\n",
        b"x\ny",
        b"x\0",
        b"x y",
        b"x:",
        b":x",
        b"",
        b"X-Upper",
        b"content-length\x0b",
        b"host:",
        b"x\xff",
        b"content-length:0\r\nx",
    ];
    for name in names {
        all.push(case(head("POST", "/N", &[(name, b"1")]), Some(b"hello"), None));
    }
    // the target
    let targets: [&[u8]; 14] = [
        b"/N HTTP/1.1\r\nHost: a\r\n\r\nGET /hidden",
        b"/N\r\nx: y",
        b"/N\nx",
        b"/N x",
        b"/N\tx",
        b"/N\0",
        b"N",
        b"",
        b"*",
        b"http://b/N",
        b"//b\r\n/N",
        b"/N\x7f",
        b" /N",
        b"/N\xff",
    ];
    for target in targets {
        let fields = vec![(&b":method"[..], &b"GET"[..]), (b":scheme", b"http"), (b":path", target), (b":authority", b"a")];
        all.push(case(fields, None, None));
    }
    // the method
    let methods: [&[u8]; 8] =
        [b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\nGET", b"GET ", b" GET", b"G\nT", b"G\0T", b"", b"GET\r\n", b"CONNECT"];
    for method in methods {
        let fields = vec![(&b":method"[..], method), (b":scheme", b"http"), (b":path", b"/N"), (b":authority", b"a")];
        all.push(case(fields, None, None));
    }
    // the host
    let hosts: [&[u8]; 12] = [b"a\r\nx: y", b"a b", b"a/b", b"u@a", b"a:port", b"a:80:90", b"", b"a\0", b"a\xff", b"a?b", b"a#b", b"a,b"];
    for host in hosts {
        let fields = vec![(&b":method"[..], &b"GET"[..]), (b":scheme", b"http"), (b":path", b"/N"), (b":authority", host)];
        all.push(case(fields, None, None));
    }
    all.push(case(head("GET", "/N", &[(b"host", b"b")]), None, None));
    all.push(case(head("GET", "/N", &[(b"host", b"a"), (b"host", b"a")]), None, None));
    all.push(case(head("GET", "/N", &[(b"host", b"a")]), None, Some("GET /N ")));
    // pseudo-fields: each once, all before the others, and no unknown one (8.3)
    for again in [&b":method"[..], b":path", b":authority", b":scheme"] {
        let value: &[u8] = if again == b":path" { b"/hidden" } else { b"b" };
        let mut fields = head("GET", "/N", &[]);
        fields.push((again, value));
        all.push(case(fields, None, None));
    }
    for missing in [&b":method"[..], b":path", b":scheme"] {
        let mut fields = head("GET", "/N", &[]);
        fields.retain(|(name, _)| *name != missing);
        all.push(case(fields, None, None));
    }
    all.push(case(vec![(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/N")], None, None));
    all.push(case(vec![(b":method", b"GET"), (b"x", b"y"), (b":scheme", b"http"), (b":path", b"/N"), (b":authority", b"a")], None, None));
    all.push(case(head("GET", "/N", &[(b":status", b"200")]), None, None));
    all.push(case(head("GET", "/N", &[(b":protocol", b"websocket")]), None, None));
    all.push(case(head("GET", "/N", &[(b":unknown", b"x")]), None, None));
    // a target as long as none may be, and a head as large as none may be
    let long = format!("/N{}", "x".repeat(9000));
    all.push(case(head("GET", &long, &[]), None, None));
    let large = "v".repeat(70_000);
    all.push(case(head("GET", "/N", &[(b"x", large.as_bytes())]), None, None));
    // expectations and upgrades stay with the client's connection
    all.push(case(head("POST", "/N", &[(b"expect", b"100-continue")]), Some(b"hello"), Some("POST /N hello")));
    all.push(case(head("GET", "/N", &[(b"http2-settings", b"AAMAAABkAAQAAP__")]), None, Some("GET /N ")));
    for (number, case) in all.iter_mut().enumerate() {
        for (_, value) in &mut case.fields {
            if let Some(at) = value.windows(2).position(|two| two == b"/N") {
                value.splice(at + 1..at + 2, number.to_string().into_bytes());
            }
        }
        case.may = case.may.take().map(|may| may.replace("/N", &format!("/{number}")));
    }
    all
}

/// What the gateway said of the case's stream.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// An answer.
    Answer,
    /// The stream or the connection was ended.
    Reset,
}

fn converse(to: SocketAddr, case: &Case) -> Said {
    let fields: Vec<(&[u8], &[u8])> = case.fields.iter().map(|(name, value)| (&name[..], &value[..])).collect();
    let block = literals(&fields);
    let mut bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    let (first, rest) = block.split_at(block.len().min(16_384));
    let end = if case.body.is_none() { END_STREAM } else { 0 };
    bytes.extend(frame(HEADERS, end | if rest.is_empty() { END_HEADERS } else { 0 }, 1, first));
    for (at, part) in rest.chunks(16_384).enumerate() {
        let last = (at + 1) * 16_384 >= rest.len();
        bytes.extend(frame(crate::support::h2::CONTINUATION, if last { END_HEADERS } else { 0 }, 1, part));
    }
    if let Some(body) = case.body {
        bytes.extend(frame(DATA, END_STREAM, 1, body));
    }
    let mut stream = client::connect(to);
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // the gateway may close before all is sent
    let _ = stream.write_all(&bytes);
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut buffer).unwrap_or(0);
        all.extend_from_slice(&buffer[..read]);
        for frame in frames(&all) {
            match frame.kind {
                HEADERS if frame.stream == 1 => return Said::Answer,
                RST_STREAM | GOAWAY => return Said::Reset,
                _ => {}
            }
        }
        if read == 0 {
            return Said::Reset;
        }
    }
}

#[test]
fn no_request_of_http_2_becomes_another_on_its_way_to_a_node() {
    let cases = cases();
    assert!(cases.len() >= 100, "{}", cases.len());
    let gateway = Gateway::start(Conf::new());
    let listener = ports::free_addr();
    gateway.admin().must_put("listeners", "web", &json!({"protocol": "http", "addr": listener.to_string()}));
    let dir = tempfile::tempdir().unwrap();
    let last = case(head("GET", "/last", &[]), None, None);
    for node in [Node::hyper(), Node::nginx(dir.path()), Node::python(dir.path())] {
        gateway.put_live("routes", "r", &json!({"upstream": {"type": "roundrobin", "nodes": {node.addr.to_string(): 1}}}));
        let last_seen = || node.seen().iter().any(|seen| seen.contains("/last"));
        poll::soon("the route leads to the node", || converse(listener, &last) == Said::Answer && last_seen());
        for case in &cases {
            let said = converse(listener, case);
            assert!(case.may.is_none() || said == Said::Answer, "{}: {:?}", node.name, case.may);
        }
        let expected: Vec<String> = cases.iter().filter_map(|case| case.may.clone()).collect();
        let early = |seen: &String| cases.iter().any(|case| case.early.as_ref() == Some(seen));
        let told = || node.seen().into_iter().map(|seen| seen.replace("http://a/", "/"));
        let seen = || told().filter(|seen| !seen.contains("/last") && !early(seen)).collect::<Vec<_>>();
        poll::soon("the node has told of all that it may see", || seen().len() >= expected.len());
        let mut all = seen();
        all.sort_by_key(|seen| super::number(seen));
        assert_eq!(all, expected, "{}", node.name);
    }
}
