//! HTTP over TLS: listeners with certificates by name, HTTP/1.1 and HTTP/2 by ALPN, clients that prove who they are, and what nodes and
//! the access log are told of it. Clients are curl, openssl and rustls.

mod edits;
mod grpc;
mod nodes;

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::authority::Authority;
use crate::support::h1::origin;
use crate::support::tls::{self, Tls};
use crate::support::upstream::{Server, pattern};
use crate::support::{Conf, Gateway, client, ports, soon};

/// A gateway with an HTTPS listener of the file, the origin behind it, and certificates.
struct Secure {
    gateway: Gateway,
    at: SocketAddr,
    authority: Authority,
    origin: Server,
}

impl Secure {
    /// With a certificate for `a.test` and a route for all requests.
    fn start() -> Self {
        let at = ports::free_addr();
        let gateway = Gateway::start(Conf::new().https(format!("{{ip: 127.0.0.1, port: {}}}", at.port())));
        let secure = Self { gateway, at, authority: Authority::new(), origin: origin("A") };
        secure.ssl("a", &["a.test"], None);
        secure.route("r", json!({}));
        secure
    }

    /// A certificate for names; with an authority, clients need a certificate of it.
    fn ssl(&self, id: &str, names: &[&str], clients: Option<&Path>) {
        let pair = self.authority.issue(id, &names.iter().map(|name| format!("DNS:{name}")).collect::<Vec<_>>().join(","));
        let mut ssl = tls::ssl(&pair, names);
        if let Some(ca) = clients {
            ssl["client"] = json!({"ca": tls::text(ca)});
        }
        self.gateway.put_live("ssls", id, &ssl);
    }

    /// A route to the origin.
    fn route(&self, id: &str, fields: Value) {
        let mut route = fields;
        route["upstream"] = json!({"nodes": {self.origin.node(): 1}});
        self.gateway.put_live("routes", id, &route);
    }

    /// Another listener with TLS.
    fn listen(&self, id: &str, fields: Value) -> SocketAddr {
        let (at, mut listener) = (ports::free_addr(), fields);
        listener["protocol"] = json!("http");
        listener["tls"] = json!(true);
        listener["addr"] = json!(at.to_string());
        self.gateway.put_live("listeners", id, &listener);
        soon("the listener accepts", || client::try_connect(at).is_ok());
        at
    }

    fn curl(&self, args: &[&str], url: &str) -> Curl {
        curl(self.at, &self.authority.cert(), args, url)
    }

    fn failures(&self, reason: &str) -> u64 {
        self.gateway.count("sluice_tls_handshake_failures_total", &[("reason", reason)])
    }
}

/// What curl got.
#[derive(Debug)]
struct Curl {
    /// 0: no answer.
    status: u16,
    version: String,
    body: Vec<u8>,
    error: String,
}

impl Curl {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// A line of the head that the origin got.
    fn line(&self, name: &str) -> Option<String> {
        let lines = self.json()["lines"].as_array().cloned().unwrap_or_default();
        let value = |line: &Value| line.as_str()?.strip_prefix(&format!("{name}: ")).map(ToOwned::to_owned);
        lines.iter().find_map(value)
    }
}

/// Asks by the name in the URL, at an address, trusting one authority.
fn curl(at: SocketAddr, ca: &Path, args: &[&str], url: &str) -> Curl {
    let there = format!("::{}:{}", at.ip(), at.port());
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*", "--connect-to", &there, "--cacert"])
        .arg(ca)
        .args(["--write-out", "\n%{http_code} %{http_version}"])
        .args(args)
        .arg(url)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = output.stdout.iter().rposition(|byte| *byte == b'\n').unwrap_or_default();
    let told = String::from_utf8_lossy(&output.stdout[last..]).trim().to_owned();
    let (status, version) = told.split_once(' ').unwrap_or_default();
    Curl { status: status.parse().unwrap_or_default(), version: version.into(), body: output.stdout[..last].to_vec(), error }
}

/// A client of HTTP/1.1 that shows another name than it asks for, if it likes.
struct Client(Tls);

impl Client {
    fn connect(to: SocketAddr, name: &str, config: rustls::ClientConfig) -> io::Result<Self> {
        tls::connect(to, name, config).map(Self)
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
        self.0.flush().unwrap();
    }

    /// A request, and the status and the body of its answer.
    fn ask(&mut self, path: &str, host: &str) -> (u16, Vec<u8>) {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        self.answer()
    }

    fn answer(&mut self) -> (u16, Vec<u8>) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (head[9..12].parse().unwrap(), body)
    }
}

