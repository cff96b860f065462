//! Several gateways on one real etcd: what one is told all serve, a bad value harms none. What etcd may suffer is in `etcd_faults`.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::etcd::Etcd;
use crate::support::gateway::{Gateway, upstream};
use crate::support::upstream as servers;
use crate::support::{Conf, client, poll, ports, soon};

/// Ten times what a change may take after etcd is back.
const RECOVERY: Duration = Duration::from_secs(50);

/// A gateway of the fleet with a port of its own that conf opens.
struct Member {
    gateway: Gateway,
    addr: SocketAddr,
}

fn member(etcd: &Etcd, name: &str) -> Member {
    let port = ports::free();
    Member { gateway: Gateway::start(Conf::new().tcp(port).etcd(&etcd.urls(), name)), addr: ports::local(port) }
}

fn fleet(etcd: &Etcd, members: usize) -> Vec<Member> {
    (0..members).map(|n| member(etcd, &format!("gateway-{n}"))).collect()
}

/// A route for every port to a server.
fn route(server: &servers::Server) -> String {
    json!({"upstream": upstream(&[&server.node()])}).to_string()
}

#[test]
fn what_etcdctl_writes_takes_effect_on_every_gateway() {
    let etcd = Etcd::start();
    let fleet = fleet(&etcd, 3);
    let server = servers::hello();
    assert!(fleet.iter().all(|m| client::closed(m.addr)), "no route yet");
    etcd.put("/sluice/stream_routes/1", &route(&server));
    for m in &fleet {
        soon("the route is live", || client::served(m.addr));
    }
    // a port of each, opened by one write
    let opened = ports::free();
    for (n, m) in fleet.iter().enumerate() {
        let own: SocketAddr = format!("127.0.0.{}:{opened}", n + 2).parse().unwrap();
        let answer = m.gateway.admin().put("listeners", &format!("l{n}"), &json!({"addr": own.to_string()}));
        assert!(answer.ok(), "{}", answer.text());
        soon("the port is open", || client::served(own));
    }
    etcd.delete("/sluice/stream_routes/1");
    for m in &fleet {
        soon("the route is gone", || client::closed(m.addr));
    }
}

#[test]
fn a_bad_value_by_etcdctl_harms_no_gateway_and_each_says_why() {
    let etcd = Etcd::start();
    let fleet = fleet(&etcd, 3);
    let server = servers::hello();
    etcd.put("/sluice/stream_routes/1", &route(&server));
    for m in &fleet {
        soon("the route is live", || client::served(m.addr));
    }
    let bad = [
        ("stream_routes/1", "{not json", "json"),
        ("stream_routes/1", r#"{"server_port": 0}"#, "schema"),
        ("stream_routes/1", r#"{"upstream": {"nodse": {}}}"#, "schema"),
        ("stream_routes/1", r#"{"id": "2"}"#, "meaning"),
        ("stream_routes/1", r#"{"order": 1, "order": 2}"#, "json"),
        ("stream_routes/1", r#"{"remote_addr": "nowhere"}"#, "meaning"),
        ("stream_routes/1", "", "json"),
        ("stream_routes/*", "{}", "key"),
    ];
    for (key, value, stage) in bad {
        etcd.put(&format!("/sluice/{key}"), value);
        for m in &fleet {
            soon(&format!("{key} {value:?} is shown as rejected at {stage}"), || {
                m.gateway.rejection(key).is_some_and(|r| r["stage"] == stage && r["violations"][0]["message"].is_string())
            });
            assert!(client::served(m.addr), "the last good version serves after {key} {value:?}");
            soon("the status key tells it", || {
                let name = m.gateway.conf.instance.clone().unwrap();
                let status = etcd.ctl(&["get", "--print-value-only", "--", &format!("/sluice-status/instances/{name}")]);
                serde_json::from_str::<Value>(&status).is_ok_and(|s| s.to_string().contains(key))
            });
            assert!(m.gateway.log().contains(key), "the log tells it");
            assert!(m.gateway.count("sluice_config_rejections_total", &[("stage", stage)]) > 0, "the metric tells it");
        }
    }
    etcd.put("/sluice/stream_route/1", "{}");
    for m in &fleet {
        soon("a misspelt kind is told", || m.gateway.log().contains("not read (did you mean stream_routes?)"));
    }
    etcd.put("/sluice/stream_routes/1", &route(&server));
    for m in &fleet {
        soon("a good value heals it", || m.gateway.rejection("stream_routes/1").is_none());
    }
}

#[test]
fn a_write_that_waits_returns_when_every_gateway_serves_it() {
    let etcd = Etcd::start();
    let fleet = fleet(&etcd, 3);
    let server = servers::hello();
    soon("each knows all three", || {
        fleet.iter().all(|m| m.gateway.control("GET", "/v1/instances").json()["instances"].as_array().is_some_and(|i| i.len() == 3))
    });
    for round in 0..10 {
        let writer = fleet[round % 3].gateway.admin();
        let put = writer.call("PUT", "/stream_routes/1?wait=applied&timeout=20s", route(&server).as_bytes());
        assert!(put.ok(), "{}", put.text());
        assert!(fleet.iter().all(|m| client::served(m.addr)), "round {round}: served by all at once");
        let gone = writer.call("DELETE", "/stream_routes/1?wait=applied&timeout=20s", b"");
        assert!(gone.ok(), "{}", gone.text());
        assert!(fleet.iter().all(|m| client::closed(m.addr)), "round {round}: closed by all at once");
    }
}

#[test]
fn without_etcd_a_gateway_stays_up_is_not_ready_and_heals() {
    let mut etcd = Etcd::planned(1, &[]);
    let gateway = Gateway::launch(&[], Conf::new().tcp(ports::free()).etcd(&etcd.urls(), "early"));
    soon("it says that it is not ready", || gateway.readyz().is_some_and(|a| a.status == 503));
    let refused = gateway.admin().put("upstreams", "1", &json!({"nodes": {}}));
    assert_eq!(refused.status, 503, "{}", refused.text());
    etcd.spawn(0);
    etcd.wait_ready();
    poll::until(RECOVERY, "it is ready", || gateway.readyz().filter(|a| a.status == 200));
    let taken = gateway.admin().put("upstreams", "1", &json!({"nodes": {}}));
    assert!(taken.ok(), "{}", taken.text());
}
