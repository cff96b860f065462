//! Cases K: stream routes through the Admin API.

use serde_json::{Value, json};

use crate::support::{Conf, Gateway};

/// The value of an answer without what differs from run to run.
fn stable(mut value: Value) -> Value {
    for field in ["create_time", "update_time", "id"] {
        value.as_object_mut().unwrap().remove(field);
    }
    value
}

fn simple() -> Value {
    json!({"remote_addr": "127.0.0.1", "upstream": {"nodes": {"127.0.0.1:8080": 1}, "type": "roundrobin"}})
}

#[test]
fn a_stream_route_is_put_read_and_deleted() {
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    let mut value = simple();
    value["desc"] = json!("test-desc");

    let put = admin.put("stream_routes", "1", &value);
    assert_eq!(put.status, 201, "K01: {}", put.text());
    assert_eq!(put.json()["key"], "/sluice/stream_routes/1", "K01");
    assert_eq!(stable(put.json()["value"].clone()), value, "K01");
    assert_eq!(admin.put("stream_routes", "1", &value).status, 200, "K01: the second time");

    let got = admin.get("/stream_routes/1");
    assert_eq!(got.status, 200, "K02");
    let got = got.json();
    assert_eq!(stable(got["value"].clone()), value, "K02");
    assert_eq!(got["value"]["id"], "1", "K02: the id is a string");
    for field in ["create_time", "update_time"] {
        assert!(got["value"][field].as_u64().is_some_and(|t| t > 1_700_000_000), "K01: {field}");
    }
    for field in ["createdIndex", "modifiedIndex"] {
        assert!(got[field].is_u64(), "K11: {field}");
    }
    assert!(got["modifiedIndex"].as_u64() > got["createdIndex"].as_u64(), "K11");

    let deleted = admin.delete("stream_routes", "1");
    assert_eq!((deleted.status, deleted.json()["deleted"].clone()), (200, json!("1")), "K03");
    assert_eq!(deleted.json()["key"], "/sluice/stream_routes/1", "K03");
    for (case, answer) in [("K04", admin.delete("stream_routes", "1")), ("K12", admin.get("/stream_routes/1"))] {
        assert_eq!((answer.status, answer.json()), (404, json!({"message": "Key not found"})), "{case}");
    }
}

#[test]
fn ids_come_from_the_path_or_are_made() {
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    assert_eq!(admin.put("stream_routes", "a-b-c-ABC_0123", &simple()).status, 201, "K07");
    assert_eq!(admin.delete("stream_routes", "a-b-c-ABC_0123").status, 200, "K07");
    assert_eq!(admin.put("stream_routes", "*invalid", &simple()).status, 400, "K08");

    let posted = admin.post("stream_routes", &simple());
    assert_eq!(posted.status, 201, "K09: {}", posted.text());
    let body = posted.json();
    assert_eq!(stable(body["value"].clone()), simple(), "K09: no defaults added");
    let id = body["value"]["id"].as_str().expect("K09: an id").to_owned();
    assert_eq!(body["key"], format!("/sluice/stream_routes/{id}"), "K09");
    assert_eq!(stable(admin.get(&format!("/stream_routes/{id}")).json()["value"].clone()), simple(), "K11");
    let list = admin.get("/stream_routes").json();
    assert_eq!(list["total"], 1, "K10");
    assert_eq!(stable(list["list"][0]["value"].clone()), simple(), "K10");
    assert_ne!(admin.post("stream_routes", &simple()).json()["value"]["id"], id, "K09: another id");
}

