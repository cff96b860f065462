//! Streams that are reset without an error before their end: what was cut is never taken for whole.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;

use serde_json::json;

use super::{PATIENCE, gateway, h2c};
use crate::support::gateway::upstream;
use crate::support::h1::Client;
use crate::support::h2::{DATA, END_HEADERS, HEADERS, PREFACE, RST_STREAM, SETTINGS, frame, frames, literals};
use crate::support::{client, ports, upstream as servers};

const NO_ERROR: [u8; 4] = [0; 4];

/// Reads until the last frame that came is of this kind.
fn until(stream: &mut TcpStream, read: &mut Vec<u8>, kind: u8) {
    while !frames(read).iter().any(|frame| frame.kind == kind) {
        let mut some = [0; 4096];
        let n = stream.read(&mut some).unwrap();
        assert!(n > 0, "closed before a frame of kind {kind}");
        read.extend_from_slice(&some[..n]);
    }
}

#[test]
fn a_request_that_its_client_takes_back_does_not_end_for_the_node() {
    let (tell, told) = mpsc::channel();
    let node = servers::Server::start(ports::free_addr(), move |mut stream, _| {
        let mut read = Vec::new();
        let mut some = [0; 4096];
        let tell = |read: &[u8], end: &str| tell.send(format!("{}{end}", String::from_utf8_lossy(read))).unwrap();
        while let Ok(n @ 1..) = stream.read(&mut some) {
            read.extend_from_slice(&some[..n]);
            tell(&read, "");
        }
        tell(&read, "the end");
    });
    let (_gateway, addr) = gateway(&upstream(&[&node.node()]), &json!({}));
    let mut stream = client::connect(addr);
    let head = literals(&[(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a")]);
    let sent = [frame(SETTINGS, 0, 0, &[]), frame(HEADERS, END_HEADERS, 1, &head), frame(DATA, 0, 1, b"half")];
    stream.write_all(&[PREFACE, &sent.concat()].concat()).unwrap();
    let mut got = String::new();
    while !got.contains("half") {
        got = told.recv_timeout(PATIENCE).unwrap();
    }
    stream.write_all(&frame(RST_STREAM, 0, 1, &NO_ERROR)).unwrap();
    while !got.ends_with("the end") {
        got = told.recv_timeout(PATIENCE).unwrap();
    }
    assert!(got.ends_with("half\r\nthe end"), "{got}");
    drop(stream);
}

#[test]
fn an_answer_that_its_node_breaks_off_does_not_end_for_the_client() {
    let node = servers::Server::start(ports::free_addr(), |mut stream, _| {
        let mut read = vec![0; PREFACE.len()];
        stream.read_exact(&mut read).unwrap();
        read.clear();
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).unwrap();
        until(&mut stream, &mut read, HEADERS);
        // 0x88 is `:status: 200` (RFC 7541, appendix A)
        let sent = [frame(HEADERS, END_HEADERS, 1, &[0x88]), frame(DATA, 0, 1, b"half"), frame(RST_STREAM, 0, 1, &NO_ERROR)];
        stream.write_all(&sent.concat()).unwrap();
        // until the gateway has enough
        while let Ok(1..) = stream.read(&mut [0; 4096]) {}
    });
    let (gateway, addr) = gateway(&h2c(&[&node.node()]), &json!({}));
    let mut client = Client::on(client::connect(addr));
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let error = client.try_answer(false).unwrap_err();
    assert!(matches!(error.kind(), std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset), "{error}");
    crate::support::soon("its reason", || gateway.access_log().iter().any(|line| line["reason"] == "upstream_reset"));
}
