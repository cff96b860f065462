//! The PROXY protocol between real programs: HAProxy before the gateway, nginx behind it, and clients that send what they should not.

use std::fs;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::seed_mysql::Daemon;
use crate::support::gateway::upstream;
use crate::support::poll::{soon, until};
use crate::support::{Conf, Gateway, client, ports, upstream as servers};

const CLAIM: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.7 4200 443\r\n";

/// The signature of version 2.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A gateway whose sessions all go to an echo, and the echo.
fn gateway(conf: Conf) -> (Gateway, servers::Server) {
    let echo = servers::echo();
    let gateway = Gateway::start(conf);
    gateway.put_live("stream_routes", "all", &json!({"upstream": upstream(&[&echo.node()])}));
    (gateway, echo)
}

/// Sends bytes and FIN to a port; what came back, and the port that it was sent from.
fn say(port: u16, bytes: &[u8]) -> (String, u16) {
    let mut stream = client::connect(ports::local(port));
    let from = stream.local_addr().unwrap().port();
    // the gateway may have closed already; what it sent is what counts
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    (String::from_utf8(client::read_all(&mut stream).0).unwrap(), from)
}

fn refused_headers(gateway: &Gateway) -> u64 {
    gateway.closed_for("", "proxy_header")
}

#[test]
fn headers_are_neither_wanted_nor_sent_unless_somebody_says_so() {
    let (plain, sends, wants) = (ports::free(), ports::free(), ports::free());
    let conf = Conf::new()
        .tcp(plain)
        .tcp(format!("{{addr: {sends}, proxy_protocol_to_upstream: true}}"))
        .tcp(format!("{{addr: {wants}, proxy_protocol: true}}"));
    let (gateway, _echo) = gateway(conf);
    assert_eq!(say(plain, b"mmm").0, "mmm", "Q15");
    let (answer, from) = say(sends, b"mmm");
    assert_eq!(answer, format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from} {sends}\r\nmmm"));
    assert_eq!(say(wants, b"mmm").0, "");
    assert_eq!(say(wants, &[CLAIM, b"mmm"].concat()).0, "mmm");
    assert_eq!(refused_headers(&gateway), 1);
    // the header that was sent is none of the session's bytes, nor is that which was read
    soon("all sessions are counted", || gateway.closed_for("all", "ok") == 3);
    assert_eq!(gateway.count("sluice_bytes_total", &[("route", "all"), ("direction", "in")]), 9);
}

#[test]
fn the_switches_for_all_reach_the_entries_that_do_not_decide_themselves() {
    let (both, other) = (ports::free(), ports::free());
    let switches = "{enable_tcp_pp: true, enable_tcp_pp_to_upstream: true, trusted: [127.0.0.0/8]}";
    let entry = format!("{{addr: {other}, proxy_protocol: false, proxy_protocol_to_upstream: false}}");
    let (_gateway, _echo) = gateway(Conf::new().tcp(both).tcp(entry).proxy_protocol(switches));
    assert_eq!(say(other, b"mmm").0, "mmm", "Q17, Q19");
    assert_eq!(say(both, b"mmm").0, "", "Q17");
    let (answer, _) = say(both, &[CLAIM, b"mmm"].concat());
    assert_eq!(answer, format!("{}mmm", String::from_utf8_lossy(CLAIM)), "a believed header goes on as it came");
}

#[test]
fn an_untrusted_peers_claim_is_ignored() {
    for trusted in ["", ", trusted: []", ", trusted: [10.0.0.0/8, \"::1\"]"] {
        let port = ports::free();
        let switches = format!("{{enable_tcp_pp: true, enable_tcp_pp_to_upstream: true{trusted}}}");
        let (_gateway, _echo) = gateway(Conf::new().tcp(port).proxy_protocol(&switches));
        let (answer, from) = say(port, &[CLAIM, b"mmm"].concat());
        assert_eq!(answer, format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from} {port}\r\nmmm"), "Q23 {trusted}");
    }
}

