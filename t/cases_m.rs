//! Cases M: certificates and their keys through the Admin API, with C15, L17 and L19, which are about them too.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::authority::Authority;
use crate::support::http::Answer;
use crate::support::{Conf, Gateway};

/// A certificate and its key, as PEM.
pub struct Pair {
    pub cert: String,
    pub key: String,
}

/// Pairs of an authority: ECDSA, and RSA.
pub fn pairs() -> (Pair, Pair) {
    let authority = Authority::new();
    let read = |(cert, key)| Pair {
        cert: fs::read_to_string::<std::path::PathBuf>(cert).unwrap(),
        key: fs::read_to_string::<std::path::PathBuf>(key).unwrap(),
    };
    (read(authority.issue("ec", "DNS:test.com")), read(authority.issue_rsa("rsa", "DNS:test.com")))
}

pub fn ssl(pair: &Pair) -> Value {
    json!({"cert": pair.cert, "key": pair.key, "sni": "test.com"})
}

fn with(mut value: Value, fields: Value) -> Value {
    let Value::Object(fields) = fields else { panic!("{fields}") };
    value.as_object_mut().unwrap().extend(fields);
    value
}

fn says(answer: &Answer, status: u16, text: &str, case: &str) {
    assert_eq!((answer.status, answer.error_msg().as_str()), (status, text), "{case}");
}

#[test]
fn an_ssl_is_put_read_listed_patched_and_deleted() {
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    let (ec, rsa) = pairs();
    let put = admin.put("ssls", "1", &ssl(&ec));
    assert_eq!(put.status, 201, "M01: {}", put.text());
    let got = admin.get("/ssls/1").json()["value"].clone();
    assert!(got["create_time"].is_u64() && got["update_time"].is_u64(), "M01");
    assert_eq!((&got["cert"], &got["sni"], &got["id"]), (&json!(ec.cert), &json!("test.com"), &json!("1")), "M01");
    assert!(got.get("ssl_protocols").is_none(), "M31");

    let both = with(ssl(&ec), json!({"certs": [rsa.cert], "keys": [rsa.key], "labels": {"long": "x".repeat(256)}}));
    assert_eq!(admin.put("ssls", "2", &both).status, 201, "M29");
    let bag = with(ssl(&ec), json!({"key": format!("Bag Attributes\n    friendlyName: x\nKey Attributes: <No Attributes>\n{}", ec.key)}));
    assert_eq!(admin.put("ssls", "2", &with(both, bag)).status, 200, "as openssl pkcs12 writes it");
    let list = admin.get("/ssls").json();
    assert_eq!(list["total"], 2, "M19");
    for item in list["list"].as_array().unwrap() {
        assert!(item["value"].get("key").is_none() && item["value"].get("keys").is_none(), "M19: {item}");
    }
    let body = json!(["update1.com", "update2.com"]).to_string();
    admin.must_put("ssls", "3", &with(json!({"snis": ["test.com"]}), json!({"cert": ec.cert, "key": ec.key})));
    assert_eq!(admin.call("PATCH", "/ssls/3/snis", body.as_bytes()).status, 200, "M25");
    assert_eq!(admin.get("/ssls/3").json()["value"]["snis"], json!(["update1.com", "update2.com"]), "M25");
    let patched = admin.call("PATCH", "/ssls/2/keys", json!([rsa.key]).to_string().as_bytes());
    assert_eq!(patched.status, 200, "M27: {}", patched.text());
    assert!(!patched.text().contains("keys"), "M27: an answer never has a key");

    assert_eq!(admin.delete("ssls", "1").status, 200, "M03");
    assert_eq!(admin.delete("ssls", "99999999999999").status, 404, "M03");
    assert_eq!(admin.put("ssls", "a-b-c-ABC_0123", &ssl(&ec)).status, 201, "M07");
    assert_eq!(admin.delete("ssls", "a-b-c-ABC_0123").status, 200, "M07");
    assert_eq!(admin.put("ssls", "*invalid", &ssl(&ec)).status, 400, "M07");
    assert_eq!(admin.put("ssls", "1", &ssl(&ec)).status, 201, "M11");
    assert_eq!(admin.delete("ssls", "1").status, 200, "M11");
}

