//! Cases B, C, D and E: names and certificates on a listener with TLS, clients with certificates, and TLS towards nodes.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::authority::Authority;
use crate::support::conf::Conf;
use crate::support::gateway::{Gateway, upstream};
use crate::support::upstream::{self as servers, Server};
use crate::support::{client, ports, soon, tls, until};

struct Fixture {
    gateway: Gateway,
    authority: Authority,
    hello: Server,
    /// The listener with TLS.
    secure: SocketAddr,
    /// The plain one.
    plain: SocketAddr,
}

impl Fixture {
    fn new(conf: impl FnOnce(Conf) -> Conf) -> Self {
        let (secure, plain) = (ports::free(), ports::free());
        let conf = conf(Conf::new().tcp(format!("{{addr: {secure}, tls: true}}")).tcp(plain));
        let gateway = Gateway::start(conf);
        Self { gateway, authority: Authority::new(), hello: servers::hello(), secure: ports::local(secure), plain: ports::local(plain) }
    }

    fn node(&self, n: u8) -> String {
        format!("127.0.0.{n}:{}", self.hello.addr.port())
    }

    fn put(&self, kind: &str, id: &str, value: &Value) {
        self.gateway.put_live(kind, id, value);
    }

    /// A pair for names, put as an ssl object.
    fn ssl(&self, id: &str, names: &[&str]) -> (PathBuf, PathBuf) {
        let pair = self.authority.issue(id, &format!("DNS:{}", names[0].trim_end_matches('.')));
        self.put("ssls", id, &tls::ssl(&pair, names));
        pair
    }

    fn route(&self, id: &str, n: u8, fields: Value) {
        let mut route = fields;
        route["upstream"] = upstream(&[&self.node(n)]);
        self.put("stream_routes", id, &route);
    }

    /// Which node answers a client that asks for a name.
    fn via(&self, name: &str, config: rustls::ClientConfig) -> Option<u8> {
        let hits = |n: u8| self.hello.hits(&format!("127.0.0.{n}"));
        let before: Vec<u64> = (1..5).map(hits).collect();
        let said = tls::send(self.secure, name, config).ok()?;
        assert_eq!(said, b"hello world\n", "{name}");
        (1..5).find(|n| hits(*n) > before[usize::from(*n) - 1])
    }

    fn refused_with(&self, name: &str, config: rustls::ClientConfig, what: &str) {
        let error = tls::send(self.secure, name, config).expect_err(name).to_string();
        assert!(error.contains(what), "{name}: {error}");
    }
}

/// Whether a client gets nothing of a node. Its connection may be cut as early as the gateway knows that.
fn silent(to: SocketAddr) -> bool {
    !client::send(to).starts_with(b"hello")
}

fn nameless() -> rustls::ClientConfig {
    let mut config = tls::any();
    config.enable_sni = false;
    config
}

#[test]
fn names_choose_routes() {
    let f = Fixture::new(|conf| conf);
    f.ssl("1", &["*.test.com"]);
    f.route("1", 1, json!({"sni": "a.test.com"}));
    f.route("2", 2, json!({"sni": "*.test.com"}));
    f.route("3", 3, json!({}));
    assert_eq!(f.via("a.test.com", tls::any()), Some(1), "B01");
    assert_eq!(f.via("b.test.com", tls::any()), Some(2), "B03");
    f.route("1", 1, json!({"sni": "a.test.com", "remote_addr": "127.0.0.2"}));
    assert_eq!(f.via("a.test.com", tls::any()), Some(2), "B04: the wildcard takes what the exact name does not");
    f.route("4", 4, json!({"sni": "a.test.com", "remote_addr": "127.0.0.1"}));
    assert_eq!(f.via("a.test.com", tls::any()), Some(4), "B05");
    f.ssl("any", &["*"]);
    f.route("5", 1, json!({"sni": "unknown-domain.com"}));
    assert_eq!(f.via("unknown-domain.com", tls::any()), Some(1), "B09");
    assert_eq!(f.via("other-domain.com", tls::any()), Some(3), "B10: the route without a name");
    f.route("101", 1, json!({"sni": "*.api7.dev"}));
    f.route("102", 2, json!({"sni": "*"}));
    assert_eq!(f.via("specific.api7.dev", tls::any()), Some(1), "B11");
    assert_eq!(f.via("elsewhere.org", tls::any()), Some(2), "B12");
}

