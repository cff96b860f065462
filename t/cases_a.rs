//! Cases A (and those of T that need no more): which route a plain TCP session matches, by address and port.

use serde_json::{Value, json};

use crate::support::client::{closed, served};
use crate::support::conf::Conf;
use crate::support::gateway::{Gateway, upstream};
use crate::support::upstream::{Server, hello, refusing, speaks_first};
use crate::support::{client, ports, soon};

struct Fixture {
    gateway: Gateway,
    hello: Server,
    port: u16,
}

impl Fixture {
    fn new() -> Self {
        let port = ports::free();
        Self { gateway: Gateway::start(Conf::new().tcp(port)), hello: hello(), port }
    }

    /// `127.0.0.<n>:<port of hello>`
    fn node(&self, n: u8) -> String {
        format!("127.0.0.{n}:{}", self.hello.addr.port())
    }

    /// Puts route `id`, then waits until a session to the listener is answered, or closed.
    fn route(&self, case: &str, id: &str, value: &Value, answered: bool) {
        self.gateway.admin().must_put("stream_routes", id, value);
        self.expect(case, answered);
    }

    fn expect(&self, case: &str, answered: bool) {
        let to = ports::local(self.port);
        soon(&format!("{case}: answered = {answered}"), || if answered { served(to) } else { closed(to) });
    }
}

#[test]
fn routes_match_by_client_address_and_go_when_they_are_deleted() {
    let f = Fixture::new();
    assert!(closed(ports::local(f.port)), "A00: no route");
    f.route("A01", "1", &json!({"remote_addr": "127.0.0.1", "upstream": upstream(&[&f.node(1)])}), true);
    soon("A01: each session counted", || f.gateway.closed_for("1", "ok") == f.hello.connections());
    f.gateway.admin().must_delete("stream_routes", "1");
    f.expect("A03", false);
    assert_eq!(f.gateway.admin().get("/stream_routes/1").status, 404, "A03");
    assert!(f.gateway.closed_for("", "no_route") >= 1, "A03: counted with its reason");
    f.route("A02", "1", &json!({"remote_addr": "127.0.0.2", "upstream": upstream(&[&f.node(1)])}), false);
}

#[test]
fn routes_name_an_upstream_by_its_id() {
    let f = Fixture::new();
    let admin = f.gateway.admin();
    admin.must_put("upstreams", "1", &upstream(&[&f.node(1)]));
    f.route("A05", "1", &json!({"remote_addr": "127.0.0.1", "upstream_id": "1"}), true);
    f.route("A06", "1", &json!({"remote_addr": "127.0.0.2", "upstream_id": "1"}), false);
    f.route("A07", "1", &json!({"remote_addr": "127.0.0.1/26", "upstream_id": "1"}), true);
    f.route("A07 (an integer id)", "1", &json!({"remote_addr": "127.0.0.1/26", "upstream_id": 1}), true);
    f.route("A08", "1", &json!({"remote_addr": "127.0.0.64/26", "upstream_id": "1"}), false);

    let before = f.hello.hits("127.0.0.2");
    admin.must_put("upstreams", "1", &upstream(&[&f.node(2)]));
    f.route("A05", "1", &json!({"upstream_id": "1"}), true);
    soon("A05: a changed upstream is used without a change of the route", || {
        served(ports::local(f.port)) && f.hello.hits("127.0.0.2") > before
    });
}

#[test]
fn a_route_with_pass_host_and_two_nodes_serves_from_both() {
    let f = Fixture::new();
    let mut both = upstream(&[&f.node(1), &f.node(2)]);
    both["pass_host"] = json!("node");
    f.gateway.admin().must_put("upstreams", "1", &both);
    f.route("A09", "1", &json!({"upstream_id": "1"}), true);
    soon("A09: both nodes", || {
        assert!(served(ports::local(f.port)), "A09");
        f.hello.hits("127.0.0.1") > 0 && f.hello.hits("127.0.0.2") > 0
    });
}

#[test]
fn sessions_leave_no_state_behind_for_the_next_on_the_same_worker() {
    let f = Fixture::new();
    f.route("A19", "1", &json!({"remote_addr": "127.0.0.1", "upstream": upstream(&[&f.node(1)])}), true);
    for n in 0..50 {
        assert!(served(ports::local(f.port)), "A19: session {n}");
    }
}

#[test]
fn a_range_of_ports_serves_on_each_and_the_server_may_speak_first() {
    let server = speaks_first(b"welcome\n");
    let first = ports::free_row(3);
    let gateway = Gateway::start(Conf::new().tcp(format!("{first}-{}", first + 2)));
    gateway.admin().must_put("stream_routes", "1", &json!({"upstream": upstream(&[&server.node()])}));
    for port in first..first + 3 {
        soon(&format!("A21: {port}"), || {
            let mut stream = client::connect(ports::local(port));
            let mut banner = [0; 8];
            std::io::Read::read_exact(&mut stream, &mut banner).is_ok()
                && &banner == b"welcome\n"
                && client::ping(&mut stream, b"\n").is_ok()
        });
    }
}

