//! gRPC over TLS on both sides, and HTTP/2 under load.

use std::process::Command;

use serde_json::json;

use super::Secure;
use crate::support::{python, tls};

#[test]
fn grpc_goes_over_tls_on_both_sides() {
    let s = Secure::start();
    let (cert, key) = s.authority.issue("node", "DNS:node.test");
    let args = ["0", cert.to_str().unwrap(), key.to_str().unwrap()];
    let (_server, node) = python::serve("http2/greeter.py", &args);
    let upstream = json!({
        "scheme": "grpcs", "nodes": {node: 1}, "pass_host": "rewrite", "upstream_host": "node.test",
        "tls": {"verify": true, "ca": tls::text(&s.authority.cert())},
    });
    s.gateway.put_live("routes", "r", &json!({ "upstream": upstream }));
    let ca = s.authority.cert();
    let saw = python::ask("http2/caller.py", &[&s.at.to_string(), "chat", "tls", ca.to_str().unwrap(), "a.test"]);
    assert_eq!(saw["unary"], json!({"answer": "hello world", "code": "OK", "trailers": {"x-trail": "w1"}}));
    assert_eq!(saw["fail"], json!({"code": "FAILED_PRECONDITION", "details": "as asked"}));
    assert_eq!((&saw["chat"]["code"], &saw["many"]), (&json!("OK"), &json!(200)));
}

#[test]
fn many_streams_at_a_time_are_all_answered() {
    let s = Secure::start();
    let url = format!("https://a.test:{}/status/200", s.at.port());
    let to = format!("--connect-to=127.0.0.1:{}", s.at.port());
    let output = Command::new("h2load").args(["-n2000", "-c4", "-m32", &to, &url]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("2000 succeeded, 0 failed, 0 errored"), "{said}");
    assert!(said.contains("Application protocol: h2"), "{said}");
}
