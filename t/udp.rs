//! UDP sessions: what arrives, from where, how they end, and that every datagram is counted.

use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::datagram::{Client, Echo, QUIET, client, client_from, echo, echo_on};
use crate::support::gateway::{Gateway, upstream};
use crate::support::poll::{throughout, until};
use crate::support::{Conf, namespace, ports, soon};

struct Udp {
    gateway: Gateway,
    addr: SocketAddr,
}

/// A gateway with one UDP port and one route, `r`, that is live.
fn gateway(route: &Value) -> Udp {
    let port = ports::free();
    let gateway = Gateway::start(Conf::new().udp(port));
    gateway.put_live("stream_routes", "r", route);
    Udp { gateway, addr: ports::local(port) }
}

fn to(node: &str) -> Value {
    json!({"upstream": upstream(&[node])})
}

fn with(mut route: Value, field: &str, value: Value) -> Value {
    route[field] = value;
    route
}

impl Udp {
    fn datagrams(&self, direction: &str) -> u64 {
        self.gateway.count("sluice_udp_datagrams_total", &[("route", "r"), ("direction", direction)])
    }

    fn dropped(&self, reason: &str) -> u64 {
        self.gateway.count("sluice_udp_dropped_total", &[("reason", reason)])
    }

    fn active(&self) -> u64 {
        let active = self.gateway.count("sluice_udp_sessions_active", &[("route", "r")]);
        assert_eq!(active, self.gateway.count("sluice_connections_active", &[("route", "r"), ("protocol", "udp")]));
        active
    }

    fn ended(&self, reason: &str, sessions: u64) {
        soon(&format!("{sessions} sessions ended for {reason}"), || self.gateway.closed_for("r", reason) == sessions);
    }
}

#[test]
fn datagrams_of_every_length_pass_unchanged_in_both_directions() {
    let server = echo();
    let udp = gateway(&to(&server.node()));
    let one = client(udp.addr);
    let mut bytes = 0;
    for length in [0, 1, 64, 1_472, 1_473, 9_000, 65_507, 0, 65_507] {
        one.ping(&crate::support::upstream::pattern(length));
        bytes += length as u64;
    }
    assert_eq!((server.received(), server.clients()), (9, 1), "one session, one socket");
    soon("each is counted", || (udp.datagrams("in"), udp.datagrams("out"), udp.active()) == (9, 9, 1));
    for direction in ["in", "out"] {
        assert_eq!(udp.gateway.count("sluice_bytes_total", &[("route", "r"), ("direction", direction)]), bytes);
    }
    let sessions = udp.gateway.control_list("/v1/sessions");
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    assert_eq!((&sessions[0]["protocol"], &sessions[0]["node"]), (&json!("udp"), &json!(server.node())));
    assert_eq!(sessions[0]["client"], json!(one.0.local_addr().unwrap().to_string().replace("0.0.0.0", "127.0.0.1")));
}

#[test]
fn an_ipv6_client_reaches_an_ipv4_node() {
    let (server, port) = (echo(), ports::free());
    let gateway = Gateway::start(Conf::new());
    gateway.put_live("stream_routes", "r", &to(&server.node()));
    gateway.put_live("listeners", "six", &json!({"protocol": "udp", "addr": format!("[::]:{port}")}));
    client(format!("[::1]:{port}").parse().unwrap()).ping(b"six");
}

#[test]
fn a_wildcard_listener_answers_from_the_address_that_was_asked() {
    let server = echo();
    let udp = gateway(&to(&server.node()));
    // a connected client hears only of the address that it asked
    for last in 1..=9 {
        client(SocketAddr::from(([127, 0, 0, last], udp.addr.port()))).ping(&[last; 10]);
    }
    // one port of one client, two addresses of ours: two sessions
    let from = ports::free_addr();
    let first = client_from(from, SocketAddr::from(([127, 0, 0, 11], udp.addr.port())));
    first.ping(b"a");
    drop(first);
    client_from(from, SocketAddr::from(([127, 0, 0, 12], udp.addr.port()))).ping(b"b");
    assert_eq!((server.clients(), udp.active()), (11, 11));
}

