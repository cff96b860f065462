//! Start and end of the process, and life at the limit of open files.

use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::support::gateway::{Gateway, upstream};
use crate::support::http;
use crate::support::poll::{SOON, throughout, until};
use crate::support::upstream::{self as servers, Server};
use crate::support::{Conf, client, ports, soon};

/// A gateway with a route to an echo, and one session through it.
fn with_a_session(conf: Conf) -> (Gateway, Server, TcpStream, u16) {
    let server = servers::echo();
    let port = ports::free();
    let gateway = Gateway::start(conf.tcp(port));
    gateway.put_live("stream_routes", "r", &json!({"upstream": upstream(&[&server.node()])}));
    let stream = session(port).expect("a session");
    (gateway, server, stream, port)
}

fn session(port: u16) -> Option<TcpStream> {
    let mut stream = client::try_connect(ports::local(port)).ok()?;
    client::ping(&mut stream, b"hello").ok()?;
    Some(stream)
}

#[test]
fn sigterm_drains_and_ends_with_0_once_the_last_session_is_gone() {
    let (mut gateway, _server, mut stream, port) = with_a_session(Conf::new().drain_timeout("60s"));
    gateway.signal(Signal::TERM);
    soon("readiness ends", || gateway.readyz().is_none_or(|a| a.status == 503));
    let answer = gateway.readyz().expect("the metrics server answers while draining");
    assert!(answer.status == 503 && answer.text().contains("drain"), "{}", answer.text());
    assert_eq!(http::call(gateway.metrics_addr(), "GET", "/healthz", &[], b"").unwrap().status, 200, "alive all the same");
    soon("new connections are refused", || client::refused(ports::local(port)));
    client::ping(&mut stream, b"unfinished business").expect("the session goes on");
    assert!(gateway.alive());
    drop(stream);
    let status = gateway.wait_exit(SOON);
    assert_eq!(status.code(), Some(0));
    let log = gateway.access_log();
    assert!(log.iter().any(|l| l["reason"] == "ok" && l["route"] == "r"), "{log:?}");
}

#[test]
fn control_yields_to_the_workers() {
    let (gateway, _server, _stream, _) = with_a_session(Conf::new());
    let threads = gateway.threads();
    let (workers, control): (Vec<_>, Vec<_>) =
        threads.iter().partition(|(name, _)| name.starts_with("worker-") || name == "access-log" || name == "log");
    let base = workers.first().expect("a worker").1;
    assert!(workers.iter().all(|(_, nice)| *nice == base), "{threads:?}");
    assert!(control.iter().any(|(name, _)| name == "tokio-rt-worker"), "the store has written: {threads:?}");
    assert!(control.iter().all(|(_, nice)| *nice == (base + 10).min(19)), "{threads:?}");
}

#[test]
fn a_hang_up_ends_nothing() {
    let (mut gateway, _server, mut stream, _) = with_a_session(Conf::new());
    gateway.signal(Signal::HUP);
    soon("the hang-up is told of", || gateway.log().contains("SIGHUP is not a reload"));
    client::ping(&mut stream, b"still here").expect("the session goes on");
    assert!(gateway.alive());
}

/// Runs a program whose standard error is a small pipe that nobody ever reads: a collector of logs that hangs.
const UNREAD: &str = "import fcntl, os, sys
r, w = os.pipe()
fcntl.fcntl(w, 1031, 4096)
os.set_inheritable(r, True)
os.dup2(w, 2)
os.execvp(sys.argv[1], sys.argv[1:])";

#[test]
fn a_log_that_nobody_reads_holds_nobody_up() {
    let server = servers::echo();
    let port = ports::free();
    let mut gateway = Gateway::start_under(&["python3", "-c", UNREAD], Conf::new().tcp(port).drain_timeout("60s"));
    gateway.put_live("stream_routes", "r", &json!({"upstream": upstream(&[&server.node()])}));
    let mut stream = session(port).expect("a session");
    // a line of more than 100 bytes each
    for _ in 0..100 {
        gateway.put_live("upstreams", "u", &upstream(&[]));
        client::ping(&mut stream, b"x").expect("the session goes on");
    }
    session(port).expect("new ones are served");
    assert_eq!(gateway.readyz().map(|answer| answer.status), Some(200));
    drop(stream);
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait_exit(SOON).code(), Some(0));
}

