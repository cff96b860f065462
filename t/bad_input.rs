//! Bad input harms nobody: whatever is wrong with one object, the others serve on, an outside client sees no difference, and the reason is
//! where operators look: the answer, the control API, the metrics, the log.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::gateway::{Gateway, upstream};
use crate::support::poll::{SOON, until};
use crate::support::store::put_raw;
use crate::support::upstream::{self as servers, Server};
use crate::support::{Conf, client, namespace, ports, soon};

/// A wrong value, and what is said about it.
struct Bad {
    what: &'static str,
    kind: &'static str,
    bytes: Vec<u8>,
    /// Where it is found out, as in `sluice_config_rejections_total{stage}`.
    stage: &'static str,
    /// The JSON Pointer of a violation.
    pointer: &'static str,
    /// Part of a violation's message.
    says: &'static str,
}

fn bad(
    what: &'static str,
    kind: &'static str,
    bytes: impl Into<Vec<u8>>,
    stage: &'static str,
    pointer: &'static str,
    says: &'static str,
) -> Bad {
    Bad { what, kind, bytes: bytes.into(), stage, pointer, says }
}

/// Values that are wrong wherever they come from. Those that say nothing are judged by stage and pointer alone.
fn bad_values() -> Vec<Bad> {
    let nested = |open: &str, close: &str, n: usize| format!("{}{}", open.repeat(n), close.repeat(n));
    vec![
        bad("not JSON", "upstreams", "{\"nodes\": ", "json", "", ""),
        bad("text after the value", "upstreams", "{\"nodes\":{}} {}", "json", "", ""),
        bad("bytes that are no text", "upstreams", vec![0xff, 0x00, 0x80], "json", "", ""),
        bad("a number beyond all bounds", "upstreams", "{\"nodes\":{},\"retries\":1e999}", "json", "", ""),
        bad("half a megabyte of opening and as much of closing brackets", "upstreams", nested("[", "]", 500_000), "json", "", ""),
        bad("objects as deep", "upstreams", nested("{\"a\":", "}", 100_000), "json", "", ""),
        bad("a key twice", "upstreams", "{\"type\":\"roundrobin\",\"nodes\":{},\"type\":\"roundrobin\"}", "json", "/type", "type"),
        bad("a key twice, deeper", "stream_routes", "{\"upstream\":{\"nodes\":{\"a:1\":1,\"a:1\":2}}}", "json", "", "a:1"),
        bad(
            "a condition that does not parse",
            "routes",
            "{\"match\":{\"statement\":\"Method = 'GET'\\n and Path =\"}}",
            "meaning",
            "/match/statement",
            "line 2, column 12: expected a value, found the end",
        ),
        bad("no object", "upstreams", "[1]", "schema", "", "wrong type: expected object, got table"),
        bad(
            "a wrong type",
            "stream_routes",
            "{\"server_port\":\"9100\"}",
            "schema",
            "/server_port",
            "wrong type: expected integer, got string",
        ),
        bad("out of range", "stream_routes", "{\"server_port\":70000}", "schema", "/server_port", "expected 70000 to be at most 65535"),
        bad(
            "an unknown field",
            "upstreams",
            "{\"nodse\":{}}",
            "schema",
            "/nodse",
            "additional properties forbidden, found nodse (did you mean nodes?)",
        ),
        bad(
            "an unknown field of a listener",
            "listeners",
            "{\"protocol\":\"tcp\",\"addr\":\":1\",\"tsl\":true}",
            "schema",
            "/tsl",
            "found tsl",
        ),
        bad("an unknown balancer", "upstreams", "{\"nodes\":{},\"type\":\"fastest\"}", "schema", "/type", "roundrobin"),
        bad("the id of another", "upstreams", "{\"id\":\"other\",\"nodes\":{}}", "meaning", "/id", ""),
        bad("an address that is none", "stream_routes", "{\"remote_addr\":\":/8\"}", "", "/remote_addr", ""),
        bad("a listener on a name", "listeners", "{\"protocol\":\"tcp\",\"addr\":\"localhost:80\"}", "", "/addr", ""),
        bad("a range backwards", "listeners", "{\"protocol\":\"tcp\",\"addr\":\"127.0.0.1:3000-2000\"}", "", "/addr", ""),
    ]
}