#[test]
fn replies_are_relayed_as_the_route_says() {
    for (responses, copies, relayed) in [(0, 1, 0), (1, 1, 1), (1, 3, 1), (2, 3, 2)] {
        let server = echo_on(ports::free_addr(), copies);
        let udp = gateway(&with(to(&server.node()), "udp_responses", json!(responses)));
        let one = client(udp.addr);
        one.say(b"x");
        soon("the node has it", || server.received() == 1);
        for _ in 0..relayed {
            assert_eq!(one.hear(), b"x");
        }
        assert_eq!(one.within(QUIET), None, "{responses} of {copies}");
        if responses == 0 {
            soon("the reply is counted as not asked for", || udp.dropped("unasked") == 1);
            assert_eq!(udp.active(), 1, "until it is idle");
        } else {
            udp.ended("ok", 1);
            // the next datagram is the next session
            one.say(b"y");
            for _ in 0..relayed {
                assert_eq!(one.hear(), b"y");
            }
            assert_eq!(server.clients(), 2);
        }
        // counted once the system has taken them, which a client may hear of earlier
        soon("each relayed reply is counted", || udp.datagrams("out") == 2 * relayed);
    }
}

#[test]
fn each_datagram_of_the_client_adds_its_replies_to_the_budget() {
    let server = echo_on(ports::free_addr(), 2);
    let udp = gateway(&with(to(&server.node()), "udp_responses", json!(3)));
    let one = client(udp.addr);
    for n in 0..5_u8 {
        one.say(&[n]);
        assert_eq!((one.hear(), one.hear()), (vec![n], vec![n]));
    }
    // ten of fifteen: the session goes on
    assert_eq!((server.clients(), udp.active()), (1, 1));
}

#[test]
fn a_silent_session_ends_and_its_line_says_what_it_moved() {
    let server = echo();
    let udp = gateway(&with(to(&server.node()), "timeout", json!("300ms")));
    let one = client(udp.addr);
    one.ping(b"abc");
    one.ping(b"de");
    udp.ended("idle_timeout", 1);
    assert_eq!((udp.active(), udp.gateway.control_list("/v1/sessions").len()), (0, 0));
    let line = until(Duration::from_secs(5), "its line", || udp.gateway.access_log().pop());
    assert_eq!((&line["proto"], &line["reason"], &line["endpoint"]), (&json!("udp"), &json!("idle_timeout"), &json!(server.node())));
    assert_eq!((&line["rx_datagrams"], &line["tx_datagrams"]), (&json!(2), &json!(2)), "{line}");
    assert_eq!((&line["rx_bytes"], &line["tx_bytes"], &line["route"]), (&json!(5), &json!(5), &json!("r")), "{line}");
    let lasted = line["duration_ms"].as_f64().unwrap();
    assert!((300.0..2000.0).contains(&lasted), "{lasted}");
    one.ping(b"again");
}

#[test]
fn a_dead_node_is_left_after_one_error_and_the_first_datagram_is_not_lost() {
    let (alive, dead) = (echo(), ports::free_addr());
    let udp = gateway(&json!({"upstream": upstream(&[&dead.to_string(), &alive.node()])}));
    for n in 0..20_u8 {
        client(udp.addr).ping(&[n]);
    }
    let failures = udp.gateway.count("sluice_upstream_connect_failures_total", &[("route", "r"), ("reason", "upstream_refused")]);
    assert_eq!(failures, 10, "every second session met the dead one first");
    assert_eq!((alive.received(), udp.active()), (20, 20));
}

