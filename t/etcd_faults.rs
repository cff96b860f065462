//! What may happen to etcd while a gateway serves: clients notice nothing, and afterwards the gateway is as the store is, deletes
//! included. Every test asserts that its fault happened.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::gateway::upstream;
use crate::support::poll::{throughout, until};
use crate::support::upstream::{self as servers, Server};
use crate::support::valve::Valve;
use crate::support::{Conf, Etcd, Gateway, client, ports, soon};

/// Ten times the 5 s in which all has to be current once etcd is back.
const RECOVERY: Duration = Duration::from_secs(50);
/// Longer than keepalives need to see that nobody is there.
const NOTICED: Duration = Duration::from_secs(45);

/// Sessions that go on and sessions that come and go, all the time.
struct Traffic {
    stop: Arc<AtomicBool>,
    /// Round trips that were made.
    made: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Result<(), String>>>,
}

impl Traffic {
    fn through(addr: SocketAddr) -> Self {
        let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let start = |is_lasting: bool| {
            let (stop, made) = (stop.clone(), made.clone());
            thread::spawn(move || {
                let mut lasting = None;
                while !stop.load(Ordering::Acquire) {
                    let what = if is_lasting { "a session that goes on" } else { "a new session" };
                    let mut stream = match lasting.take() {
                        Some(stream) => stream,
                        None => client::try_connect(addr).map_err(|e| format!("{what}: {e}"))?,
                    };
                    client::ping(&mut stream, b"are you there?").map_err(|e| format!("{what}: {e}"))?;
                    made.fetch_add(1, Ordering::AcqRel);
                    lasting = is_lasting.then_some(stream);
                    thread::park_timeout(Duration::from_millis(10));
                }
                Ok(())
            })
        };
        let threads = [true, true, true, false, false].map(start).into();
        Self { stop, made, threads }
    }

    /// Waits for some more round trips, ends them all, and asserts that none failed.
    fn end(self) {
        let before = self.made.load(Ordering::Acquire);
        soon("traffic goes on", || self.made.load(Ordering::Acquire) > before + 20);
        self.stop.store(true, Ordering::Release);
        for thread in self.threads {
            assert_eq!(thread.join().unwrap(), Ok(()), "a client failed");
        }
    }
}

/// A gateway on an etcd, with traffic through a route to an echo.
struct Scene {
    etcd: Etcd,
    gateway: Gateway,
    traffic: Traffic,
    _server: Server,
    /// Counts edits.
    edits: u32,
}

/// Objects that a scene begins with, beside the route.
const OBJECTS: u32 = 30;

impl Scene {
    /// On the members at these addresses, or at those of etcd itself.
    fn new(etcd: Etcd, urls: &[String], login: Option<(&str, &str)>) -> Self {
        let (server, port) = (servers::echo(), ports::free());
        etcd.put("/sluice/stream_routes/busy", &json!({"upstream": upstream(&[&server.node()])}).to_string());
        for n in 0..OBJECTS {
            etcd.put(&format!("/sluice/upstreams/u{n}"), &described("old"));
        }
        let mut conf = Conf::new().tcp(port).etcd(urls, "one");
        conf.etcd_login = login.map(|(user, password)| (user.into(), password.into()));
        let gateway = Gateway::start(conf);
        let addr = ports::local(port);
        soon("the route serves", || client::try_connect(addr).is_ok_and(|mut stream| client::ping(&mut stream, b"x").is_ok()));
        let scene = Self { etcd, gateway, traffic: Traffic::through(addr), _server: server, edits: 0 };
        scene.wait_current(0..OBJECTS, "old");
        scene
    }

    fn alone(etcd: Etcd) -> Self {
        let urls = etcd.urls();
        Self::new(etcd, &urls, None)
    }

    fn behind(etcd: Etcd, valve: &Valve) -> Self {
        Self::new(etcd, &[format!("http://{}", valve.addr)], None)
    }

    /// Deletes some objects, changes all others, adds some; waits until the gateway has it all, and tells how long that took.
    fn edit_and_wait(&mut self, what: &str) {
        let began = Instant::now();
        self.edit();
        self.wait_edited();
        eprintln!("{what}: current {:?} after the first write", began.elapsed());
    }

    fn edit(&mut self) {
        self.edits += 1;
        let gone = self.first() - 3;
        for n in gone..self.first() {
            self.etcd.delete(&format!("/sluice/upstreams/u{n}"));
        }
        for n in self.first()..self.first() + OBJECTS - 3 {
            self.etcd.put(&format!("/sluice/upstreams/u{n}"), &described(&self.edits.to_string()));
        }
    }

    /// The first object that is there after the last edit.
    fn first(&self) -> u32 {
        3 * self.edits
    }

    fn wait_edited(&self) {
        self.wait_current(self.first()..self.first() + OBJECTS - 3, &self.edits.to_string());
        for n in 0..self.first() {
            assert_eq!(self.object(n), None, "u{n} was deleted before the last write");
        }
    }

