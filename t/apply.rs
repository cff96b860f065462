//! Several objects in one transaction: what is answered is live as a whole, and what is refused left nothing behind.

use serde_json::json;

use crate::support::gateway::upstream;
use crate::support::upstream as servers;
use crate::support::{Conf, Gateway, client, ports};

#[test]
fn a_whole_stack_is_live_with_the_answer_and_gone_with_the_next() {
    let server = servers::hello();
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    let port = ports::free_addr();
    let mut node = upstream(&[&server.node()]);
    node["id"] = json!("u");
    let body = json!({"put": {
        "listeners": [{"id": "l", "addr": port.to_string(), "stream_route_id": "r"}],
        "stream_routes": [{"id": "r", "upstream_id": "u"}],
        "upstreams": [node],
    }});
    let answer = admin.call("POST", "/apply?wait=applied&timeout=20s", body.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(client::served(port), "nobody has to wait after wait=applied");
    let revision = answer.json()["revision"].as_u64().unwrap();
    assert!(gateway.applied() >= revision);
    for path in ["/listeners/l", "/stream_routes/r", "/upstreams/u"] {
        assert_eq!(admin.get(path).json()["modifiedIndex"], revision, "{path}: one revision");
    }

    let in_use = admin.call("POST", "/apply", br#"{"delete": ["upstreams/u"]}"#);
    assert_eq!(in_use.status, 400);
    assert_eq!(in_use.json()["errors"][0]["error"], "can not delete this upstream, stream_route [r] is still using it now");
    let versions = json!({"put": {"upstreams": [{"id": "u", "nodes": {}, "modifiedIndex": revision + 1}]}, "delete": ["listeners/l"]});
    assert_eq!(admin.call("POST", "/apply", versions.to_string().as_bytes()).status, 412);
    assert!(client::served(port), "all or nothing");

    let all = br#"{"delete": ["upstreams/u", "stream_routes/r", "listeners/l"]}"#;
    assert_eq!(admin.call("POST", "/apply?wait=applied&timeout=20s", all).status, 200);
    assert!(client::refused(port));
    for kind in ["listeners", "stream_routes", "upstreams"] {
        assert_eq!(admin.get(&format!("/{kind}")).json()["total"], 0, "{kind}");
    }
}

#[test]
fn a_hundred_and_twenty_eight_objects_are_the_most() {
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    let set = |n: usize| json!({"put": {"upstreams": (0..n).map(|n| json!({"id": n.to_string(), "nodes": {}})).collect::<Vec<_>>()}});
    let many = admin.call("POST", "/apply", set(129).to_string().as_bytes());
    assert_eq!((many.status, many.error_msg().as_str()), (400, "a transaction has at most 128 operations, as in etcd; this one has 129"));
    assert_eq!(admin.get("/upstreams").json()["total"], 0);
    assert_eq!(admin.call("POST", "/apply", set(128).to_string().as_bytes()).status, 200);
    assert_eq!(admin.get("/upstreams").json()["total"], 128);
}

#[test]
fn every_write_may_wait_until_it_is_live() {
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    let body = br#"{"nodes": {}}"#;
    for (method, path) in [("PUT", "/upstreams/1"), ("PATCH", "/upstreams/1"), ("POST", "/upstreams"), ("DELETE", "/upstreams/1")] {
        let before = gateway.applied();
        let body: &[u8] = if method == "DELETE" { b"" } else { body };
        let answer = admin.call(method, &format!("{path}?wait=applied&timeout=20s"), body);
        assert!(answer.ok(), "{method}: {}", answer.text());
        assert!(gateway.applied() > before, "{method}");
    }
}