/// A gateway that serves `hello` on one port through an upstream, a route and a listener of the store.
struct Served {
    gateway: Gateway,
    hello: Server,
    addr: std::net::SocketAddr,
}

impl Served {
    fn start() -> Self {
        let (gateway, hello) = (Gateway::start(Conf::new()), servers::hello());
        let addr = ports::free_addr();
        let served = Self { gateway, hello, addr };
        for kind in ["upstreams", "stream_routes", "listeners"] {
            served.gateway.admin().must_put(kind, "good", &served.good(kind));
        }
        soon("the good objects serve", || client::served(addr));
        served
    }

    fn good(&self, kind: &str) -> Value {
        match kind {
            "upstreams" => upstream(&[&self.hello.node()]),
            "stream_routes" => json!({"upstream_id": "good"}),
            _ => json!({"protocol": "tcp", "addr": self.addr.to_string()}),
        }
    }

    fn serves_on(&self, what: &str) {
        assert!(client::served(self.addr), "{what}: the good objects no longer serve");
    }
}

#[test]
fn what_the_admin_api_refuses_changes_nothing_and_is_explained_in_the_answer() {
    let served = Served::start();
    let admin = served.gateway.admin();
    for bad in bad_values() {
        let before = admin.get(&format!("/{}/good", bad.kind)).json();
        let answer = admin.call("PUT", &format!("/{}/good", bad.kind), &bad.bytes);
        assert_eq!(answer.status, 400, "{}: {}", bad.what, answer.text());
        assert!(!answer.error_msg().is_empty(), "{}: {}", bad.what, answer.text());
        if !bad.pointer.is_empty() && bad.pointer != "/id" {
            let violations = answer.json()["violations"].clone();
            let fits = |v: &Value| {
                v["path"].as_str().is_some_and(|p| p.starts_with(bad.pointer)) && v["message"].is_string() && v["rule"].is_string()
            };
            assert!(violations.as_array().is_some_and(|all| all.iter().any(fits)), "{}: {} in {violations}", bad.what, bad.pointer);
            assert!(violations.to_string().contains(bad.says), "{}: {} in {violations}", bad.what, bad.says);
        }
        assert_eq!(admin.get(&format!("/{}/good", bad.kind)).json(), before, "{}: the stored value", bad.what);
        served.serves_on(bad.what);
    }
    let too_large = format!("{{\"desc\":\"{}\"}}", "x".repeat(2 * 1024 * 1024));
    let answer = admin.try_call("PUT", "/upstreams/good", too_large.as_bytes()).expect("an answer");
    assert!(answer.status == 400 || answer.status == 413, "two megabytes: {}", answer.status);
    served.serves_on("two megabytes");
}