#[test]
fn a_node_that_dies_under_a_session_costs_it_one_datagram() {
    let (first, second) = (echo(), echo());
    let route = json!({"upstream": {"type": "roundrobin", "nodes": [
        {"host": "127.0.0.1", "port": first.addr.port(), "weight": 1, "priority": 1},
        {"host": "127.0.0.1", "port": second.addr.port(), "weight": 1, "priority": 0},
    ]}});
    let udp = gateway(&route);
    let one = client(udp.addr);
    one.ping(b"to the first");
    drop(first);
    one.say(b"into the void");
    soon("the error is heard", || udp.gateway.count("sluice_upstream_connect_failures_total", &[("route", "r")]) == 1);
    one.ping(b"to the second");
    assert_eq!((second.received(), udp.active()), (1, 1), "the same session");
}

#[test]
fn without_a_node_that_lives_the_session_ends_with_the_reason() {
    let udp = gateway(&to(&ports::free_addr().to_string()));
    client(udp.addr).say(b"x");
    udp.ended("upstream_refused", 1);
    assert_eq!(udp.active(), 0);
}

#[test]
fn what_cannot_begin_a_session_is_counted_and_told() {
    let port = ports::free();
    let gateway = Gateway::start(Conf::new().udp(port));
    let one = client(ports::local(port));
    one.say(b"x");
    soon("no_route", || gateway.count("sluice_udp_dropped_total", &[("route", ""), ("reason", "no_route")]) == 1);
    soon("no_route", || gateway.closed_for("", "no_route") == 1);
    gateway.put_live("stream_routes", "r", &json!({}));
    one.say(b"x");
    soon("no_upstream", || gateway.count("sluice_udp_dropped_total", &[("route", "r"), ("reason", "no_upstream")]) == 1);
    soon("no_upstream", || gateway.closed_for("r", "no_upstream") == 1);
    let reasons: Vec<_> = until(Duration::from_secs(5), "two lines", || Some(gateway.access_log()).filter(|l| l.len() == 2));
    assert_eq!(reasons.iter().map(|l| &l["reason"]).collect::<Vec<_>>(), [&json!("no_route"), &json!("no_upstream")]);
}

#[test]
fn a_route_takes_both_transports_unless_it_says_one() {
    let (server, stream, port) = (echo(), crate::support::upstream::hello(), ports::free());
    let gateway = Gateway::start(Conf::new().udp(port).tcp(port));
    gateway.put_live("stream_routes", "a-udp", &with(to(&server.node()), "protocol", json!("udp")));
    gateway.put_live("stream_routes", "b", &to(&stream.node()));
    client(ports::local(port)).ping(b"datagram");
    assert!(crate::support::client::served(ports::local(port)));
    gateway.put_live("stream_routes", "a-udp", &with(to(&stream.node()), "protocol", json!("tcp")));
    gateway.put_live("stream_routes", "b", &to(&server.node()));
    client(ports::local(port)).ping(b"datagram");
    assert!(crate::support::client::served(ports::local(port)));
}

#[test]
fn an_operator_ends_one_session() {
    let server = echo();
    let udp = gateway(&to(&server.node()));
    let (one, other) = (client(udp.addr), client(udp.addr));
    one.ping(b"1");
    other.ping(b"2");
    let id = udp.gateway.control_list("/v1/sessions")[0]["id"].as_u64().unwrap();
    let answer = udp.gateway.control("DELETE", &format!("/v1/sessions/{id}"));
    assert!(answer.ok(), "{}", answer.text());
    udp.ended("admin_killed", 1);
    assert_eq!(udp.active(), 1);
    other.ping(b"still");
    one.ping(b"as a new session");
    assert_eq!(server.clients(), 3);
}

