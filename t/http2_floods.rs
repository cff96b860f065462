//! Clients of HTTP/2 that flood on purpose, each way from several connections, while another client is served all the time and memory
//! stays bounded. The frames are written by hand: no client library would send them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::support::conf::Conf;
use crate::support::gateway::Gateway;
use crate::support::h2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, frame, frames, length,
};
use crate::support::{http, poll, ports, upstream};

/// Connections of one flood, and how long it lasts, in the short form and in `make faults`.
const SHORT: (usize, Duration) = (2, Duration::from_secs(2));
const LONG: (usize, Duration) = (64, Duration::from_secs(30));
/// The longest that another client may wait for an answer meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much the gateway may grow, in MiB.
const GROWTH: u64 = 96;

/// GET or POST of `/` at `a`, in HPACK.
fn head(method: u8) -> Vec<u8> {
    vec![method, 0x84, 0x86, 0x41, 1, b'a']
}
const GET: u8 = 0x82;
const POST: u8 = 0x83;

/// The stream of the client's request of this number.
fn stream(number: u64) -> u32 {
    u32::try_from(number % (1 << 29)).unwrap() * 2 + 1
}

/// One way to flood: what begins a connection, then what is sent again and again, by its number.
struct Flood {
    name: &'static str,
    /// The parameters of the client's SETTINGS.
    settings: &'static [u8],
    begin: fn() -> Vec<u8>,
    again: fn(u64) -> Vec<u8>,
    /// Whether the gateway ends the connection, or takes it all at its own pace.
    ends: bool,
}

fn nothing() -> Vec<u8> {
    Vec::new()
}

const FLOODS: [Flood; 7] = [
    Flood {
        name: "rapid reset (CVE-2023-44487)",
        settings: &[],
        begin: nothing,
        again: |n| {
            let cancel = 8_u32.to_be_bytes();
            [frame(HEADERS, END_HEADERS | END_STREAM, stream(n), &head(GET)), frame(RST_STREAM, 0, stream(n), &cancel)].concat()
        },
        ends: true,
    },
    Flood {
        name: "CONTINUATION without an end (CVE-2024-27316)",
        settings: &[],
        begin: || frame(HEADERS, 0, 1, &head(GET)),
        again: |n| {
            let name = format!("x-{n:08}");
            let mut field = vec![0, u8::try_from(name.len()).unwrap()];
            field.extend_from_slice(name.as_bytes());
            field.extend_from_slice(&[100]);
            field.extend_from_slice(&[b'v'; 100]);
            frame(CONTINUATION, 0, 1, &field)
        },
        ends: true,
    },
    Flood {
        name: "SETTINGS (CVE-2019-9515)",
        settings: &[],
        begin: nothing,
        again: |_| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]),
        ends: true,
    },
    Flood { name: "PING (CVE-2019-9512)", settings: &[], begin: nothing, again: |n| frame(PING, 0, 0, &n.to_be_bytes()), ends: true },
    Flood {
        name: "empty DATA (CVE-2019-9518)",
        settings: &[],
        begin: || frame(HEADERS, END_HEADERS, 1, &head(POST)),
        again: |_| frame(DATA, 0, 1, &[]),
        ends: true,
    },
    Flood {
        name: "HPACK bomb",
        settings: &[],
        // one large field, kept in the table; then many streams that name it many times
        begin: || {
            let mut block = head(GET);
            block.extend_from_slice(&[0x40, 1, b'x']);
            length(&mut block, 3900);
            block.extend_from_slice(&[b'v'; 3900]);
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)
        },
        again: |n| {
            let mut block = head(GET);
            block.extend_from_slice(&[0xbe; 8000]);
            frame(HEADERS, END_HEADERS | END_STREAM, stream(n + 1), &block)
        },
        ends: false,
    },
    Flood {
        name: "requests whose answers are not taken (CVE-2019-9517)",
        // SETTINGS_INITIAL_WINDOW_SIZE = 0
        settings: &[0, 4, 0, 0, 0, 0],
        begin: nothing,
        again: |n| frame(HEADERS, END_HEADERS | END_STREAM, stream(n), &head(GET)),
        ends: false,
    },
];

/// What became of one connection.
#[derive(Debug, Default)]
struct Seen {
    sent: AtomicU64,
    ended: AtomicU64,
}

