//! What a gateway tells of itself to the others and to whoever asks `GET /v1/instances`.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;
use serde_json::{Value, json};
use sluice::base::drain::{Phase, Trigger, drain};
use sluice::control::publish::{Follower, FollowerParts, Publisher, PublisherParts, run_id};
use sluice::control::status::StatusHandle;
use sluice::live::applied::{AppliedWriter, applied};
use sluice::live::fleet::{Fleet, fleet};
use sluice::live::listeners::Ports;
use sluice::store::{Etcd, EtcdOptions, Store};
use sluice::telemetry::Metrics;
use tokio::sync::oneshot;

use crate::support::client::served;
use crate::support::gateway::upstream;
use crate::support::store::put_raw;
use crate::support::{Conf, Gateway, etcd, ports, soon, until, upstream as servers};

fn own(gateway: &Gateway) -> Value {
    let all = gateway.control_list("/v1/instances");
    assert!(all.len() <= 1, "{all:?}");
    all.into_iter().next().unwrap_or_default()
}

#[test]
fn a_gateway_lists_itself_with_what_it_serves_and_what_it_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut conf = Conf::new();
    conf.store = Some(dir.path().join("store.redb"));
    put_raw(&dir.path().join("store.redb"), &[("/sluice/upstreams/bad".into(), br#"{"nodse":{}}"#.to_vec())]);
    let gateway = Gateway::start(conf);
    let (hello, addr) = (servers::hello(), ports::free_addr());
    gateway.admin().must_put("upstreams", "1", &upstream(&[&hello.node()]));
    gateway.admin().must_put("stream_routes", "1", &json!({"upstream_id": "1"}));
    gateway.listen("a", addr);
    soon("it serves", || served(addr));
    soon("it tells of its newest revision", || own(&gateway)["applied_revision"] == gateway.applied());

    let told = own(&gateway);
    assert_eq!((&told["own"], &told["version"]), (&json!(true), &json!(env!("CARGO_PKG_VERSION"))));
    assert_eq!(told["listeners"], json!([{"listener": "a", "address": format!("tcp://{addr}"), "state": "active"}]));
    assert_eq!(told["objects"]["upstreams"], json!({"active": 1, "rejected": 1}));
    let rejection = &told["rejections"][0];
    assert_eq!((&rejection["key"], &rejection["stage"]), (&json!("upstreams/bad"), &json!("schema")));
    assert_eq!(rejection["violations"][0]["path"], "/nodse");
    assert!(told["started_at"].is_string());

    let answer = gateway.control("GET", "/v1/instances").json();
    assert_eq!((&answer["count"], &answer["rank"], &answer["name"]), (&json!(1), &json!(0), &told["id"]));
    assert_eq!(gateway.count("sluice_status_publish_errors_total", &[]), 0);
}

#[test]
fn status_costs_the_embedded_store_no_revision() {
    let gateway = Gateway::start(Conf::new());
    gateway.admin().must_put("upstreams", "1", &upstream(&[]));
    soon("it tells of that revision", || own(&gateway)["applied_revision"] == 1);
    gateway.admin().must_put("upstreams", "2", &upstream(&[]));
    assert_eq!(gateway.admin().get("/upstreams/2").json()["modifiedIndex"], 2);
}

#[test]
fn a_write_that_waits_is_answered_although_the_gateway_was_killed_a_moment_ago() {
    let mut gateway = Gateway::start(Conf::new());
    soon("it tells of itself", || own(&gateway)["own"] == true);
    gateway.kill9();
    gateway.start_again();
    let answer = gateway.admin().call("PUT", "/upstreams/1?wait=applied&timeout=5s", upstream(&[]).to_string().as_bytes());
    assert_eq!(answer.status, 201, "{}", answer.text());
}

/// An instance without a data plane: what tells of it, and what listens to the others, on a thread of its own.
struct Told {
    applied: AppliedWriter,
    fleet: Fleet,
    drain: Trigger,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Told {
    fn start(name: &'static str, hosts: Vec<String>) -> Self {
        let ((applied, reads), (writer, fleet), (drain, watch)) = (applied(), fleet(name), drain());
        let (end, ended) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let metrics = Metrics::new().unwrap();
                let options = EtcdOptions {
                    hosts,
                    timeout: Duration::from_secs(2),
                    user: None,
                    tls: None,
                    prefix: "/sluice".into(),
                    last_good: None,
                };
                let store: Arc<dyn Store> = Arc::new(Etcd::new(&options, metrics.clone()).await.unwrap());
                let (prefix, run) = ("/sluice".to_owned(), run_id());
                let follower = FollowerParts { store: store.clone(), prefix: prefix.clone(), run: run.clone(), fleet: Arc::new(writer) };
                let publisher = PublisherParts {
                    store,
                    prefix,
                    instance: name.into(),
                    run,
                    started: SystemTime::now(),
                    status: StatusHandle::new(),
                    ports: Ports::default(),
                    applied: reads,
                    metrics,
                    drain: watch,
                    answer: options.timeout,
                };
                let both = async { tokio::join!(Follower::new(follower).run(), Publisher::new(publisher).run()) };
                tokio::select! {
                    _ = both => {}
                    // dropped like a process that is killed: nothing is taken back
                    _ = ended => {}
                }
            });
        });
        Self { applied, fleet, drain, end: Some(end), thread: Some(thread) }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        // an error means that it ended already
        let _ = self.end.take().map(|end| end.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[test]
fn instances_on_one_etcd_see_each_other_until_a_lease_ends_or_one_takes_its_leave() {
    let etcd = etcd::Etcd::start();
    let start = |name: &'static str| Told::start(name, etcd.urls());
    let (a, b, c) = (start("a"), start("b"), start("c"));
    soon("all see all", || [&a, &b, &c].iter().all(|each| each.fleet.members().len() == 3));
    assert_eq!([a.fleet.rank(), b.fleet.rank(), c.fleet.rank()], [0, 1, 2]);
    let keys = || etcd.ctl(&["get", "--prefix", "/sluice-status/", "--keys-only"]);
    assert_eq!(
        keys().split_whitespace().collect::<Vec<_>>(),
        ["a", "b", "c"].map(|name| format!("/sluice-status/instances/{name}")),
        "one key each, and nothing below the configuration's prefix"
    );

    b.applied.set(5);
    soon("who applied it is not behind", || a.fleet.behind(5) == ["c".into()]);
    c.applied.set(6);
    soon("nobody is behind", || a.fleet.behind(5).is_empty());

    c.drain.advance(Phase::Draining);
    soon("who drains is gone", || a.fleet.count() == 2 && !keys().contains("/c"));

    let second = start("a");
    soon("another a is there", || b.fleet.count() == 3);
    soon("it has a name of its own", || second.fleet.name() == "a~2");
    assert_eq!(a.fleet.name(), "a");
    let killed = Instant::now();
    drop(a);
    until(Duration::from_secs(40), "its lease ends, and the other a has the name", || (second.fleet.name() == "a").then_some(()));
    assert!(killed.elapsed() > Duration::from_secs(5), "only the lease can tell");
    soon("two are left", || b.fleet.members().iter().map(|m| &*m.id).eq(["a", "b"]));
}

#[test]
fn a_gateway_that_may_not_tell_of_itself_serves_all_the_same() {
    let mut etcd = etcd::Etcd::start();
    let (hello, port) = (servers::hello(), ports::free());
    etcd.put("/sluice/stream_routes/1", &json!({"upstream": upstream(&[&hello.node()])}).to_string());
    etcd.enable_auth("gateway", "secret", "/sluice/");
    let mut conf = Conf::new().tcp(port).etcd(&etcd.urls(), "unseen");
    conf.etcd_login = Some(("gateway".into(), "secret".into()));
    let gateway = Gateway::start(conf);
    soon("it serves", || served(ports::local(port)));
    soon("it counts", || gateway.count("sluice_status_publish_errors_total", &[]) >= 3);
    let answer = gateway.admin().call("PUT", "/upstreams/1?wait=applied", upstream(&[]).to_string().as_bytes());
    assert_eq!(answer.status, 201, "{}", answer.text());
    // the store that matters is fine, and nothing says otherwise
    let scrape = gateway.scrape();
    let sum = |metric| scrape.sum(metric, &[]) + 0.0;
    assert_eq!(
        [sum("sluice_store_up"), sum("sluice_config_stale"), sum("sluice_store_errors_total")].map(f64::to_bits),
        [1.0, 0.0, 0.0].map(f64::to_bits)
    );
    let fleet = gateway.control("GET", "/v1/instances").json();
    assert_eq!((&fleet["count"], &fleet["name"]), (&json!(1), &json!("unseen")));
    assert_eq!(gateway.log().matches("status cannot be written").count(), 1, "{}", gateway.log());
}

#[test]
fn many_instances_that_died_at_once_are_not_waited_for() {
    let mut etcd = etcd::Etcd::start();
    let gateway = Gateway::start(Conf::new().tcp(ports::free()).etcd(&etcd.urls(), "last"));
    let count = || gateway.control("GET", "/v1/instances").json()["count"].as_u64().unwrap();
    for n in 0..12 {
        etcd.put(&format!("/sluice-status/instances/gone-{n}"), r#"{"run":"0"}"#);
    }
    soon("all are there", || count() == 13);
    // the history goes away while the gateway stands still, so that all it can do is list
    gateway.signal(Signal::STOP);
    etcd.kill9(0);
    etcd.spawn(0);
    etcd.wait_ready();
    for n in 0..12 {
        etcd.delete(&format!("/sluice-status/instances/gone-{n}"));
    }
    etcd.compact();
    gateway.signal(Signal::CONT);
    until(Duration::from_secs(40), "the listing is believed", || (count() == 1).then_some(()));
    assert!(gateway.log().contains("\"reason\":\"compacted\""), "the watch was compacted away");
    assert_eq!(gateway.count("sluice_config_held", &[]), 0, "the configuration is not concerned");
}