/// What `openssl s_client` prints of a handshake.
fn s_client(at: SocketAddr, args: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &at.to_string(), "-servername", "a.test"])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_listener_of_the_file_serves_both_versions_as_the_client_chooses() {
    let s = Secure::start();
    let one = s.curl(&["--http1.1"], "https://a.test/x?y=1");
    assert_eq!((one.status, one.version.as_str()), (200, "1.1"), "{one:?}");
    assert_eq!(one.json()["target"], "/x?y=1");
    assert_eq!(one.line("x-forwarded-proto").as_deref(), Some("https"));
    assert_eq!(one.line("x-forwarded-host").as_deref(), Some("a.test"));
    let two = s.curl(&["--http2"], "https://a.test/");
    assert_eq!((two.status, two.version.as_str()), (200, "2"), "{two:?}");
    assert_eq!(two.line("x-forwarded-proto").as_deref(), Some("https"));
    assert_eq!(two.line("x-forwarded-host").as_deref(), Some("a.test"));
    soon("both are told with their TLS", || {
        let lines: Vec<Value> = s.gateway.access_log().into_iter().filter(|line| line["status"] == 200).collect();
        for line in &lines {
            let told = (&line["sni"], &line["tls_version"], &line["listener"]);
            assert_eq!(told, (&json!("a.test"), &json!("TLSv1.3"), &json!("conf-https-0")), "{line}");
            assert!(line["tls_cipher"].as_str().is_some_and(|cipher| cipher.starts_with("TLS_AES")), "{line}");
        }
        lines.len() == 2
    });
}

#[test]
fn alpn_offers_what_the_listener_speaks_and_nothing_else() {
    let s = Secure::start();
    let at = |id: &str, versions: Value| s.listen(id, json!({"http": {"versions": versions}}));
    let (one, two, both) = (at("one", json!(["h1"])), at("two", json!(["h2"])), at("both", json!(["h1", "h2"])));
    let spoken = |to, args: &[&str]| curl(to, &s.authority.cert(), args, "https://a.test/");
    assert_eq!(spoken(one, &["--http2"]).version, "1.1");
    assert_eq!(spoken(two, &["--http2"]).version, "2");
    assert_eq!(spoken(both, &["--http2"]).version, "2");
    assert_eq!(spoken(both, &["--no-alpn", "--http1.1"]).status, 200, "a client that says nothing speaks HTTP/1.1");
    let refused = spoken(two, &["--http1.1"]);
    assert_eq!(refused.status, 0);
    assert!(refused.error.contains("alert no application protocol") || refused.error.contains("no_application_protocol"), "{refused:?}");
    assert!(s_client(both, &["-alpn", "h2,http/1.1"]).contains("ALPN protocol: h2"));
    assert!(s_client(both, &["-alpn", "http/1.1"]).contains("ALPN protocol: http/1.1"));
    assert!(s_client(both, &["-alpn", "spdy/3"]).contains("alert no application protocol"));
    assert!(s_client(both, &[]).contains("No ALPN negotiated"));
    assert!(s_client(both, &["-tls1_2", "-alpn", "h2"]).contains("ALPN protocol: h2"));
}

#[test]
fn statements_and_routes_see_https_where_it_is() {
    let s = Secure::start();
    let plain = ports::free_addr();
    s.gateway.put_live("listeners", "plain", &json!({"protocol": "http", "addr": plain.to_string()}));
    s.route("r", json!({"match": {"statement": "IsHttps = true and Scheme = 'https'"}}));
    assert_eq!(s.curl(&[], "https://a.test/").status, 200);
    assert_eq!(crate::support::h1::get(plain, "/").status(), 404);
}

#[test]
fn a_name_without_a_certificate_is_told_so_and_nobody_behind_hears_of_it() {
    let s = Secure::start();
    let refused = s.curl(&[], "https://b.test/");
    assert_eq!((refused.status, refused.error.contains("unrecognized name")), (0, true), "{refused:?}");
    assert_eq!((s.failures("no_certificate"), s.origin.connections()), (1, 0));
    let said = client::send(s.at);
    assert!(said.is_empty(), "who speaks no TLS gets nothing: {said:?}");
    soon("it is counted", || s.failures("not_tls") == 1);
}

#[test]
fn clients_prove_who_they_are_and_nodes_are_told() {
    let s = Secure::start();
    let (known, stranger) = (s.authority.issue("known", "DNS:client.test"), Authority::new());
    let unknown = stranger.issue("unknown", "DNS:client.test");
    s.ssl("m", &["m.test"], Some(&s.authority.cert()));
    s.route("r", json!({"transforms": [{"ClientCert": "X-Client-Cert"}]}));
    let with = |(cert, key): &(PathBuf, PathBuf), version: &str| {
        let (cert, key) = (cert.to_str().unwrap().to_owned(), key.to_str().unwrap().to_owned());
        s.curl(&[version, "--cert", &cert, "--key", &key, "--header", "X-Client-Cert: fake"], "https://m.test/")
    };
    let der: String = tls::text(&known.0).lines().filter(|line| !line.starts_with("-----")).collect();
    for version in ["--http1.1", "--http2"] {
        let answer = with(&known, version);
        assert_eq!((answer.status, answer.line("x-client-cert").as_deref()), (200, Some(der.as_str())), "{answer:?}");
    }
    let before = s.origin.received();
    for answer in [with(&unknown, "--http1.1"), s.curl(&[], "https://m.test/")] {
        assert_eq!(answer.status, 0, "{answer:?}");
    }
    assert_eq!(s.origin.received(), before, "nothing of it reaches a node");
    assert_eq!((s.failures("peer_certificate_refused"), s.failures("peer_certificate_missing")), (1, 1));
    let open = s.curl(&["--header", "X-Client-Cert: fake"], "https://a.test/");
    assert_eq!((open.status, open.line("x-client-cert")), (200, None), "nobody claims to have one");
}

