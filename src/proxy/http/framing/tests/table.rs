//! The table: bytes of a client, and what is said of them.

use super::super::{LARGEST_HEAD, LONGEST_TARGET, MOST_LINES};
use super::*;

/// How many heads are fine, and what then comes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    Goes(Place),
    Head(Fault),
    Body(Fault),
}

use Then::{Body, Goes, Head};

const TABLE: &[(&str, usize, Then)] = &[
    // what is fine
    ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1, Goes(Place::Idle)),
    ("GET / HTTP/1.1\r\nHost:a\r\n\r\n", 1, Goes(Place::Idle)),
    ("GET / HTTP/1.1\r\nhOST: \t a \t\r\n\r\n", 1, Goes(Place::Idle)),
    ("GET / HTTP/1.1\r\nHost: a:8080\r\nX: \r\nY:\r\n\r\n", 1, Goes(Place::Idle)),
    ("GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", 1, Goes(Place::Idle)),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: \u{e9}\r\n\r\n", 1, Goes(Place::Idle)),
    ("GET / HTTP/1.0\r\n\r\n", 1, Goes(Place::Idle)),
    ("GET /?a=b&c={d}|\"e\" HTTP/1.1\r\nHost: a\r\n\r\n", 1, Goes(Place::Idle)),
    ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 1, Goes(Place::Idle)),
    ("GET http://a/b HTTP/1.1\r\nHost: A\r\n\r\n", 1, Goes(Place::Idle)),
    ("GET HTTP://a:1?b HTTP/1.1\r\nHost: a:1\r\n\r\n", 1, Goes(Place::Idle)),
    ("GET http://a HTTP/1.0\r\n\r\n", 1, Goes(Place::Idle)),
    ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 1, Goes(Place::Idle)),
    ("M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n", 1, Goes(Place::Idle)),
    ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 1, Goes(Place::Idle)),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 1, Goes(Place::Idle)),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 003\r\n\r\nabc", 1, Goes(Place::Idle)),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 2, Goes(Place::Idle)),
    ("POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.0\r\n\r\n", 2, Goes(Place::Idle)),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 1, Goes(Place::Idle)),
    ("POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding:\tChunKed \r\n\r\n0a\r\n0123456789\r\n00\r\n\r\n", 1, Goes(Place::Idle)),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;a;b=c;d=\"\\\"; \r\"\r\nx\r\n0\r\n\r\n",
        1,
        Body(Fault::ChunkExtension),
    ),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;a;b=c;d=\"\\\"; \"\r\nx\r\n0;e\r\n\r\n", 1, Goes(Place::Idle)),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\nZ: \r\n\r\nGET / HTTP/1.0\r\n\r\n",
        2,
        Goes(Place::Idle),
    ),
    ("GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade, X-Mine\r\n\r\n", 1, Goes(Place::Idle)),
    // where it is
    ("", 0, Goes(Place::Idle)),
    ("\r\n", 0, Goes(Place::Head)),
    ("G", 0, Goes(Place::Head)),
    ("GET / HTTP/1.1\r\n", 0, Goes(Place::Head)),
    ("GET / HTTP/1.1\r\nHost: a\r\n\r", 0, Goes(Place::Head)),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab", 1, Goes(Place::Body)),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", 1, Goes(Place::Body)),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r", 1, Goes(Place::Body)),
    // line ends and control bytes
    ("GET / HTTP/1.1\nHost: a\r\n\r\n", 0, Head(Fault::LineEnd)),
    ("GET / HTTP/1.1\r\nHost: a\n\r\n", 0, Head(Fault::LineEnd)),
    ("GET / HTTP/1.1\r\nHost: a\r\n\n", 0, Head(Fault::LineEnd)),
    ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 0, Head(Fault::LineEnd)),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 0, Head(Fault::ControlByte)),
    ("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 0, Head(Fault::ControlByte)),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 0, Head(Fault::ControlByte)),
    ("GET / HTTP/1.1\r\nHost: a\r\nX\0: a\r\n\r\n", 0, Head(Fault::ControlByte)),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n", 0, Head(Fault::ControlByte)),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: \x0b\r\n\r\n", 0, Head(Fault::ControlByte)),
    ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 0, Head(Fault::ControlByte)),
    ("GET / HTTP/1.1\r\nHost: a\r\n \r\n", 0, Head(Fault::Folded)),
    // request lines
    ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 0, Head(Fault::RequestLine)),
    ("GET /\r\n", 0, Head(Fault::RequestLine)),
    ("GET\r\n\r\n", 0, Head(Fault::RequestLine)),
    ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 0, Head(Fault::RequestLine)),
    ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 0, Head(Fault::RequestLine)),
    ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 0, Head(Fault::RequestLine)),
    (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0, Head(Fault::Method)),
    ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 0, Head(Fault::Method)),
    ("GE(T / HTTP/1.1\r\nHost: a\r\n\r\n", 0, Head(Fault::Method)),
    ("GET:/ / HTTP/1.1\r\nHost: a\r\n\r\n", 0, Head(Fault::Method)),
    ("GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n", 0, Head(Fault::Target)),
    ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 0, Head(Fault::RequestLine)),
    ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 0, Head(Fault::Target)),
    ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", 0, Head(Fault::Target)),
    ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", 0, Head(Fault::Target)),
    ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 0, Head(Fault::Target)),
    ("GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", 0, Head(Fault::Target)),
    ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 0, Head(Fault::Target)),
    ("GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n", 0, Head(Fault::Target)),
    ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 0, Head(Fault::Target)),
    ("CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n", 0, Head(Fault::Target)),
    ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", 0, Head(Fault::Version)),
    ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", 0, Head(Fault::Version)),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0, Head(Fault::Version)),
    ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 0, Head(Fault::Version)),
    ("GET / HTTP/1.10\r\nHost: a\r\n\r\n", 0, Head(Fault::RequestLine)),
    ("GET / http/1.1\r\nHost: a\r\n\r\n", 0, Head(Fault::RequestLine)),
    ("GET / HTTP/1,1\r\nHost: a\r\n\r\n", 0, Head(Fault::RequestLine)),
    ("GET / HTTP/+1.1\r\nHost: a\r\n\r\n", 0, Head(Fault::RequestLine)),
    // field lines
    ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 0, Head(Fault::Folded)),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 0, Head(Fault::Folded)),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n", 0, Head(Fault::Folded)),
    ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 0, Head(Fault::FieldName)),
    ("GET / HTTP/1.1\r\nHost\t: a\r\n\r\n", 0, Head(Fault::FieldName)),
    ("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 0, Head(Fault::FieldName)),
    ("GET / HTTP/1.1\r\nHost: a\r\nb\r\n\r\n", 0, Head(Fault::FieldName)),
    ("GET / HTTP/1.1\r\nHost: a\r\nX[]: b\r\n\r\n", 0, Head(Fault::FieldName)),
    ("GET / HTTP/1.1\r\nHost: a\r\nX\u{e9}: b\r\n\r\n", 0, Head(Fault::FieldName)),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent_Length: 3\r\n\r\n", 0, Head(Fault::FieldName)),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\n\r\n", 0, Head(Fault::FieldName)),
    ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close, Content-Length\r\n\r\n", 0, Head(Fault::ConnectionNames)),
    ("GET / HTTP/1.1\r\nHost: a\r\nConnection: host\r\n\r\n", 0, Head(Fault::ConnectionNames)),
    // hosts
    ("GET / HTTP/1.1\r\n\r\n", 0, Head(Fault::Host)),
    ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 0, Head(Fault::Host)),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 0, Head(Fault::Host)),
    ("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 0, Head(Fault::Host)),
    ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 0, Head(Fault::Host)),
    ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 0, Head(Fault::Host)),
    ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 0, Head(Fault::Host)),
    ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 0, Head(Fault::Host)),
    ("GET / HTTP/1.1\r\nHost: a:x\r\n\r\n", 0, Head(Fault::Host)),
    ("GET / HTTP/1.1\r\nHost: a:\r\n\r\n", 0, Head(Fault::Host)),
    ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 0, Head(Fault::Host)),
    ("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", 0, Head(Fault::Authority)),
    ("GET http://a/ HTTP/1.1\r\nHost: a:80\r\n\r\n", 0, Head(Fault::Authority)),
    ("GET http://a/ HTTP/1.1\r\n\r\n", 0, Head(Fault::Host)),
    // lengths
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 0, Head(Fault::ContentLengthRepeated)),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 0, Head(Fault::ContentLengthRepeated)),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc", 0, Head(Fault::ContentLength)),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", 0, Head(Fault::ContentLength)),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -3\r\n\r\nabc", 0, Head(Fault::ContentLength)),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc", 0, Head(Fault::ContentLength)),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3 3\r\n\r\nabc", 0, Head(Fault::ContentLength)),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nabc", 0, Head(Fault::ContentLength)),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551619\r\n\r\nabc", 0, Head(Fault::ContentLength)),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \u{663}\r\n\r\nabc", 0, Head(Fault::ContentLength)),
    // encodings
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, Head(Fault::LengthAndEncoding)),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 0, Head(Fault::LengthAndEncoding)),
    ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, Head(Fault::TransferEncodingIn10)),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        0,
        Head(Fault::TransferEncoding),
    ),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 0, Head(Fault::TransferEncoding)),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 0, Head(Fault::TransferEncoding)),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n", 0, Head(Fault::TransferEncoding)),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 0, Head(Fault::TransferEncoding)),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 0, Head(Fault::TransferEncodingUnknown)),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: , chunked\r\n\r\n0\r\n\r\n", 0, Head(Fault::TransferEncoding)),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 0, Head(Fault::TransferEncoding)),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 0, Head(Fault::TransferEncoding)),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", 0, Head(Fault::TransferEncoding)),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;a=b\r\n\r\n", 0, Head(Fault::TransferEncoding)),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\t: chunked\r\n\r\n", 0, Head(Fault::FieldName)),
    // after a fine one
    ("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 1, Head(Fault::RequestLine)),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcd / HTTP/1.1\r\n\r\n", 1, Head(Fault::Host)),
    ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n\x01\x02\x03\n", 1, Head(Fault::LineEnd)),
];

