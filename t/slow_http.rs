//! Clients that are slow on purpose: slowhttptest's four ways, while another client is served all the time.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::support::conf::Conf;
use crate::support::gateway::Gateway;
use crate::support::{http, poll, ports, upstream};

/// Seconds and connections of one way, in the short form and in `make faults`.
const SHORT: (u32, u32) = (5, 300);
const LONG: (u32, u32) = (30, 4000);
/// The longest that another client may wait for an answer meanwhile: less than the slow ones last.
const PATIENCE: Duration = Duration::from_secs(4);

/// Slow heads, slow bodies, overlapping ranges, slow reading.
const WAYS: [&[&str]; 4] = [
    &["-H", "-i", "1", "-x", "24"],
    &["-B", "-i", "1", "-s", "8192", "-x", "10"],
    &["-R", "-a", "5", "-b", "3000"],
    &["-X", "-w", "256", "-y", "512", "-n", "1", "-z", "32", "-k", "3"],
];

/// What another client is told.
fn asked(listener: SocketAddr) -> Result<u16, String> {
    http::call(listener, "GET", "/", &[], b"").map(|answer| answer.status).map_err(|e| e.to_string())
}

#[test]
fn slow_clients_of_all_four_ways_keep_nobody_else_waiting() {
    let (seconds, connections) = if std::env::var_os("SLUICE_FAULT_ROUNDS").is_some() { LONG } else { SHORT };
    let node = upstream::http_of(16 * 1024);
    let gateway = Gateway::start(Conf::new());
    let listener = ports::free_addr();
    gateway.admin().must_put("listeners", "web", &json!({"protocol": "http", "addr": listener.to_string()}));
    gateway.put_live("routes", "r", &json!({"upstream": {"type": "roundrobin", "nodes": {node.addr.to_string(): 1}}}));
    poll::soon("a client is served", || asked(listener) == Ok(200));
    let before = gateway.resident_mib();
    for way in WAYS {
        let mut slow = Command::new("slowhttptest")
            .args(way)
            .args([
                "-c",
                &connections.to_string(),
                "-r",
                "200",
                "-l",
                &seconds.to_string(),
                "-u",
                &format!("http://{listener}/"),
                "-p",
                "3",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("slowhttptest is installed (make setup-test)");
        let has_ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                slow.wait().unwrap();
                has_ended.store(true, Ordering::Release);
            });
            let mut answers = 0;
            while !has_ended.load(Ordering::Acquire) {
                let began = tokio::time::Instant::now();
                assert_eq!(asked(listener), Ok(200), "{way:?}");
                assert!(began.elapsed() < PATIENCE, "{way:?}: {:?}", began.elapsed());
                answers += 1;
            }
            assert!(answers > 0, "{way:?}");
        });
        let grown = gateway.resident_mib().saturating_sub(before);
        // of a slow reader's answer, what one read took is kept, and the buffer that it came in
        assert!(grown < 32 + u64::from(connections) * 24 / 1024, "{way:?}: {grown} MiB more");
    }
}