#[test]
fn a_host_that_wants_a_certificate_is_not_reached_on_another_ones_connection() {
    let s = Secure::start();
    let known = s.authority.issue("known", "DNS:client.test");
    s.ssl("m", &["*.m.test"], Some(&s.authority.cert()));
    s.ssl("b", &["b.test"], None);
    let mut open = Client::connect(s.at, "a.test", tls::any()).unwrap();
    for (host, status) in [("a.test", 200), ("b.test", 200), ("nobody.test", 200), ("A.TEST:443", 200)] {
        assert_eq!(open.ask("/", host).0, status, "{host}");
    }
    assert_eq!(open.ask("/", "X.m.test.:443").0, 421);
    assert_eq!(s.curl(&["--http2", "--header", "Host: x.m.test"], "https://a.test/").status, 421);
    let (cert, key) = (known.0.to_str().unwrap(), known.1.to_str().unwrap());
    for (host, status) in [("y.m.test", 200), ("a.test", 200)] {
        let header = format!("Host: {host}");
        let answer = s.curl(&["--http2", "--cert", cert, "--key", key, "--header", &header], "https://x.m.test/");
        assert_eq!(answer.status, status, "{host}: {answer:?}");
    }
    soon("it is told", || s.gateway.access_log().iter().filter(|line| line["status"] == 421).count() == 2);
}

#[test]
fn thirty_megabytes_go_both_ways_over_either_version() {
    const LARGE: usize = 28 << 20;
    let s = Secure::start();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pattern(LARGE)).unwrap();
    let upload = format!("@{}", file.path().display());
    for version in ["--http1.1", "--http2"] {
        let up = s.curl(&[version, "--data-binary", &upload, "--header", "Expect:"], "https://a.test/").json();
        assert_eq!((&up["length"], &up["is_pattern"]), (&json!(LARGE), &json!(true)), "{version}");
        let down = s.curl(&[version], &format!("https://a.test/bytes/{LARGE}"));
        assert!(down.body == pattern(LARGE), "{version}: {} bytes", down.body.len());
    }
}

#[test]
fn the_end_of_an_answer_without_a_length_is_said_by_tls() {
    let s = Secure::start();
    let mut client = Client::connect(s.at, "a.test", tls::any()).unwrap();
    client.send(b"GET /close HTTP/1.0\r\nHost: a.test\r\n\r\n");
    let mut all = Vec::new();
    client.0.read_to_end(&mut all).expect("a close_notify before the end");
    assert!(all.ends_with(b"to the end"));
}

#[test]
fn a_client_that_does_not_shake_hands_is_left_after_its_time() {
    let s = Secure::start();
    let mut silent = client::try_connect(s.at).unwrap();
    assert!(client::read_all(&mut silent).0.is_empty());
    soon("it is counted", || s.failures("timeout") == 1);
}

#[test]
fn requests_of_a_session_that_went_on_from_an_earlier_one_know_its_certificate() {
    let s = Secure::start();
    let known = s.authority.issue("known", "DNS:client.test");
    s.ssl("m", &["m.test"], Some(&s.authority.cert()));
    s.route("r", json!({"transforms": [{"ClientCert": "X-Client-Cert"}]}));
    let config = std::sync::Arc::new(tls::with(&known));
    for round in 0..3_u64 {
        let mut client = Client(tls::connect_shared(s.at, "m.test", &config).unwrap());
        let (status, body) = client.ask("/", "m.test");
        assert_eq!(status, 200);
        assert!(String::from_utf8_lossy(&body).contains("x-client-cert: MII"), "{}", String::from_utf8_lossy(&body));
        soon("counted", || s.gateway.count("sluice_tls_handshakes_total", &[("resumed", "true")]) == round);
    }
}

#[test]
fn the_proxy_protocol_goes_before_tls() {
    let s = Secure::start();
    let at = s.listen("behind", json!({"proxy_protocol": {"accept": true, "trusted": ["127.0.0.1"]}}));
    let mut stream = client::try_connect(at).unwrap();
    stream.write_all(b"PROXY TCP4 192.0.2.7 198.51.100.1 4000 443\r\n").unwrap();
    let name = rustls::pki_types::ServerName::try_from("a.test").unwrap();
    let conn = rustls::ClientConnection::new(std::sync::Arc::new(tls::any()), name).unwrap();
    let mut client = Client(rustls::StreamOwned::new(conn, stream));
    let (status, body) = client.ask("/", "a.test");
    assert_eq!(status, 200);
    assert!(String::from_utf8_lossy(&body).contains("x-forwarded-for: 192.0.2.7"));
}