#[test]
fn what_somebody_wrote_into_the_store_is_rejected_visibly_and_the_rest_serves() {
    let mut served = Served::start();
    served.gateway.kill9();
    let bad = bad_values();
    let mut entries: Vec<(String, Vec<u8>)> = Vec::new();
    for (n, bad) in bad.iter().enumerate() {
        entries.push((format!("/sluice/{}/bad-{n}", bad.kind), bad.bytes.clone()));
    }
    entries.push(("/sluice/upstreams/empty".into(), Vec::new()));
    entries.push(("/sluice/upstreams/large".into(), format!("{{\"desc\":\"{}\"}}", "x".repeat(1024 * 1024)).into_bytes()));
    entries.push(("/sluice/upstreams/*no-id".into(), b"{}".to_vec()));
    // markers and kinds of others are none of our business
    entries.push(("/sluice/upstreams/".into(), b"init_dir".to_vec()));
    entries.push(("/sluice/consumers/jack".into(), b"{}".to_vec()));
    put_raw(&served.gateway.store(), &entries);
    served.gateway.start_again();
    soon("the good objects serve", || client::served(served.addr));

    for (n, bad) in bad.iter().enumerate() {
        let key = format!("{}/bad-{n}", bad.kind);
        let rejection = until(SOON, &format!("{}: {key} is in /v1/rejections", bad.what), || served.gateway.rejection(&key));
        if !bad.stage.is_empty() {
            assert_eq!(rejection["stage"], bad.stage, "{}: {rejection}", bad.what);
        }
        let violations = rejection["violations"].as_array().unwrap_or_else(|| panic!("{}: {rejection}", bad.what));
        let fits = |v: &&Value| v["path"].as_str().is_some_and(|p| p.starts_with(bad.pointer));
        assert!(violations.iter().any(|v| fits(&v)), "{}: {} in {rejection}", bad.what, bad.pointer);
        assert!(rejection.to_string().contains(bad.says), "{}: {} in {rejection}", bad.what, bad.says);
        let log = served.gateway.log();
        assert!(log.lines().any(|l| l.contains(&key)), "{}: {key} is in the log", bad.what);
    }
    for key in ["upstreams/empty", "upstreams/large"] {
        assert!(served.gateway.rejection(key).is_some(), "{key}");
    }
    for key in ["upstreams/", "consumers/jack"] {
        assert!(served.gateway.rejection(key).is_none(), "{key}");
    }
    for stage in ["json", "schema", "meaning"] {
        let labels = [("stage", stage)];
        assert!(served.gateway.count("sluice_config_rejections_total", &labels) >= 1, "{stage}");
    }
    let rejected = served.gateway.count("sluice_config_objects", &[("state", "rejected")]);
    assert!(rejected >= bad.len() as u64 + 2, "{rejected}");
    assert_eq!(served.gateway.readyz().unwrap().status, 200, "bad objects of the store do not make it unready");

    // a good value heals; the bad neighbours stay what they are
    served.gateway.admin().must_put("upstreams", "bad-0", &upstream(&["127.0.0.1:80"]));
    soon("mended", || served.gateway.rejection("upstreams/bad-0").is_none());
    served.serves_on("at the end");
}