#[test]
fn a_removed_listener_serves_its_sessions_until_the_drain_timeout() {
    let (server, port) = (echo(), ports::free());
    let gateway = Gateway::start(Conf::new());
    let udp = Udp { gateway, addr: ports::local(port) };
    udp.gateway.put_live("stream_routes", "r", &to(&server.node()));
    let listener = json!({"protocol": "udp", "addr": udp.addr.to_string(), "drain_timeout": "2s"});
    udp.gateway.put_live("listeners", "l", &listener);
    let (one, other) = (client(udp.addr), client(udp.addr));
    one.ping(b"before");
    udp.gateway.admin().must_delete("listeners", "l");
    let state = || udp.gateway.control_list("/v1/listeners").pop().map(|l| l["state"].as_str().unwrap().to_owned());
    soon("it drains", || state().as_deref() == Some("draining"));
    one.ping(b"after");
    other.say(b"too late");
    assert_eq!(other.within(QUIET), None);
    assert_eq!(udp.dropped("listener_removed"), 1);
    // back within the time: the same sockets, and nobody is ended
    udp.gateway.put_live("listeners", "l", &listener);
    soon("it is open again", || state().as_deref() == Some("active"));
    other.ping(b"in time");
    throughout(Duration::from_millis(2500), "sessions live on", || udp.active() == 2);
    udp.gateway.admin().must_delete("listeners", "l");
    udp.ended("listener_removed", 2);
    soon("the port is free", || std::net::UdpSocket::bind(udp.addr).is_ok());
    assert_eq!(state(), None);
}

#[test]
fn a_port_that_somebody_else_has_is_a_visible_failure_until_it_is_free() {
    let (server, addr) = (echo(), ports::free_addr());
    let taken = std::net::UdpSocket::bind(addr).unwrap();
    let gateway = Gateway::start(Conf::new());
    gateway.put_live("stream_routes", "r", &to(&server.node()));
    gateway.put_live("listeners", "l", &json!({"protocol": "udp", "addr": addr.to_string()}));
    let found = gateway.control_list("/v1/listeners").pop().unwrap();
    assert_eq!((&found["state"], &found["errno"]), (&json!("failed"), &json!(98)), "{found}");
    drop(taken);
    soon("it is bound", || gateway.control_list("/v1/listeners").iter().any(|l| l["state"] == "active"));
    client(addr).ping(b"x");
}

#[test]
fn the_end_of_the_process_waits_for_sessions_as_long_as_it_should() {
    let (server, port) = (echo(), ports::free());
    let mut gateway = Gateway::start(Conf::new().udp(port).drain_timeout("1s"));
    gateway.put_live("stream_routes", "r", &to(&server.node()));
    let one = client(ports::local(port));
    one.ping(b"before");
    gateway.signal(Signal::TERM);
    soon("it drains", || gateway.readyz().is_none_or(|a| a.status == 503));
    one.ping(b"while it drains");
    assert!(gateway.wait_exit(Duration::from_secs(10)).success());
    let line = gateway.access_log().pop().unwrap();
    assert_eq!((&line["reason"], &line["rx_datagrams"]), (&json!("drain_deadline"), &json!(2)), "{line}");
}

/// Keeps so many datagrams on the way until so many have come back.
fn pump(addr: SocketAddr, datagrams: u32, window: u32) {
    let one: Client = client(addr);
    one.0.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut buffer = [0; 64];
    let (mut sent, mut heard) = (0, 0);
    while heard < datagrams {
        while sent < datagrams && sent - heard < window {
            one.say(&sent.to_be_bytes());
            sent += 1;
        }
        assert_eq!(one.0.recv(&mut buffer).unwrap(), 4);
        // one session keeps its order
        assert_eq!(u32::from_be_bytes(buffer[..4].try_into().unwrap()), heard);
        heard += 1;
    }
}

#[test]
fn a_million_datagrams_are_counted_exactly() {
    let servers: Vec<Echo> = (0..2).map(|_| echo()).collect();
    let udp = gateway(&json!({"upstream": upstream(&[&servers[0].node(), &servers[1].node()])}));
    let each = 125_000;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| pump(udp.addr, each, 32));
        }
    });
    let all = u64::from(each) * 4;
    assert_eq!(servers.iter().map(Echo::received).sum::<u64>(), all);
    soon("each is counted", || (udp.datagrams("in"), udp.datagrams("out")) == (all, all));
    for direction in ["in", "out"] {
        assert_eq!(udp.gateway.count("sluice_bytes_total", &[("route", "r"), ("direction", direction)]), all * 4);
    }
    assert_eq!(udp.gateway.count("sluice_udp_dropped_total", &[]), 0);
}

