//! Private keys never leave the process: not in answers, logs, status or the bytes of a store; and whoever has the keyring reads them.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::cases_m::{Pair, encrypt, pairs, ssl};
use crate::support::gateway::program;
use crate::support::store::put_raw;
use crate::support::{Conf, Gateway, etcd, http, ports, soon};

const RING: &str = "[\"0123456789abcdef0123456789abcdef\"]";
const DEBUG: [&str; 2] = ["env", "SLUICE_TELEMETRY__LOG__LEVEL=debug"];

/// What would betray a key: every 16 characters of its body, at every place where a line of it may be cut.
struct Traces(Vec<String>);

impl Traces {
    fn of(pairs: &[&Pair]) -> Self {
        let bodies = pairs.iter().flat_map(|pair| pair.key.lines().filter(|line| !line.starts_with('-')));
        Self(
            bodies
                .flat_map(|line| line.as_bytes().chunks(16).filter(|c| c.len() == 16).map(|c| String::from_utf8(c.to_vec()).unwrap()))
                .collect(),
        )
    }

    fn absent(&self, bytes: &[u8], what: &str) {
        assert!(self.0.len() > 3);
        let text = String::from_utf8_lossy(bytes);
        for trace in &self.0 {
            assert!(!text.contains(trace.as_str()), "{what} has {trace} of a private key");
        }
        assert!(!text.contains("PRIVATE KEY"), "{what} has a private key");
    }

    /// Searches everything that a gateway tells and writes.
    fn absent_everywhere(&self, gateway: &Gateway) {
        let admin = gateway.admin();
        for path in ["/ssls", "/ssls/1", "/upstreams", "/stream_routes", "/ssls/bad"] {
            self.absent(admin.get(path).text().as_bytes(), path);
        }
        for path in ["/v1/config?values=true", "/v1/config/ssls/1", "/v1/rejections", "/v1/certificates", "/v1/instances", "/v1/upstreams"]
        {
            self.absent(gateway.control("GET", path).text().as_bytes(), path);
        }
        self.absent(http::call(gateway.metrics_addr(), "GET", "/metrics", &[], b"").unwrap().text().as_bytes(), "/metrics");
        self.absent(gateway.log().as_bytes(), "the log");
        self.files(gateway.dir());
    }

    fn files(&self, dir: &Path) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                self.files(&entry.path());
            } else if entry.path().is_file() {
                self.absent(&fs::read(entry.path()).unwrap(), &entry.path().display().to_string());
            }
        }
    }
}

