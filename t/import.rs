//! The configuration of `VKProxy` through the real program into a real gateway, and what is written against what is taken.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};
use sluice::base::id::{Id, Key, Kind};
use sluice::control::ingest::{Ingest, Verdict};
use sluice::import::{BALANCERS, vkproxy};
use sluice::schema::Schemas;

use crate::support::authority::Authority;
use crate::support::gateway::program;
use crate::support::{Conf, Gateway, client, h1, ports, tls, upstream};

/// Every object is one that the gateway takes.
fn taken(document: &Value) {
    let ingest = Ingest::new(Arc::new(Schemas::compile().unwrap()));
    for (dir, objects) in document["put"].as_object().unwrap() {
        let kind = Kind::from_dir(dir).unwrap();
        for object in objects.as_array().unwrap() {
            let key = Key::new(kind, Id::parse(object["id"].as_str().unwrap()).unwrap());
            if let Verdict::Rejected(r) = ingest.read_value(&key, object, 0) {
                panic!("{object}: {r:?}");
            }
        }
    }
}

/// Exit code, output and notes of `sluice import vkproxy`.
fn import(dir: &Path, text: &str, more: &[&str]) -> (i32, String, String) {
    let file = dir.join("appsettings.json");
    std::fs::write(&file, text).unwrap();
    let done = Command::new(program()).args(["import", "vkproxy"]).arg(file).args(more).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (done.status.code().unwrap(), text(&done.stdout), text(&done.stderr))
}

#[test]
fn a_tcp_route_of_vkproxy_is_live_after_one_request() {
    let server = upstream::hello();
    let gateway = Gateway::start(Conf::new());
    let (one, two) = (ports::free_addr(), ports::free_addr());
    let text = format!(
        r#"{{
          // as in the documentation
          "ReverseProxy": {{
            "Listen": {{ "tcpTest": {{ "Protocols": [ "TCP" ], "Address": [ "{one}", "{two}" ], "RouteId": "tcpTestRoute" }} }},
            "Routes": {{ "tcpTestRoute": {{ "ClusterId": "tcpTestCluster", "Timeout": "00:00:11", }}, }},
            "Clusters": {{ "tcpTestCluster": {{ "LoadBalancingPolicy": "RoundRobin", "Destinations": [ {{ "Address": "{}" }} ] }} }},
            "DefaultProxyTimeout": "00:02:00",
          }}
        }}"#,
        server.node()
    );
    let dir = tempfile::tempdir().unwrap();
    let (code, out, err) = import(dir.path(), &text, &["--strict"]);
    assert_eq!(code, 0, "{err}");
    assert!(err.starts_with("differs: /ReverseProxy/Routes/tcpTestRoute/Timeout: ") && err.lines().count() == 1, "{err}");
    let answer = gateway.admin().call("POST", "/apply?wait=applied&timeout=20s", out.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(client::served(one) && client::served(two), "every address of the listener");
    let again = gateway.admin().call("POST", "/apply?wait=applied&timeout=20s", out.as_bytes());
    assert_eq!(again.status, 200, "it may be sent twice: {}", again.text());
}

#[test]
fn the_exit_code_tells_whether_something_was_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let lossy = r#"{"Clusters": {"c": {"HealthCheck": {"Active": {"Enable": true}}, "Destinations": []}}}"#;
    let (code, out, err) = import(dir.path(), lossy, &[]);
    assert_eq!((code, err.as_str()), (3, "not carried over: /Clusters/c/HealthCheck/Active: there are no health checks yet\n"));
    taken(&serde_json::from_str(&out).unwrap());
    assert_eq!(import(dir.path(), lossy, &["--strict"]), (1, String::new(), err));
    let (code, out, err) = import(dir.path(), "{", &[]);
    assert!(code == 1 && out.is_empty() && err.contains("appsettings.json: not JSON: "), "{code} {out} {err}");
    let gone = Command::new(program()).args(["import", "vkproxy", "nowhere.json"]).output().unwrap();
    assert_eq!(gone.status.code(), Some(1));
}