#[test]
fn a_flood_of_sources_is_bounded_and_takes_nothing_from_a_session() {
    namespace::network("udp::a_flood_of_sources_is_bounded_and_takes_nothing_from_a_session", || {
        let server = echo_on("127.0.0.1:9201".parse().unwrap(), 1);
        // room for some 1,260 sessions
        let gateway = Gateway::start_under(&["prlimit", "--nofile=2000:2000"], Conf::new().udp(9200));
        gateway.put_live("stream_routes", "r", &with(to(&server.node()), "timeout", json!("3s")));
        let udp = Udp { gateway, addr: ports::local(9200) };
        let resident = || udp.gateway.count("process_resident_memory_bytes", &[]);
        let refused = || udp.dropped("session_table_full") + udp.dropped("source_rate");
        let one = client(udp.addr);
        one.ping(b"before");
        let (mut before, mut sent) = (0, 1);
        for source in 0..100_000_u32 {
            let [_, a, b, c] = (source + 0x1_0000).to_be_bytes();
            let socket = std::net::UdpSocket::bind(SocketAddr::from(([127, a, b, c], 0))).unwrap();
            socket.send_to(b"flood", udp.addr).unwrap();
            sent += 1;
            if source % 50 == 0 {
                one.ping(&source.to_be_bytes());
                sent += 1;
            }
            if source % 1_000 == 999 {
                // what waits in a worker's socket stays far below what the socket holds
                soon("each datagram is counted once", || udp.datagrams("in") + refused() == sent);
            }
            if source == 5_000 {
                before = resident();
            }
        }
        let active = udp.active();
        assert!((1_000..=1_264).contains(&active), "{active}");
        let after = resident();
        assert!(after < before + 16 * 1024 * 1024, "{before} then {after} bytes");
        assert!(refused() > 50_000, "{}", refused());
        assert!(udp.gateway.fds() < 1_500, "TCP has the rest of the descriptors: {}", udp.gateway.fds());
        soon("others are served again", || client(udp.addr).answered());
        one.ping(b"after");
    });
}

/// A limit, on the route to a node.
fn limited(node: &str, limit: &Value) -> Value {
    with(to(node), "limit", limit.clone())
}

impl Udp {
    /// Asked and let pass, asked and refused.
    fn asked(&self) -> (u64, u64) {
        let count = |name: &str| self.gateway.count(name, &[("route", "r")]);
        (count("sluice_limiter_allowed_total"), count("sluice_limiter_rejections_total"))
    }
}

#[test]
fn a_limit_of_pace_counts_each_datagram() {
    for policy in ["fixed_window", "sliding_window", "token_bucket"] {
        let server = echo();
        let limit = |permits: u32| json!({"policy": policy, "permit_limit": permits, "window": "1h"});
        let udp = gateway(&limited(&server.node(), &limit(5)));
        let (one, other) = (client(udp.addr), client(udp.addr));
        for n in 0..3_u8 {
            one.ping(&[n]);
        }
        other.ping(b"a");
        other.ping(b"b");
        for _ in 0..4 {
            one.say(b"too many");
        }
        soon("each is counted", || (udp.dropped("limited"), udp.asked()) == (4, (5, 4)));
        // its first datagram passes no more: no session begins
        client(udp.addr).say(b"too late");
        soon("told as refused", || udp.gateway.closed_for("r", "limited") == 1);
        assert_eq!((udp.dropped("limited"), udp.asked(), udp.datagrams("in"), udp.active()), (5, (5, 5), 5, 2), "{policy}");
        // other numbers of the same limit count for sessions that run
        if policy != "token_bucket" {
            udp.gateway.put_live("stream_routes", "r", &limited(&server.node(), &limit(7)));
            one.ping(b"once more");
            one.ping(b"and again");
            one.say(b"too many");
            soon("the larger number is used up", || udp.asked() == (7, 6));
        }
        assert_eq!(server.received(), udp.datagrams("in"));
    }
}

