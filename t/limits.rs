//! Limits over real sockets: a real database behind a concurrency limit with a queue, every policy at accept, one limit shared by a
//! fleet on a real etcd.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::seed_mysql::mariadb;
use crate::support::etcd::Etcd;
use crate::support::gateway::{Gateway, upstream};
use crate::support::upstream as servers;
use crate::support::{Conf, client, namespace, poll, ports, soon};

/// A gateway with one port and one route to it.
struct Scene {
    gateway: Gateway,
    addr: SocketAddr,
}

impl Scene {
    fn start() -> Self {
        Self::of(Conf::new())
    }

    fn of(conf: Conf) -> Self {
        let port = ports::free();
        Self { gateway: Gateway::start(conf.tcp(port)), addr: ports::local(port) }
    }

    fn route(&self, node: &str, more: &Value) {
        let mut route = json!({ "upstream": upstream(&[node]) });
        route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.gateway.put_live("stream_routes", "r", &route);
    }

    fn limit(&self) -> Value {
        self.gateway.control("GET", "/v1/limits/r").json()
    }

    fn allowed(&self) -> u64 {
        self.gateway.count("sluice_limiter_allowed_total", &[("route", "r")])
    }

    fn rejected(&self) -> u64 {
        self.gateway.count("sluice_limiter_rejections_total", &[("route", "r")])
    }
}

/// Whether the server's first bytes have come by now.
fn greeted(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = [0; 4];
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut head);
    stream.set_nonblocking(false).unwrap();
    if !matches!(peeked, Ok(n) if n >= 4) {
        return None;
    }
    stream.read_exact(&mut head).unwrap();
    let mut rest = vec![0; usize::from(head[0]) + (usize::from(head[1]) << 8)];
    stream.read_exact(&mut rest).unwrap();
    Some(rest)
}

/// Whether the peer has closed, without a byte.
fn closed_at_once(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let end = matches!(stream.peek(&mut [0]), Ok(0));
    stream.set_nonblocking(false).unwrap();
    end
}

