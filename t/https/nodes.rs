//! TLS towards the nodes of HTTP routes: nginx behind the gateway, with names, authorities and certificates of the gateway's own; and
//! the gateway behind itself, where both versions matter.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use std::time::Duration;

use rustls::{ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::{Client, Secure};
use crate::support::authority::Authority;
use crate::support::upstream::Server;
use crate::support::{ports, soon, tls};

/// nginx with TLS: answers with the name that it was asked for, the host, whether a client's certificate was good, and the number of the
/// connection and of the request on it.
struct Nginx {
    addr: SocketAddr,
    child: Child,
    _dir: tempfile::TempDir,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Nginx {
    /// With an authority, clients need a certificate of it.
    fn start((cert, key): &(PathBuf, PathBuf), clients: Option<&Path>) -> Self {
        let (addr, dir) = (ports::free_addr(), tempfile::tempdir().unwrap());
        let at = dir.path().display();
        let verify = clients.map(|ca| format!("ssl_client_certificate {}; ssl_verify_client on;", ca.display())).unwrap_or_default();
        let conf = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/errors;
             events {{ worker_connections 500; }}
             http {{
               client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;
               access_log off;
               server {{ listen {addr} ssl; ssl_certificate {}; ssl_certificate_key {}; {verify}
                 location / {{ return 200 '$ssl_server_name $http_host $ssl_client_verify $connection $connection_requests'; }} }}
             }}",
            cert.display(),
            key.display(),
        );
        let file = dir.path().join("nginx.conf");
        std::fs::write(&file, conf).unwrap();
        let mut command = Command::new("nginx");
        command.args(["-e", "stderr", "-p"]).arg(dir.path()).arg("-c").arg(file).stdin(Stdio::null()).stdout(Stdio::null());
        let nginx = Self { addr, child: command.spawn().expect("nginx is installed (make setup-test)"), _dir: dir };
        soon("nginx listens", || TcpStream::connect(addr).is_ok());
        nginx
    }

    fn upstream(&self, scheme: &str, fields: &Value) -> Value {
        let mut upstream = fields.clone();
        upstream["scheme"] = json!(scheme);
        upstream["nodes"] = json!({ self.addr.to_string(): 1 });
        upstream
    }
}

/// What nginx said to a request by a route to this upstream.
fn told(s: &Secure, upstream: &Value) -> Result<Vec<String>, u16> {
    s.gateway.put_live("routes", "r", &json!({ "upstream": upstream }));
    let answer = s.curl(&["--http1.1"], "https://a.test:443/");
    if answer.status == 200 {
        Ok(String::from_utf8_lossy(&answer.body).split(' ').map(ToOwned::to_owned).collect())
    } else {
        Err(answer.status)
    }
}

#[test]
fn the_name_for_a_node_is_that_of_its_request() {
    let s = Secure::start();
    let nginx = Nginx::start(&s.authority.issue("node", "DNS:node.test,IP:127.0.0.1"), None);
    for scheme in ["https", "tls"] {
        for (fields, sni, host) in [
            (json!({}), "", nginx.addr.to_string()),
            (json!({"pass_host": "pass"}), "a.test", "a.test".to_owned()),
            (json!({"pass_host": "rewrite", "upstream_host": "node.test:8443"}), "node.test", "node.test:8443".to_owned()),
            (json!({"pass_host": "pass", "tls": {"sni": "own.test"}}), "own.test", "a.test".to_owned()),
        ] {
            let said = told(&s, &nginx.upstream(scheme, &fields)).unwrap_or_else(|status| panic!("{status}: {fields}"));
            assert_eq!((said[0].as_str(), &said[1]), (sni, &host), "{scheme} {fields}");
        }
    }
    for (transform, host) in
        [(json!({"RequestHeader": "Host", "Set": "x.test"}), "x.test"), (json!({"RequestHeaderOriginalHost": true}), "a.test")]
    {
        let rewrite = nginx.upstream("https", &json!({"pass_host": "rewrite", "upstream_host": "node.test"}));
        s.gateway.put_live("routes", "r", &json!({ "upstream": rewrite, "transforms": [transform] }));
        let answer = s.curl(&["--http1.1"], "https://a.test:443/");
        assert!(answer.body.starts_with(format!("{host} {host} ").as_bytes()), "{}", String::from_utf8_lossy(&answer.body));
    }
}

#[test]
fn a_node_is_verified_where_that_is_wanted() {
    let (s, other) = (Secure::start(), Authority::new());
    let nginx = Nginx::start(&s.authority.issue("node", "DNS:node.test,IP:127.0.0.1"), None);
    let of = |fields: Value| told(&s, &nginx.upstream("https", &fields)).map(drop);
    let (right, wrong) = (tls::text(&s.authority.cert()), tls::text(&other.cert()));
    let rewrite = |host: &str| json!({"pass_host": "rewrite", "upstream_host": host, "tls": {"verify": true, "ca": right}});
    assert_eq!(of(json!({})), Ok(()), "nobody asks");
    assert_eq!(of(json!({"tls": {"verify": true, "ca": wrong}})), Err(502), "and what was open before is not used");
    assert_eq!(of(json!({"tls": {"verify": true, "ca": right}})), Ok(()), "by its address");
    assert_eq!(of(rewrite("node.test")), Ok(()));
    assert_eq!(of(rewrite("other.test")), Err(502), "another name");
    let failures = |reason: &str| s.gateway.count("sluice_upstream_connect_failures_total", &[("route", "r"), ("reason", reason)]);
    assert_eq!(failures("upstream_tls"), 2);
    soon("it is told", || {
        let lines = s.gateway.access_log();
        let failed: Vec<&Value> = lines.iter().filter(|line| line["status"] == 502).collect();
        assert!(failed.iter().all(|line| line["reason"] == "upstream_tls" && line["endpoint"] == nginx.addr.to_string()), "{failed:?}");
        failed.len() == 2
    });
}

#[test]
fn a_node_that_asks_who_we_are_is_shown_a_certificate() {
    let s = Secure::start();
    let nginx = Nginx::start(&s.authority.issue("node", "DNS:node.test"), Some(&s.authority.cert()));
    let pair = s.authority.issue("gateway", "DNS:gateway.test");
    let (cert, key) = (tls::text(&pair.0), tls::text(&pair.1));
    // nginx says 400 over TLS to whom it does not know
    assert_eq!(told(&s, &nginx.upstream("https", &json!({}))).unwrap_err(), 400);
    let inline = json!({"tls": {"client_cert": cert, "client_key": key}});
    assert_eq!(told(&s, &nginx.upstream("https", &inline)).unwrap()[2], "SUCCESS");
    s.gateway.put_live("ssls", "own", &json!({"type": "client", "cert": cert, "key": key}));
    assert_eq!(told(&s, &nginx.upstream("https", &json!({"tls": {"client_cert_id": "own"}}))).unwrap()[2], "SUCCESS");
    assert_eq!(told(&s, &nginx.upstream("https", &json!({}))).unwrap_err(), 400, "no connection of another identity is used");
}

#[test]
fn connections_are_kept_and_shared_only_within_a_name() {
    let s = Secure::start();
    s.ssl("b", &["b.test"], None);
    let nginx = Nginx::start(&s.authority.issue("node", "DNS:node.test"), None);
    s.gateway.put_live("routes", "r", &json!({"upstream": nginx.upstream("https", &json!({"pass_host": "pass"}))}));
    let mut client = Client::connect(s.at, "a.test", tls::any()).unwrap();
    let mut ask = |host: &str| {
        let (status, body) = client.ask("/", host);
        assert_eq!(status, 200);
        let said = String::from_utf8(body).unwrap();
        let words: Vec<String> = said.split(' ').map(ToOwned::to_owned).collect();
        (words[0].clone(), words[3].clone(), words[4].clone())
    };
    let (name, first, nth) = ask("a.test");
    assert_eq!((name.as_str(), nth.as_str()), ("a.test", "1"));
    assert_eq!(ask("a.test"), ("a.test".into(), first.clone(), "2".into()));
    let (name, second, nth) = ask("b.test");
    assert_eq!((name.as_str(), nth.as_str(), second != first), ("b.test", "1", true));
    assert_eq!(ask("a.test"), ("a.test".into(), first, "3".into()));
    assert_eq!(ask("b.test"), ("b.test".into(), second, "2".into()));
}

#[test]
fn a_connection_that_was_kept_says_its_end_to_the_node() {
    let s = Secure::start();
    let config = tls::serving(&s.authority.issue("node", "DNS:node.test"), None);
    let (tell, told) = std::sync::mpsc::channel();
    let node = Server::start(ports::free_addr(), move |stream, _| {
        let mut tls = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
        let mut asked = [0; 4096];
        // one read is one request
        if tls.read(&mut asked).is_ok_and(|n| n > 0) {
            tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
            tell.send(tls.read(&mut asked).map_err(|e| e.kind())).unwrap();
        }
    });
    for keep in [json!({"requests": 1}), json!({"idle_timeout": 0.2})] {
        let upstream = json!({"scheme": "https", "nodes": {node.node(): 1}, "keepalive_pool": keep});
        s.gateway.put_live("routes", "r", &json!({ "upstream": upstream }));
        assert_eq!(s.curl(&["--http1.1"], "https://a.test/").status, 200);
        assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(Ok(0)), "{keep}: a close_notify");
    }
}

