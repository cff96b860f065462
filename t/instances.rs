//! What a gateway tells of itself to the others and to whoever asks `GET /v1/instances`.

use serde_json::{Value, json};

use crate::support::client::served;
use crate::support::gateway::upstream;
use crate::support::store::put_raw;
use crate::support::{Conf, Gateway, ports, soon, upstream as servers};

fn own(gateway: &Gateway) -> Value {
    let all = gateway.control_list("/v1/instances");
    assert!(all.len() <= 1, "{all:?}");
    all.into_iter().next().unwrap_or_default()
}

#[test]
fn a_gateway_lists_itself_with_what_it_serves_and_what_it_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut conf = Conf::new();
    conf.store = Some(dir.path().join("store.redb"));
    put_raw(&dir.path().join("store.redb"), &[("/sluice/upstreams/bad".into(), br#"{"nodse":{}}"#.to_vec())]);
    let gateway = Gateway::start(conf);
    let (hello, addr) = (servers::hello(), ports::free_addr());
    gateway.admin().must_put("upstreams", "1", &upstream(&[&hello.node()]));
    gateway.admin().must_put("stream_routes", "1", &json!({"upstream_id": "1"}));
    gateway.listen("a", addr);
    soon("it serves", || served(addr));
    soon("it tells of its newest revision", || own(&gateway)["applied_revision"] == gateway.applied());

    let told = own(&gateway);
    assert_eq!((&told["own"], &told["version"]), (&json!(true), &json!(env!("CARGO_PKG_VERSION"))));
    assert_eq!(told["listeners"], json!([{"listener": "a", "address": format!("tcp://{addr}"), "state": "active"}]));
    assert_eq!(told["objects"]["upstreams"], json!({"active": 1, "rejected": 1}));
    let rejection = &told["rejections"][0];
    assert_eq!((&rejection["key"], &rejection["stage"]), (&json!("upstreams/bad"), &json!("schema")));
    assert_eq!(rejection["violations"][0]["path"], "/nodse");
    assert!(told["started_at"].is_string());

    let answer = gateway.control("GET", "/v1/instances").json();
    assert_eq!((&answer["count"], &answer["rank"], &answer["name"]), (&json!(1), &json!(0), &told["id"]));
    assert_eq!(gateway.count("sluice_status_publish_errors_total", &[]), 0);
}

#[test]
fn status_costs_the_embedded_store_no_revision() {
    let gateway = Gateway::start(Conf::new());
    gateway.admin().must_put("upstreams", "1", &upstream(&[]));
    soon("it tells of that revision", || own(&gateway)["applied_revision"] == 1);
    gateway.admin().must_put("upstreams", "2", &upstream(&[]));
    assert_eq!(gateway.admin().get("/upstreams/2").json()["modifiedIndex"], 2);
}

#[test]
fn a_write_that_waits_is_answered_although_the_gateway_was_killed_a_moment_ago() {
    let mut gateway = Gateway::start(Conf::new());
    soon("it tells of itself", || own(&gateway)["own"] == true);
    gateway.kill9();
    gateway.start_again();
    let answer = gateway.admin().call("PUT", "/upstreams/1?wait=applied&timeout=5s", upstream(&[]).to_string().as_bytes());
    assert_eq!(answer.status, 201, "{}", answer.text());
}
