//! What reaches a client.

use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::super::Transforms;
use super::{compiled, difference, headers, response, shown};

/// The headers of an answer after the transforms, as the difference from those that the node sent.
fn change(list: &Value, status: u16, lines: &[&str]) -> Vec<String> {
    let mut head = response(status, lines);
    compiled(list).response(&mut head);
    assert_eq!(head.status, status);
    difference(shown(&headers(lines)), shown(&head.headers))
}

/// The same for an answer of the gateway's own.
fn local(list: &Value, status: u16, lines: &[&str]) -> Vec<String> {
    let mut head = response(status, lines);
    compiled(list).local(&mut head);
    difference(shown(&headers(lines)), shown(&head.headers))
}

#[test]
fn an_answer_passes_without_the_headers_of_the_connection() {
    let stays = ["date: d", "server: s", "content-length: 2", "set-cookie: a=1", "set-cookie: b=2", "trailer: t"];
    assert_eq!(change(&json!([]), 200, &stays), [""; 0]);
    assert_eq!(
        change(&json!([]), 200, &["connection: x-foo, close", "x-foo: 1", "alt-svc: h3", "keep-alive: 5", "x: 1"]),
        ["-alt-svc: h3", "-connection: x-foo, close", "-keep-alive: 5", "-x-foo: 1",]
    );
    assert_eq!(
        change(&json!([]), 200, &["transfer-encoding: chunked", "content-length: 2"]),
        ["-content-length: 2", "-transfer-encoding: chunked",]
    );
}

#[test]
fn an_answer_that_has_no_body_has_no_length() {
    for status in [101, 103, 204, 205] {
        assert_eq!(change(&json!([]), status, &["content-length: 0", "x: 1"]), ["-content-length: 0"], "{status}");
    }
    for status in [200, 304, 404] {
        assert_eq!(change(&json!([]), status, &["content-length: 0"]), [""; 0], "{status}");
    }
}

#[test]
fn headers_of_an_answer_change_when_its_status_is_meant() {
    let (set, append) = (json!([{"ResponseHeader": "H", "Set": "v"}]), json!([{"ResponseHeader": "H", "Append": "v", "When": "success"}]));
    let (always, failure) = (
        json!([{"ResponseHeader": "H", "Set": "v", "When": "Always"}]),
        json!([{"response_header": "H", "append": "v", "when": "FAILURE"}]),
    );
    let (remove, remove_failed) = (json!([{"ResponseHeaderRemove": "h"}]), json!([{"ResponseHeaderRemove": "h", "When": "Failure"}]));
    for (list, status, expected) in [
        (&set, 200, &["-h: u", "+h: v"][..]),
        (&set, 399, &["-h: u", "+h: v"]),
        (&set, 400, &[]),
        (&append, 200, &["+h: v"]),
        (&append, 404, &[]),
        (&always, 200, &["-h: u", "+h: v"]),
        (&always, 500, &["-h: u", "+h: v"]),
        (&failure, 200, &[]),
        (&failure, 400, &["+h: v"]),
        (&remove, 200, &["-h: u"]),
        (&remove, 500, &[]),
        (&remove_failed, 200, &[]),
        (&remove_failed, 500, &["-h: u"]),
    ] {
        assert_eq!(change(list, status, &["h: u", "x: 1"]), expected, "{list} {status}");
    }
}

#[test]
fn an_answer_of_the_gateways_own_is_changed_too() {
    let list = json!([{"ResponseHeader": "H", "Set": "v", "When": "Always"}, {"ResponseHeadersAllowed": "x"}]);
    for status in [502, 503, 504] {
        assert_eq!(local(&list, status, &["retry-after: 1", "content-length: 0"]), ["+h: v"], "{status}");
    }
    assert_eq!(local(&json!([{"ResponseHeader": "H", "Set": "v"}]), 502, &[]), [""; 0]);
}

