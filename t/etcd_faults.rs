//! What may happen to etcd while a gateway serves: clients notice nothing, and afterwards the gateway is as the store is, deletes
//! included. Every scenario asserts that its fault happened; those that make sense for both are run on one member and on three.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::gateway::upstream;
use crate::support::poll::{throughout, until};
use crate::support::upstream::{self as servers, Server};
use crate::support::valve::Valve;
use crate::support::{Conf, Etcd, Gateway, Load, client, ports, soon};

/// Ten times the 5 s in which all has to be current once etcd is back.
const RECOVERY: Duration = Duration::from_secs(50);
/// Longer than keepalives need to see that nobody is there.
const NOTICED: Duration = Duration::from_secs(45);

/// A gateway on an etcd, with a load through a route to an echo.
struct Scene {
    etcd: Etcd,
    gateway: Gateway,
    load: Load,
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
        let route = json!({"upstream": upstream(&[&server.node()])}).to_string();
        let objects = (0..OBJECTS).map(|n| (key(n), described("old")));
        etcd.txn(&[], &objects.chain([("/sluice/stream_routes/busy".to_owned(), route)]).collect::<Vec<_>>());
        let mut conf = Conf::new().tcp(port).etcd(urls, "one");
        conf.etcd_login = login.map(|(user, password)| (user.into(), password.into()));
        let gateway = Gateway::start(conf);
        let addr = ports::local(port);
        soon("the route serves", || client::try_connect(addr).is_ok_and(|mut stream| client::ping(&mut stream, b"x").is_ok()));
        let scene = Self { etcd, gateway, load: Load::on(addr), _server: server, edits: 0 };
        scene.wait_current(0..OBJECTS, "old");
        scene
    }

    fn alone(etcd: Etcd) -> Self {
        let urls = etcd.urls();
        Self::new(etcd, &urls, None)
    }

    /// The gateway reaches each member through a valve.
    fn behind(etcd: Etcd) -> (Self, Valves) {
        let valves = Valves((0..etcd.urls().len()).map(|n| Valve::start(addr_of(&etcd, n))).collect());
        let urls: Vec<String> = valves.0.iter().map(|valve| format!("http://{}", valve.addr)).collect();
        (Self::new(etcd, &urls, None), valves)
    }

    /// Etcd takes writes again: deletes, changes and puts are made, and the gateway has to have them all.
    fn recover(&mut self, what: &str) {
        let began = Instant::now();
        self.edit();
        self.wait_edited();
        told(what, began);
    }

    /// Deletes some objects, changes all others, adds some.
    fn edit(&mut self) {
        self.edits += 1;
        let deletes: Vec<String> = (self.first() - 3..self.first()).map(key).collect();
        let value = described(&self.edits.to_string());
        let puts: Vec<_> = (self.first()..self.first() + OBJECTS - 3).map(|n| (key(n), value.clone())).collect();
        self.etcd.txn(&deletes, &puts);
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

    fn end(mut self, what: &str) {
        self.assert_found();
        self.load.end(what);
        assert!(self.gateway.alive());
    }
}

/// The ways to all members.
struct Valves(Vec<Valve>);

impl Valves {
    fn shut(&self) {
        self.0.iter().for_each(Valve::shut);
    }

    fn open(&self) {
        self.0.iter().for_each(Valve::open);
    }

    fn refused(&self) -> u64 {
        self.0.iter().map(Valve::refused).sum()
    }
}

fn key(n: u32) -> String {
    format!("/sluice/upstreams/u{n}")
}

fn described(text: &str) -> String {
    json!({"nodes": {"127.0.0.1:1": 1}, "type": "roundrobin", "desc": text}).to_string()
}

fn addr_of(etcd: &Etcd, n: usize) -> SocketAddr {
    etcd.url(n).strip_prefix("http://").unwrap().parse().unwrap()
}

/// The time that the gateway may take is 5 s; on a busy machine it is told rather than judged.
fn told(what: &str, began: Instant) {
    eprintln!("{what}: current {:.0?} after etcd was back", began.elapsed());
}

/// Every member in turn; of three, two go on.
fn restart(members: usize) {
    let what = format!("a restart, {members} members");
    let mut scene = Scene::alone(Etcd::cluster(members));
    for n in 0..members {
        let before = scene.etcd.pid(n);
        scene.etcd.stop(n);
        assert!(client::refused(addr_of(&scene.etcd, n)), "it is down");
        if members == 1 {
            scene.wait_lost();
            let refused = scene.gateway.admin().call("PUT", "/upstreams/meanwhile", described("x").as_bytes());
            assert_eq!(refused.status, 503, "{}", refused.text());
        } else {
            scene.etcd.wait_ready();
            scene.recover(&format!("{what}, {n} is down"));
        }
        scene.etcd.spawn(n);
        scene.etcd.wait_ready();
        assert_ne!(scene.etcd.pid(n), before);
    }
    scene.recover(&what);
    assert_eq!(scene.gateway.control("GET", "/v1/config/upstreams/meanwhile").status, 404, "what was refused was not written");
    scene.end(&what);
}