/// Floods until the time is over, connecting anew where the gateway has had enough.
fn flood(way: &Flood, listener: SocketAddr, over: &AtomicBool, seen: &Seen) {
    while !over.load(Ordering::Acquire) {
        let Ok(mut wire) = TcpStream::connect(listener) else { continue };
        wire.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        let begin = [PREFACE, &frame(SETTINGS, 0, 0, way.settings), &(way.begin)()].concat();
        if wire.write_all(&begin).is_err() {
            continue;
        }
        let (mut number, mut bytes, mut at) = (0, Vec::new(), 0);
        while !over.load(Ordering::Acquire) {
            if at == bytes.len() {
                (bytes, at) = ((number..number + 64).flat_map(way.again).collect(), 0);
                number += 64;
            }
            match wire.write(&bytes[at..]) {
                Ok(written) => {
                    at += written;
                    if at == bytes.len() {
                        seen.sent.fetch_add(64, Ordering::Relaxed);
                    }
                }
                // the gateway reads no more for now
                Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
                Err(_) => {
                    seen.ended.fetch_add(1, Ordering::Relaxed);
                    break;
                }
            }
        }
    }
}

/// What another client is told, whose node is not the one that is flooded.
fn asked(listener: SocketAddr) -> Result<u16, String> {
    http::call(listener, "GET", "/other", &[], b"").map(|answer| answer.status).map_err(|e| e.to_string())
}

#[test]
fn floods_of_http_2_are_bounded_and_keep_nobody_else_waiting() {
    let (connections, lasting) = if std::env::var_os("SLUICE_FAULT_ROUNDS").is_some() { LONG } else { SHORT };
    let [node, other] = [(); 2].map(|()| upstream::http_of(16 * 1024));
    let gateway = Gateway::start(Conf::new());
    let listener = ports::free_addr();
    gateway.admin().must_put("listeners", "web", &json!({"protocol": "http", "addr": listener.to_string()}));
    for (id, paths, node) in [("r", "*", &node), ("o", "/other", &other)] {
        let route = json!({"match": {"paths": [paths]}, "upstream": {"type": "roundrobin", "nodes": {node.addr.to_string(): 1}}});
        gateway.put_live("routes", id, &route);
    }
    poll::soon("a client is served", || asked(listener) == Ok(200));
    let before = gateway.resident_mib();
    for way in &FLOODS {
        let (over, seen) = (AtomicBool::new(false), Seen::default());
        std::thread::scope(|scope| {
            for _ in 0..connections {
                scope.spawn(|| flood(way, listener, &over, &seen));
            }
            let (began, mut served) = (tokio::time::Instant::now(), 0);
            let mut most = 0;
            while began.elapsed() < lasting || served < 3 {
                let asking = tokio::time::Instant::now();
                let answer = asked(listener);
                most = most.max(gateway.resident_mib().saturating_sub(before));
                if answer != Ok(200) || asking.elapsed() > PATIENCE || most > GROWTH {
                    over.store(true, Ordering::Release);
                }
                assert_eq!(answer, Ok(200), "{}, after {served} that were served", way.name);
                assert!(asking.elapsed() < PATIENCE, "{}: {:?}", way.name, asking.elapsed());
                assert!(most <= GROWTH, "{}: {most} MiB more", way.name);
                served += 1;
            }
            over.store(true, Ordering::Release);
            println!("{}: {seen:?}, {served} others served, {most} MiB", way.name);
        });
        assert!(seen.sent.load(Ordering::Relaxed) >= 256, "{}: {seen:?}", way.name);
        assert!(!way.ends || seen.ended.load(Ordering::Relaxed) > 0, "{}: {seen:?}", way.name);
    }
    poll::soon("the sessions of the floods are gone", || gateway.count("sluice_connections_active", &[]) <= 1);
}

/// What the gateway says last to a client that resets without an end.
#[test]
fn who_resets_too_much_is_told_to_calm_down() {
    let gateway = Gateway::start(Conf::new());
    let listener = ports::free_addr();
    gateway.put_live("listeners", "web", &json!({"protocol": "http", "addr": listener.to_string()}));
    poll::soon("the listener accepts", || TcpStream::connect(listener).is_ok());
    let mut wire = TcpStream::connect(listener).unwrap();
    wire.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let flood: Vec<u8> = (0..2000).flat_map(FLOODS[0].again).collect();
    // it may be closed before all is written
    let _ = wire.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &flood].concat());
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = wire.read(&mut buffer) {
        all.extend_from_slice(&buffer[..n]);
    }
    // ENHANCE_YOUR_CALM
    let goaway = frames(&all).into_iter().find(|frame| frame.kind == GOAWAY).map(|frame| frame.payload[4..8].to_vec());
    assert_eq!(goaway, Some(vec![0, 0, 0, 11]));
}