#[test]
fn what_is_no_certificate_with_its_key_is_refused_with_its_reason() {
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    let (ec, rsa) = pairs();
    let then = "invalid configuration: then clause did not match";
    let put = |value: &Value| admin.put("ssls", "1", value);
    says(&put(&json!({"sni": "test.com"})), 400, then, "M05");
    says(&put(&json!({"sni": "test.com", "certs": [ec.cert], "keys": []})), 400, then, "M09");
    says(&put(&json!({"cert": ec.cert, "key": ec.key})), 400, then, "M13");
    let short = "invalid configuration: property \"certs\" validation failed: failed to validate item 1: \
                 string too short, expected at least 128, got 29";
    says(&put(&with(ssl(&ec), json!({"certs": ["https://APISIX_TEST_SSL_CERTS"], "keys": [ec.key]}))), 400, short, "M17");
    let garbage = "x".repeat(200);
    let no_cert = "there is no certificate in the PEM text";
    says(&put(&with(ssl(&ec), json!({"cert": garbage}))), 400, &format!("failed to parse cert: {no_cert}"), "M21");
    let certs = put(&with(ssl(&ec), json!({"certs": [garbage], "keys": [ec.key]})));
    says(&certs, 400, &format!("failed to handle cert-key pair[1]: failed to parse cert: {no_cert}"), "M23");
    let keys = put(&with(ssl(&ec), json!({"certs": [ec.cert], "keys": [format!("-----BEGIN X-----\n{garbage}")]})));
    says(&keys, 400, "failed to handle cert-key pair[1]: failed to parse key: there is no private key in the PEM text", "M23");
    let other = put(&with(ssl(&ec), json!({"key": rsa.key})));
    says(&other, 400, "invalid configuration: the key is not that of the certificate", "a pair of two halves");
    assert_eq!(other.violation_paths(), ["/key"]);
    let more = put(&with(ssl(&ec), json!({"certs": [rsa.cert], "keys": []})));
    says(&more, 400, "mismatched number of certs and keys", "more certificates than keys");

    // a key that somebody else's keyring sealed, in APISIX's form
    let sealed = encrypt(&ec.key, 0x6120_666f_7265_6967_6e20_6b65_7920_3136);
    says(&put(&with(ssl(&ec), json!({"key": sealed}))), 400, "failed to decrypt previous encrypted key", "C15");
    let second = put(&with(ssl(&ec), json!({"certs": [ec.cert], "keys": [sealed]})));
    says(&second, 400, "failed to handle cert-key pair[1]: failed to decrypt previous encrypted key", "C15");
    assert_eq!(admin.get("/ssls").json()["total"], 0);
}

/// As APISIX encrypts: the key is the first vector too.
pub fn encrypt(pem: &str, key: u128) -> String {
    let hex = format!("{key:032x}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    fs::write(&file, pem).unwrap();
    let args = ["enc", "-aes-128-cbc", "-K", &hex, "-iv", &hex, "-base64", "-A", "-in"];
    let output = Command::new("openssl").args(args).arg(&file).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_upstream_names_a_certificate_of_its_own_or_one_of_type_client() {
    let gateway = Gateway::start(Conf::new());
    let admin = gateway.admin();
    let (ec, _) = pairs();
    let upstream = |tls: Value| json!({"nodes": {"127.0.0.1:1980": 1}, "tls": tls});
    let both = admin.put("upstreams", "1", &upstream(json!({"client_cert_id": "1", "client_cert": ec.cert, "client_key": ec.key})));
    assert_eq!(both.status, 400, "L17");
    let text = "invalid configuration: property \"tls\" validation failed: failed to validate dependent schema for \"client_cert\": \
                value wasn't supposed to match schema";
    assert!(both.error_msg().starts_with(text), "L17: {}", both.error_msg());

    let by_id = || admin.put("upstreams", "1", &upstream(json!({"client_cert_id": "1"})));
    says(&by_id(), 400, "failed to fetch ssl info by ssl id [1], response code: 404", "an ssl that is not there");
    admin.must_put("ssls", "1", &ssl(&ec));
    says(&by_id(), 400, "failed to fetch ssl info by ssl id [1], wrong ssl type", "L19");
    admin.must_put("ssls", "1", &json!({"type": "client", "cert": ec.cert, "key": ec.key}));
    assert_eq!(by_id().status, 201);
    says(&admin.delete("ssls", "1"), 400, "can not delete this ssl, upstream [1] is still using it now", "a certificate in use");
    for tls in [json!({}), json!({"verify": true})] {
        assert!(admin.put("upstreams", "1", &upstream(tls)).ok(), "L51");
    }
    assert_eq!(admin.delete("ssls", "1").status, 200);
}