/// Bodies of chunks, with what is bad about them.
const CHUNKS: &[(&str, Fault)] = &[
    ("+1\r\nx\r\n0\r\n\r\n", Fault::ChunkSize),
    ("-1\r\nx\r\n0\r\n\r\n", Fault::ChunkSize),
    ("0x1\r\nx\r\n0\r\n\r\n", Fault::ChunkSize),
    (" 1\r\nx\r\n0\r\n\r\n", Fault::ChunkSize),
    ("1 \r\nx\r\n0\r\n\r\n", Fault::ChunkSize),
    ("1\t\r\nx\r\n0\r\n\r\n", Fault::ChunkSize),
    ("1 ;a\r\nx\r\n0\r\n\r\n", Fault::ChunkSize),
    ("1\nx\r\n0\r\n\r\n", Fault::ChunkSize),
    ("1\rx\r\n0\r\n\r\n", Fault::ChunkSize),
    ("\r\nx", Fault::ChunkSize),
    (";a\r\nx", Fault::ChunkSize),
    ("g\r\nx", Fault::ChunkSize),
    ("1.\r\nx", Fault::ChunkSize),
    ("1_0\r\nx", Fault::ChunkSize),
    ("0000000000000001\r\nx\r\n", Fault::ChunkSize),
    ("ffffffffffffffff\r\nx\r\n", Fault::ChunkSize),
    ("10000000000000001\r\nx\r\n", Fault::ChunkSize),
    ("\0\r\nx\r\n", Fault::ChunkSize),
    ("1;\r\nx\r\n", Fault::ChunkExtension),
    ("1; a\r\nx\r\n", Fault::ChunkExtension),
    ("1;a=\r\nx\r\n", Fault::ChunkExtension),
    ("1;a\nx\r\n", Fault::ChunkExtension),
    ("1;a=\"b\nx\r\n", Fault::ChunkExtension),
    ("1;a=\"b\"c\r\nx\r\n", Fault::ChunkExtension),
    ("1;a\0\r\nx\r\n", Fault::ChunkExtension),
    ("1;a\r\rx\r\n", Fault::ChunkSize),
    ("1\r\nxy\r\n", Fault::ChunkEnd),
    ("1\r\nx\n0\r\n\r\n", Fault::ChunkEnd),
    ("1\r\nx\r0\r\n\r\n", Fault::ChunkEnd),
    ("1\r\nx0\r\n\r\n", Fault::ChunkEnd),
    ("0\r\n\n", Fault::LineEnd),
    ("0\r\nX: y\n\r\n", Fault::LineEnd),
    ("0\r\n X: y\r\n\r\n", Fault::Folded),
    ("0\r\nX : y\r\n\r\n", Fault::FieldName),
    ("0\r\nX: \0\r\n\r\n", Fault::ControlByte),
    ("0\r\nContent-Length: 1\r\n\r\n", Fault::Trailer),
    ("0\r\nTransfer-Encoding: chunked\r\n\r\n", Fault::Trailer),
    ("0\r\nHost: a\r\n\r\n", Fault::Trailer),
    ("0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Fault::FieldName),
    ("0\n\r\n", Fault::ChunkSize),
];

fn check(bytes: &[u8], fine: usize, then: Then) {
    let (verdicts, place, fault) = match then {
        Goes(place) => (Vec::new(), place, None),
        Head(fault) => (vec![Err(fault)], Place::Broken, Some(fault)),
        Body(fault) => (Vec::new(), Place::Broken, Some(fault)),
    };
    let expected = ([vec![Ok(()); fine], verdicts].concat(), place, fault);
    let shown = String::from_utf8_lossy(bytes);
    assert_eq!(fed([bytes]), expected, "{shown:?}");
    assert_eq!(fed(bytes.chunks(1)), expected, "{shown:?} byte by byte");
    for at in 1..bytes.len() {
        let (one, two) = bytes.split_at(at);
        assert_eq!(fed([one, two]), expected, "{:?} and {:?}", String::from_utf8_lossy(one), String::from_utf8_lossy(two));
    }
}

#[test]
fn every_line_of_the_table_is_judged_the_same_in_every_cut() {
    for (bytes, fine, then) in TABLE {
        check(bytes.as_bytes(), *fine, *then);
    }
}

#[test]
fn bad_chunks_break_the_body_in_every_cut() {
    for (body, fault) in CHUNKS {
        let bytes = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        check(bytes.as_bytes(), 1, Body(*fault));
    }
}

#[test]
fn a_target_a_head_and_a_trailer_may_be_so_large_and_no_larger() {
    let judged = |bytes: String| {
        let whole = fed([bytes.as_bytes()]);
        for size in [1, 7, 1000] {
            assert_eq!(fed(bytes.as_bytes().chunks(size)), whole);
        }
        (whole.0.first().copied(), whole.2)
    };
    let target = |length: usize| judged(format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(length - 1)));
    assert_eq!(target(LONGEST_TARGET), (Some(Ok(())), None));
    assert_eq!(target(LONGEST_TARGET + 1).1, Some(Fault::TargetTooLong));
    assert_eq!(target(LONGEST_TARGET * 2).1, Some(Fault::TargetTooLong));
    assert_eq!(judged(format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "A".repeat(LARGEST_HEAD))).1, Some(Fault::TargetTooLong));
    assert_eq!(judged(format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "A".repeat(65))).1, Some(Fault::Method));
    let lines = |count: u16| judged(format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(usize::from(count) - 1)));
    assert_eq!(lines(MOST_LINES), (Some(Ok(())), None));
    assert_eq!(lines(MOST_LINES + 1).1, Some(Fault::TooManyLines));
    let head = |length: usize| {
        let start = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
        judged(format!("{start}{}\r\n\r\n", "x".repeat(length - start.len() - 4)))
    };
    assert_eq!(head(LARGEST_HEAD), (Some(Ok(())), None));
    assert_eq!(head(LARGEST_HEAD + 1).1, Some(Fault::HeadTooLarge));
    assert_eq!(head(LARGEST_HEAD * 2).1, Some(Fault::HeadTooLarge));
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(judged(format!("{chunked}0\r\nX: {}\r\n\r\n", "x".repeat(LARGEST_HEAD))), (Some(Ok(())), Some(Fault::HeadTooLarge)));
    assert_eq!(judged(format!("{chunked}{}", "1;abcdefgh\r\nx\r\n".repeat(1000))), (Some(Ok(())), Some(Fault::ChunkExtension)));
}

#[test]
fn a_refused_line_and_a_bad_chunk_are_not_passed_on() {
    let passed = |bytes: &str| Framing::new().saw(bytes.as_bytes());
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n";
    assert_eq!(passed(&format!("{head}Content-Length: 3\r\n\r\n")), head.len());
    assert_eq!(passed(&format!("{head}\r\n3\r\nabcX\r\n")), format!("{head}\r\n3\r\nabc").len());
    assert_eq!(passed(&format!("{head}\r\n3\r\nabc\r\n0\r\nHost: a\r\n\r\n")), format!("{head}\r\n3\r\nabc\r\n0\r\n").len());
}

#[test]
fn after_a_switch_of_protocols_nothing_is_judged() {
    let mut framing = Framing::new();
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
    assert_eq!(framing.saw(request), request.len());
    framing.switch();
    assert_eq!(framing.saw(b"\0\n\r GET"), 7);
    assert_eq!((framing.place(), framing.fault()), (Place::Switched, None));
}

#[test]
fn the_watcher_of_a_connection_is_small() {
    assert!(size_of::<Framing>() <= 144, "{}", size_of::<Framing>());
    assert!(size_of::<super::super::Watched<()>>() <= 168, "{}", size_of::<super::super::Watched<()>>());
}