#[test]
fn a_hang_up_lets_the_access_log_be_rotated_under_traffic() {
    let (mut gateway, _server, stream, port) = with_a_session(Conf::new());
    let (file, dir) = (gateway.dir().join("access.log"), gateway.dir().to_owned());
    let mut begun = 1;
    for round in 0..3 {
        for _ in 0..50 {
            drop(session(port).expect("a session"));
        }
        begun += 50;
        std::fs::rename(&file, dir.join(format!("access.log.{round}"))).unwrap();
        drop(session(port).expect("one that ends between the two"));
        begun += 1;
        gateway.signal(Signal::HUP);
        soon("there is a new file", || file.exists());
    }
    soon("each is told of", || gateway.log().matches("\"access_log\":\"opened again\"").count() == 3);
    drop(stream);
    let lines = |path: &std::path::Path| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).is_ok_and(|line| line["reason"] == "ok"))
            .collect::<Vec<_>>()
    };
    soon("the last session is in the new file", || !lines(&file).is_empty());
    let all = || {
        (0..3).map(|round| dir.join(format!("access.log.{round}"))).chain([file.clone()]).flat_map(|path| lines(&path)).collect::<Vec<_>>()
    };
    soon("no line is lost", || all().len() == begun);
    assert!(all().iter().all(|is_whole| *is_whole), "and none is torn");

    // where no file can be made, the one from before is written on
    std::fs::rename(&file, dir.join("access.log.last")).unwrap();
    std::fs::create_dir(&file).unwrap();
    let before = lines(&dir.join("access.log.last")).len();
    gateway.signal(Signal::HUP);
    soon("it is told", || gateway.log().contains("access log cannot be opened again"));
    drop(session(port).expect("a session"));
    soon("written on", || lines(&dir.join("access.log.last")).len() == before + 1);
    assert!(gateway.alive());
}