#[test]
fn a_route_that_copies_no_headers_of_an_answer_sends_those_that_it_names() {
    for (list, lines, expected) in [
        (json!([{"ResponseHeadersCopy": false}]), &["content-type: a/b", "content-length: 3"][..], &[][..]),
        (json!([{"ResponseHeadersCopy": true}]), &["a: 1"], &["a: 1"]),
        (json!([{"ResponseHeadersCopy": false}, {"ResponseHeader": "a", "Append": "2"}]), &["a: 1", "b: 1"], &["a: 1", "a: 2"]),
        (json!([{"ResponseHeadersAllowed": "A;alt-svc"}]), &["a: 1", "a: 2", "alt-svc: h3", "b: 1"], &["a: 1", "a: 2", "alt-svc: h3"]),
        (json!([{"ResponseHeader": "a", "Set": "x"}, {"ResponseHeadersAllowed": "a"}]), &["a: 1"], &["a: x", "a: 1"]),
        (json!([{"ResponseHeadersAllowed": "a"}]), &["connection: a", "a: 1"], &[]),
    ] {
        let mut head = response(200, lines);
        compiled(&list).response(&mut head);
        assert_eq!(shown(&head.headers), expected, "{list}");
    }
}

fn trailers(list: &Value, status: u16, lines: &[&str]) -> Vec<String> {
    let given = (!lines.is_empty()).then(|| headers(lines));
    let out = compiled(list).trailers(StatusCode::from_u16(status).unwrap(), given);
    assert_ne!(out.as_ref().map(HeaderMap::is_empty), Some(true));
    out.as_ref().map(shown).unwrap_or_default()
}

#[test]
fn trailers_are_copied_changed_and_cut() {
    for (list, status, lines, expected) in [
        (json!([]), 200, &["grpc-status: 0"][..], &["grpc-status: 0"][..]),
        (json!([{"ResponseTrailer": "tr", "Set": "v"}]), 200, &[], &["tr: v"]),
        (json!([{"ResponseTrailer": "tr", "Set": "v"}]), 200, &["tr: u", "x: 1"], &["tr: v", "x: 1"]),
        (json!([{"ResponseTrailer": "tr", "Append": "v"}]), 200, &["tr: u"], &["tr: u", "tr: v"]),
        (json!([{"ResponseTrailer": "tr", "Set": "v"}]), 500, &["tr: u"], &["tr: u"]),
        (json!([{"ResponseTrailer": "tr", "Set": "v", "When": "Failure"}]), 500, &[], &["tr: v"]),
        (json!([{"ResponseTrailerRemove": "TR"}]), 200, &["tr: u"], &[]),
        (json!([{"ResponseTrailerRemove": "tr"}]), 404, &["tr: u"], &["tr: u"]),
        (json!([{"ResponseTrailerRemove": "tr", "When": "Always"}]), 404, &["tr: u", "x: 1"], &["x: 1"]),
        (json!([{"ResponseTrailersCopy": false}]), 200, &["tr: u"], &[]),
        (json!([{"ResponseTrailersCopy": "true"}]), 200, &["tr: u"], &["tr: u"]),
        (json!([{"ResponseTrailersAllowed": "a; B"}]), 200, &["a: 1", "b: 2", "c: 3"], &["a: 1", "b: 2"]),
    ] {
        assert_eq!(trailers(&list, status, lines), expected, "{list} {status}");
    }
}

#[test]
fn only_a_route_with_transforms_of_trailers_touches_them() {
    assert!(!Transforms::default().touches_trailers());
    assert!(!compiled(&json!([{"ResponseHeader": "a", "Set": "b"}, {"ResponseTrailersCopy": true}])).touches_trailers());
    for list in [json!([{"ResponseTrailersCopy": false}]), json!([{"ResponseTrailer": "a", "Set": "b"}])] {
        assert!(compiled(&list).touches_trailers(), "{list}");
    }
}