#[test]
fn every_refusal_is_a_400_that_says_why() {
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    let with = |field: &str, value: Value| {
        let mut route = simple();
        route[field] = value;
        route
    };
    for (case, value, says) in [
        ("K13", with("plugins", json!({"mqttt-proxy": {}})), "additional properties forbidden, found plugins"),
        ("K15", with("protocol", json!({"name": "pingpong"})), "property \"protocol\" validation failed"),
        ("K06", with("remote_addr", json!(":/8")), "remote_addr"),
        ("K06", with("server_addr", json!("127.0.0.256")), "server_addr"),
        ("K06", with("server_port", json!(70_000)), "property \"server_port\" validation failed: expected 70000 to be at most 65535"),
        ("K06", with("server_port", json!("9100")), "property \"server_port\" validation failed: wrong type: expected integer, got string"),
        ("unknown", with("serverport", json!(1)), "additional properties forbidden, found serverport (did you mean server_port?)"),
        ("b.1", with("sni", json!("a*.test.com")), "sni"),
        ("not yet", with("service_id", json!("1")), "service_id"),
        ("c.5", json!({"upstream_id": "9999"}), "failed to fetch upstream info by upstream id [9999], response code: 404"),
        ("c.3", with("create_time", json!(1)), "the property is forbidden:  create_time"),
        ("c.3", with("id", json!("2")), "wrong stream route id"),
    ] {
        let answer = admin.put("stream_routes", "1", &value);
        assert_eq!(answer.status, 400, "{case}: {value}: {}", answer.text());
        assert!(answer.error_msg().contains(says), "{case}: {says}\n{}", answer.text());
    }
    assert_eq!(admin.get("/stream_routes").json(), json!({"list": [], "total": 0}), "nothing was stored");
}

#[test]
fn ipv6_addresses_and_lists_are_taken() {
    let gateway = Gateway::start(Conf::new());
    for (case, field, value) in [
        ("K17", "remote_addr", json!("::1")),
        ("K17", "server_addr", json!("::1")),
        ("K18", "remote_addr", json!("::/0")),
        ("K18", "remote_addr", json!("0.0.0.0/0")),
        ("K18", "server_addr", json!(["127.0.0.1", "::1/64"])),
    ] {
        let mut route = simple();
        route[field] = value;
        let answer = gateway.admin().put("stream_routes", "1", &route);
        assert!(answer.ok(), "{case}: {}", answer.text());
    }
}

#[test]
fn lists_are_filtered_by_the_upstream_they_name() {
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    admin.must_put("upstreams", "1", &json!({"nodes": {"127.0.0.1:8080": 1}, "type": "roundrobin"}));
    for n in 1..=11 {
        let value = if n % 2 == 0 { simple() } else { json!({"upstream_id": "1"}) };
        admin.must_put("stream_routes", &n.to_string(), &value);
    }
    let list = admin.get("/stream_routes?filter=upstream_id%3D1").json();
    assert_eq!(list["total"], 6, "K29: {list}");
    for item in list["list"].as_array().unwrap() {
        assert_eq!(item["value"]["id"].as_str().unwrap().parse::<u32>().unwrap() % 2, 1, "K29");
    }
}

#[test]
fn the_schema_tells_the_times() {
    let gateway = Gateway::start(Conf::new());
    let answer = gateway.admin().get("/schema/stream_route");
    assert_eq!(answer.status, 200, "K31");
    let schema = answer.json();
    for field in ["create_time", "update_time"] {
        assert_eq!(schema.pointer(&format!("/properties/{field}/type")), Some(&json!("integer")), "K31: {field}: {schema}");
    }
}

#[test]
fn a_stream_route_is_patched() {
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    admin.must_put("stream_routes", "1", &simple());
    let merged = admin.call("PATCH", "/stream_routes/1", br#"{"server_port": 9100, "remote_addr": null}"#);
    assert_eq!(merged.status, 200, "K27, ours: {}", merged.text());
    let mut expected = simple();
    expected.as_object_mut().unwrap().remove("remote_addr");
    expected["server_port"] = json!(9100);
    assert_eq!(stable(merged.json()["value"].clone()), expected, "K27, ours");
    assert_eq!(admin.call("PATCH", "/stream_routes/1/upstream/nodes/127.0.0.1:8080", b"3").status, 200, "K27, ours");
    expected["upstream"]["nodes"]["127.0.0.1:8080"] = json!(3);
    assert_eq!(stable(admin.get("/stream_routes/1").json()["value"].clone()), expected, "K27, ours");
    let dangling = admin.call("PATCH", "/stream_routes/1", br#"{"upstream_id": "9"}"#);
    assert_eq!(
        (dangling.status, dangling.error_msg().as_str()),
        (400, "failed to fetch upstream info by upstream id [9], response code: 404")
    );
}