#[test]
fn a_client_without_a_name_gets_that_of_the_fallback() {
    let f = Fixture::new(|conf| conf.fallback_sni("A.test.com."));
    f.ssl("1", &["*.test.com"]);
    f.route("1", 1, json!({"sni": "a.test.com"}));
    f.route("3", 3, json!({}));
    assert_eq!(f.via("x", nameless()), Some(1), "B07");
    assert_eq!(f.via("b.test.com", tls::any()), Some(3), "a name that is given is not replaced");
}

#[test]
fn a_name_without_a_certificate_and_a_name_without_a_route_get_an_alert() {
    let f = Fixture::new(|conf| conf);
    f.ssl("1", &["test.com", "*.Wild.com."]);
    f.route("1", 1, json!({"sni": "test.com"}));
    assert_eq!(f.via("test.com", tls::any()), Some(1), "C01");
    f.refused_with("www.test.com", tls::any(), "UnrecognisedName");
    f.route("1", 1, json!({}));
    f.refused_with("www.test.com", tls::any(), "UnrecognisedName");
    f.refused_with("x", nameless(), "UnrecognisedName");
    assert_eq!(f.via("a.wild.com", tls::any()), Some(1), "C21, C25");
    f.refused_with("a.b.wild.com", tls::any(), "UnrecognisedName");
    soon("counted", || f.gateway.closed_for("1", "sni_no_match") == 3 && f.gateway.closed_for("", "no_route") == 1);
    let failures = |reason| f.gateway.count("sluice_tls_handshake_failures_total", &[("listener", "conf-tcp-0"), ("reason", reason)]);
    assert_eq!(failures("no_certificate"), 3);
}

