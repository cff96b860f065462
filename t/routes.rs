//! The kind `routes` from outside: what is wrong with one is said where it was written, with its place.

use serde_json::json;

use crate::support::{Conf, Gateway};

#[test]
fn a_statement_that_does_not_parse_is_refused_with_line_and_column() {
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    let put = admin.put("routes", "r", &json!({"match": {"statement": "Method = 'GET'\nand Paht = '/a'"}}));
    let says = "invalid match.statement: line 2, column 5: there is no field Paht (did you mean Path?)";
    assert_eq!(put.status, 400, "{}", put.text());
    assert!(put.text().contains(says), "{}", put.text());
    assert_eq!(admin.get("/routes/r").status, 404);
}

#[test]
fn the_words_of_apisix_are_refused_with_ours() {
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    for (object, says) in [
        (json!({"uri": "/a"}), "additional properties forbidden, found uri (write match.paths, a list)"),
        (json!({"hosts": ["a.com"]}), "additional properties forbidden, found hosts (write match.hosts)"),
        (json!({"vars": []}), "additional properties forbidden, found vars (write match.statement)"),
    ] {
        let put = admin.put("routes", "r", &object);
        assert!(put.status == 400 && put.text().contains(says), "{object}: {}", put.text());
    }
    assert_eq!(admin.get("/routes").json(), json!({"list": [], "total": 0}));
    assert_eq!(admin.get("/schema/route").json()["title"], "Route");
}
