//! The seed's story with TLS, told by real clients: `openssl s_client`, `redis-cli --tls`, `ldapsearch` over ldaps, `kdig +tls`, and
//! `testssl.sh` for a judgement of the port.

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Command, Output, Stdio};

use serde_json::json;

use crate::support::authority::Authority;
use crate::support::conf::Conf;
use crate::support::gateway::{Gateway, upstream};
use crate::support::upstream::{self as servers, Server};
use crate::support::{client, namespace, ports, soon, tls};

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn daemon(program: &str, args: &[&str]) -> Daemon {
    let child = Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Daemon(child.unwrap_or_else(|e| panic!("{program} is installed (make setup-test): {e}")))
}

fn run(command: &mut Command) -> String {
    let Output { stdout, stderr, .. } = command.output().unwrap_or_else(|e| panic!("{command:?} is installed (make setup-test): {e}"));
    format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr))
}

/// The gateway with TLS on a port, a certificate for `a.test.com` and `localhost`, and one route.
fn gateway(authority: &Authority, port: u16, node: &str) -> Gateway {
    let gateway = Gateway::start(Conf::new().tcp(format!("{{addr: {port}, tls: true}}")));
    let names = ["a.test.com", "localhost"];
    // OpenLDAP asks for localhost, and then wants the machine's own name in the certificate
    let machine = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let pair = authority.issue("a", &format!("DNS:a.test.com,DNS:localhost,DNS:{}", machine.trim()));
    gateway.put_live("ssls", "1", &tls::ssl(&pair, &names));
    gateway.put_live("stream_routes", "1", &json!({"upstream": upstream(&[node])}));
    gateway
}

/// The seed's requests for TLS, letter by letter but for what differs between them.
fn curl(route: &str) {
    let request = format!(
        "curl http://127.0.0.1:9180/apisix/admin/stream_routes/1 -H 'X-API-KEY: edd1c9f034335f136f87ad84b625c8f1' -X PUT -d '\n{route}'"
    );
    let said = run(Command::new("sh").args(["-c", &request]));
    assert!(said.contains("\"key\":\"/apisix/stream_routes/1\"") || said.contains("stream_routes/1"), "{said}");
}