#[test]
fn a_reference_to_nothing_waits_and_heals_by_itself() {
    let mut served = Served::start();
    served.gateway.kill9();
    put_raw(&served.gateway.store(), &[("/sluice/stream_routes/waits".into(), br#"{"order":-1,"upstream_id":"later"}"#.to_vec())]);
    served.gateway.start_again();
    let state = |key: &str| {
        let list = served.gateway.control_list("/v1/config");
        list.into_iter().find(|o| o["key"] == key).map(|o| (o["state"].clone(), o.to_string()))
    };
    let (_, text) = until(SOON, "it is pending", || state("stream_routes/waits").filter(|(s, _)| s == "pending"));
    assert!(text.contains("upstreams/later"), "it names what is missing: {text}");
    assert_eq!(served.gateway.count("sluice_config_objects", &[("kind", "stream_routes"), ("state", "pending")]), 1);
    let refused = served.gateway.admin().put("stream_routes", "other", &json!({"upstream_id": "nowhere"}));
    assert_eq!(refused.error_msg(), "failed to fetch upstream info by upstream id [nowhere], response code: 404");

    let second = servers::hello();
    served.gateway.admin().must_put("upstreams", "later", &upstream(&[&second.node()]));
    soon("it is active", || state("stream_routes/waits").is_some_and(|(s, _)| s == "active"));
    soon("and serves", || client::served(served.addr) && second.connections() > 0);

    let forced = served.gateway.admin().call("DELETE", "/upstreams/later?force=true", b"");
    assert_eq!(forced.status, 200);
    soon("its upstream gone, it is pending again", || state("stream_routes/waits").is_some_and(|(s, _)| s == "pending"));
}

/// The state of a listener's port, once it is `state`, with all that the control API says of it.
fn port_in(gateway: &Gateway, listener: &str, state: &str) -> String {
    until(SOON, &format!("{listener} is {state}"), || {
        gateway.control_list("/v1/listeners").into_iter().find(|l| l["listener"] == listener && l["state"] == state).map(|l| l.to_string())
    })
}

/// A failed bind: seen in the control API, the metric and the log.
fn bind_failed(served: &Served, listener: &str, errno: i64) {
    let said = port_in(&served.gateway, listener, "failed");
    let status: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(status["errno"], errno, "{said}");
    assert!(status["message"].as_str().is_some_and(|m| !m.is_empty()), "it says what helps: {said}");
    assert!(served.gateway.count("sluice_listener_bind_failures_total", &[("listener", listener)]) >= 1);
    assert!(served.gateway.count("sluice_listeners", &[("state", "failed")]) >= 1);
    assert!(served.gateway.log().lines().any(|l| l.contains(listener) && l.contains("fail")), "the log names it");
    served.serves_on(listener);
}

#[test]
fn a_port_in_use_fails_visibly_and_is_taken_once_it_is_free() {
    let served = Served::start();
    let listener = |addr: std::net::SocketAddr| json!({"protocol": "tcp", "addr": addr.to_string()});
    let addr = ports::free_addr();
    let squatter = std::net::TcpListener::bind(addr).unwrap();
    let answer = served.gateway.admin().must_put("listeners", "busy", &listener(addr));
    assert!(answer.ok(), "whether a port can be bound is a matter of each gateway, not of the cluster");
    bind_failed(&served, "busy", 98);
    drop(squatter);
    port_in(&served.gateway, "busy", "active");
    soon("and it serves", || client::served(addr));

    // somebody whose socket allows sharing has the port all the same
    let shared = ports::free_addr();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&shared.into()).unwrap();
    socket.listen(16).unwrap();
    served.gateway.admin().must_put("listeners", "shared", &listener(shared));
    bind_failed(&served, "shared", 98);
}

#[test]
fn a_listener_that_moves_to_a_busy_port_does_not_keep_others_from_serving() {
    let served = Served::start();
    let busy = ports::free_addr();
    let _squatter = std::net::TcpListener::bind(busy).unwrap();
    let other = ports::free_addr();
    served.gateway.listen("other", other);
    served.gateway.admin().must_put("listeners", "other", &json!({"protocol": "tcp", "addr": [other.to_string(), busy.to_string()]}));
    bind_failed(&served, "other", 98);
    assert!(client::served(other), "its other address serves on");
}

#[test]
fn a_port_that_needs_a_capability_fails_with_that_reason() {
    namespace::network("bad_input::a_port_that_needs_a_capability_fails_with_that_reason", || {
        let gateway =
            Gateway::start_under(&["setpriv", "--bounding-set", "-net_bind_service", "--inh-caps", "-net_bind_service", "--"], Conf::new());
        let (hello, addr) = (servers::hello(), ports::free_addr());
        let served = Served { gateway, hello, addr };
        for kind in ["upstreams", "stream_routes", "listeners"] {
            served.gateway.admin().must_put(kind, "good", &served.good(kind));
        }
        soon("the good objects serve", || client::served(addr));
        served.gateway.admin().must_put("listeners", "low", &json!({"protocol": "tcp", "addr": "127.0.0.1:80"}));
        bind_failed(&served, "low", 13);

        run("sysctl", &["-qw", "net.ipv4.ip_unprivileged_port_start=0"]);
        port_in(&served.gateway, "low", "active");
        assert!(client::served("127.0.0.1:80".parse().unwrap()));
    });
}

#[test]
fn an_address_that_is_not_there_is_bound_when_it_appears() {
    namespace::network("bad_input::an_address_that_is_not_there_is_bound_when_it_appears", || {
        let served = Served::start();
        served.gateway.admin().must_put("listeners", "away", &json!({"protocol": "tcp", "addr": "192.0.2.7:9300"}));
        bind_failed(&served, "away", 99);
        run("ip", &["address", "add", "192.0.2.7/32", "dev", "lo"]);
        port_in(&served.gateway, "away", "active");
        assert!(client::served("192.0.2.7:9300".parse().unwrap()));
    });
}

fn run(program: &str, args: &[&str]) {
    let status = Command::new(program).args(args).status().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(status.success(), "{program} {args:?}");
}