#[test]
fn a_restart_of_the_only_member() {
    restart(1);
}

#[test]
fn a_restart_of_every_one_of_three() {
    restart(3);
}

/// Right after writes. Of three, the one that the gateway watches and then the leader.
fn kill(members: usize) {
    let what = format!("kill -9, {members} members");
    let mut scene = Scene::alone(Etcd::cluster(members));
    for round in 0..members.min(2) {
        let n = if round == 0 { 0 } else { scene.etcd.leader() };
        let before = scene.etcd.pid(n);
        scene.edit();
        scene.etcd.kill9(n);
        assert!(client::refused(addr_of(&scene.etcd, n)), "it is down");
        if members == 1 {
            scene.wait_lost();
        } else {
            scene.etcd.wait_ready();
            scene.recover(&format!("{what}, {n} is dead"));
        }
        scene.etcd.spawn(n);
        scene.etcd.wait_ready();
        assert_ne!(scene.etcd.pid(n), before);
        scene.wait_edited();
    }
    scene.recover(&what);
    scene.end(&what);
}

#[test]
fn a_kill_of_the_only_member() {
    kill(1);
}

#[test]
fn a_kill_of_the_watched_member_and_of_the_leader() {
    kill(3);
}

fn compaction(members: usize) {
    let what = format!("a compaction, {members} members");
    let (mut scene, valves) = Scene::behind(Etcd::cluster(members));
    valves.shut();
    scene.wait_lost();
    scene.edit();
    scene.edit();
    scene.etcd.compact();
    soon("it tried meanwhile", || valves.refused() > 0);
    assert_eq!(scene.object(0).as_deref(), Some("old"), "it knows of nothing");
    let began = Instant::now();
    valves.open();
    scene.wait_edited();
    told(&what, began);
    assert!(scene.resyncs("compacted") > 0, "history was gone");
    scene.recover(&format!("after {what}"));
    scene.end(&what);
}

#[test]
fn a_compaction_while_the_gateway_is_cut_off_from_one() {
    compaction(1);
}

#[test]
fn a_compaction_while_the_gateway_is_cut_off_from_three() {
    compaction(3);
}

/// Of three, the one that the gateway watches.
fn freeze(members: usize) {
    let what = format!("SIGSTOP, {members} members");
    let mut scene = Scene::alone(Etcd::cluster(members));
    scene.etcd.freeze(0);
    if members == 1 {
        scene.wait_lost();
    } else {
        scene.etcd.wait_ready();
        scene.recover(&format!("{what}, 0 is frozen"));
    }
    scene.etcd.thaw(0);
    scene.etcd.wait_ready();
    scene.recover(&what);
    scene.end(&what);
}

#[test]
fn a_freeze_of_the_only_member() {
    freeze(1);
}

#[test]
fn a_freeze_of_one_of_three() {
    freeze(3);
}

#[test]
fn one_of_three_members_is_dead_at_the_start_and_never_comes() {
    let mut etcd = Etcd::planned(3, &[]);
    etcd.spawn(0);
    etcd.spawn(1);
    etcd.wait_ready();
    let urls = [etcd.url(2), etcd.url(0), etcd.url(1)];
    let dead = addr_of(&etcd, 2);
    assert!(client::refused(dead), "the one that is named first is dead");
    let mut scene = Scene::new(etcd, &urls, None);
    for n in 0..20 {
        let began = Instant::now();
        scene.gateway.admin().must_put("upstreams", &format!("by-admin-{n}"), &json!({"nodes": {}}));
        assert!(began.elapsed() < Duration::from_secs(5), "write {n} took {:?}", began.elapsed());
    }
    scene.recover("one of three dead at the start");
    assert!(client::refused(dead), "it still is");
    assert_eq!(scene.gateway.count("sluice_config_resyncs_total", &[]), 0, "it cost nothing");
    scene.end("one of three dead at the start");
}

/// The password of the gateway's user is another one for a while; tokens from before end with the members' processes.
fn password(members: usize) {
    let what = format!("a wrong password, {members} members");
    let mut etcd = Etcd::cluster(members);
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
    scene.recover(&format!("{what}: a new token"));

    set_password(&scene.etcd, "other");
    for n in 0..members {
        scene.etcd.stop(n);
        scene.etcd.spawn(n);
    }
    scene.etcd.wait_ready();
    scene.wait_lost();
    soon("the log says why", || scene.gateway.log().contains("authentication failed"));
    assert!(!scene.gateway.log().contains("right"), "no password in the log");
    scene.edit();
    let errors = || scene.gateway.count("sluice_store_errors_total", &[]);
    let (before, cpu) = (errors(), scene.gateway.cpu());
    throughout(Duration::from_secs(4), "it serves on", || {
        thread::park_timeout(Duration::from_millis(200));
        !scene.store_up()
    });
    let tries = errors() - before;
    assert!(tries <= 12, "{tries} tries in 4 s are a tight loop");
    let used = scene.gateway.cpu().saturating_sub(cpu);
    eprintln!("{what}: {tries} tries in 4 s, {used:?} of the processor with the load");
    assert_eq!(scene.object(0), None, "deleted before");
    assert!(scene.object(3).is_some(), "it knows of no edit that was made meanwhile");
    set_password(&scene.etcd, "right");
    scene.recover(&what);
    scene.end(&what);
}

