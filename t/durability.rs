//! What was acknowledged is there: kill −9 at any moment, a flush before every answer, one process a store, a full disk.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::support::gateway::{Admin, Gateway, upstream};
use crate::support::poll::SOON;
use crate::support::{Conf, client, namespace, ports, soon, upstream as servers};

/// Rounds of the kill test; `make faults` asks for more.
const ROUNDS: u32 = 10;
/// Keys that the writers write, over and over.
const KEYS: u32 = 40;

fn rounds() -> u32 {
    std::env::var("SLUICE_FAULT_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS)
}

/// The newest number that was sent, and the newest that was acknowledged, of each key.
#[derive(Debug, Default)]
struct Written {
    sent: BTreeMap<String, u64>,
    acknowledged: BTreeMap<String, u64>,
}

/// Writes numbers, one after the other, until told to stop or until the gateway is gone.
fn write(admin: &Admin, writer: u32, from: u64, stop: &AtomicBool) -> Written {
    let mut written = Written::default();
    for number in from.. {
        let key = format!("w{writer}-{}", number % u64::from(KEYS));
        written.sent.insert(key.clone(), number);
        let value = json!({"nodes": {"127.0.0.1:80": 1}, "type": "roundrobin", "desc": number.to_string()});
        match admin.try_call("PUT", &format!("/upstreams/{key}"), value.to_string().as_bytes()) {
            Ok(answer) if answer.ok() => written.acknowledged.insert(key, number),
            // the gateway died, or is dying
            Ok(answer) => panic!("{} {}", answer.status, answer.text()),
            Err(_) => return written,
        };
        if stop.load(Ordering::Acquire) {
            return written;
        }
    }
    written
}

#[test]
fn every_acknowledged_write_survives_kill_9() {
    const WRITERS: u32 = 2;
    let mut gateway = Gateway::start(Conf::new());
    let mut acknowledged: BTreeMap<String, u64> = BTreeMap::new();
    let mut sent: BTreeMap<String, u64> = BTreeMap::new();
    let mut total = 0;
    for round in 0..rounds() {
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..WRITERS)
            .map(|w| {
                let (admin, stop) = (gateway.admin(), stop.clone());
                let from = u64::from(round) * 1_000_000;
                std::thread::spawn(move || write(&admin, w, from, &stop))
            })
            .collect();
        // another moment of a write each round
        std::thread::park_timeout(Duration::from_micros(40_000 + u64::from(round.wrapping_mul(7919) % 97) * 1_300));
        gateway.kill9();
        stop.store(true, Ordering::Release);
        for writer in writers {
            let written = writer.join().unwrap();
            total += written.acknowledged.len();
            acknowledged.extend(written.acknowledged);
            sent.extend(written.sent);
        }

        gateway.start_again();
        let list = gateway.admin().get("/upstreams").json();
        let stored: BTreeMap<String, u64> = list["list"]
            .as_array()
            .unwrap()
            .iter()
            .map(|i| (i["value"]["id"].as_str().unwrap().to_owned(), i["value"]["desc"].as_str().unwrap().parse().unwrap()))
            .collect();
        for (key, number) in &acknowledged {
            let there = stored.get(key).unwrap_or_else(|| panic!("round {round}: {key} = {number} was acknowledged and is gone"));
            assert!(
                there >= number && *there <= sent[key],
                "round {round}: {key}: acknowledged {number}, sent {}, stored {there}",
                sent[key]
            );
        }
        // what was stored without an answer counts from now on
        acknowledged.extend(stored);
    }
    assert!(total > 0, "nothing was acknowledged in any round, so nothing was tested");
}

#[test]
fn no_answer_comes_before_the_disk_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    let wrapper = ["strace", "-D", "-f", "-qq", "-e", "trace=fsync,fdatasync,msync", "-o", trace.to_str().unwrap()];
    let gateway = Gateway::start_under(&wrapper, Conf::new());
    let flushes = || fs::read_to_string(&trace).unwrap().lines().filter(|l| l.contains("sync(") && l.contains("= 0")).count();
    for n in 0..20 {
        let before = flushes();
        gateway.admin().must_put("upstreams", &n.to_string(), &upstream(&["127.0.0.1:80"]));
        // strace writes its line when the call returns, which may be a moment after the answer is seen here
        soon(&format!("write {n} was flushed"), || flushes() > before);
    }
}

