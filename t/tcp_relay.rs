//! What happens to the bytes and to the ends of a TCP session: what the client sees, which reason is counted, and that no byte is miscounted.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::{self, End, read_all};
use crate::support::gateway::{Gateway, upstream};
use crate::support::poll::{throughout, until};
use crate::support::upstream as servers;
use crate::support::{Conf, ports, soon};

const MEGABYTE: usize = 1024 * 1024;

struct Relay {
    gateway: Gateway,
    addr: SocketAddr,
}

/// A gateway with one port and one route, `r`, that is live.
fn relay(route: &Value) -> Relay {
    let port = ports::free();
    let gateway = Gateway::start(Conf::new().tcp(port));
    let relay = Relay { gateway, addr: ports::local(port) };
    relay.put("stream_routes", "r", route);
    relay
}

impl Relay {
    fn put(&self, kind: &str, id: &str, value: &Value) {
        self.gateway.put_live(kind, id, value);
    }

    fn bytes(&self, direction: &str) -> u64 {
        self.gateway.count("sluice_bytes_total", &[("route", "r"), ("direction", direction)])
    }

    /// Waits until so many sessions of the route ended for a reason, and asserts that none ended for another.
    fn ended(&self, reason: &str, sessions: u64) {
        soon(&format!("{sessions} sessions ended for {reason}"), || self.gateway.closed_for("r", reason) == sessions);
        let all = self.gateway.count("sluice_connections_closed_total", &[("route", "r")]);
        assert_eq!(all, sessions, "all sessions ended for {reason}");
        assert_eq!(self.gateway.count("sluice_connections_active", &[("route", "r")]), 0);
    }
}

fn to(node: &str) -> Value {
    json!({"upstream": upstream(&[node])})
}

#[test]
fn a_client_that_sent_fin_still_receives_ten_megabytes() {
    let server = servers::answers_after_fin(10 * MEGABYTE);
    let relay = relay(&to(&server.node()));
    let mut stream = client::connect(relay.addr);
    stream.write_all(&[7; 1000]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let (got, end) = read_all(&mut stream);
    assert!(got == servers::pattern(10 * MEGABYTE), "{} bytes", got.len());
    assert_eq!(end, End::Fin);
    relay.ended("ok", 1);
    assert_eq!((relay.bytes("in"), relay.bytes("out")), (1000, 10 * MEGABYTE as u64));
    assert_eq!(server.received(), 1000);
}

#[test]
fn a_client_goes_on_sending_after_the_servers_fin() {
    let server = servers::says_bye_and_listens();
    let relay = relay(&to(&server.node()));
    let mut stream = client::connect(relay.addr);
    assert_eq!(read_all(&mut stream), (b"bye".to_vec(), End::Fin));
    stream.write_all(&vec![1; 5 * MEGABYTE]).unwrap();
    drop(stream);
    soon("every byte arrives", || server.received() == 5 * MEGABYTE as u64);
    relay.ended("ok", 1);
    assert_eq!((relay.bytes("in"), relay.bytes("out")), (5 * MEGABYTE as u64, 3));
}

#[test]
fn a_reset_by_the_client_is_counted_as_one() {
    let server = servers::echo();
    let relay = relay(&to(&server.node()));
    let mut stream = client::connect(relay.addr);
    client::ping(&mut stream, b"hello").unwrap();
    client::reset(stream);
    relay.ended("client_reset", 1);
    assert_eq!((relay.bytes("in"), relay.bytes("out")), (5, 5));
}

#[test]
fn a_reset_by_the_upstream_reaches_the_client_after_the_bytes_before_it() {
    let server = servers::resets(b"first words");
    let relay = relay(&to(&server.node()));
    let mut stream = client::connect(relay.addr);
    let mut first = [0; 11];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"first words");
    stream.write_all(b"x").unwrap();
    assert_eq!(read_all(&mut stream), (Vec::new(), End::Reset));
    relay.ended("upstream_reset", 1);
    assert_eq!((relay.bytes("in"), relay.bytes("out")), (1, 11));
}

#[test]
fn one_refusing_node_of_three_is_not_noticed() {
    let (refusing, one, two) = (servers::refusing(), servers::hello(), servers::hello());
    let bad = refusing.addr.to_string();
    let relay = relay(&json!({"upstream": upstream(&[&bad, &one.node(), &two.node()])}));
    for n in 0..30 {
        assert!(client::served(relay.addr), "session {n}");
    }
    relay.ended("ok", 30);
    let failed = [("route", "r"), ("node", bad.as_str()), ("reason", "upstream_refused")];
    assert!(relay.gateway.count("sluice_upstream_connect_failures_total", &failed) >= 1);
    assert_eq!(one.connections() + two.connections(), 30);
}