#[test]
fn sessions_that_outlast_the_drain_time_are_ended_with_that_reason() {
    let (mut gateway, _server, mut stream, _) = with_a_session(Conf::new().drain_timeout("1s"));
    let begin = Instant::now();
    gateway.signal(Signal::TERM);
    assert_eq!(client::read_all(&mut stream).0, Vec::<u8>::new());
    let status = gateway.wait_exit(SOON);
    assert_eq!(status.code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
    let log = gateway.access_log();
    assert!(log.iter().any(|l| l["reason"] == "drain_deadline"), "{log:?}");
}

#[test]
fn a_second_sigterm_does_not_wait_for_sessions() {
    let (mut gateway, _server, mut stream, _) = with_a_session(Conf::new().drain_timeout("600s"));
    gateway.signal(Signal::TERM);
    soon("it drains", || gateway.readyz().is_none_or(|a| a.status == 503));
    client::ping(&mut stream, b"x").expect("the session goes on");
    let begin = Instant::now();
    gateway.signal(Signal::TERM);
    gateway.wait_exit(SOON);
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
}

#[test]
fn a_resolver_that_does_not_answer_keeps_no_process_alive() {
    let silent = UdpSocket::bind("127.0.0.99:53").expect("the tests run as root");
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("resolv.conf");
    std::fs::write(&conf, "nameserver 127.0.0.99\noptions timeout:30 attempts:5\n").unwrap();
    let mounted = format!("mount --bind {} /etc/resolv.conf && exec \"$@\"", conf.display());
    let mut gateway = Gateway::start_under(&["unshare", "--mount", "sh", "-c", &mounted, "sh"], Conf::new());
    gateway.admin().must_put("stream_routes", "r", &json!({"upstream": upstream(&["nobody.test:80"])}));
    silent.set_read_timeout(Some(SOON)).unwrap();
    silent.recv_from(&mut [0; 512]).expect("it is asked");
    let begin = Instant::now();
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait_exit(SOON).code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[test]
fn a_restart_serves_what_was_stored() {
    let (mut gateway, _server, stream, port) = with_a_session(Conf::new());
    let addr = ports::free_addr();
    gateway.listen("l", addr);
    drop(stream);
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait_exit(SOON).code(), Some(0));
    gateway.start_again();
    soon("conf's port serves", || session(port).is_some());
    soon("the stored port serves", || session(addr.port()).is_some());
}

/// While the gateway can accept nothing: the first session goes on, and the processor is not burnt.
fn sits_it_out(gateway: &Gateway, first: &mut TcpStream) {
    let (cpu, begin) = (gateway.cpu(), Instant::now());
    throughout(Duration::from_secs(2), "the first session goes on", || {
        std::thread::park_timeout(Duration::from_millis(100));
        client::ping(first, b"x").is_ok()
    });
    let used = gateway.cpu().saturating_sub(cpu).as_secs_f64() / begin.elapsed().as_secs_f64();
    assert!(used < 0.1, "it uses {:.0} % of a processor while it can accept nothing", used * 100.0);
}

#[test]
fn sessions_never_take_the_descriptors_of_admin_and_metrics() {
    const LIMIT: usize = 256;
    let server = servers::echo();
    let port = ports::free();
    let limit = format!("--nofile={LIMIT}");
    let gateway = Gateway::start_under(&["prlimit", &limit], Conf::new().tcp(port));
    gateway.put_live("stream_routes", "r", &json!({"upstream": upstream(&[&server.node()])}));
    let mut first = session(port).expect("a session");

    // the kernel completes them all; the gateway does not accept them all
    let crowd: Vec<TcpStream> = (0..2 * LIMIT).map(|_| client::connect(ports::local(port))).collect();
    soon("it takes what it may", || gateway.count("sluice_connections_active", &[]) > 32);
    sits_it_out(&gateway, &mut first);
    assert!(gateway.fds() < LIMIT, "{}", gateway.fds());
    gateway.admin().must_put("upstreams", "meanwhile", &upstream(&["127.0.0.1:80"]));

    drop(crowd);
    soon("it accepts again", || session(port).is_some());
    client::ping(&mut first, b"x").expect("the first session outlived it all");
}

#[test]
fn out_of_files_accepting_pauses_without_spinning_and_recovers() {
    let server = servers::echo();
    let port = ports::free();
    let gateway = Gateway::start(Conf::new().tcp(port));
    gateway.put_live("stream_routes", "r", &json!({"upstream": upstream(&[&server.node()])}));
    let mut first = session(port).expect("a session");

    // lower than what the gateway believes it has
    let limit = format!("--nofile={}", gateway.fds() + 20);
    let lowered = std::process::Command::new("prlimit").args(["--pid", &gateway.pid().to_string(), &limit]).status().unwrap();
    assert!(lowered.success());
    let crowd: Vec<TcpStream> = (0..200).map(|_| client::connect(ports::local(port))).collect();
    soon("it says so", || gateway.log().contains("accepting pauses"));
    sits_it_out(&gateway, &mut first);

    drop(crowd);
    soon("it accepts again", || session(port).is_some());
    assert!(gateway.count("sluice_accept_pauses_total", &[("resource", "descriptors")]) >= 1);
    client::ping(&mut first, b"x").expect("the first session outlived it all");
}

#[test]
fn each_session_has_one_line_in_the_access_log() {
    let hello = servers::hello();
    let refusing = servers::refusing();
    let (a, b, c) = (ports::free(), ports::free(), ports::free());
    let gateway = Gateway::start(Conf::new().tcp(a).tcp(b).tcp(c));
    let admin = gateway.admin();
    admin.must_put("stream_routes", "good", &json!({"server_port": a, "upstream": upstream(&[&hello.node()])}));
    admin.must_put("stream_routes", "bad", &json!({"server_port": b, "upstream": upstream(&[&refusing.addr.to_string()])}));
    soon("the good route serves", || client::served(ports::local(a)));
    soon("the bad route is there", || client::closed(ports::local(b)) && gateway.closed_for("bad", "upstream_refused") >= 1);
    // of all that were accepted: a client sees its end before the line and the count of the end are there
    soon("a line each", || gateway.access_log().len() as u64 == gateway.count("sluice_connections_total", &[]));
    let before = gateway.access_log().len();

    let served: Vec<String> = (0..7)
        .map(|_| {
            let mut stream = client::connect(ports::local(a));
            std::io::Write::write_all(&mut stream, b"mmm").unwrap();
            assert_eq!(client::read_all(&mut stream).0, b"hello world\n");
            stream.local_addr().unwrap().port().to_string()
        })
        .collect();
    assert!(client::closed(ports::local(b)));
    assert!(client::closed(ports::local(c)));
    soon("nine more lines", || gateway.access_log().len() == before + 9);
    let log = gateway.access_log().split_off(before);
    for port in served {
        let line = log.iter().find(|l| l["client_port"].to_string().trim_matches('"') == port);
        let line = line.unwrap_or_else(|| panic!("client port {port} in {log:?}"));
        assert_eq!((&line["route"], &line["reason"], &line["client_ip"]), (&json!("good"), &json!("ok"), &json!("127.0.0.1")), "{line}");
        assert_eq!((&line["rx_bytes"], &line["tx_bytes"]), (&json!(3), &json!(12)), "{line}");
        assert_eq!((&line["proto"], &line["endpoint"]), (&json!("tcp"), &json!(hello.node())), "{line}");
    }
    let reasons: Vec<&str> = log.iter().map(|l| l["reason"].as_str().unwrap()).collect();
    for reason in ["upstream_refused", "no_route"] {
        assert_eq!(reasons.iter().filter(|r| **r == reason).count(), 1, "{reasons:?}");
    }
}

#[test]
fn no_key_is_ever_logged() {
    let (gateway, _server, _stream, _) = with_a_session(Conf::new());
    let key = gateway.conf.admin_key.clone();
    for path in ["/upstreams?api_key=wrong-key-in-the-query", "/stream_routes/none", "/nothing"] {
        gateway.admin().call("GET", path, b"");
    }
    assert!(!gateway.log().is_empty(), "it says something");
    assert!(!gateway.log().contains(&key) && !gateway.log().contains("wrong-key-in-the-query"));
}

#[test]
fn a_required_port_that_cannot_be_bound_is_not_ready_and_heals_by_itself() {
    let port = ports::free();
    let squatter = std::net::TcpListener::bind(("0.0.0.0", port)).unwrap();
    let mut gateway = Gateway::launch(&[], Conf::new().tcp(port));
    let answer =
        until(SOON, "an answer of readiness that names the port", || gateway.readyz().filter(|a| a.text().contains(&port.to_string())));
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(http::call(gateway.metrics_addr(), "GET", "/healthz", &[], b"").unwrap().status, 200);
    drop(squatter);
    gateway.wait_ready();
    assert!(client::closed(ports::local(port)));
}