/// Every way to write a key through the Admin API, right and wrong ones. The answers are searched too.
fn write_everywhere(gateway: &Gateway, ec: &Pair, rsa: &Pair, traces: &Traces) {
    let admin = gateway.admin();
    let broken = format!("{{\"cert\": 1, \"key\": {}", json!(ec.key));
    let mut wrong = ssl(ec);
    wrong["key"] = json!(rsa.key);
    let mut misplaced = ssl(ec);
    misplaced["sni"] = json!(ec.key);
    misplaced["labels"] = json!({"x": ec.key});
    misplaced["kye"] = json!(ec.key);
    let bundle = json!({"cert": format!("{}{}", ec.cert, ec.key), "key": ec.key, "sni": "a"});
    let tls = json!({"nodes": {"127.0.0.1:1980": 1}, "tls": {"client_cert": ec.cert, "client_key": ec.key}});
    let set = json!({"put": {"ssls": [{"id": "set", "cert": ec.cert, "key": ec.key, "sni": "set.com"}], "upstreams": [{"id": "set", "nodes": {}}]}});
    let all = json!({"ssls": [ssl(ec), wrong, misplaced]});
    for (method, path, body, status) in [
        ("PUT", "/ssls/1", ssl(ec).to_string(), 201),
        ("PUT", "/ssls/1", ssl(rsa).to_string(), 200),
        ("POST", "/ssls", ssl(ec).to_string(), 201),
        ("PUT", "/ssls/2?dry_run=true", ssl(ec).to_string(), 201),
        ("PATCH", "/ssls/1", json!({"cert": ec.cert, "key": ec.key}).to_string(), 200),
        ("PATCH", "/ssls/1", json!({"desc": "the key stays"}).to_string(), 200),
        ("PATCH", "/ssls/1/key", json!(ec.key).to_string(), 200),
        ("PATCH", "/ssls/1/key", json!(rsa.key).to_string(), 400),
        ("PUT", "/upstreams/1", tls.to_string(), 201),
        ("PUT", "/stream_routes/1", json!({"upstream": tls}).to_string(), 201),
        ("POST", "/apply", set.to_string(), 200),
        ("POST", "/configs/validate", all.to_string(), 400),
        ("POST", "/schema/validate/ssls", misplaced.to_string(), 400),
        ("PUT", "/ssls/bad", wrong.to_string(), 400),
        ("PUT", "/ssls/bad", misplaced.to_string(), 400),
        ("PUT", "/ssls/bad", bundle.to_string(), 400),
        ("PUT", "/ssls/bad", broken, 400),
        ("PUT", "/listeners/bad", json!({"addr": ec.key}).to_string(), 400),
    ] {
        let answer = admin.call(method, path, body.as_bytes());
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        traces.absent(answer.text().as_bytes(), &format!("the answer to {method} {path}"));
    }
    soon("it is applied", || gateway.applied() >= admin.get("/stream_routes/1").json()["modifiedIndex"].as_u64().unwrap());
    assert_eq!(admin.get("/ssls/1").json()["value"]["desc"], "the key stays");
}

#[test]
fn a_key_written_through_the_admin_api_is_nowhere_with_the_embedded_store() {
    let gateway = &mut Gateway::start_under(&DEBUG, Conf::new());
    let (ec, rsa) = pairs();
    let traces = Traces::of(&[&ec, &rsa]);
    write_everywhere(gateway, &ec, &rsa, &traces);
    traces.absent_everywhere(gateway);
    assert_eq!(gateway.rejection("ssls/1"), None);
    // the keyring that was made opens what was sealed, in the next life too
    gateway.kill9();
    traces.files(gateway.dir());
    gateway.start_again();
    soon("the certificate serves", || gateway.control("GET", "/v1/config/ssls/1").json()["state"] == "active");
    traces.absent_everywhere(gateway);
}

#[test]
fn a_key_written_through_the_admin_api_is_nowhere_with_etcd() {
    let store = etcd::Etcd::start();
    let gateway = Gateway::start_under(&DEBUG, Conf::new().etcd(&store.urls(), "a").keyring(RING));
    let (ec, rsa) = pairs();
    let traces = Traces::of(&[&ec, &rsa]);
    write_everywhere(&gateway, &ec, &rsa, &traces);
    traces.absent_everywhere(&gateway);
    let all = store.ctl(&["get", "", "--prefix"]);
    assert!(all.contains("sealed:v1:") && all.contains("/sluice-status/"), "{all}");
    traces.absent(all.as_bytes(), "etcd");
}

#[test]
fn with_etcd_and_no_keyring_a_clear_key_is_refused_and_one_by_hand_serves_with_a_warning() {
    let store = etcd::Etcd::start();
    let gateway = Gateway::start(Conf::new().etcd(&store.urls(), "a"));
    let (ec, _) = pairs();
    let refused = gateway.admin().put("ssls", "1", &ssl(&ec));
    assert_eq!((refused.status, refused.violation_paths()), (400, vec!["/key".to_owned()]), "{}", refused.text());
    assert!(refused.error_msg().contains("gateway.data_encryption.keyring"), "{}", refused.error_msg());
    store.put("/sluice/ssls/1", &ssl(&ec).to_string());
    store.put("/sluice/ssls/bad", &json!({"sni": ec.key, "key": ec.key}).to_string());
    store.put("/sluice/ssls/worse", &format!("{{ {}", ec.key));
    soon("it serves", || gateway.control("GET", "/v1/config/ssls/1").json()["state"] == "active");
    soon("the others are refused", || gateway.rejection("ssls/worse").is_some());
    let told = gateway.control("GET", "/v1/config/ssls/1").json();
    assert_eq!(told["warnings"], json!(["/key: the private key is not sealed: whoever reads the store has it"]));
    assert!(gateway.log().contains("object accepted with a warning"));
    let traces = Traces::of(&[&ec]);
    traces.absent_everywhere(&gateway);
    traces.absent(gateway.admin().get("/ssls/worse").text().as_bytes(), "an object that is none");
}