#[test]
fn routes_sessions_and_the_access_log_see_the_claimed_client() {
    let port = ports::free();
    let gateway = Gateway::start(Conf::new());
    let (far, near) = (servers::speaks_first(b"far "), servers::speaks_first(b"near "));
    gateway.put_live(
        "stream_routes",
        "far",
        &json!({"remote_addr": "192.0.2.0/24", "server_port": port, "upstream": upstream(&[&far.node()])}),
    );
    gateway.put_live("stream_routes", "near", &json!({"remote_addr": "127.0.0.1", "upstream": upstream(&[&near.node()])}));
    let listener = json!({"addr": port, "proxy_protocol": {"accept": true, "trusted": ["127.0.0.1"]}});
    gateway.put_live("listeners", "edge", &listener);
    until(Duration::from_secs(15), "the port is open", || TcpStream::connect(ports::local(port)).ok());

    let mut stream = client::connect(ports::local(port));
    stream.write_all(&[CLAIM, b"x"].concat()).unwrap();
    soon("the session is listed as the claimed client's", || {
        gateway.control_list("/v1/sessions").iter().any(|s| s["route"] == "far" && s["client"] == "192.0.2.1:4200")
    });
    let peer = stream.local_addr().unwrap().to_string();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client::read_all(&mut stream).0, b"far x");
    let line = until(Duration::from_secs(15), "its line", || gateway.access_log().into_iter().find(|l| l["route"] == "far"));
    let shown = ["client_ip", "client_port", "peer_addr", "local_addr"].map(|field| line[field].clone());
    assert_eq!(shown, [json!("192.0.2.1"), json!(4200), json!(peer), json!(format!("127.0.0.1:{port}"))]);

    for nobody in [&b"PROXY UNKNOWN\r\n"[..], &[SIGNATURE, &[0x20, 0, 0, 0]].concat()] {
        assert_eq!(say(port, &[nobody, b"x"].concat()).0, "near x");
    }
    let line = until(Duration::from_secs(15), "its line", || gateway.access_log().into_iter().find(|l| l["route"] == "near"));
    assert!(line["peer_addr"].is_null() && line["client_ip"] == "127.0.0.1", "{line}");

    // an edit of the listener that keeps its port counts for the next connection
    gateway.put_live("listeners", "edge", &json!({"addr": port}));
    soon("no header is wanted any more", || say(port, b"x").0 == "near x");
}

#[test]
fn a_header_in_one_byte_segments_is_a_header() {
    let port = ports::free();
    let (_gateway, _echo) = gateway(Conf::new().tcp(port).proxy_protocol("{enable_tcp_pp: true, trusted: [127.0.0.1]}"));
    let binary = [SIGNATURE, &[0x21, 0x11, 0, 15, 192, 0, 2, 1, 198, 51, 100, 7, 0x10, 0x68, 1, 0xBB, 4, 0, 0]].concat();
    for header in [CLAIM, &binary] {
        let mut stream = client::connect(ports::local(port));
        for byte in header.iter().chain(b"mmm") {
            stream.write_all(&[*byte]).unwrap();
            std::thread::yield_now();
        }
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client::read_all(&mut stream).0, b"mmm");
    }
}

#[test]
fn bad_and_slow_headers_are_closed_and_harm_nobody_else() {
    let port = ports::free();
    let (gateway, _echo) = gateway(Conf::new().tcp(port).proxy_protocol("{enable_tcp_pp: true}"));
    let mut good = client::connect(ports::local(port));
    good.write_all(CLAIM).unwrap();
    client::ping(&mut good, b"before").unwrap();

    let (mut silent, mut slow) = (client::connect(ports::local(port)), client::connect(ports::local(port)));
    let began = Instant::now();
    let bad: [&[u8]; 8] = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n",
        b"PROXY TCP4 999.1.1.1 1.1.1.1 1 1\r\n",
        &[b'P'; 4096],
        &[&b"PROXY UNKNOWN "[..], &[b'x'; 4096]].concat(),
        &[SIGNATURE, &[0x41, 0x11, 0, 12], &[0; 12]].concat(),
        &[SIGNATURE, &[0x21, 0x11, 0xFF, 0xFF], &[0; 12]].concat(),
        b"PROXY TCP4",
    ];
    for bytes in bad {
        assert_eq!(say(port, bytes).0, "", "{}", bytes.escape_ascii());
        client::ping(&mut good, b"still").unwrap();
    }
    soon("each is counted", || refused_headers(&gateway) == 8);

    // one byte after the other keeps nobody's place beyond the deadline
    let mut line = b"PROXY UNKNOWN ".iter().chain(std::iter::repeat(&b'x'));
    let mut dripped = Instant::now();
    until(Duration::from_secs(15), "the silent and the slow are closed", || {
        if dripped.elapsed() > Duration::from_millis(500) {
            let _ = slow.write_all(&[*line.next().unwrap()]);
            dripped = Instant::now();
        }
        client::ping(&mut good, b"while").unwrap();
        (refused_headers(&gateway) == 10).then_some(())
    });
    assert!(began.elapsed() >= Duration::from_secs(5), "they had their time: {:?}", began.elapsed());
    assert_eq!((client::read_all(&mut silent).0, client::read_all(&mut slow).0), (Vec::new(), Vec::new()));
    let lines = gateway.access_log();
    let side = lines.iter().find(|l| l["reason"] == "proxy_header").map(|l| (l["route"].clone(), l["side"].clone()));
    assert_eq!(side, Some((json!(null), json!("client"))));
    client::ping(&mut good, b"after").unwrap();
    assert_eq!(say(port, &[CLAIM, b"new"].concat()).0, "new");
}