#[test]
fn a_password_that_is_wrong_for_a_while_on_one() {
    password(1);
}

#[test]
fn a_password_that_is_wrong_for_a_while_on_three() {
    password(3);
}

#[test]
fn a_password_that_is_wrong_from_the_start() {
    let mut etcd = Etcd::start();
    etcd.put("/sluice/listeners/l", &json!({"addr": format!("127.0.0.1:{}", ports::free())}).to_string());
    etcd.enable_auth("gateway", "secret", "/sluice");
    let mut conf = Conf::new().tcp(ports::free()).etcd(&etcd.urls(), "keeper");
    conf.etcd_login = Some(("gateway".into(), "guess".into()));
    let wrong = Gateway::launch(&[], conf);
    soon("it is not ready", || wrong.readyz().is_some_and(|answer| answer.status == 503));
    soon("the log says why", || wrong.log().contains("authentication"));
    assert!(!wrong.log().contains("guess"), "no password in the log");
}

/// The first reason is not the one that lasts, and the log has both, each once.
#[test]
fn an_etcd_that_lets_nobody_in_once_it_is_up_is_told_as_that() {
    let mut etcd = Etcd::start();
    etcd.enable_auth("gateway", "secret", "/sluice");
    etcd.kill9(0);
    let mut conf = Conf::new().tcp(ports::free()).etcd(&etcd.urls(), "early");
    conf.etcd_login = Some(("gateway".into(), "guess".into()));
    let gateway = Gateway::launch(&[], conf);
    let told = |text: &str| gateway.log().lines().filter(|line| line.contains("reconcile") && line.contains(text)).count();
    soon("it is not there", || told("Connection refused") == 1);
    etcd.spawn(0);
    soon("it lets nobody in", || told("authentication failed") == 1);
    let tries = || gateway.count("sluice_store_errors_total", &[("op", "subscribe")]);
    let before = tries();
    soon("it is asked again", || tries() >= before + 2);
    assert_eq!((told("Connection refused"), told("authentication failed")), (1, 1), "{}", gateway.log());
    assert_eq!(told("goes on serving"), 0, "nothing ever served");
}

/// A gateway that has seen what a backup does not have; then etcd is put back to the backup, while the gateway is cut off.
fn restored(what: &str, writes_after: u32) {
    let (mut scene, valves) = Scene::behind(Etcd::start());
    let backup = scene.etcd.save();
    scene.edit();
    scene.edit();
    scene.wait_edited();
    let seen = scene.etcd.revision();
    valves.shut();
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
    valves.open();
    scene.wait_current(0..OBJECTS, "old");
    for n in OBJECTS..scene.first() + OBJECTS {
        assert_eq!(scene.object(n), None, "u{n} is not in the backup");
    }
    told(what, began);
    assert!(scene.resyncs("rewound") > 0, "{what}");
    scene.edits = 0;
    scene.recover(&format!("after {what}"));
    scene.end(what);
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
    let (scene, valves) = Scene::behind(Etcd::start());
    valves.shut();
    scene.wait_lost();
    let deleted: u32 = scene.etcd.ctl(&["del", "--prefix", "/sluice/"]).trim().parse().unwrap();
    assert_eq!(deleted, OBJECTS + 1);
    scene.etcd.compact();
    valves.open();
    soon("the alert is up", || scene.gateway.count("sluice_config_held", &[]) == u64::from(deleted));
    assert_eq!(scene.gateway.count("sluice_config_stale", &[]), 1);
    scene.etcd.put("/sluice/upstreams/new", &described("new"));
    soon("puts go on", || scene.gateway.control("GET", "/v1/config/upstreams/new").status == 200);
    assert_eq!(scene.object(7).as_deref(), Some("old"), "it is kept");
    let Scene { mut gateway, load, .. } = scene;
    // the route that it takes is one of those that are gone
    load.end("a store that lost nearly everything");
    assert_eq!(gateway.control("POST", "/v1/accept").status, 200);
    soon("they are gone", || gateway.control("GET", "/v1/config/upstreams/u7").status == 404);
    soon("the alert is over", || gateway.count("sluice_config_held", &[]) + gateway.count("sluice_config_stale", &[]) == 0);
    assert!(gateway.alive());
}
