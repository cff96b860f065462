//! Certificates that change under load, and edits that have nothing to do with a session: no handshake fails, and what was
//! remembered stays good.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::support::authority::Authority;
use crate::support::conf::Conf;
use crate::support::gateway::{Gateway, upstream};
use crate::support::{ports, soon, tls, upstream as servers};

/// Rotations of one certificate.
const ROTATIONS: usize = 100;
/// Clients that shake hands at the same time, and how long each waits in between: 200 handshakes a second in all.
const CLIENTS: usize = 4;
const BETWEEN: Duration = Duration::from_millis(20);

#[test]
fn a_hundred_rotations_under_load_fail_no_handshake() {
    let (port, authority, hello) = (ports::free(), Authority::new(), servers::hello());
    let gateway = Gateway::start(Conf::new().tcp(format!("{{addr: {port}, tls: true}}")));
    let pairs = [authority.issue("one", "DNS:a.test.com"), authority.issue_rsa("two", "DNS:a.test.com")];
    let values = pairs.map(|pair| tls::ssl(&pair, &["a.test.com"]));
    gateway.put_live("ssls", "1", &values[0]);
    gateway.put_live("stream_routes", "1", &json!({"upstream": upstream(&[&hello.node()])}));
    let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (done, stop, ca) = (done.clone(), stop.clone(), authority.cert());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Acquire) {
                    let said = tls::send(ports::local(port), "a.test.com", tls::trusting(&ca));
                    assert_eq!(said.expect("a handshake fails"), b"hello world\n");
                    done.fetch_add(1, Ordering::AcqRel);
                    std::thread::park_timeout(BETWEEN);
                }
            })
        })
        .collect();
    for rotation in 1..=ROTATIONS {
        let before = done.load(Ordering::Acquire);
        gateway.admin().must_put("ssls", "1", &values[rotation % 2]);
        soon("handshakes go on", || done.load(Ordering::Acquire) >= before + 4 || clients.iter().any(std::thread::JoinHandle::is_finished));
    }
    stop.store(true, Ordering::Release);
    for client in clients {
        client.join().expect("every handshake of a client succeeds");
    }
    soon("all are counted", || gateway.closed_for("1", "ok") == done.load(Ordering::Acquire));
    assert_eq!(gateway.count("sluice_tls_handshake_failures_total", &[]), 0);
}

#[test]
fn edits_of_other_objects_leave_every_resumption_as_it_was() {
    let (port, authority, hello) = (ports::free(), Authority::new(), servers::hello());
    let gateway = Gateway::start(Conf::new().tcp(format!("{{addr: {port}, tls: true}}")));
    let pair = authority.issue("one", "DNS:a.test.com");
    gateway.put_live("ssls", "1", &tls::ssl(&pair, &["a.test.com"]));
    gateway.put_live("stream_routes", "1", &json!({"upstream": upstream(&[&hello.node()])}));
    let config = Arc::new(tls::trusting(&authority.cert()));
    let other = authority.issue("other", "DNS:b.test.com");
    for round in 0..20_u64 {
        use std::io::Write;
        let mut stream = tls::connect_shared(ports::local(port), "a.test.com", &config).unwrap();
        stream.write_all(b"mmm").unwrap();
        assert_eq!(tls::read_all(&mut stream).unwrap(), b"hello world\n");
        soon("counted", || gateway.count("sluice_tls_handshakes_total", &[]) == round + 1);
        let resumed = gateway.count("sluice_tls_handshakes_total", &[("resumed", "true")]);
        assert_eq!(resumed, round, "all but the first are resumed");
        match round % 4 {
            0 => gateway.put_live("ssls", "2", &tls::ssl(&other, &["b.test.com", &format!("n{round}.test.com")])),
            1 => gateway.put_live(
                "stream_routes",
                "2",
                &json!({"sni": "b.test.com", "order": round, "upstream": upstream(&["127.0.0.1:1"])}),
            ),
            2 => gateway.put_live("ssls", "1", &tls::ssl(&pair, &["a.test.com", &format!("n{round}.test.com")])),
            _ => gateway.put_live("upstreams", "u", &upstream(&[&format!("127.0.0.1:{}", round + 1)])),
        }
    }
}