#[test]
fn a_node_that_does_not_answer_is_given_up_after_the_connect_timeout() {
    let (black, hello) = (servers::blackhole(), servers::hello());
    let node = |addr: SocketAddr, priority: i32| json!({"host": "127.0.0.1", "port": addr.port(), "weight": 1, "priority": priority});
    let timeout = json!({"connect": 0.3, "send": 60, "read": 60});
    let both = json!([node(black.addr, 1), node(hello.addr, 0)]);
    let relay = relay(&json!({"upstream": {"type": "roundrobin", "nodes": both, "timeout": timeout}}));
    let begin = Instant::now();
    assert!(client::served(relay.addr));
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(290) && took < Duration::from_secs(5), "{took:?}");
    relay.ended("ok", 1);
    let failed = [("route", "r"), ("reason", "upstream_timeout")];
    assert_eq!(relay.gateway.count("sluice_upstream_connect_failures_total", &failed), 1);
}

#[test]
fn when_every_node_fails_the_last_failure_is_the_reason() {
    let black = servers::blackhole();
    let timeout = json!({"connect": 0.2, "send": 60, "read": 60});
    let nodes = upstream(&[&black.addr.to_string()])["nodes"].clone();
    let relay = relay(&json!({"upstream": {"type": "roundrobin", "nodes": nodes, "timeout": timeout}}));
    assert!(client::closed(relay.addr));
    relay.ended("upstream_timeout", 1);

    let refusing = [servers::refusing(), servers::refusing(), servers::refusing()];
    let nodes: Vec<String> = refusing.iter().map(|r| r.addr.to_string()).collect();
    let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
    relay.put("stream_routes", "r", &json!({"upstream": upstream(&nodes)}));
    let tries = || relay.gateway.count("sluice_upstream_connect_failures_total", &[("reason", "upstream_refused")]);
    let before = tries();
    assert!(client::closed(relay.addr));
    soon("counted", || relay.gateway.closed_for("r", "upstream_refused") == 1);
    assert_eq!(tries() - before, 3, "each node once");

    relay.put("stream_routes", "r", &json!({"upstream": {"type": "roundrobin", "nodes": {}}}));
    assert!(client::closed(relay.addr));
    soon("counted", || relay.gateway.closed_for("r", "no_healthy_node") == 1);
}

#[test]
fn an_idle_session_ends_and_an_active_one_does_not() {
    let server = servers::echo();
    let mut route = to(&server.node());
    route["timeout"] = json!(0.6);
    let relay = relay(&route);
    let mut stream = client::connect(relay.addr);
    throughout(Duration::from_secs(2), "an active session lives on", || {
        std::thread::park_timeout(Duration::from_millis(50));
        client::ping(&mut stream, b"x").is_ok()
    });
    let begin = Instant::now();
    assert_eq!(read_all(&mut stream).0, Vec::<u8>::new());
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(400) && took < Duration::from_secs(5), "{took:?}");
    relay.ended("idle_timeout", 1);
}

#[test]
fn the_idle_time_is_the_upstreams_or_the_global_one_where_the_route_gives_none() {
    let server = servers::echo();
    let mut route = to(&server.node());
    route["upstream"]["timeout"] = json!({"connect": 1, "send": 0.2, "read": 0.5});
    let relay = relay(&route);
    let mut stream = client::connect(relay.addr);
    let begin = Instant::now();
    read_all(&mut stream);
    assert!(begin.elapsed() >= Duration::from_millis(350), "the larger of send and read: {:?}", begin.elapsed());
    relay.ended("idle_timeout", 1);

    relay.put("settings", "global", &json!({"default_timeout": "300ms"}));
    relay.put("stream_routes", "r", &to(&server.node()));
    let begin = Instant::now();
    read_all(&mut client::connect(relay.addr));
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    relay.ended("idle_timeout", 2);
}

#[test]
fn a_session_ends_at_its_longest_duration_however_busy_it_is() {
    let server = servers::echo();
    let mut route = to(&server.node());
    route["max_duration"] = json!("1s");
    let relay = relay(&route);
    let mut stream = client::connect(relay.addr);
    let begin = Instant::now();
    until(Duration::from_secs(10), "the busy session ends", || client::ping(&mut stream, b"x").is_err().then_some(()));
    assert!(begin.elapsed() >= Duration::from_millis(900), "{:?}", begin.elapsed());
    relay.ended("max_duration", 1);
}

#[test]
fn a_server_that_speaks_first_is_heard_by_a_silent_client() {
    let server = servers::speaks_first(b"220 ready\r\n");
    let relay = relay(&to(&server.node()));
    let mut stream = client::connect(relay.addr);
    let mut banner = [0; 11];
    stream.read_exact(&mut banner).unwrap();
    assert_eq!(&banner, b"220 ready\r\n");
    soon("the bytes are counted while the session is open", || relay.bytes("out") == 11);
    assert_eq!(relay.gateway.count("sluice_connections_active", &[("route", "r")]), 1);
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut stream).1, End::Fin);
    relay.ended("ok", 1);
}

