//! Connections that leave HTTP: WebSocket frames through the gateway, and how such a connection ends.

use std::io::{BufRead, BufReader, Read, Write};

use serde_json::json;

use super::{Web, to};
use crate::support::client::{End, read_all};
use crate::support::h1::{Client, origin};
use crate::support::upstream::Server;
use crate::support::{ports, soon};

const MESSAGES: u32 = 100_000;
const ASK: [&str; 4] =
    ["Connection: keep-alive, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="];

/// A text frame of a client: masked (RFC 6455, 5.2). The echo sends it back as it is.
fn frame(n: u32) -> Vec<u8> {
    let (text, mask) = (format!("message {n}"), n.to_be_bytes());
    let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap()];
    frame.extend_from_slice(&mask);
    frame.extend(text.bytes().enumerate().map(|(i, byte)| byte ^ mask[i % 4]));
    frame
}

fn read_frame(from: &mut impl Read) -> Vec<u8> {
    let mut frame = vec![0; 2];
    from.read_exact(&mut frame).unwrap();
    let length = 4 + usize::from(frame[1] & 0x7f);
    frame.resize(2 + length, 0);
    from.read_exact(&mut frame[2..]).unwrap();
    frame
}

fn upgraded(web: &Web) -> Client {
    let mut client = web.client();
    let answer = client.ask("GET", "/upgrade", &ASK);
    assert_eq!((answer.status(), answer.header("upgrade")), (101, Some("websocket")));
    assert!(answer.header("connection").is_some_and(|c| c.eq_ignore_ascii_case("upgrade")));
    client
}

#[test]
fn a_hundred_thousand_frames_come_back_in_order() {
    let a = origin("A");
    let web = Web::to(&a);
    let client = upgraded(&web);
    let mut read = BufReader::new(client.stream.try_clone().unwrap());
    let mut write = client.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        let mut batch = Vec::new();
        for n in 0..MESSAGES {
            batch.extend(frame(n));
            if batch.len() > 4096 || n + 1 == MESSAGES {
                write.write_all(&batch).unwrap();
                batch.clear();
            }
        }
    });
    for n in 0..MESSAGES {
        assert_eq!(read_frame(&mut read), frame(n), "message {n}");
    }
    sending.join().unwrap();
    let sent: usize = (0..MESSAGES).map(|n| frame(n).len()).sum();
    drop((client, read));
    soon("the line of the tunnel", || {
        let line = web.gateway.access_log().into_iter().find(|line| line["path"] == "/upgrade");
        line.is_some_and(|line| {
            assert_eq!((&line["status"], &line["rx_bytes"], &line["tx_bytes"]), (&json!(101), &json!(sent), &json!(sent)), "{line}");
            true
        })
    });
}

#[test]
fn a_quiet_tunnel_ends_after_the_time_of_its_route() {
    let a = origin("A");
    let web = Web::start();
    web.route("r", &json!({"upstream": to(&[&a]), "timeout": "1s"}));
    let mut client = upgraded(&web);
    client.send(frame(1));
    let (bytes, _) = read_all(&mut client.stream);
    assert_eq!(bytes, frame(1));
    soon("its reason", || web.gateway.access_log().iter().any(|line| line["path"] == "/upgrade" && line["reason"] == "idle_timeout"));
}

#[test]
fn a_tunnel_whose_session_is_ended_ends_on_both_sides() {
    let a = origin("A");
    let web = Web::to(&a);
    let mut client = upgraded(&web);
    client.send(frame(1));
    assert_eq!(read_frame(&mut client.stream), frame(1));
    let id = web.gateway.control_list("/v1/sessions")[0]["id"].as_u64().unwrap();
    assert!(web.gateway.control("DELETE", &format!("/v1/sessions/{id}")).ok());
    assert!(matches!(read_all(&mut client.stream).1, End::Reset | End::Fin));
    soon("its reason", || web.gateway.access_log().iter().any(|line| line["path"] == "/upgrade" && line["reason"] == "admin_killed"));
}

#[test]
fn a_node_is_not_asked_to_go_on_with_http_2() {
    let a = origin("A");
    let web = Web::to(&a);
    let mut client = web.client();
    for upgrade in ["h2c", "H2C", "websocket, h2c"] {
        let lines = [&format!("Upgrade: {upgrade}"), "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQAAP__"];
        let up = client.ask("GET", "/", &lines.map(|line| line as &str)).json();
        let told = up["lines"].as_array().unwrap();
        assert!(!told.iter().any(|line| line.as_str().unwrap().contains("upgrade")), "{upgrade}: {told:?}");
    }
}

#[test]
fn nobody_goes_on_with_a_protocol_that_the_client_did_not_name() {
    for (named, status) in [("chat", 502), ("websocket, chat", 502), ("WebSocket", 101)] {
        let node = Server::start(ports::free_addr(), move |stream, _| {
            let mut head = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            if head.any(|line| line.is_empty()) {
                // the gateway may have hung up
                let _ = write!(&stream, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: {named}\r\n\r\n");
            }
        });
        let web = Web::to(&node);
        assert_eq!(web.client().ask("GET", "/", &ASK).status(), status, "{named}");
    }
}