/// A route by a host to the gateway itself, which asks there for `a.test`.
fn to_itself(s: &Secure, scheme: &str, host: &str) {
    s.route("inner", json!({"match": {"hosts": ["a.test"]}}));
    let upstream = json!({
        "scheme": scheme, "nodes": {s.at.to_string(): 1}, "pass_host": "rewrite", "upstream_host": "a.test",
        "tls": {"verify": true, "ca": tls::text(&s.authority.cert())},
    });
    s.gateway.put_live("routes", "outer", &json!({"match": {"hosts": [host]}, "upstream": upstream}));
    s.gateway.admin().must_delete("routes", "r");
    s.ssl("outer", &[host], None);
}

#[test]
fn an_upgrade_goes_through_tls_on_both_sides() {
    let s = Secure::start();
    to_itself(&s, "https", "o.test");
    let mut client = Client::connect(s.at, "o.test", tls::any()).unwrap();
    client.send(b"GET /upgrade HTTP/1.1\r\nHost: o.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(client.answer().0, 101);
    let data = crate::support::upstream::pattern(1 << 20);
    for part in data.chunks(40_000) {
        client.send(part);
        let mut back = vec![0; part.len()];
        client.0.read_exact(&mut back).unwrap();
        assert!(back == part);
    }
    client.0.conn.send_close_notify();
    client.0.flush().unwrap();
    assert!(tls::read_all(&mut client.0).unwrap().is_empty());
    soon("both tunnels are told", || {
        let lines = s.gateway.access_log();
        let told = |host: &str| {
            lines.iter().any(|l| l["host"] == host && l["status"] == 101 && l["rx_bytes"] == data.len() && l["tx_bytes"] == data.len())
        };
        told("o.test") && told("a.test")
    });
}

#[test]
fn requests_of_either_version_reach_nodes_of_either_over_tls() {
    let s = Secure::start();
    for (scheme, spoken) in [("https", "HTTP/1.1"), ("grpcs", "HTTP/2")] {
        to_itself(&s, scheme, "o.test");
        for version in ["--http1.1", "--http2"] {
            let answer = s.curl(&[version, "--data", "body"], "https://o.test/p");
            assert_eq!((answer.status, &answer.json()["text"]), (200, &json!("body")), "{scheme} {version} {answer:?}");
            let down = s.curl(&[version], "https://o.test/bytes/1000000");
            assert!(down.body == crate::support::upstream::pattern(1_000_000), "{scheme} {version}");
        }
        soon("the inner requests are of the node's version", || {
            s.gateway.access_log().iter().any(|line| line["route"] == "inner" && line["http_version"] == spoken)
        });
        s.route("r", json!({}));
    }
}

#[test]
fn a_node_that_speaks_no_tls_is_a_bad_gateway() {
    let s = Secure::start();
    let upstream = json!({"scheme": "https", "nodes": {s.origin.node(): 1}});
    s.gateway.put_live("routes", "r", &json!({ "upstream": upstream }));
    assert_eq!(s.curl(&[], "https://a.test/").status, 502);
    soon("it is told", || s.gateway.access_log().iter().any(|line| line["status"] == 502 && line["reason"] == "upstream_tls"));
}