#[test]
fn a_rotated_keyring_opens_what_the_old_one_sealed_and_a_patch_seals_it_anew() {
    let old = "0123456789abcdef0123456789abcdef";
    let new = "fedcba9876543210fedcba9876543210";
    let store = etcd::Etcd::start();
    let (ec, _) = pairs();
    let stored =
        || serde_json::from_str::<Value>(store.ctl(&["get", "--print-value-only", "/sluice/ssls/1"]).trim()).unwrap()["key"].clone();
    let state = |gateway: &Gateway| gateway.control("GET", "/v1/config/ssls/1").json()["state"].clone();
    let first = Gateway::start(Conf::new().etcd(&store.urls(), "a").keyring(&format!("[{old}]")));
    first.admin().must_put("ssls", "1", &ssl(&ec));
    let sealed = stored();
    drop(first);
    let both = Gateway::start(Conf::new().etcd(&store.urls(), "a").keyring(&format!("[{new}, {old}]")));
    soon("it serves", || state(&both) == "active");
    assert_eq!(both.admin().call("PATCH", "/ssls/1", b"{}").status, 200);
    assert_ne!(stored(), sealed);
    drop(both);
    let last = Gateway::start(Conf::new().etcd(&store.urls(), "a").keyring(new));
    soon("it serves without the old key", || state(&last) == "active");
    // what only the old key opens does not
    store.put("/sluice/ssls/2", &json!({"cert": ec.cert, "key": sealed, "sni": "a.com"}).to_string());
    soon("the other is refused", || last.rejection("ssls/2").is_some_and(|r| r["violations"][0]["path"] == "/key"));
}

#[test]
fn what_apisix_encrypted_is_read_and_sealed_by_the_next_write() {
    let (ec, _) = pairs();
    let dir = tempfile::tempdir().unwrap();
    let mut conf = Conf::new().keyring("[a-key-of-our-own-1, qeddd145sfvddff3, edd1c9f0985e76a2]");
    conf.store = Some(dir.path().join("store.redb"));
    let value = json!({"cert": ec.cert, "key": encrypt(&ec.key, u128::from_be_bytes(*b"edd1c9f0985e76a2")), "sni": "test.com"});
    put_raw(&dir.path().join("store.redb"), &[("/sluice/ssls/1".into(), value.to_string().into_bytes())]);
    let gateway = Gateway::start(conf);
    soon("it serves", || gateway.control("GET", "/v1/config/ssls/1").json()["state"] == "active");
    assert_eq!(gateway.control("GET", "/v1/config/ssls/1").json()["warnings"], json!([]));
    gateway.admin().must_put("ssls", "2", &value);
    assert_eq!(gateway.admin().call("PATCH", "/ssls/1", b"{}").status, 200);
    drop(gateway);
    let bytes = fs::read(dir.path().join("store.redb")).unwrap();
    assert!(String::from_utf8_lossy(&bytes).contains("sealed:v1:"));
}

