//! Several gateways on one real etcd: what one is told all serve, a bad value harms none, and whatever etcd does traffic goes on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
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

/// Clients that connect all the time; none may fail.
struct Load {
    stop: Arc<AtomicBool>,
    good: Arc<AtomicU64>,
    bad: Arc<AtomicU64>,
    clients: Vec<thread::JoinHandle<()>>,
}

impl Load {
    fn on(addrs: &[SocketAddr]) -> Self {
        let (stop, good, bad) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let client = |addr: SocketAddr| {
            let (stop, good, bad) = (stop.clone(), good.clone(), bad.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let counter = if client::served(addr) { &good } else { &bad };
                    counter.fetch_add(1, Ordering::Relaxed);
                    thread::park_timeout(Duration::from_millis(10));
                }
            })
        };
        let clients = addrs.iter().map(|a| client(*a)).collect();
        Self { stop, good, bad, clients }
    }

    /// Ends the clients; none was not served.
    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
        assert_eq!(self.bad.load(Ordering::Relaxed), 0, "clients that were not served");
    }
}

/// A fleet of two with a route that is used all the time while something happens to etcd; then a delete and a put must arrive.
fn survives(mut etcd: Etcd, what: &str, fault: impl FnOnce(&mut Etcd, &[Member])) {
    let fleet = fleet(&etcd, 2);
    let server = servers::hello();
    etcd.put("/sluice/stream_routes/busy", &route(&server));
    etcd.put("/sluice/listeners/gone", &json!({"addr": format!("127.0.0.9:{}", ports::free())}).to_string());
    for m in &fleet {
        soon("the route is live", || client::served(m.addr));
    }
    let load = Load::on(&fleet.iter().map(|m| m.addr).collect::<Vec<_>>());
    fault(&mut etcd, &fleet);
    poll::until(RECOVERY, &format!("{what}: etcd takes writes"), || etcd.try_ctl(&["del", "--", "/sluice/listeners/gone"]));
    let port = ports::free();
    let began = Instant::now();
    etcd.put("/sluice/listeners/new", &json!({"addr": format!("0.0.0.0:{port}"), "desc": what}).to_string());
    let config = |m: &Member, id: &str| m.gateway.control("GET", &format!("/v1/config/listeners/{id}")).status;
    for m in &fleet {
        poll::until(RECOVERY, &format!("{what}: the new listener is known"), || (config(m, "new") == 200).then_some(()));
        assert_eq!(config(m, "gone"), 404, "{what}: the delete before it was not lost");
    }
    eprintln!("{what}: current {:?} after etcd took a write again", began.elapsed());
    soon("many clients came", || load.good.load(Ordering::Relaxed) > 20);
    load.end();
}

#[test]
fn a_restart_of_etcd_is_not_noticed_by_clients() {
    survives(Etcd::start(), "restart", |etcd, _| {
        let before = etcd.pid(0);
        etcd.stop(0);
        etcd.spawn(0);
        assert_ne!(etcd.pid(0), before);
        etcd.wait_ready();
    });
}

#[test]
fn a_killed_etcd_is_not_noticed_by_clients() {
    survives(Etcd::start(), "kill -9", |etcd, _| {
        let before = etcd.pid(0);
        etcd.kill9(0);
        etcd.spawn(0);
        assert_ne!(etcd.pid(0), before);
        etcd.wait_ready();
    });
}

#[test]
fn a_leader_that_dies_is_not_noticed_by_clients() {
    survives(Etcd::cluster(3), "one of three killed", |etcd, _| {
        etcd.kill9(0);
        etcd.wait_ready();
    });
}

#[test]
fn a_compaction_while_disconnected_loses_no_delete() {
    survives(Etcd::start(), "compaction", |etcd, fleet| {
        let resyncs = |m: &Member| m.gateway.count("sluice_config_resyncs_total", &[("reason", "compacted")]);
        assert!(fleet.iter().all(|m| resyncs(m) == 0));
        // the gateways stand still, so that they cannot come back before the history is gone
        fleet.iter().for_each(|m| m.gateway.signal(Signal::STOP));
        etcd.kill9(0);
        etcd.spawn(0);
        etcd.wait_ready();
        for n in 0..20 {
            etcd.put("/sluice/upstreams/churn", &json!({"nodes": {}, "desc": n.to_string()}).to_string());
        }
        etcd.delete("/sluice/upstreams/churn");
        etcd.compact();
        fleet.iter().for_each(|m| m.gateway.signal(Signal::CONT));
        for m in fleet {
            poll::until(RECOVERY, "the watch was compacted away and everything listed again", || (resyncs(m) > 0).then_some(()));
        }
    });
}

#[test]
fn a_frozen_etcd_is_not_noticed_by_clients() {
    survives(Etcd::start(), "SIGSTOP", |etcd, _| {
        etcd.freeze(0);
        assert!(etcd.try_ctl(&["get", "x"]).is_none(), "it answers nobody");
        etcd.thaw(0);
    });
}

#[test]
fn one_dead_endpoint_of_three_costs_nothing_at_the_start() {
    let mut etcd = Etcd::cluster(3);
    etcd.kill9(1);
    assert!(etcd.try_ctl(&["get", "x"]).is_some(), "two of three answer");
    let server = servers::hello();
    etcd.put("/sluice/stream_routes/1", &route(&server));
    let m = member(&etcd, "gateway");
    soon("served", || client::served(m.addr));
    let answer = m.gateway.admin().put("upstreams", "1", &json!({"nodes": {}}));
    assert!(answer.ok(), "{}", answer.text());
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

#[test]
fn a_wrong_password_is_told_and_the_right_one_serves() {
    let mut etcd = Etcd::start();
    let server = servers::hello();
    etcd.put("/sluice/stream_routes/1", &route(&server));
    etcd.enable_auth("gateway", "secret", "/sluice");
    let conf = |password: &str| {
        let mut conf = Conf::new().tcp(ports::free()).etcd(&etcd.urls(), "keeper");
        conf.etcd_login = Some(("gateway".into(), password.into()));
        conf
    };
    let wrong = Gateway::launch(&[], conf("guess"));
    soon("it is not ready", || wrong.readyz().is_some_and(|a| a.status == 503));
    soon("the log says why", || wrong.log().contains("authentication"));
    assert!(!wrong.log().contains("guess"), "no password in the log");
    drop(wrong);
    let right = Gateway::start(conf("secret"));
    let addr = ports::local(right.conf.tcp[0].parse().unwrap());
    soon("served", || client::served(addr));
}