    fn wait_current(&self, objects: std::ops::Range<u32>, value: &str) {
        until(RECOVERY, "all objects are current", || objects.clone().all(|n| self.object(n).as_deref() == Some(value)).then_some(()));
    }

    /// The description of an object as the gateway has it.
    fn object(&self, n: u32) -> Option<String> {
        let answer = self.gateway.control("GET", &format!("/v1/config/upstreams/u{n}"));
        (answer.status == 200).then(|| {
            let object = answer.json();
            assert_eq!(object["state"], "active", "{object}");
            object["value"]["desc"].as_str().unwrap_or_else(|| panic!("{object}")).to_owned()
        })
    }

    fn store_up(&self) -> bool {
        self.gateway.count("sluice_store_up", &[]) == 1
    }

    /// The gateway noticed that the store is gone, says so, refuses writes, and serves.
    fn wait_lost(&self) {
        until(NOTICED, "the gateway notices", || (!self.store_up()).then_some(()));
        assert_eq!(self.gateway.count("sluice_config_stale", &[]), 1);
    }

    fn assert_found(&self) {
        soon("the gateway says that the store is there", || self.store_up() && self.gateway.count("sluice_config_stale", &[]) == 0);
    }

    fn resyncs(&self, reason: &str) -> u64 {
        self.gateway.count("sluice_config_resyncs_total", &[("reason", reason)])
    }

    fn end(mut self) {
        assert!(self.gateway.alive());
        self.assert_found();
        self.traffic.end();
    }
}

fn described(text: &str) -> String {
    json!({"nodes": {"127.0.0.1:1": 1}, "type": "roundrobin", "desc": text}).to_string()
}

fn addr_of(etcd: &Etcd) -> SocketAddr {
    etcd.url(0).strip_prefix("http://").unwrap().parse().unwrap()
}

#[test]
fn a_restart_of_etcd() {
    let mut scene = Scene::alone(Etcd::start());
    let before = scene.etcd.pid(0);
    scene.etcd.stop(0);
    scene.wait_lost();
    let refused = scene.gateway.admin().call("PUT", "/upstreams/meanwhile", described("x").as_bytes());
    assert_eq!(refused.status, 503, "{}", refused.text());
    scene.etcd.spawn(0);
    scene.etcd.wait_ready();
    assert_ne!(scene.etcd.pid(0), before);
    scene.edit_and_wait("restart");
    assert_eq!(scene.gateway.control("GET", "/v1/config/upstreams/meanwhile").status, 404, "what was refused was not written");
    scene.end();
}

#[test]
fn a_kill_of_etcd_right_after_writes() {
    let mut scene = Scene::alone(Etcd::start());
    let before = scene.etcd.pid(0);
    scene.edit();
    scene.etcd.kill9(0);
    scene.wait_lost();
    scene.etcd.spawn(0);
    scene.etcd.wait_ready();
    assert_ne!(scene.etcd.pid(0), before);
    scene.wait_edited();
    scene.edit_and_wait("kill -9");
    scene.end();
}

#[test]
fn a_compaction_while_the_gateway_is_cut_off() {
    let etcd = Etcd::start();
    let valve = Valve::start(addr_of(&etcd));
    let mut scene = Scene::behind(etcd, &valve);
    valve.shut();
    scene.wait_lost();
    scene.edit();
    scene.edit();
    scene.etcd.compact();
    assert!(valve.refused() > 0, "it tried meanwhile");
    assert_eq!(scene.object(0).as_deref(), Some("old"), "it knows of nothing");
    let began = Instant::now();
    valve.open();
    scene.wait_edited();
    eprintln!("compaction: current {:?} after the way was free", began.elapsed());
    assert!(scene.resyncs("compacted") > 0, "history was gone");
    scene.edit_and_wait("after the compaction");
    scene.end();
}

#[test]
fn a_frozen_etcd() {
    let mut scene = Scene::alone(Etcd::start());
    scene.etcd.freeze(0);
    scene.wait_lost();
    scene.etcd.thaw(0);
    scene.etcd.wait_ready();
    scene.edit_and_wait("SIGSTOP");
    scene.end();
}

#[test]
fn one_of_three_members_is_dead_at_the_start_and_then_another_one_dies() {
    let mut etcd = Etcd::planned(3, &[]);
    etcd.spawn(0);
    etcd.spawn(1);
    etcd.wait_ready();
    let urls = [etcd.url(2), etcd.url(0), etcd.url(1)];
    let dead = urls[0].strip_prefix("http://").unwrap().parse().unwrap();
    assert!(client::refused(dead), "the one that is named first is dead");
    let mut scene = Scene::new(etcd, &urls, None);
    for n in 0..50 {
        let began = Instant::now();
        scene.gateway.admin().must_put("upstreams", &format!("by-admin-{n}"), &json!({"nodes": {}}));
        assert!(began.elapsed() < Duration::from_secs(5), "write {n} took {:?}", began.elapsed());
    }
    assert!(client::refused(dead), "it still is");
    scene.etcd.spawn(2);
    scene.etcd.wait_ready();
    scene.edit_and_wait("one of three dead");
    for n in [0, 1] {
        // one of them served the watch
        scene.etcd.kill9(n);
        scene.etcd.wait_ready();
        scene.edit_and_wait("another one dead");
        scene.etcd.spawn(n);
        scene.etcd.wait_ready();
    }
    scene.end();
}

