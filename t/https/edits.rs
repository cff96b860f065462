//! Certificates and listeners that change while requests run: no request fails, and whoever comes later sees the new ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::json;

use super::{Client, Secure};
use crate::support::{client, soon, tls};

/// Rotations of one certificate.
const ROTATIONS: usize = 30;

/// The certificate that a client of a name is shown, as DER.
fn shown(s: &Secure) -> Vec<u8> {
    let stream = tls::connect(s.at, "a.test", tls::any()).unwrap();
    stream.conn.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn rotations_under_load_fail_no_request_and_new_connections_see_the_new_one() {
    let s = Secure::start();
    let pairs = [s.authority.issue("one", "DNS:a.test"), s.authority.issue_rsa("two", "DNS:a.test")];
    let values = pairs.map(|pair| tls::ssl(&pair, &["a.test"]));
    let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let at = s.at;
    let ask = |each: usize| {
        let (done, stop, ca) = (done.clone(), stop.clone(), s.authority.cert());
        std::thread::spawn(move || {
            while !stop.load(Ordering::Acquire) {
                let mut client = Client::connect(at, "a.test", tls::trusting(&ca)).expect("a handshake fails");
                for _ in 0..each {
                    assert_eq!(client.ask("/status/200", "a.test").0, 200);
                    done.fetch_add(1, Ordering::AcqRel);
                    if stop.load(Ordering::Acquire) {
                        break;
                    }
                }
            }
        })
    };
    let clients = [ask(1), ask(3), ask(usize::MAX)];
    let mut before = shown(&s);
    for rotation in 0..ROTATIONS {
        let so_far = done.load(Ordering::Acquire);
        s.gateway.put_live("ssls", "a", &values[rotation % 2]);
        let now = shown(&s);
        assert_ne!(now, before, "rotation {rotation}");
        before = now;
        soon("requests go on", || done.load(Ordering::Acquire) >= so_far + 5 || clients.iter().any(std::thread::JoinHandle::is_finished));
    }
    stop.store(true, Ordering::Release);
    for client in clients {
        client.join().expect("every request of a client succeeds");
    }
    assert_eq!(s.gateway.count("sluice_tls_handshake_failures_total", &[]), 0);
}

#[test]
fn listeners_come_and_go_and_no_other_connection_notices() {
    let s = Secure::start();
    let mut stays = Client::connect(s.at, "a.test", tls::any()).unwrap();
    assert_eq!(stays.ask("/", "a.test").0, 200);
    let at = s.listen("web", json!({}));
    let mut waits = Client::connect(at, "a.test", tls::any()).unwrap();
    assert_eq!(waits.ask("/", "a.test").0, 200);
    s.gateway.admin().must_delete("listeners", "web");
    assert!(tls::read_all(&mut waits.0).unwrap().is_empty(), "a connection that waits is closed");
    soon("the port is closed", || client::refused(at));
    assert_eq!(stays.ask("/", "a.test").0, 200);
    assert_eq!(s.curl(&["--http2"], "https://a.test/").status, 200);
}

#[test]
fn a_listener_with_one_certificate_shows_it_to_everybody() {
    let s = Secure::start();
    s.ssl("m", &["m.test"], Some(&s.authority.cert()));
    let at = s.listen("one", json!({"ssl_id": "a"}));
    let shown_at = |to, name: &str| tls::connect(to, name, tls::any()).unwrap().conn.peer_certificates().unwrap()[0].to_vec();
    let expected = shown_at(s.at, "a.test");
    for name in ["a.test", "m.test", "nobody.test"] {
        assert_eq!(shown_at(at, name), expected, "{name}");
        let mut client = Client::connect(at, name, tls::any()).unwrap();
        assert_eq!(client.ask("/", "m.test").0, 200, "no other certificate has a say here");
    }
    s.ssl("a", &["a.test"], None);
    assert_ne!(shown_at(at, "nobody.test"), expected, "its edit is seen");
    let admin = s.gateway.admin();
    assert_eq!(admin.delete("ssls", "a").status, 400, "it is in use");
    let own = s.authority.issue("own", "DNS:own.test");
    admin.must_put("ssls", "own", &json!({"type": "client", "cert": tls::text(&own.0), "key": tls::text(&own.1)}));
    let wrong = admin.put("listeners", "one", &json!({"protocol": "http", "addr": at.to_string(), "tls": true, "ssl_id": "own"}));
    assert_eq!((wrong.status, wrong.error_msg()), (400, "failed to fetch ssl info by ssl id [own], wrong ssl type".into()));
}

#[test]
fn a_certificate_that_begins_to_ask_for_one_asks_earlier_clients_too() {
    let s = Secure::start();
    let mut client = Client::connect(s.at, "a.test", tls::any()).unwrap();
    assert_eq!(client.ask("/", "a.test").0, 200);
    s.ssl("a", &["a.test"], Some(&s.authority.cert()));
    assert_eq!(client.ask("/", "a.test").0, 421, "the client comes again, and is asked");
    assert!(tls::read_all(&mut client.0).unwrap().is_empty());
    let known = s.authority.issue("known", "DNS:client.test");
    assert_eq!(Client::connect(s.at, "a.test", tls::with(&known)).unwrap().ask("/", "a.test").0, 200);
}