#[test]
fn a_session_is_listed_and_killed_by_the_control_api() {
    let server = servers::echo();
    let relay = relay(&to(&server.node()));
    let (mut victim, mut other) = (client::connect(relay.addr), client::connect(relay.addr));
    client::ping(&mut victim, b"abc").unwrap();
    client::ping(&mut other, b"abc").unwrap();
    let client_addr = victim.local_addr().unwrap().to_string();
    let listed = relay.gateway.control_list("/v1/sessions");
    assert_eq!(listed.len(), 2, "{listed:?}");
    let session = listed.iter().find(|s| s["client"] == client_addr.as_str()).unwrap_or_else(|| panic!("{client_addr} in {listed:?}"));
    assert_eq!(session["route"], "r", "{session}");
    let id = session["id"].as_u64().expect("a number");

    let answer = relay.gateway.control("DELETE", &format!("/v1/sessions/{id}"));
    assert!(answer.ok(), "{} {}", answer.status, answer.text());
    assert_eq!(read_all(&mut victim).0, Vec::<u8>::new());
    soon("counted", || relay.gateway.closed_for("r", "admin_killed") == 1);
    client::ping(&mut other, b"still here").unwrap();
    assert_eq!(relay.gateway.control("DELETE", &format!("/v1/sessions/{id}")).status, 404, "it is gone");
    assert_eq!(relay.gateway.control_list("/v1/sessions").len(), 1);
}

#[test]
fn every_byte_is_counted_once_in_both_directions() {
    let server = servers::echo();
    let relay = relay(&to(&server.node()));
    let mut total = 0;
    for session in 0..20_usize {
        let size = session * session * 7919 + session;
        let mut stream = client::connect(relay.addr);
        let mut writer = stream.try_clone().unwrap();
        let sent = servers::pattern(size);
        let writing = std::thread::spawn(move || {
            writer.write_all(&sent).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let (got, end) = read_all(&mut stream);
        writing.join().unwrap();
        assert!(got == servers::pattern(size), "session {session}: {} of {size} bytes", got.len());
        assert_eq!(end, End::Fin, "session {session}");
        total += size as u64;
    }
    relay.ended("ok", 20);
    assert_eq!((relay.bytes("in"), relay.bytes("out")), (total, total));
    assert_eq!(server.received(), total);
    soon("a line for each session", || relay.gateway.access_log().len() == 20);
    let logged = |field: &str| relay.gateway.access_log().iter().map(|l| l[field].as_u64().unwrap()).sum::<u64>();
    assert_eq!((logged("rx_bytes"), logged("tx_bytes")), (total, total));
}

#[test]
fn a_large_transfer_through_a_slow_reader_arrives_whole() {
    let server = servers::answers_after_fin(24 * MEGABYTE);
    let relay = relay(&to(&server.node()));
    let mut stream = client::connect(relay.addr);
    stream.shutdown(Shutdown::Write).unwrap();
    let mut got = Vec::new();
    let mut buffer = vec![0; 8191];
    while let Ok(n) = stream.read(&mut buffer) {
        if n == 0 {
            break;
        }
        got.extend_from_slice(&buffer[..n]);
        // slow at times: everybody's buffers fill up
        if got.len() % (2 * MEGABYTE) < n {
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
    assert!(got == servers::pattern(24 * MEGABYTE), "{} bytes", got.len());
    relay.ended("ok", 1);
    assert_eq!(relay.bytes("out"), 24 * MEGABYTE as u64);
}

/// Sends so many bytes in pieces of ever other lengths and takes what comes back, to its end.
fn pump(addr: SocketAddr, bytes: usize) -> u64 {
    let mut stream = client::connect(addr);
    let mut writer = stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (piece, mut left, mut length) = (vec![7; 300_000], bytes, 1);
            while left > 0 {
                length = (length * 7919 + 13) % piece.len() + 1;
                let now = length.min(left);
                writer.write_all(&piece[..now]).unwrap();
                left -= now;
            }
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let (mut back, mut buffer) = (0, vec![0; 256 * 1024]);
        while let Ok(n @ 1..) = stream.read(&mut buffer) {
            back += n as u64;
        }
        back
    })
}

#[test]
fn a_billion_bytes_are_counted_exactly() {
    let server = servers::echo();
    let relay = relay(&to(&server.node()));
    // two sessions, and as much back as there: ten to the ninth in all, and a few
    let each = 250_000_019;
    let back: u64 = std::thread::scope(|scope| {
        let pumps = [(); 2].map(|()| scope.spawn(|| pump(relay.addr, each)));
        pumps.map(|pump| pump.join().unwrap()).iter().sum()
    });
    let all = 2 * each as u64;
    relay.ended("ok", 2);
    assert_eq!((back, server.received()), (all, all));
    assert_eq!((relay.bytes("in"), relay.bytes("out")), (all, all));
    soon("a line for each session", || relay.gateway.access_log().len() == 2);
    let logged = |field: &str| relay.gateway.access_log().iter().map(|l| l[field].as_u64().unwrap()).sum::<u64>();
    assert_eq!((logged("rx_bytes"), logged("tx_bytes")), (all, all));
}