#[test]
fn references_lead_to_the_environment_and_are_stored_as_they_are() {
    let (ec, _) = pairs();
    let secret = json!({"pem": ec.key}).to_string();
    let (cert, key) = (format!("SITE_CERT={}", ec.cert), format!("SITE={secret}"));
    let gateway = Gateway::start_under(&["env", &cert, &key], Conf::new());
    let value = json!({"cert": "$env://SITE_CERT", "key": "$ENV://SITE/pem", "sni": "test.com"});
    gateway.admin().must_put("ssls", "1", &value);
    soon("it serves", || gateway.control("GET", "/v1/config/ssls/1").json()["state"] == "active");
    assert_eq!(gateway.admin().get("/ssls/1").json()["value"]["cert"], "$env://SITE_CERT");
    assert_eq!(gateway.control_list("/v1/certificates").len(), 1);
    let unset = gateway.admin().put("ssls", "2", &json!({"cert": ec.cert, "key": "$env://NO_SUCH", "sni": "a.com"}));
    assert_eq!(unset.error_msg(), "invalid configuration: the environment variable NO_SUCH is not set");
    Traces::of(&[&ec]).absent_everywhere(&gateway);
}

#[test]
fn certificates_are_listed_and_their_end_is_a_metric_as_long_as_they_are_there() {
    let gateway = Gateway::start(Conf::new());
    let (ec, rsa) = pairs();
    let mut both = ssl(&ec);
    both["certs"] = json!([rsa.cert]);
    both["keys"] = json!([rsa.key]);
    gateway.put_live("ssls", "site", &both);
    let list = gateway.control_list("/v1/certificates");
    let kinds: Vec<&str> = list.iter().map(|c| c["key_type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["EC-256", "RSA-2048"]);
    let first = &list[0];
    assert_eq!((&first["id"], &first["pair"], &first["snis"]), (&json!("site"), &json!(0), &json!(["test.com"])));
    assert_eq!((&first["validity"], &first["state"], &first["type"]), (&json!("valid"), &json!("active"), &json!("server")));
    assert_eq!((&first["names"], &first["subject"]), (&json!(["test.com"]), &json!("CN=ec")));
    assert_eq!(first["issuer"], "CN=authority of a test");
    assert_eq!(first["fingerprint"].as_str().unwrap().len(), 64);
    let metric = || gateway.count("sluice_tls_certificate_not_after_timestamp_seconds", &[("cert", "site")]);
    let ends = metric();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(ends > now && ends <= now + 2 * 86400 + 60, "{ends} {now}");
    both["status"] = json!(0);
    gateway.put_live("ssls", "site", &both);
    assert_eq!(gateway.control_list("/v1/certificates")[0]["state"], "disabled");
    soon("what serves nobody has no metric", || !gateway.scrape().has("sluice_tls_certificate_not_after_timestamp_seconds", &[]));
    gateway.admin().must_delete("ssls", "site");
    soon("it is gone", || gateway.control_list("/v1/certificates").is_empty());
}

#[test]
fn the_seal_command_makes_text_that_a_gateway_with_the_same_keyring_opens() {
    let (ec, rsa) = pairs();
    let gateway = Gateway::start(Conf::new().tcp(ports::free()));
    let seal = |input: &str| {
        let config = gateway.dir().join("config.yaml");
        let mut child = Command::new(program())
            .args(["seal", "--config", config.to_str().unwrap()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, sealed, said) = seal(&ec.key);
    assert_eq!((code, said.as_str()), (0, ""));
    assert!(sealed.starts_with("sealed:v1:"));
    let (_, again, _) = seal(&sealed);
    assert!(again.starts_with("sealed:v1:") && again != sealed);
    for (id, key) in [("1", &sealed), ("2", &again)] {
        gateway.admin().must_put("ssls", id, &json!({"cert": ec.cert, "key": key.trim(), "sni": "test.com"}));
    }
    let mismatch = gateway.admin().put("ssls", "3", &json!({"cert": rsa.cert, "key": sealed.trim(), "sni": "test.com"}));
    assert_eq!(mismatch.status, 400);
    let (code, out, said) = seal(&ec.cert);
    assert_eq!((code, out.as_str(), said.as_str()), (1, "", "error: there is no private key in the PEM text\n"));
}