#[test]
fn ten_clients_of_a_database_run_five_wait_in_order_and_the_rest_are_closed_at_once() {
    namespace::network("limits::ten_clients_of_a_database_run_five_wait_in_order_and_the_rest_are_closed_at_once", || {
        let dir = tempfile::tempdir().unwrap();
        let _mariadb = mariadb(dir.path());
        // on one worker sessions ask the limit in the order in which they are numbered
        let scene = Scene::of(Conf::new().workers(1));
        scene.route("127.0.0.1:3306", &json!({"limit": {"policy": "concurrency", "permit_limit": 10, "queue_limit": 5}}));

        let mut running: Vec<TcpStream> = Vec::new();
        let all: Vec<TcpStream> = thread::scope(|s| {
            let threads: Vec<_> = (0..200).map(|_| s.spawn(|| client::connect(scene.addr))).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        soon("all are decided", || scene.gateway.count("sluice_connections_total", &[("route", "r")]) == 200);
        soon("185 are closed", || scene.rejected() == 185);
        let (mut waiting, mut closed) = (Vec::new(), 0);
        for mut stream in all {
            // each is greeted by the server, closed, or waits; the first two are on their way at least
            let fate = poll::until(poll::SOON, "a fate", || {
                let said = greeted(&mut stream);
                let waits =
                    scene.limit()["queued"] == 5 && scene.gateway.count("sluice_upstream_connect_seconds_count", &[("route", "r")]) == 10;
                match (said, closed_at_once(&mut stream)) {
                    (Some(greeting), _) => Some(Some(greeting)),
                    (None, true) => Some(None),
                    (None, false) if waits && !client::pending(&stream) => Some(Some(Vec::new())),
                    (None, false) => None,
                }
            });
            match fate {
                None => closed += 1,
                Some(greeting) if greeting.is_empty() => waiting.push(stream),
                Some(greeting) => {
                    assert!(String::from_utf8_lossy(&greeting).contains("MariaDB"), "the server itself speaks");
                    running.push(stream);
                }
            }
        }
        assert_eq!((running.len(), waiting.len(), closed), (10, 5, 185));
        assert_eq!((scene.allowed(), scene.rejected()), (10, 185));
        soon("their ends are counted", || scene.gateway.closed_for("r", "limited") == 185);
        let limit = scene.limit();
        assert_eq!((&limit["permits_left"], &limit["queued"], &limit["permit_limit"]), (&json!(0), &json!(5), &json!(10)));
        assert_eq!(scene.gateway.count("sluice_limiter_queue_length", &[("route", "r"), ("policy", "concurrency")]), 5);

        // in the order in which they came: that of their sessions
        let local = |stream: &TcpStream| stream.local_addr().unwrap().to_string();
        let sessions = scene.gateway.control_list("/v1/sessions");
        let came = |stream: &TcpStream| sessions.iter().position(|s| s["client"] == local(stream).as_str()).unwrap();
        waiting.sort_by_key(came);
        for n in 0..5 {
            drop(running.remove(0));
            let greeting = poll::until(poll::SOON, "the oldest is served", || greeted(&mut waiting[n]));
            assert!(!greeting.is_empty());
            assert!(waiting[n + 1..].iter().all(|stream| !client::pending(stream)), "nobody else");
        }
        assert_eq!((scene.allowed(), scene.rejected()), (15, 185));
        drop((running, waiting));
        soon("all permits are back", || scene.limit()["permits_left"] == 10);
        soon("their ends are counted", || scene.gateway.closed_for("r", "limited") == 185);
    });
}

#[test]
fn whoever_goes_away_or_waits_too_long_leaves_the_queue() {
    let scene = Scene::start();
    let server = servers::speaks_first(b"hello");
    let limit = json!({"policy": "concurrency", "permit_limit": 1, "queue_limit": 3});
    scene.route(&server.node(), &json!({"timeout": "60s", "limit": limit}));
    let mut first = client::connect(scene.addr);
    first.read_exact(&mut [0; 5]).unwrap();
    let queued = |n: u64| soon(&format!("{n} wait"), || scene.limit()["queued"] == n);
    let (a, b) = (client::connect(scene.addr), client::connect(scene.addr));
    queued(2);
    drop(a);
    queued(1);
    client::reset(b);
    queued(0);
    soon("both are told", || scene.gateway.closed_for("r", "client_reset") == 2);

    // an operator ends one that waits
    let mut c = client::connect(scene.addr);
    queued(1);
    let id = scene.gateway.control_list("/v1/sessions").last().unwrap()["id"].as_u64().unwrap();
    assert_eq!(scene.gateway.control("DELETE", &format!("/v1/sessions/{id}")).status, 200);
    assert!(client::read_all(&mut c).0.is_empty());

    // the wait is as long as the route's timeout
    scene.route(&server.node(), &json!({"timeout": "500ms", "limit": limit}));
    let mut d = client::connect(scene.addr);
    assert!(client::read_all(&mut d).0.is_empty());
    // the client sees the end before it is counted
    soon("it is counted", || scene.gateway.closed_for("r", "queue_timeout") == 1 && scene.rejected() == 1);
    drop(first);
    soon("the permit is back", || scene.limit()["permits_left"] == 1);
    assert!(!client::send(scene.addr).is_empty(), "and is given to the next");
}

#[test]
fn a_connection_beyond_a_window_is_accepted_and_closed_without_a_byte() {
    let server = servers::hello();
    for policy in ["fixed_window", "sliding_window", "token_bucket", "FixedWindow"] {
        let scene = Scene::start();
        scene.route(&server.node(), &json!({"limit": {"policy": policy, "permit_limit": 2, "window": "00:10:00"}}));
        assert!(client::served(scene.addr) && client::served(scene.addr));
        assert!(client::closed(scene.addr), "{policy}");
        assert_eq!((scene.allowed(), scene.rejected()), (2, 1), "{policy}");
        let limit = scene.limit();
        assert_eq!(limit["permits_left"], 0);
        let reset = limit["reset_seconds"].as_f64().unwrap();
        assert!((200.0..=600.0).contains(&reset), "{policy}: {reset}");
        let line = poll::until(poll::SOON, "the access log tells it", || {
            scene.gateway.access_log().into_iter().find(|line| line["reason"] == "limited")
        });
        assert_eq!((&line["route"], &line["side"], &line["tx_bytes"]), (&json!("r"), &json!("gateway"), &json!(0)));
    }
}

#[test]
fn each_client_has_a_count_of_its_own_where_the_limit_has_keys() {
    let scene = Scene::start();
    let server = servers::hello();
    // below HTTP there is no header: the client counts
    let limit = json!({"policy": "fixed_window", "by": "key", "header": "X-User", "permit_limit": 1, "window": "10m"});
    scene.route(&server.node(), &json!({ "limit": limit }));
    let from = |ip: [u8; 4]| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((ip, 0)).into()).unwrap();
        socket.connect(&scene.addr.into()).unwrap();
        let mut stream: TcpStream = socket.into();
        stream.set_read_timeout(Some(poll::SOON)).unwrap();
        // one that is refused may be closed already
        let _ = stream.write_all(b"mmm");
        !client::read_all(&mut stream).0.is_empty()
    };
    assert_eq!([from([127, 0, 0, 1]), from([127, 0, 0, 1]), from([127, 0, 0, 2]), from([127, 0, 0, 2])], [true, false, true, false]);
    assert_eq!(scene.gateway.count("sluice_limiter_keys", &[("route", "r")]), 2);
    let left = |key: &str| scene.gateway.control("GET", &format!("/v1/limits/r?key={key}")).json()["permits_left"].clone();
    assert_eq!((left("127.0.0.1"), left("127.0.0.9")), (json!(0), json!(1)));
    assert_eq!(scene.limit()["permits_left"], Value::Null);
}