#[test]
fn each_name_gets_its_own_certificate_until_that_is_disabled() {
    let f = Fixture::new(|conf| conf);
    f.route("1", 1, json!({}));
    let names = ["www.test.com", "*.test2.com", "apisix.dev"];
    let pairs: Vec<_> = names.iter().zip(["1", "2", "3"]).map(|(name, id)| f.ssl(id, &[name])).collect();
    for (name, (cert, _)) in ["www.test.com", "www.test2.com", "apisix.dev"].iter().zip(&pairs) {
        let stream = tls::connect(f.secure, name, tls::trusting(&f.authority.cert())).unwrap_or_else(|e| panic!("C29 {name}: {e}"));
        let shown = stream.conn.peer_certificates().unwrap()[0].clone();
        let own: rustls::pki_types::CertificateDer<'_> = rustls::pki_types::pem::PemObject::from_pem_file(cert).unwrap();
        assert_eq!(shown, own, "C29 {name}");
    }
    let patched = f.gateway.admin().call("PATCH", "/ssls/2", br#"{"status": 0}"#);
    assert!(patched.ok(), "{}", patched.text());
    soon("C11: aborted", || !tls::served(f.secure, "www.test2.com"));
    assert!(tls::served(f.secure, "www.test.com"), "C11: others are unaffected");
    f.gateway.admin().must_delete("ssls", "1");
    soon("a deleted one is gone", || !tls::served(f.secure, "www.test.com"));
}

#[test]
fn rsa_and_ecdsa_stand_side_by_side_and_versions_are_held_to() {
    let f = Fixture::new(|conf| conf);
    f.route("1", 1, json!({}));
    let (rsa, ecdsa) = (f.authority.issue_rsa("rsa", "DNS:both.test"), f.authority.issue("ecdsa", "DNS:both.test"));
    let mut both = tls::ssl(&rsa, &["both.test"]);
    both["certs"] = json!([tls::text(&ecdsa.0)]);
    both["keys"] = json!([tls::text(&ecdsa.1)]);
    f.put("ssls", "1", &both);
    let shown = |kind: &str| {
        let to = f.secure.to_string();
        let args = ["s_client", "-connect", &to, "-servername", "both.test", "-tls1_2", "-cipher", kind];
        let out = std::process::Command::new("openssl").args(args).stdin(std::process::Stdio::null()).output().unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    assert!(shown("ECDHE-RSA-AES128-GCM-SHA256").contains("CN = rsa"), "C17");
    assert!(shown("ECDHE-ECDSA-AES128-GCM-SHA256").contains("CN = ecdsa"), "C18");
    both["ssl_protocols"] = json!(["TLSv1.3"]);
    f.put("ssls", "1", &both);
    assert!(!shown("ECDHE-RSA-AES128-GCM-SHA256").contains("CN ="), "TLS 1.2 is refused");
    assert!(tls::served(f.secure, "both.test"), "TLS 1.3 is not");
}

/// What the commands of APISIX's page on mutual TLS make.
#[test]
fn certificates_of_version_1_are_shown_and_vouch_for_others() {
    let f = Fixture::new(|conf| conf);
    f.route("1", 1, json!({}));
    let plain = f.authority.issue_plain("plain.test");
    f.put("ssls", "1", &tls::ssl(&plain, &["plain.test"]));
    let asks = |name: &str, more: &[&Path; 3]| {
        let mut openssl = std::process::Command::new("openssl");
        openssl.args(["s_client", "-connect", &f.secure.to_string(), "-servername", name, "-verify_return_error", "-CAfile"]).arg(more[0]);
        openssl.arg("-cert").arg(more[1]).arg("-key").arg(more[2]);
        String::from_utf8_lossy(&openssl.stdin(std::process::Stdio::null()).output().unwrap().stdout).into_owned()
    };
    let ca = f.authority.cert();
    let out = asks("plain.test", &[&ca, &plain.0, &plain.1]);
    assert!(out.contains("CN = plain.test") && out.contains("Verify return code: 0 (ok)"), "{out}");
    let mut other = tls::ssl(&plain, &["plain.test"]);
    other["key"] = json!(tls::text(&f.authority.issue_plain("other.test").1));
    let refused = f.gateway.admin().put("ssls", "2", &other);
    assert_eq!((refused.status, refused.error_msg().as_str()), (400, "invalid configuration: the key is not that of the certificate"));
    f.put("ssls", "mine", &json!({"type": "client", "cert": tls::text(&plain.0), "key": tls::text(&plain.1)}));

    let old = Authority::plain();
    let mut guarded = tls::ssl(&f.authority.issue("guarded", "DNS:guarded.test"), &["guarded.test"]);
    guarded["client"] = json!({"ca": tls::text(&old.cert())});
    f.put("ssls", "3", &guarded);
    assert_eq!(f.via("guarded.test", tls::with(&old.issue("client", "DNS:client"))), Some(1));
    let client = old.issue_plain("client");
    asks("guarded.test", &[&ca, &client.0, &client.1]);
    let failures = |reason| f.gateway.count("sluice_tls_handshake_failures_total", &[("reason", reason)]);
    soon("counted", || failures("peer_certificate_refused") == 1);
}

#[test]
fn a_client_without_the_wanted_certificate_never_reaches_the_node() {
    let f = Fixture::new(|conf| conf);
    f.route("1", 1, json!({}));
    let pair = f.authority.issue("localhost", "DNS:localhost");
    let mut ssl = tls::ssl(&pair, &["localhost"]);
    ssl["client"] = json!({"ca": tls::text(&f.authority.cert()), "depth": 2});
    f.put("ssls", "1", &ssl);
    f.ssl("open", &["open.test"]);
    let other = Authority::new();
    let (own, stranger) = (f.authority.issue("client", "DNS:client"), other.issue("client", "DNS:client"));
    assert_eq!(f.via("localhost", tls::with(&own)), Some(1), "D01");
    let before = f.hello.connections();
    f.refused_with("localhost", tls::any(), "CertificateRequired");
    f.refused_with("localhost", tls::with(&stranger), "received fatal alert");
    assert_eq!(f.hello.connections(), before, "D02, D03: nothing reached the node");
    soon("counted", || f.gateway.closed_for("1", "tls_handshake") == 2);
    let failures = |reason| f.gateway.count("sluice_tls_handshake_failures_total", &[("reason", reason)]);
    assert_eq!((failures("peer_certificate_missing"), failures("peer_certificate_refused")), (1, 1));

    // a session of the open name is no key to the guarded one
    let shared = std::sync::Arc::new(tls::any());
    for _ in 0..2 {
        let mut stream = tls::connect_shared(f.secure, "open.test", &shared).unwrap();
        stream.write_all(b"mmm").unwrap();
        assert_eq!(tls::read_all(&mut stream).unwrap(), b"hello world\n");
    }
    assert!(f.gateway.count("sluice_tls_handshakes_total", &[("resumed", "true")]) >= 1, "the second one was resumed");
    let mut stream = tls::connect_shared(f.secure, "localhost", &shared).unwrap();
    let refused = stream.write_all(b"mmm").and_then(|()| stream.read(&mut [0; 16]));
    assert!(refused.is_err(), "{refused:?}");
}

#[test]
fn a_revoked_client_is_refused_from_the_edit_that_tells_of_it_until_the_one_that_takes_it_back() {
    let f = Fixture::new(|conf| conf);
    f.route("1", 1, json!({}));
    let pair = f.authority.issue("localhost", "DNS:localhost");
    let (good, lost) = (f.authority.issue("good", "DNS:good"), f.authority.issue("lost", "DNS:lost"));
    let (nobody, one) = (f.authority.revoked("none.crl", &[]), f.authority.revoked("one.crl", &[&lost.0]));
    let with_list = |list: Option<&Path>| {
        let mut ssl = tls::ssl(&pair, &["localhost"]);
        ssl["client"] = json!({"ca": tls::text(&f.authority.cert())});
        if let Some(list) = list {
            ssl["client"]["crl"] = tls::text(list).into();
        }
        f.put("ssls", "1", &ssl);
    };
    for list in [None, Some(nobody.as_path())] {
        with_list(list);
        assert_eq!((f.via("localhost", tls::with(&good)), f.via("localhost", tls::with(&lost))), (Some(1), Some(1)), "{list:?}");
    }
    // a ticket from before is no way around the list
    let before = std::sync::Arc::new(tls::with(&lost));
    let try_again = || {
        let mut stream = tls::connect_shared(f.secure, "localhost", &before)?;
        stream.write_all(b"mmm")?;
        tls::read_all(&mut stream)
    };
    assert_eq!(try_again().unwrap(), b"hello world\n");

    with_list(Some(&one));
    let connections = f.hello.connections();
    f.refused_with("localhost", tls::with(&lost), "CertificateRevoked");
    assert!(try_again().is_err(), "nor with a ticket");
    assert_eq!(f.hello.connections(), connections, "nothing reached the node");
    assert_eq!(f.via("localhost", tls::with(&good)), Some(1), "the others are served");
    soon("counted", || f.gateway.count("sluice_tls_handshake_failures_total", &[("reason", "peer_certificate_refused")]) == 2);

    // a list of another authority says nothing about ours: nobody of whom it is not known is let in
    let other = Authority::new();
    with_list(Some(&other.revoked("other.crl", &[])));
    f.refused_with("localhost", tls::with(&good), "received fatal alert");

    with_list(Some(&nobody));
    assert_eq!(f.via("localhost", tls::with(&lost)), Some(1), "taken back");

    let mut ssl = tls::ssl(&pair, &["localhost"]);
    ssl["client"] = json!({"ca": tls::text(&f.authority.cert()), "crl": tls::text(&f.authority.revoked_v1("old.crl", &[&lost.0]))});
    let refused = f.gateway.admin().put("ssls", "1", &ssl);
    assert_eq!((refused.status, refused.json()["violations"][0]["path"].as_str()), (400, Some("/client/crl")));
    assert!(refused.text().contains("a revocation list is of version 1"), "{}", refused.text());
}

#[test]
fn tls_passes_through_on_the_port_where_other_names_are_terminated() {
    let f = Fixture::new(|conf| conf);
    f.ssl("1", &["a.test.com"]);
    f.route("1", 1, json!({"sni": "a.test.com"}));
    let behind = tls::server(&f.authority.issue("behind", "DNS:b.test.com"), None);
    let through = json!({"sni": "b.test.com", "tls_passthrough": true, "upstream": upstream(&[&behind.node()])});
    f.put("stream_routes", "2", &through);
    assert_eq!(tls::send(f.secure, "b.test.com", tls::trusting(&f.authority.cert())).unwrap(), b"hello b.test.com\n");
    assert_eq!(f.via("a.test.com", tls::any()), Some(1));
    // the bytes of the client are all there, hello included, and nothing was ended here
    soon("logged", || {
        f.gateway.access_log().iter().any(|line| line["route"] == "2" && line["sni"] == "b.test.com" && line["tls_version"].is_null())
    });
    let line = until(Duration::from_secs(15), "logged", || f.gateway.access_log().into_iter().find(|line| line["route"] == "1"));
    assert_eq!((line["sni"].as_str(), line["tls_version"].as_str()), (Some("a.test.com"), Some("TLSv1.3")), "{line}");
    assert!(line["tls_cipher"].as_str().unwrap().starts_with("TLS_"), "{line}");
    assert_eq!((line["rx_bytes"].as_u64(), line["tx_bytes"].as_u64()), (Some(3), Some(12)), "plaintext is counted: {line}");
    let mut double = through;
    double["upstream"]["scheme"] = json!("tls");
    f.put("stream_routes", "2", &double);
    assert!(tls::send(f.secure, "b.test.com", tls::any()).is_err(), "TLS in TLS is none");
}

#[test]
fn what_is_no_tls_is_passed_through_too_and_ended_nowhere() {
    let f = Fixture::new(|conf| conf.fallback_sni("a.test.com"));
    let through = json!({"tls_passthrough": true, "upstream": upstream(&[&f.node(1)])});
    f.put("stream_routes", "through", &through);
    assert_eq!(client::send(f.secure), b"hello world\n", "f.6: without a name, by routes without one; a fallback is for hellos");
    assert_eq!(f.hello.hits("127.0.0.1"), 1);
    // a better route that ends TLS takes it, and has nothing to end
    f.route("ends", 2, json!({"order": -1, "limit": {"policy": "fixed_window", "permit_limit": 1}}));
    for _ in 0..2 {
        assert!(silent(f.secure));
    }
    soon("counted", || f.gateway.count("sluice_tls_handshake_failures_total", &[("reason", "not_tls")]) == 2);
    assert_eq!(f.hello.hits("127.0.0.2"), 0);
    assert_eq!(f.gateway.closed_for("ends", "tls_handshake"), 0, "it is no session of the route, and took no permit of it");
    f.ssl("1", &["a.test.com"]);
    assert_eq!(f.via("a.test.com", tls::any()), Some(2), "the permit is still there");
}

#[test]
fn the_words_of_http_are_plain_bytes_for_sessions() {
    let f = Fixture::new(|conf| conf);
    let mut up = upstream(&[&f.node(1)]);
    for scheme in ["http", "https", "grpc", "grpcs", "kafka", "tcp", "udp"] {
        up["scheme"] = json!(scheme);
        f.put("stream_routes", "1", &json!({"upstream": up}));
        assert_eq!(client::send(f.plain), b"hello world\n", "e.1, L51: {scheme}");
    }
    let behind = tls::server(&f.authority.issue("behind", "DNS:b.test.com"), None);
    let mut up = upstream(&[&behind.node()]);
    up["scheme"] = json!("https");
    f.put("stream_routes", "1", &json!({"tls_passthrough": true, "upstream": up}));
    assert_eq!(tls::send(f.secure, "b.test.com", tls::trusting(&f.authority.cert())).unwrap(), b"hello b.test.com\n");
}

#[test]
fn nodes_are_spoken_to_with_tls() {
    let f = Fixture::new(|conf| conf);
    let behind = tls::server(&Authority::new().issue("behind", "DNS:elsewhere"), None);
    let mut up = upstream(&[&behind.node()]);
    up["scheme"] = json!("tls");
    f.put("stream_routes", "1", &json!({"upstream": up}));
    assert_eq!(client::send(f.plain), b"hello apisix_backend\n", "E01, E07");
    f.ssl("1", &["a.test.com"]);
    assert_eq!(tls::send(f.secure, "a.test.com", tls::any()).unwrap(), b"hello a.test.com\n", "E02");
    up["tls"] = json!({"sni": "own.name"});
    f.put("stream_routes", "1", &json!({"upstream": up}));
    assert_eq!(client::send(f.plain), b"hello own.name\n");
    up["tls"] = json!({"verify": true});
    f.put("stream_routes", "1", &json!({"upstream": up}));
    assert!(silent(f.plain), "nobody vouches for it");
    soon("counted", || f.gateway.closed_for("1", "upstream_tls") == 1);
}

#[test]
fn a_node_that_does_not_speak_tls_gives_way_to_the_next() {
    let f = Fixture::new(|conf| conf);
    let behind = tls::server(&f.authority.issue("behind", "DNS:node.test"), None);
    // one says hello in clear, one cannot be reached
    let mut up = upstream(&[&f.node(1), &format!("127.0.0.1:{}", ports::free()), &behind.node()]);
    up["scheme"] = json!("tls");
    f.put("stream_routes", "1", &json!({"upstream": up}));
    for _ in 0..6 {
        assert_eq!(client::send(f.plain), b"hello apisix_backend\n", "e.5");
    }
    let failures = |reason: &str| f.gateway.count("sluice_upstream_connect_failures_total", &[("route", "1"), ("reason", reason)]);
    assert!(failures("upstream_tls") > 0 && failures("upstream_refused") > 0);
    soon("counted", || f.gateway.closed_for("1", "ok") == 6);
    // no more tries than are allowed
    up["retries"] = json!(0);
    up["nodes"] = json!([
        {"host": "127.0.0.1", "port": f.hello.addr.port(), "weight": 1, "priority": 1},
        {"host": "127.0.0.1", "port": behind.addr.port(), "weight": 1},
    ]);
    f.put("stream_routes", "1", &json!({"upstream": up}));
    assert!(silent(f.plain));
    soon("counted", || f.gateway.closed_for("1", "upstream_tls") == 1);
    up["retries"] = json!(1);
    f.put("stream_routes", "1", &json!({"upstream": up}));
    assert_eq!(client::send(f.plain), b"hello apisix_backend\n", "to the lower priority");
}

#[test]
fn a_verified_node_has_a_certificate_of_the_authority_for_its_name() {
    let f = Fixture::new(|conf| conf);
    let behind = tls::server(&f.authority.issue("behind", "DNS:node.test,IP:127.0.0.1"), None);
    let mut up = upstream(&[&behind.node()]);
    up["scheme"] = json!("tls");
    up["tls"] = json!({"verify": true, "ca": tls::text(&f.authority.cert())});
    f.put("stream_routes", "1", &json!({"upstream": up}));
    assert_eq!(client::send(f.plain), b"hello nobody\n", "the node's address is verified, and an address is no name to ask for");
    up["tls"]["sni"] = json!("node.test");
    f.put("stream_routes", "1", &json!({"upstream": up}));
    assert_eq!(client::send(f.plain), b"hello node.test\n");
    up["tls"]["sni"] = json!("other.test");
    f.put("stream_routes", "1", &json!({"upstream": up}));
    assert!(silent(f.plain));
}

#[test]
fn nodes_that_want_a_certificate_get_ours_inline_or_by_id() {
    let f = Fixture::new(|conf| conf);
    let behind = tls::server(&f.authority.issue("behind", "DNS:behind"), Some(&f.authority.cert()));
    let own = f.authority.issue("own", "DNS:own");
    let mut up = upstream(&[&behind.node()]);
    up["scheme"] = json!("tls");
    f.put("stream_routes", "1", &json!({"upstream": up}));
    assert!(silent(f.plain), "E04: without one");
    up["tls"] = json!({"client_cert": tls::text(&own.0), "client_key": tls::text(&own.1)});
    f.put("stream_routes", "1", &json!({"upstream": up}));
    assert_eq!(client::send(f.plain), b"hello apisix_backend\n", "E03");

    let ssl = json!({"type": "client", "cert": tls::text(&own.0), "key": tls::text(&own.1)});
    f.put("ssls", "mine", &ssl);
    up["tls"] = json!({"client_cert_id": "mine"});
    f.put("upstreams", "u", &up);
    f.put("stream_routes", "1", &json!({"upstream_id": "u"}));
    assert_eq!(client::send(f.plain), b"hello apisix_backend\n", "E05");
    let other = Authority::new();
    let stranger = other.issue("own", "DNS:own");
    f.put("ssls", "mine", &json!({"type": "client", "cert": tls::text(&stranger.0), "key": tls::text(&stranger.1)}));
    assert!(silent(f.plain), "E06: a change of the certificate is used without a change of the upstream");
    f.put("ssls", "mine", &ssl);
    assert_eq!(client::send(f.plain), b"hello apisix_backend\n");
}

#[test]
fn bytes_and_ends_cross_tls_on_either_side_whole() {
    let f = Fixture::new(|conf| conf);
    f.ssl("1", &["a.test.com"]);
    let size = 24 * 1024 * 1024;
    let (echo, after) = (servers::echo(), servers::answers_after_fin(size));
    f.put("stream_routes", "1", &json!({"upstream": upstream(&[&after.node()])}));
    let mut stream = tls::connect(f.secure, "a.test.com", tls::any()).unwrap();
    stream.write_all(&servers::pattern(100_000)).unwrap();
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    let got = tls::read_all(&mut stream).unwrap();
    assert!(got == servers::pattern(size), "{} bytes after a half-close", got.len());
    assert_eq!(after.received(), 100_000);

    // a gateway in front of itself: TLS on both sides of the first, on one of the second
    let mut up = upstream(&[&f.secure.to_string()]);
    up["scheme"] = json!("tls");
    up["tls"] = json!({"sni": "a.test.com"});
    f.put("stream_routes", "1", &json!({"sni": "a.test.com", "upstream": upstream(&[&echo.node()])}));
    f.put("stream_routes", "2", &json!({"sni": "b.test.com", "upstream": up}));
    f.ssl("2", &["b.test.com"]);
    let mut stream = tls::connect(f.secure, "b.test.com", tls::any()).unwrap();
    for size in [1, 100, 16_384, 16_385, 70_000, 300_000] {
        let sent = servers::pattern(size);
        stream.write_all(&sent).unwrap();
        let mut back = vec![0; size];
        stream.read_exact(&mut back).unwrap();
        assert!(back == sent, "{size} bytes");
    }
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    assert_eq!(tls::read_all(&mut stream).unwrap(), b"");
    stream.sock.shutdown(Shutdown::Both).unwrap();
    soon("all ended well", || f.gateway.closed_for("2", "ok") == 1 && f.gateway.closed_for("1", "ok") == 2);
}