#[test]
fn the_seeds_three_requests_serve_openssl() {
    namespace::network("tls_clients::the_seeds_three_requests_serve_openssl", || {
        let authority = Authority::new();
        let (hello, behind) = (servers::hello_on(5991), tls::server(&authority.issue("behind", "DNS:behind"), None));
        let mut conf = Conf::new().tcp("{addr: 9100, tls: true}").tcp(9101);
        (conf.top, conf.admin_port, conf.admin_key) = ("apisix", 9180, "edd1c9f034335f136f87ad84b625c8f1".into());
        let gateway = Gateway::start(conf);
        gateway.put_live("ssls", "1", &tls::ssl(&authority.issue("a", "DNS:a.test.com"), &["a.test.com"]));
        let ca = authority.cert();
        let s_client = |name: &str| {
            let mut child = Command::new("openssl")
                .args(["s_client", "-connect", "127.0.0.1:9100", "-servername", name, "-quiet", "-verify_return_error", "-CAfile"])
                .arg(&ca)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            // it may be gone already
            let _ = child.stdin.as_mut().unwrap().write_all(b"mmm");
            let output = child.wait_with_output().unwrap();
            (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        curl("{\n\"upstream\": {\n\"nodes\": {\n\"127.0.0.1:5991\": 1\n},\n\"type\": \"roundrobin\"\n}\n}");
        soon("the first", || s_client("a.test.com").0 == "hello world\n");
        curl("{\n\"sni\": \"a.test.com\",\n\"upstream\": {\n\"nodes\": {\n\"127.0.0.1:5991\": 1\n},\n\"type\": \"roundrobin\"\n}\n}");
        soon("the second", || s_client("a.test.com").0 == "hello world\n");
        assert!(s_client("b.test.com").1.contains("unrecognized name"), "{}", s_client("b.test.com").1);
        assert!(hello.connections() >= 2);
        let port = behind.addr.port();
        curl(&format!(
            "{{\n\"upstream\": {{\n\"scheme\": \"tls\",\n\"nodes\": {{\n\"127.0.0.1:{port}\": 1\n}},\n\"type\": \"roundrobin\"\n}}\n}}"
        ));
        soon("the third", || s_client("a.test.com").0 == "hello a.test.com\n");
        assert_eq!(client::send(ports::local(9101)), b"hello apisix_backend\n");
    });
}

#[test]
fn redis_speaks_tls_through_the_gateway() {
    namespace::network("tls_clients::redis_speaks_tls_through_the_gateway", || {
        let authority = Authority::new();
        let _redis = daemon("redis-server", &["--port", "6379", "--save", "", "--appendonly", "no"]);
        let _gateway = gateway(&authority, 9100, "127.0.0.1:6379");
        let redis = |words: &[&str]| {
            let args = ["-h", "localhost", "-p", "9100", "--tls", "--sni", "a.test.com", "--cacert"];
            run(Command::new("redis-cli").args(args).arg(authority.cert()).args(words))
        };
        soon("redis answers", || redis(&["PING"]).trim() == "PONG");
        let large = "x".repeat(100_000);
        assert_eq!(redis(&["SET", "key", &large]).trim(), "OK");
        assert_eq!(redis(&["GET", "key"]).trim(), large);
    });
}

#[test]
fn ldap_speaks_tls_through_the_gateway() {
    namespace::network("tls_clients::ldap_speaks_tls_through_the_gateway", || {
        let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
        let (conf, data) = (dir.path().join("slapd.conf"), dir.path().join("data"));
        fs::create_dir(&data).unwrap();
        let text = "include /etc/ldap/schema/core.schema\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\ndatabase mdb\nsuffix dc=test\n";
        fs::write(&conf, format!("{text}directory {}\n", data.display())).unwrap();
        let _slapd = daemon("slapd", &["-f", conf.to_str().unwrap(), "-h", "ldap://127.0.0.1:389", "-d", "0"]);
        let _gateway = gateway(&authority, 636, "127.0.0.1:389");
        let search = || {
            let args = ["-x", "-H", "ldaps://localhost:636", "-b", "", "-s", "base", "namingContexts"];
            run(Command::new("ldapsearch").args(args).env("LDAPTLS_CACERT", authority.cert()))
        };
        soon("the directory answers", || search().contains("namingContexts: dc=test"));
    });
}

/// Answers every question of the DNS over TCP with one address.
fn dns() -> Server {
    Server::start(([127, 0, 0, 1], ports::free()).into(), |mut stream, _| {
        let mut length = [0; 2];
        while stream.read_exact(&mut length).is_ok() {
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            if stream.read_exact(&mut query).is_err() {
                return;
            }
            let end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
            let header = [query[0], query[1], 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
            let answer = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7];
            let reply = [&header[..], &query[12..end], &answer].concat();
            let framed = [&u16::try_from(reply.len()).unwrap().to_be_bytes()[..], &reply].concat();
            if stream.write_all(&framed).is_err() {
                return;
            }
        }
    })
}

#[test]
fn dns_over_tls_is_served_without_alpn() {
    let (authority, dns, port) = (Authority::new(), dns(), ports::free());
    let _gateway = gateway(&authority, port, &dns.node());
    let ca = format!("+tls-ca={}", authority.cert().display());
    let port = port.to_string();
    let kdig = || {
        run(Command::new("kdig").args(["@127.0.0.1", "-p", &port, &ca, "+tls-hostname=a.test.com", "+tls-sni=a.test.com", "x.test", "A"]))
    };
    soon("kdig is answered", || kdig().contains("192.0.2.7"));
    assert!(kdig().contains("TLS session (TLS1.3)"), "{}", kdig());
}

#[test]
fn testssl_finds_nothing_of_medium_severity_or_above() {
    namespace::network("tls_clients::testssl_finds_nothing_of_medium_severity_or_above", || {
        let (authority, hello, dir) = (Authority::new(), servers::hello(), tempfile::tempdir().unwrap());
        let gateway = gateway(&authority, 443, &hello.node());
        let public = authority.issue_public("public", "DNS:a.test.com");
        gateway.put_live("ssls", "1", &tls::ssl(&public, &["a.test.com"]));
        let report = dir.path().join("report.json");
        let said = run(Command::new("testssl")
            .args(["--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--ip", "127.0.0.1"])
            .args(["--connect-timeout", "5", "--openssl-timeout", "5", "--severity", "LOW", "--protocols", "--server-defaults"])
            .args(["--server-preference", "--fs", "--vulnerable", "--each-cipher"])
            .arg("--add-ca")
            .arg(authority.cert())
            .arg("--jsonfile")
            .arg(&report)
            .arg("a.test.com:443")
            .env("TERM", "dumb")
            .stdin(Stdio::null()));
        let text = fs::read_to_string(&report).unwrap_or_else(|e| panic!("{e}: {said}"));
        let found: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        let grave = |one: &&serde_json::Value| ["MEDIUM", "HIGH", "CRITICAL", "FATAL"].iter().any(|word| one["severity"] == *word);
        let grave: Vec<_> = found.iter().filter(grave).collect();
        assert!(grave.is_empty(), "{grave:#?}\n{said}");
    });
}