#[test]
fn a_concurrency_limit_holds_a_permit_as_long_as_a_session_lives() {
    let server = echo();
    let limit = json!({"policy": "concurrency", "permit_limit": 2, "queue_limit": 10});
    let udp = gateway(&with(limited(&server.node(), &limit), "timeout", json!("1m")));
    let (one, other, third) = (client(udp.addr), client(udp.addr), client(udp.addr));
    for n in 0..20_u8 {
        one.ping(&[n]);
        other.ping(&[n]);
    }
    third.say(b"no place");
    assert_eq!(third.within(QUIET), None, "a datagram never waits");
    assert_eq!((udp.asked(), udp.dropped("limited"), udp.active()), ((2, 1), 1, 2));
    assert_eq!(udp.gateway.control("GET", "/v1/limits/r").json()["queued"], 0);
    let id = udp.gateway.control_list("/v1/sessions")[0]["id"].as_u64().unwrap();
    assert!(udp.gateway.control("DELETE", &format!("/v1/sessions/{id}")).ok());
    udp.ended("admin_killed", 1);
    third.ping(b"the place of the first");
    assert_eq!((udp.asked(), udp.active()), ((3, 1), 2));
}

#[test]
fn a_flood_beyond_the_limit_of_one_client_takes_nothing_from_another() {
    let server = echo();
    let limit = json!({"policy": "token_bucket", "by": "key", "permit_limit": 20, "window": "1h"});
    let udp = gateway(&limited(&server.node(), &limit));
    let flood = client_from("127.0.0.2:0".parse().unwrap(), udp.addr);
    let calm = client_from("127.0.0.3:0".parse().unwrap(), udp.addr);
    for n in 0..20_u8 {
        for _ in 0..50 {
            flood.say(b"flood");
        }
        calm.ping(&[n]);
    }
    soon("the flood has its own count", || (udp.datagrams("in"), udp.dropped("limited"), udp.asked()) == (40, 980, (40, 980)));
    assert_eq!(server.received(), 40);
}

#[test]
fn the_global_limit_counts_datagrams_and_none_exempts() {
    let server = echo();
    let udp = gateway(&to(&server.node()));
    udp.gateway.put_live("settings", "global", &json!({"limit": {"policy": "fixed_window", "permit_limit": 2, "window": "1h"}}));
    let one = client(udp.addr);
    one.ping(b"1");
    one.ping(b"2");
    one.say(b"3");
    soon("the third is dropped", || udp.dropped("limited") == 1);
    udp.gateway.put_live("stream_routes", "r", &limited(&server.node(), &json!({"policy": "none"})));
    // a session keeps the limit that it began with
    one.say(b"4");
    soon("so is the fourth", || udp.dropped("limited") == 2);
    let other = client(udp.addr);
    for n in 0..9_u8 {
        other.ping(&[n]);
    }
    assert_eq!(udp.asked(), (2, 2));
}

#[test]
fn an_idle_session_takes_a_kilobyte_at_most() {
    namespace::network("udp::an_idle_session_takes_a_kilobyte_at_most", || {
        let server = echo_on("127.0.0.1:9201".parse().unwrap(), 1);
        let gateway = Gateway::start(Conf::new().udp(9200));
        gateway.put_live("stream_routes", "r", &with(to(&server.node()), "timeout", json!("10m")));
        let udp = Udp { gateway, addr: ports::local(9200) };
        let begin = |sources: std::ops::Range<u32>| {
            for source in sources {
                let [_, a, b, c] = (source + 0x1_0000).to_be_bytes();
                client_from(SocketAddr::from(([127, a, b, c], 0)), udp.addr).ping(b"x");
            }
            udp.gateway.count("process_resident_memory_bytes", &[])
        };
        // buffers, code and the first of each table are there by then
        let before = begin(0..1_000);
        let after = begin(1_000..11_000);
        assert_eq!(udp.active(), 11_000);
        let each = after.saturating_sub(before) / 10_000;
        assert!(each <= 1_024, "{each} bytes for a session");
    });
}