#[test]
fn certificates_are_read_beside_the_configuration() {
    let authority = Authority::new();
    let (cert, key) = authority.issue("site", "DNS:a.com");
    let certificate = json!({ "Path": cert.file_name().unwrap().to_str().unwrap(), "KeyPath": key.file_name().unwrap().to_str().unwrap() });
    let config = json!({ "Sni": { "s": { "Host": ["a.com", "*.a.com"], "Protocols": "Tls13", "Certificate": certificate } } });
    let (code, out, err) = import(cert.parent().unwrap(), &config.to_string(), &[]);
    assert_eq!((code, err.as_str()), (0, "differs: /Sni/s/Host: a certificate's wildcard stands for one label\n"));
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["put"]["ssls"][0]["key"], std::fs::read_to_string(key).unwrap());
    taken(&document);
    let gateway = Gateway::start(Conf::new());
    let answer = gateway.admin().call("POST", "/apply", out.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn an_https_site_of_vkproxy_is_live_after_one_request() {
    let (authority, origin, gateway) = (Authority::new(), h1::origin("A"), Gateway::start(Conf::new()));
    let (cert, key) = authority.issue("site", "DNS:a.com");
    let (by_name, fixed) = (ports::free_addr(), ports::free_addr());
    let certificate = json!({ "Path": cert.file_name().unwrap().to_str().unwrap(), "KeyPath": key.file_name().unwrap().to_str().unwrap() });
    let config = json!({
        "Listen": {
            "names": { "Protocols": ["HTTP1", "HTTP2"], "UseSni": true, "Address": [by_name.to_string()] },
            "one": { "Protocols": ["HTTP1"], "UseSni": true, "SniId": "s", "Address": [fixed.to_string()] },
        },
        "Routes": { "r": { "ClusterId": "c", "Match": { "Hosts": ["a.com"], "Paths": ["*"], "Statement": "IsHttps = true" } } },
        "Clusters": { "c": { "LoadBalancingPolicy": "RoundRobin", "Destinations": [{ "Address": format!("http://{}", origin.node()) }] } },
        "Sni": { "s": { "Host": ["a.com"], "Certificate": certificate } },
    });
    let (code, out, err) = import(cert.parent().unwrap(), &config.to_string(), &["--strict"]);
    assert_eq!(code, 0, "{err}");
    let answer = gateway.admin().call("POST", "/apply?wait=applied&timeout=20s", out.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    for (to, name) in [(by_name, "a.com"), (fixed, "a.com"), (fixed, "other.com")] {
        let config = if name == "a.com" { tls::trusting(&authority.cert()) } else { tls::any() };
        let mut stream = tls::connect(to, name, config).unwrap();
        stream.write_all(b"GET /status/204 HTTP/1.1\r\nHost: a.com\r\nConnection: close\r\n\r\n").unwrap();
        let said = tls::read_all(&mut stream).unwrap();
        assert!(said.starts_with(b"HTTP/1.1 204"), "{name}: {}", String::from_utf8_lossy(&said));
    }
    assert!(tls::connect(by_name, "other.com", tls::any()).is_err());
}

#[test]
fn what_is_written_is_what_the_gateway_takes() {
    let limit = json!({ "By": "Key", "Header": "X", "Policy": "TokenBucket", "PermitLimit": 9, "QueueLimit": 1, "Window": "00:00:01", "TokensPerPeriod": 3 });
    let config = json!({
        "Listen": {
            "tcp": { "Protocols": "TCP", "Address": ["127.0.0.1:5100", "[::1]:5100"], "RouteId": "l4" },
            "udp": { "Protocols": "UDP", "Address": ["0.0.0.0:53"], "RouteId": "dns" },
            "tls": { "Protocols": "TCP", "UseSni": true, "Address": ["0.0.0.0:443"] },
            "web": { "Protocols": ["HTTP1", "HTTP2"], "UseSni": true, "Address": ["0.0.0.0:8443"] },
        },
        "Routes": {
            "l4": { "ClusterId": "c", "Timeout": "1.00:00:00", "Metadata": { "a": "b" }, "Limit": limit },
            "dns": { "ClusterId": "nowhere" },
            "http": {
                "Order": -1, "ClusterId": "web", "Timeout": "00:00:11", "Limit": limit,
                "Match": { "Hosts": ["*.a.com", "localhost:80"], "Paths": ["/a*"], "Methods": ["GET"], "Statement": "Path = 'a' or Path = 'b' and IsHttps = true" },
                "Transforms": [{ "PathPrefix": "/x" }, { "ResponseHeader": "a", "Set": "b", "When": "Always" }],
            },
        },
        "Clusters": {
            "c": { "Destinations": [{ "Address": "a:1" }, { "Address": "[::1]:2" }] },
            "web": { "LoadBalancingPolicy": "Random", "Destinations": [{ "Address": "https://a", "Host": "b.local" }] },
        },
        "Sni": { "s": { "Host": ["*b.com"], "Passthrough": true, "RouteId": "l4", "Order": 2 } },
        "DefaultProxyTimeout": "00:01:00", "ConnectionTimeout": "00:00:01", "Limit": limit,
    });
    let imported = vkproxy(&config.to_string(), &|_| Err(std::io::ErrorKind::NotFound.into())).unwrap();
    let counts: Vec<usize> = ["listeners", "stream_routes", "routes", "upstreams", "settings"]
        .iter()
        .map(|kind| imported.document["put"][kind].as_array().unwrap().len())
        .collect();
    assert_eq!(counts, [4, 3, 1, 3, 1], "{:#}", imported.document);
    taken(&imported.document);
}

/// A balancer that the gateway serves by now is one that the importer may write.
#[test]
fn the_importer_writes_the_balancers_that_are_served() {
    let ingest = Ingest::new(Arc::new(Schemas::compile().unwrap()));
    for (name, ours, written) in BALANCERS {
        let mut object = json!({ "nodes": { "a:1": 1, "b:1": 1 }, "type": ours });
        if ours == "chash" {
            (object["hash_on"], object["key"]) = (json!("header"), json!("x"));
        }
        let verdict = ingest.read_value(&Key::new(Kind::Upstream, Id::parse("u").unwrap()), &object, 0);
        assert_eq!(matches!(verdict, Verdict::Accepted(_)), written, "{name}: say so in the table of src/import/cluster.rs");
    }
}