/// Which of four nodes answers tells which route was matched: the order is `order`, specificity, id, on every instance alike.
#[test]
fn the_order_among_overlapping_routes_does_not_hang_on_history() {
    let f = Fixture::new();
    let admin = f.gateway.admin();
    let to = |n: u8, fields: Value| {
        let mut route = fields;
        route["upstream"] = upstream(&[&f.node(n)]);
        route
    };
    let via = |case: &str, n: u8| {
        let ip = format!("127.0.0.{n}");
        soon(&format!("{case}: via {ip}"), || {
            let before = f.hello.hits(&ip);
            served(ports::local(f.port)) && f.hello.hits(&ip) == before + 1
        });
    };
    admin.must_put("stream_routes", "a", &to(1, json!({})));
    via("any", 1);
    admin.must_put("stream_routes", "b", &to(2, json!({"remote_addr": "127.0.0.0/8"})));
    via("a longer remote_addr", 2);
    admin.must_put("stream_routes", "c", &to(3, json!({"server_port": f.port})));
    via("server_port before addresses", 3);
    admin.must_put("stream_routes", "d", &to(4, json!({"order": -1})));
    via("order before all", 4);
    admin.must_delete("stream_routes", "d");
    via("back", 3);
    admin.must_put("stream_routes", "B", &to(4, json!({"server_port": f.port})));
    via("the smaller id among equals", 4);
    admin.must_put("stream_routes", "B", &to(4, json!({"server_port": f.port, "status": 0})));
    via("a disabled route is no candidate", 3);
    admin.must_put("stream_routes", "e", &to(4, json!({"server_port": f.port, "remote_addr": ["10.0.0.0/8", "127.0.0.1"]})));
    via("one of a list of addresses", 4);
}

#[test]
fn a_session_whose_route_has_no_upstream_is_closed_with_that_reason() {
    let f = Fixture::new();
    f.route("T01", "1", &json!({}), false);
    soon("T01: counted", || closed(ports::local(f.port)) && f.gateway.closed_for("1", "no_upstream") >= 1);
}

#[test]
fn a_disabled_upstream_counts_as_absent_until_it_is_switched_on() {
    let f = Fixture::new();
    let admin = f.gateway.admin();
    let with = |status: u8| {
        let mut one = upstream(&[&f.node(1)]);
        one["status"] = json!(status);
        admin.must_put("upstreams", "u", &one);
    };
    with(1);
    f.route("on", "1", &json!({"upstream_id": "u"}), true);
    with(0);
    soon("off: closed", || closed(ports::local(f.port)) && f.gateway.closed_for("1", "no_upstream") >= 1);
    let state = |key: &str| f.gateway.control("GET", &format!("/v1/config/{key}")).json();
    assert_eq!((&state("upstreams/u")["state"], &state("stream_routes/1")["state"]), (&json!("disabled"), &json!("pending")));
    assert_eq!(state("stream_routes/1")["reason"], "waits for upstreams/u, which is disabled");
    with(1);
    soon("on again", || served(ports::local(f.port)));
}

#[test]
fn a_refusing_node_gives_way_to_the_next_in_the_same_session() {
    let f = Fixture::new();
    let (one, two) = (refusing(), refusing());
    let nodes = [one.addr.to_string(), two.addr.to_string(), f.node(1)];
    let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
    f.route("T17", "1", &json!({"upstream": upstream(&nodes)}), true);
    for n in 0..10 {
        assert!(served(ports::local(f.port)), "T17: session {n}");
    }
    let mut none = upstream(&nodes[..2]);
    none["retries"] = json!(0);
    f.route("G07: no retries", "1", &json!({"upstream": none}), false);
    soon("G07: counted", || closed(ports::local(f.port)) && f.gateway.closed_for("1", "upstream_refused") >= 1);
}

#[test]
fn nodes_may_be_names() {
    crate::support::namespace::network("cases_a::nodes_may_be_names", || {
        let f = Fixture::new();
        let named = |host: &str| json!({"upstream": upstream(&[&format!("{host}:{}", f.hello.addr.port())])});
        f.route("F01", "1", &named("localhost"), true);
        f.route("F03", "1", &named("no-such-host.invalid"), false);
        soon("F03: counted", || closed(ports::local(f.port)) && f.gateway.closed_for("1", "dns_failed") >= 1);
        f.route("F01 again", "1", &named("localhost"), true);
    });
}

#[test]
fn a_listener_with_a_fixed_route_asks_for_no_match() {
    let f = Fixture::new();
    let admin = f.gateway.admin();
    admin.must_put("stream_routes", "fixed", &json!({"remote_addr": "10.9.9.9", "upstream": upstream(&[&f.node(1)])}));
    let addr = ports::free_addr();
    admin.must_put("listeners", "l", &json!({"protocol": "tcp", "addr": addr.to_string(), "stream_route_id": "fixed"}));
    soon("the fixed route serves", || served(addr));
    assert!(closed(ports::local(f.port)), "the other listener goes on matching");
}