#[test]
fn the_global_limit_counts_all_routes_without_their_own_and_none_exempts() {
    let (a, b, own, free) = (ports::free(), ports::free(), ports::free(), ports::free());
    let gateway = Gateway::start(Conf::new().tcp(a).tcp(b).tcp(own).tcp(free));
    let server = servers::hello();
    let put = |id: &str, port: u16, limit: &Value| {
        let mut route = json!({"server_port": port, "upstream": upstream(&[&server.node()])});
        if !limit.is_null() {
            route["limit"] = limit.clone();
        }
        gateway.put_live("stream_routes", id, &route);
    };
    put("a", a, &Value::Null);
    put("b", b, &Value::Null);
    put("own", own, &json!({"policy": "concurrency", "permit_limit": 100}));
    put("free", free, &json!({"policy": "none"}));
    let served = |port: u16, times: usize| (0..times).filter(|_| client::served(ports::local(port))).count();
    gateway.put_live("settings", "global", &json!({"limit": {"policy": "fixed_window", "permit_limit": 3, "window": "1h"}}));
    assert_eq!((served(a, 2), served(b, 2)), (2, 1), "one count for both");
    assert_eq!((served(own, 5), served(free, 5)), (5, 5));
    for (route, policy, allowed, rejected) in [("a", "fixed_window", 2, 0), ("b", "fixed_window", 1, 1), ("own", "concurrency", 5, 0)] {
        let count = |name: &str| gateway.count(name, &[("route", route), ("policy", policy), ("scope", "instance")]);
        assert_eq!((count("sluice_limiter_allowed_total"), count("sluice_limiter_rejections_total")), (allowed, rejected), "{route}");
    }
    let limit = |route: &str| gateway.control("GET", &format!("/v1/limits/{route}"));
    assert_eq!(limit("b").json()["limit"], "settings/global");
    assert_eq!(limit("own").json()["limit"], "stream_routes/own");
    assert_eq!((limit("free").status, limit("nowhere").status), (404, 404));
    assert_eq!(gateway.control_list("/v1/limits").len(), 2);

    // an edit of something else keeps the count, another number takes it over, and so does every route without one of its own
    put("a", a, &Value::Null);
    gateway.put_live(
        "settings",
        "global",
        &json!({"default_timeout": "1m", "limit": {"policy": "fixed_window", "permit_limit": 3, "window": "1h"}}),
    );
    assert_eq!(served(a, 1), 0);
    gateway.put_live("settings", "global", &json!({"limit": {"policy": "fixed_window", "permit_limit": 5, "window": "1h"}}));
    assert_eq!((served(a, 2), served(b, 2)), (2, 0));
    gateway.put_live("settings", "global", &json!({}));
    assert_eq!((served(a, 3), served(b, 3)), (3, 3));
}

#[test]
fn a_limit_that_is_lowered_keeps_what_runs_and_one_that_is_raised_serves_those_who_wait() {
    let scene = Scene::start();
    let server = servers::echo();
    let limit = |n: u32| scene.route(&server.node(), &json!({"limit": {"policy": "concurrency", "permit_limit": n, "queue_limit": 1}}));
    limit(2);
    let mut running: Vec<TcpStream> = (0..2).map(|_| client::connect(scene.addr)).collect();
    for stream in &mut running {
        client::ping(stream, b"a").unwrap();
    }
    limit(1);
    for stream in &mut running {
        client::ping(stream, b"b").unwrap();
    }
    let mut waits = client::connect(scene.addr);
    soon("one waits", || scene.limit()["queued"] == 1);
    drop(running.pop());
    soon("one has ended", || scene.gateway.closed_for("r", "ok") == 1);
    assert_eq!(scene.limit()["queued"], 1, "one still runs, and that is all there may be");
    limit(2);
    client::ping(&mut waits, b"c").unwrap();
}

