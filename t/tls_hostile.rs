//! What clients may send where a ClientHello is awaited: a hello in pieces, and everything that is none. The right route, or a
//! clean close in time.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use serde_json::json;

use crate::support::authority::Authority;
use crate::support::conf::Conf;
use crate::support::gateway::{Gateway, upstream};
use crate::support::upstream::{self as servers, Server};
use crate::support::{client, ports, soon, tls};

struct Fixture {
    gateway: Gateway,
    _hello: Server,
    _authority: Authority,
    addr: SocketAddr,
}

fn fixture() -> Fixture {
    let (port, authority, hello) = (ports::free(), Authority::new(), servers::hello());
    let gateway = Gateway::start(Conf::new().tcp(format!("{{addr: {port}, tls: true}}")));
    gateway.put_live("ssls", "1", &tls::ssl(&authority.issue("a", "DNS:a.test.com"), &["a.test.com"]));
    gateway.put_live("stream_routes", "1", &json!({"upstream": upstream(&[&hello.node()])}));
    Fixture { gateway, _hello: hello, _authority: authority, addr: ports::local(port) }
}

impl Fixture {
    /// A hello whose bytes are sent in pieces, then the session.
    fn in_pieces(&self, cut: impl Fn(&[u8]) -> Vec<Vec<u8>>) -> Vec<u8> {
        let name = ServerName::try_from("a.test.com").unwrap();
        let mut conn = ClientConnection::new(Arc::new(tls::any()), name).unwrap();
        let mut hello = Vec::new();
        conn.write_tls(&mut hello).unwrap();
        let mut stream = client::connect(self.addr);
        for piece in cut(&hello) {
            stream.write_all(&piece).unwrap();
        }
        let mut stream = rustls::StreamOwned::new(conn, stream);
        stream.write_all(b"mmm").unwrap();
        tls::read_all(&mut stream).unwrap()
    }

    /// What comes of bytes that are no hello: what the gateway says before it closes.
    fn says(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = client::connect(self.addr);
        // it may close before it has seen all
        let _ = stream.write_all(bytes);
        let begin = Instant::now();
        let (said, _) = client::read_all(&mut stream);
        assert!(begin.elapsed() < Duration::from_secs(4), "at once, not by the deadline: {:?}", begin.elapsed());
        said
    }

    fn failures(&self, reason: &str) -> u64 {
        self.gateway.count("sluice_tls_handshake_failures_total", &[("listener", "conf-tcp-0"), ("reason", reason)])
    }
}

/// An alert in clear: fatal, with this number.
fn alert(number: u8) -> Vec<u8> {
    vec![21, 3, 3, 0, 2, 2, number]
}

#[test]
fn a_hello_in_any_number_of_pieces_finds_its_route() {
    let f = fixture();
    let byte_by_byte = |hello: &[u8]| hello.iter().map(|byte| vec![*byte]).collect();
    assert_eq!(f.in_pieces(byte_by_byte), b"hello world\n");
    for at in [1, 4, 5, 6, 9, 43, 44, 100, 1448, 1460] {
        let halves = |hello: &[u8]| {
            assert!(hello.len() > 1460, "a post-quantum hello is larger than a segment: {}", hello.len());
            vec![hello[..at].to_vec(), hello[at..].to_vec()]
        };
        assert_eq!(f.in_pieces(halves), b"hello world\n", "cut at {at}");
    }
    for most in [1, 3, 700] {
        let records = |hello: &[u8]| {
            hello[5..]
                .chunks(most)
                .map(|part| [&[22, 3, 1, 0, 0][..3], &u16::try_from(part.len()).unwrap().to_be_bytes(), part].concat())
                .collect()
        };
        assert_eq!(f.in_pieces(records), b"hello world\n", "records of {most}");
    }
    soon("all ended well", || f.gateway.closed_for("1", "ok") == f.gateway.count("sluice_tls_handshakes_total", &[]));
}

#[test]
fn what_is_no_hello_is_closed_at_once_and_counted_by_kind() {
    let f = fixture();
    assert_eq!(f.says(b"GET / HTTP/1.1\r\n\r\n"), b"");
    assert_eq!(f.says(&[0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10]), b"", "a hello of SSL 2");
    assert_eq!(f.says(&servers::pattern(100_000)), b"");
    soon("counted", || f.failures("not_tls") == 3);
    assert_eq!(f.says(&[22, 3, 1, 0, 4, 1, 0, 0, 0]), alert(50), "decode_error");
    soon("counted", || f.failures("malformed") == 1);
    let long = [&[22, 3, 1, 0x40, 0, 1, 0, 0x40, 0][..], &vec![0; 20_000]].concat();
    assert_eq!(f.says(&long), alert(50));
    soon("counted", || f.failures("too_large") == 1);
    let mut left = client::connect(f.addr);
    left.write_all(&[22, 3, 1]).unwrap();
    drop(left);
    soon("counted", || f.failures("closed") == 1);
    soon("each has its reason", || f.gateway.closed_for("", "tls_handshake") == 6);
    assert!(tls::served(f.addr, "a.test.com"));
}

#[test]
fn a_slow_hello_is_closed_at_the_deadline() {
    let f = fixture();
    let begin = Instant::now();
    let mut silent = client::connect(f.addr);
    let mut slow: Vec<_> = (0..50).map(|_| client::connect(f.addr)).collect();
    for stream in &mut slow {
        stream.write_all(&[&[22, 3, 1, 0x3f, 0, 1, 0, 0x3e, 0xfc][..], &[0; 12_000]].concat()).unwrap();
    }
    assert!(tls::served(f.addr, "a.test.com"), "others are served meanwhile");
    assert_eq!(silent.read(&mut [0; 1]).unwrap(), 0, "a clean close");
    let took = begin.elapsed();
    assert!(took > Duration::from_millis(4500) && took < Duration::from_secs(9), "{took:?}");
    for stream in &mut slow {
        client::read_all(stream);
    }
    soon("counted", || f.failures("timeout") == 51);
}

#[test]
fn a_client_of_an_old_version_gets_the_alert_that_says_so() {
    let f = fixture();
    // a ClientHello of TLS 1.0, without extensions
    let body = [&[3, 1][..], &[7; 32], &[0], &[0, 2, 0xc0, 0x14], &[1, 0]].concat();
    let length = u8::try_from(body.len()).unwrap();
    let hello = [&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &body].concat();
    assert_eq!(f.says(&hello), alert(112), "without a name there is no certificate: unrecognized_name");
    let name = b"a.test.com";
    let n = u8::try_from(name.len()).unwrap();
    let extensions = [&[0, n + 9, 0, 0, 0, n + 5, 0, n + 3, 0, 0, n][..], name].concat();
    let body = [&body[..], &extensions].concat();
    let length = u8::try_from(body.len()).unwrap();
    let hello = [&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &body].concat();
    let said = f.says(&hello);
    assert_eq!((said.first(), said.last()), (Some(&21), Some(&70)), "protocol_version: {said:?}");
    soon("counted", || f.failures("incompatible") == 1);
}