#[test]
fn a_write_whose_flush_failed_is_refused_and_not_to_be_seen() {
    // the twentieth flush and all later ones of a thread fail; a thread that is new to the pool has its own count
    let inject = "inject=fsync,fdatasync:error=EIO:when=20+";
    let wrapper = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", inject];
    let mut gateway = Gateway::start_under(&wrapper, Conf::new());
    let admin = gateway.admin();
    let (mut acknowledged, mut refused) = (Vec::new(), Vec::new());
    for n in 0..200 {
        let answer = admin.call("PUT", &format!("/upstreams/{n}"), br#"{"nodes":{},"type":"roundrobin"}"#);
        if answer.ok() {
            acknowledged.push(n);
        } else {
            assert_eq!(answer.status, 503, "{}", answer.text());
            assert_eq!(admin.get(&format!("/upstreams/{n}")).status, 404, "{n} was refused");
            refused.push(n);
        }
        if refused.len() == 5 {
            break;
        }
    }
    assert!(!acknowledged.is_empty() && !refused.is_empty(), "{acknowledged:?} acknowledged, {refused:?} refused");
    assert!(gateway.alive());
    gateway.kill9();
    gateway.unwrap_command();
    gateway.start_again();
    for n in acknowledged {
        assert_eq!(gateway.admin().get(&format!("/upstreams/{n}")).status, 200, "{n} was acknowledged");
    }
}

#[test]
fn a_second_process_on_the_same_store_says_so_and_ends() {
    let gateway = Gateway::start(Conf::new());
    let mut conf = Conf::new();
    conf.store = Some(gateway.store());
    let mut second = Gateway::launch(&[], conf);
    let status = second.wait_exit(SOON);
    assert!(!status.success(), "{status}");
    assert!(second.log().contains("in use by another process"), "{}", second.log());
    gateway.admin().must_put("upstreams", "1", &upstream(&["127.0.0.1:80"]));
}

#[test]
fn a_full_disk_refuses_writes_and_harms_no_session() {
    namespace::network_and_mounts("durability::a_full_disk_refuses_writes_and_harms_no_session", || {
        let disk = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(disk.path()).status().unwrap();
        assert!(mounted.success());
        let hello = servers::hello();
        let port = ports::free();
        let mut conf = Conf::new().tcp(port);
        conf.store = Some(disk.path().join("store.redb"));
        let mut gateway = Gateway::start(conf);
        let admin = gateway.admin();
        admin.must_put("stream_routes", "1", &json!({"upstream": upstream(&[&hello.node()])}));
        soon("a session is served", || client::served(ports::local(port)));

        let filler = disk.path().join("filler");
        let padding = "x".repeat(256);
        let big = |n: u32| {
            let nodes: serde_json::Map<_, _> = (1..2000).map(|p| (format!("10.0.0.{}:{}", n % 250, p), json!(1))).collect();
            json!({"nodes": nodes, "type": "roundrobin", "desc": padding})
        };
        // whatever the store left free is taken, so that it cannot grow
        let _ = fs::write(&filler, vec![0; 4 * 1024 * 1024]);
        let mut stored = Vec::new();
        let refused = (0..200).find_map(|n| {
            let answer = admin.put("upstreams", &n.to_string(), &big(n));
            if answer.ok() {
                stored.push(n);
                return None;
            }
            Some(answer)
        });
        let refused = refused.expect("the disk is full at some time");
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert!(!refused.error_msg().is_empty(), "it says why: {}", refused.text());

        assert!(client::served(ports::local(port)), "traffic goes on");
        assert_eq!(admin.get("/stream_routes/1").status, 200, "reads go on");
        assert!(gateway.alive());
        assert!(gateway.count("sluice_store_errors_total", &[]) >= 1);

        fs::remove_file(&filler).unwrap();
        soon("with room again, writes work again", || admin.put("upstreams", "after", &upstream(&["127.0.0.1:80"])).ok());
        gateway.kill9();
        gateway.start_again();
        for n in stored {
            assert_eq!(gateway.admin().get(&format!("/upstreams/{n}")).status, 200, "{n}");
        }
        assert!(client::served(ports::local(port)));
    });
}
