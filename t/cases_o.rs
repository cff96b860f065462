//! Cases O: lists of every kind, their pages and filters.

use serde_json::{Value, json};

use crate::support::gateway::Admin;
use crate::support::{Conf, Gateway};

/// An object of a kind with these fields beside what it needs.
fn object(kind: &str, n: u16, fields: &Value) -> Value {
    let mut value = match kind {
        // closed, so that the ports do not matter
        "listeners" => json!({"addr": format!("127.0.0.1:{}", 9100 + n), "status": 0}),
        "upstreams" => json!({"nodes": {}}),
        _ => json!({}),
    };
    value.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    value
}

fn ids(admin: &Admin, path: &str) -> Vec<String> {
    let answer = admin.get(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    let list = answer.json()["list"].as_array().cloned().unwrap();
    list.iter().map(|item| item["value"]["id"].as_str().unwrap().to_owned()).collect()
}

const KINDS: [&str; 3] = ["listeners", "stream_routes", "upstreams"];

#[test]
fn lists_of_every_kind_are_paged_and_filtered() {
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    for kind in KINDS {
        for n in 1..=11 {
            let labels = if n == 3 { json!({"env": "production"}) } else { json!({}) };
            admin.must_put(kind, &n.to_string(), &object(kind, n, &json!({"name": n.to_string(), "labels": labels})));
        }
        for size in [2, 9, 501, -1] {
            let wrong = admin.get(&format!("/{kind}?page=1&page_size={size}"));
            assert_eq!((wrong.status, wrong.text().trim()), (400, "page_size must be between 10 and 500"), "O01: {kind} {size}");
        }
        let first: Vec<String> = (1..=10).map(|n| n.to_string()).collect();
        assert_eq!(ids(&admin, &format!("/{kind}?page=1&page_size=10")), first, "O03: {kind}");
        let items = admin.get(&format!("/{kind}?page=1&page_size=10")).json()["list"].as_array().cloned().unwrap();
        assert!(items.is_sorted_by(|a, b| a["createdIndex"].as_u64() < b["createdIndex"].as_u64()), "O03: {kind}");
        for page in ["0", "-5"] {
            assert_eq!(ids(&admin, &format!("/{kind}?page={page}&page_size=10")), first, "c.7: {kind} {page}");
        }
        assert_eq!(ids(&admin, &format!("/{kind}?page=2&page_size=10")), ["11"], "O03: {kind}");
        for (page, items) in [(1, 10), (10, 0)] {
            let told = admin.get(&format!("/{kind}?page={page}&page_size=10")).json();
            assert_eq!((&told["total"], told["list"].as_array().unwrap().len()), (&json!(11), items), "O11: {kind} {page}");
        }
        for alone in ["page=2", "page_size=2", "page=x&page_size=2"] {
            assert_eq!(
                ids(&admin, &format!("/{kind}?{alone}")),
                ["1", "10", "11", "2", "3", "4", "5", "6", "7", "8", "9"],
                "c.7: {kind} {alone}"
            );
        }
        assert_eq!(ids(&admin, &format!("/{kind}?name=1")), ["1", "10", "11"], "O05: {kind}");
        assert_eq!(ids(&admin, &format!("/{kind}?name=%5E1%24")), ["1"], "O05: {kind}: a regular expression");
        assert_eq!(ids(&admin, &format!("/{kind}?name=1&page=1&page_size=10")), ["1", "10", "11"], "O07: {kind}");
        assert_eq!(ids(&admin, &format!("/{kind}?label=env")), ["3"], "O09: {kind}");
        assert_eq!(ids(&admin, &format!("/{kind}?label=production")), [""; 0], "O09: {kind}");
    }
}

#[test]
fn an_object_without_a_name_is_found_as_nil() {
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    admin.must_put("upstreams", "1", &object("upstreams", 1, &json!({})));
    admin.must_put("upstreams", "2", &object("upstreams", 2, &json!({"name": "x"})));
    assert_eq!(ids(&admin, "/upstreams?name=nil"), ["1"], "c.7");
    assert_eq!(admin.get("/upstreams?name=(").status, 400, "no regular expression");
}

#[test]
fn a_list_has_a_total_and_items_and_nothing_else() {
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    for kind in KINDS {
        for n in 1..=2 {
            admin.must_put(kind, &n.to_string(), &object(kind, n, &json!({})));
            let told = admin.get(&format!("/{kind}")).json();
            let mut top: Vec<&str> = told.as_object().unwrap().keys().map(String::as_str).collect();
            top.sort_unstable();
            assert_eq!((top, &told["total"]), (vec!["list", "total"], &json!(n)), "O13: {kind}");
            assert_eq!(told["list"].as_array().unwrap().len(), usize::from(n), "O13: {kind}");
        }
    }
}