/// Connects to every gateway in turn, so many a second in all, and counts who is served.
struct Rain {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    asked: Arc<AtomicU64>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Rain {
    fn on(addrs: &[SocketAddr], each: u32) -> Self {
        let (stop, served, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let one = |addr: SocketAddr| {
            let (stop, served, asked) = (stop.clone(), served.clone(), asked.clone());
            thread::spawn(move || {
                let began = Instant::now();
                for n in 0u32.. {
                    let due = began + Duration::from_secs(1) * n / each;
                    thread::park_timeout(due.saturating_duration_since(Instant::now()));
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                    served.fetch_add(u64::from(client::served(addr)), Ordering::Relaxed);
                }
            })
        };
        let threads = addrs.iter().map(|addr| one(*addr)).collect();
        Self { stop, served, asked, threads }
    }

    /// How many were served a second, over so many seconds from now.
    fn rate(&self, seconds: u32) -> f64 {
        let (served, asked) = (self.served.load(Ordering::Relaxed), self.asked.load(Ordering::Relaxed));
        let began = Instant::now();
        thread::park_timeout(Duration::from_secs(u64::from(seconds)));
        let lasted = began.elapsed().as_secs_f64();
        let of = |counter: &AtomicU64, before: u64| f64::from(u32::try_from(counter.load(Ordering::Relaxed) - before).unwrap()) / lasted;
        assert!(of(&self.asked, asked) > 120.0, "the clients do not ask for more than the limit: {}", of(&self.asked, asked));
        of(&self.served, served)
    }
}

impl Drop for Rain {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            assert!(thread.join().is_ok() || thread::panicking());
        }
    }
}

#[test]
fn three_gateways_share_one_limit_and_the_living_share_what_a_dead_one_had() {
    let etcd = Etcd::start();
    let server = servers::hello();
    let mut fleet: Vec<(Gateway, SocketAddr)> = (0..3)
        .map(|n| {
            let port = ports::free();
            (Gateway::start(Conf::new().tcp(port).etcd(&etcd.urls(), &format!("gateway-{n}"))), ports::local(port))
        })
        .collect();
    let limit = json!({"policy": "fixed_window", "permit_limit": 90, "window": "1s", "scope": "cluster"});
    etcd.put("/sluice/stream_routes/r", &json!({"upstream": upstream(&[&server.node()]), "limit": limit}).to_string());
    let shares = |fleet: &[(Gateway, SocketAddr)]| -> Vec<u64> {
        fleet.iter().filter_map(|(g, _)| g.control("GET", "/v1/limits/r").json()["share"].as_u64()).collect()
    };
    soon("each has a third", || shares(&fleet) == [30, 30, 30]);
    let within = |rate: f64| assert!((81.0..=99.0).contains(&rate), "{rate} a second");

    let addrs: Vec<SocketAddr> = fleet.iter().map(|(_, addr)| *addr).collect();
    let rain = Rain::on(&addrs, 100);
    within(rain.rate(10));
    drop(rain);

    fleet[1].0.kill9();
    let killed = Instant::now();
    let (mut dead, rest): (Vec<_>, Vec<_>) = fleet.into_iter().enumerate().partition(|(n, _)| *n == 1);
    let rest: Vec<(Gateway, SocketAddr)> = rest.into_iter().map(|(_, g)| g).collect();
    poll::until(Duration::from_secs(30), "each has a half", || (shares(&rest) == [45, 45]).then_some(()));
    let noticed = killed.elapsed();
    // the lease lasts ten seconds; the machine may be busy
    assert!(noticed < Duration::from_secs(20), "after {noticed:?}");
    let rain = Rain::on(&rest.iter().map(|(_, addr)| *addr).collect::<Vec<_>>(), 150);
    within(rain.rate(10));
    drop(rain);

    let (_, (mut back, _)) = dead.pop().unwrap();
    back.start_again();
    soon("each has a third again", || shares(&rest) == [30, 30]);
}