/// Starts a program that stays in the foreground and waits until its port answers.
fn daemon(command: &mut Command, dir: &Path, name: &str, port: SocketAddr) -> Daemon {
    let log = |stream: &str| fs::File::create(dir.join(format!("{name}.{stream}"))).unwrap();
    let child = command.stdin(Stdio::null()).stdout(log("out")).stderr(log("err")).spawn().unwrap();
    let daemon = Daemon(child);
    soon(&format!("{name} listens on {port}"), || TcpStream::connect(port).is_ok());
    daemon
}

/// nginx on a port of 127.0.0.1, which wants a header and answers with what it says.
fn nginx(dir: &Path, port: u16) -> Daemon {
    let conf = format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off; master_process off; pid {dir}/nginx.pid; error_log stderr;
events {{}}
stream {{ server {{
  listen 127.0.0.1:{port} proxy_protocol;
  return \"$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port\";
}} }}
",
        dir = dir.display()
    );
    let path = dir.join("nginx.conf");
    fs::write(&path, conf).unwrap();
    let mut command = Command::new("nginx");
    daemon(command.args(["-e", "stderr", "-p"]).arg(dir).arg("-c").arg(&path), dir, "nginx", ports::local(port))
}

/// HAProxy on a port of both loopbacks for each way to send a header; all lead to one port of 127.0.0.1.
fn haproxy(dir: &Path, to: u16, ways: &[(u16, &str)]) -> Daemon {
    let listen = |(port, way): &(u16, &str)| {
        format!("listen on{port}\n  bind 127.0.0.1:{port}\n  bind [::1]:{port}\n  server gateway 127.0.0.1:{to} {way}\n")
    };
    let defaults = "defaults\n  mode tcp\n  timeout connect 10s\n  timeout client 30s\n  timeout server 30s\n".to_owned();
    let conf: String = std::iter::once(defaults).chain(ways.iter().map(listen)).collect();
    let path = dir.join("haproxy.cfg");
    fs::write(&path, conf).unwrap();
    let mut command = Command::new("haproxy");
    daemon(command.args(["-db", "-f"]).arg(&path), dir, "haproxy", ports::local(ways[0].0))
}

#[test]
fn haproxy_tells_the_gateway_who_the_client_is_and_the_gateway_tells_nginx() {
    let dir = tempfile::tempdir().unwrap();
    let (end, port, v1, v2) = (ports::free(), ports::free(), ports::free(), ports::free());
    let gateway = Gateway::start(Conf::new());
    let _nginx = nginx(dir.path(), end);
    gateway.put_live("stream_routes", "all", &json!({"upstream": upstream(&[&ports::local(end).to_string()])}));
    let listener = |to: &str| {
        let pp = json!({"accept": true, "trusted": ["127.0.0.1"]});
        gateway.put_live("listeners", "edge", &json!({"addr": port, "proxy_protocol": pp, "proxy_protocol_to_upstream": to}));
    };
    listener("v1");
    soon("the port is open", || TcpStream::connect(ports::local(port)).is_ok());
    let ways = [(v1, "send-proxy"), (v2, "send-proxy-v2"), (ports::free(), "send-proxy-v2 proxy-v2-options unique-id,crc32c")];
    let _haproxy = haproxy(dir.path(), port, &ways);
    for to in ["v1", "v2"] {
        listener(to);
        for (way, words) in ways {
            for addr in [ports::local(way), SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, way))] {
                let mut stream = client::connect(addr);
                let from = stream.local_addr().unwrap();
                let said = String::from_utf8(client::read_all(&mut stream).0).unwrap();
                let expected = format!("{} {} {} {}", from.ip(), from.port(), addr.ip(), addr.port());
                assert_eq!(said, expected, "{words} to the gateway at {addr}, {to} to nginx");
            }
        }
    }
    assert_eq!(refused_headers(&gateway), 1, "only the look whether the port is open");
}