#[test]
fn a_password_that_is_wrong_for_a_while() {
    let mut etcd = Etcd::start();
    etcd.enable_auth("gateway", "right", "/sluice");
    let urls = etcd.urls();
    let mut scene = Scene::new(etcd, &urls, Some(("gateway", "right")));
    let set_password = |etcd: &Etcd, password: &str| {
        etcd.ctl(&["user", "delete", "gateway"]);
        etcd.ctl(&["user", "add", &format!("gateway:{password}")]);
        etcd.ctl(&["user", "grant-role", "gateway", "keeper"]);
    };
    // the token from before is refused, and one login helps
    set_password(&scene.etcd, "right");
    scene.gateway.admin().must_put("upstreams", "with-a-new-token", &json!({"nodes": {}}));
    scene.edit_and_wait("a new token");

    set_password(&scene.etcd, "other");
    // tokens end with the process
    scene.etcd.stop(0);
    scene.etcd.spawn(0);
    scene.etcd.wait_ready();
    scene.wait_lost();
    soon("the log says why", || scene.gateway.log().contains("authentication failed"));
    let errors = || scene.gateway.count("sluice_store_errors_total", &[]);
    let (before, cpu) = (errors(), scene.gateway.cpu());
    throughout(Duration::from_secs(4), "it serves on", || {
        thread::park_timeout(Duration::from_millis(200));
        !scene.store_up()
    });
    let tries = errors() - before;
    assert!(tries <= 12, "{tries} tries in 4 s are a tight loop");
    let used = scene.gateway.cpu().saturating_sub(cpu);
    assert!(used < Duration::from_secs(2), "{used:?} of the processor");
    set_password(&scene.etcd, "right");
    scene.edit_and_wait("the right password again");
    scene.end();
}

/// A gateway that has seen what a backup does not have; then etcd is put back to the backup, while the gateway is cut off.
fn restored(what: &str, writes_after: u32) {
    let etcd = Etcd::start();
    let valve = Valve::start(addr_of(&etcd));
    let mut scene = Scene::behind(etcd, &valve);
    let backup = scene.etcd.save();
    scene.edit();
    scene.edit();
    scene.wait_edited();
    let seen = scene.etcd.revision();
    valve.shut();
    scene.wait_lost();
    scene.etcd.kill9(0);
    scene.etcd.restore(&backup);
    scene.etcd.spawn(0);
    scene.etcd.wait_ready();
    assert!(scene.etcd.revision() < seen, "the revision fell");
    for n in 0..writes_after {
        scene.etcd.put("/elsewhere", &n.to_string());
    }
    assert_eq!(scene.etcd.revision() > seen, writes_after > 0, "{what}");
    let began = Instant::now();
    valve.open();
    scene.wait_current(0..OBJECTS, "old");
    for n in OBJECTS..scene.first() + OBJECTS {
        assert_eq!(scene.object(n), None, "u{n} is not in the backup");
    }
    eprintln!("{what}: current {:?} after the way was free", began.elapsed());
    assert!(scene.resyncs("rewound") > 0, "{what}");
    scene.edits = 0;
    scene.edit_and_wait(what);
    scene.end();
}

#[test]
fn a_backup_that_is_older_than_what_the_gateway_has() {
    restored("an older backup", 0);
}

#[test]
fn a_backup_that_has_overtaken_the_gateway() {
    restored("a backup that went on", 100);
}

#[test]
fn a_store_that_lost_nearly_everything_deletes_nothing_until_somebody_accepts_it() {
    let etcd = Etcd::start();
    let valve = Valve::start(addr_of(&etcd));
    let scene = Scene::behind(etcd, &valve);
    valve.shut();
    scene.wait_lost();
    let deleted: u32 = scene.etcd.ctl(&["del", "--prefix", "/sluice/"]).trim().parse().unwrap();
    assert_eq!(deleted, OBJECTS + 1);
    scene.etcd.compact();
    valve.open();
    soon("the alert is up", || scene.gateway.count("sluice_config_held", &[]) == u64::from(deleted));
    assert_eq!(scene.gateway.count("sluice_config_stale", &[]), 1);
    scene.etcd.put("/sluice/upstreams/new", &described("new"));
    soon("puts go on", || scene.gateway.control("GET", "/v1/config/upstreams/new").status == 200);
    assert_eq!(scene.object(7).as_deref(), Some("old"), "it is kept");
    let Scene { mut gateway, traffic, .. } = scene;
    // the route that it takes is one of those that are gone
    traffic.end();
    assert_eq!(gateway.control("POST", "/v1/accept").status, 200);
    soon("they are gone", || gateway.control("GET", "/v1/config/upstreams/u7").status == 404);
    soon("the alert is over", || gateway.count("sluice_config_held", &[]) + gateway.count("sluice_config_stale", &[]) == 0);
    assert!(gateway.alive());
}
