//! From text to resources and notes, by tables: every field of the reference.

use std::io;
use std::path::Path;

use serde_json::{Value, json};

use super::{Imported, vkproxy};

/// The only files there are.
fn files(path: &Path) -> io::Result<String> {
    let block = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
    match path.to_str() {
        Some("a.pem") => Ok(block("CERTIFICATE")),
        Some("a.key") => Ok(block("PRIVATE KEY")),
        Some("locked.key") => Ok(block("ENCRYPTED PRIVATE KEY")),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    }
}

fn read(config: &Value) -> Imported {
    vkproxy(&json!({ "ReverseProxy": config }).to_string(), &files).unwrap_or_else(|e| panic!("{config}: {e}"))
}

fn notes(imported: &Imported) -> Vec<String> {
    imported.notes.iter().map(|note| note.to_string().replace("/ReverseProxy", "")).collect()
}

/// The objects of a kind, and the beginnings of notes that there must be; `…` ends each.
fn same(config: &Value, kind: &str, expected: &Value, says: &[&str]) {
    let imported = read(config);
    let found = imported.document["put"].get(kind).cloned().unwrap_or_else(|| json!([]));
    let told = notes(&imported);
    assert_eq!(&found, expected, "{config}\n{told:#?}");
    assert_eq!(told.len(), says.len(), "{config}\n{told:#?}");
    for (note, begin) in told.iter().zip(says) {
        assert!(note.starts_with(begin), "{config}\n{note}\nshould begin with\n{begin}");
    }
}

/// With a cluster that is there, so that it causes no note.
fn route(fields: &Value) -> Value {
    let mut route = json!({ "ClusterId": "c", "Match": { "Hosts": ["*"], "Paths": ["*"] } });
    route.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    json!({ "Routes": { "r": route }, "Clusters": { "c": {} } })
}

fn http(fields: &Value) -> Value {
    let mut all = json!({ "id": "r", "match": { "hosts": ["*"], "paths": ["*"] }, "upstream_id": "c" });
    all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    json!([all])
}

#[test]
fn the_example_of_the_routes_page_becomes_a_stream_route() {
    let text = r#"{
      "ReverseProxy": {
        "Routes": {
            // Routes id : tcpTestRoute
          "tcpTestRoute": {
            "ClusterId": "tcpTestCluster",  // tcp 目的地址 id
            "Timeout": "00:00:11"  // 超时时间 11 秒, 
          }
        }
      }
    }"#;
    let imported = vkproxy(text, &files).unwrap();
    assert_eq!(
        imported.document["put"],
        json!({
            "upstreams": [{ "id": "tcpTestCluster", "nodes": [] }],
            "stream_routes": [{ "id": "tcpTestRoute", "status": 0, "upstream_id": "tcpTestCluster", "timeout": "00:00:11" }],
        })
    );
    assert!(!imported.has_losses(), "{:?}", imported.notes);
}

#[test]
fn a_tcp_listener_comes_with_its_route_and_its_cluster() {
    let config = json!({
        "Listen": { "tcp": { "Protocols": "TCP", "Address": ["127.0.0.1:5100"], "RouteId": "TCPTESTROUTE" } },
        "Routes": { "tcpTestRoute": { "ClusterId": "TcpTestCluster", "Metadata": { "owner": "me" } } },
        "Clusters": { "tcpTestCluster": { "LoadBalancingPolicy": "roundrobin", "Destinations": [{ "Address": "127.0.0.1:1" }, { "Address": "http://[::1]:2" }] } },
    });
    let imported = read(&config);
    assert_eq!(notes(&imported), Vec::<String>::new());
    assert_eq!(
        imported.document["put"],
        json!({
            "upstreams": [{ "id": "tcpTestCluster", "type": "roundrobin", "nodes": [
                { "host": "127.0.0.1", "port": 1, "weight": 1 }, { "host": "[::1]", "port": 2, "weight": 1 }
            ] }],
            "stream_routes": [{
                "id": "tcpTestRoute", "protocol": "tcp", "server_addr": "127.0.0.1", "server_port": 5100, "upstream_id": "tcpTestCluster",
                "metadata": { "owner": "me" }
            }],
            "listeners": [{ "id": "tcp", "protocol": "tcp", "addr": "127.0.0.1:5100", "stream_route_id": "tcpTestRoute" }],
        })
    );
}

#[test]
fn every_field_of_a_listener_is_carried_over_or_named() {
    let at = |fields: Value| {
        let mut listen = json!({ "Address": ["0.0.0.0:80"] });
        listen.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!({ "Listen": { "l": listen } })
    };
    let one = |fields: Value| {
        let mut listener = json!({ "id": "l", "protocol": "http", "addr": "0.0.0.0:80" });
        listener.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!([listener])
    };
    let plain = || one(json!({ "http": { "versions": ["h1"] } }));
    let rows: [(Value, Value, &[&str]); 16] = [
        (json!({}), plain(), &[]),
        (json!({ "Protocols": ["HTTP1"], "x": 1 }), plain(), &["not carried over: /Listen/l/x: unknown"]),
        (json!({ "Protocols": "http1,http2", "UseSni": "True" }), one(json!({ "tls": true, "http": { "versions": ["h1", "h2"] } })), &[]),
        (json!({ "Protocols": ["HTTP1", "HTTP2"] }), plain(), &["differs: /Listen/l/Protocols: without UseSni"]),
        (json!({ "Protocols": 8 }), one(json!({ "http": { "versions": ["h2"] } })), &[]),
        (
            json!({ "Protocols": ["HTTP1", "HTTP3"], "UseSni": true, "SniId": "no" }),
            one(json!({ "tls": true, "http": { "versions": ["h1"] } })),
            &["differs: /Listen/l/SniId", "not carried over: /Listen/l/Protocols: HTTP/3"],
        ),
        (
            json!({ "Protocols": "HTTP3" }),
            json!([]),
            &["not carried over: /Listen/l/Protocols: HTTP/3", "not carried over: /Listen/l/Protocols: nothing"],
        ),
        (json!({ "Protocols": ["TCP", "HTTP1"] }), json!([]), &["not carried over: /Listen/l/Protocols: TCP, UDP and HTTP"]),
        (json!({ "Protocols": "QUIC" }), json!([]), &["not carried over: /Listen/l/Protocols/: QUIC"]),
        (json!({ "Protocols": "TCP" }), json!([]), &["not carried over: /Listen/l: a listener of TCP"]),
        (json!({ "Protocols": "UDP", "RouteId": "no" }), json!([]), &["not carried over: /Listen/l/RouteId: there is no such route"]),
        (json!({ "RouteId": "no" }), plain(), &["differs: /Listen/l/RouteId: there is no such route"]),
        (
            json!({ "Address": ["*:80"] }),
            json!([]),
            &["not carried over: /Listen/l/Address/0: *:80 is no IP", "not carried over: /Listen/l/Address: no address"],
        ),
        (
            json!({ "Address": ["127.0.0.1:1", "http://unix:/x", "[::1]:2", "127.0.0.1:1"] }),
            one(json!({ "addr": ["127.0.0.1:1", "[::1]:2"], "http": { "versions": ["h1"] } })),
            &["not carried over: /Listen/l/Address/1: http://unix:/x is no TCP"],
        ),
        (json!({ "Protocols": "TCP", "UseSni": true }), one(json!({ "protocol": "tcp", "tls": true })), &[]),
        (json!({ "UseSni": "x" }), plain(), &["not carried over: /Listen/l/UseSni: x is neither"]),
    ];
    for (fields, expected, says) in rows {
        let says: Vec<String> = says.iter().map(|s| s.replace("Protocols/:", "Protocols:")).collect();
        same(&at(fields), "listeners", &expected, &says.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

#[test]
fn every_field_of_a_route_is_carried_over_or_named() {
    let rows: [(Value, Value, &[&str]); 15] = [
        (json!({ "Order": -5 }), http(&json!({ "order": -5 })), &[]),
        (json!({ "Order": "7", "Timeout": "1.00:00:01" }), http(&json!({ "order": 7, "timeout": "24:00:01" })), &[]),
        (json!({ "Timeout": "5" }), http(&json!({})), &["not carried over: /Routes/r/Timeout: 5 is not a TimeSpan"]),
        (
            json!({ "Transforms": [{ "PathPrefix": "/p" }, { "requestheader": "h", "Set": "" }] }),
            http(&json!({ "transforms": [{ "PathPrefix": "/p" }, { "requestheader": "h", "Set": "" }] })),
            &[],
        ),
        (
            json!({ "Transforms": [{ "Foo": "1" }, { "RequestHeader": "h", "Set": "a", "Append": "b" }, { "HttpMethodChange": "PUT" }, { "PathSet": "/x", "y": 1 }, { "QueryRouteParameter": "q", "Set": "x" }] }),
            http(&json!({ "transforms": [{ "RequestHeader": "h", "Set": "a" }, { "PathSet": "/x" }] })),
            &[
                "not carried over: /Routes/r/Transforms/0: no known",
                "differs: /Routes/r/Transforms/1/Append: beside Set",
                "not carried over: /Routes/r/Transforms/2: HttpMethodChange without",
                "not carried over: /Routes/r/Transforms/3/y: does not belong",
                "not carried over: /Routes/r/Transforms/4: there are no route values",
            ],
        ),
        (
            json!({ "Transforms": [
                { "ResponseTrailersCopy": "Header1;header2" }, { "RequestHeadersCopy": "true" }, { "RequestHeadersAllowed": "a; Connection" },
                { "ResponseHeadersAllowed": "Connection" }, { "ResponseHeader": "h", "Set": "v", "When": "Sometimes" }, { "RequestHeader": "b d", "Set": "v" },
            ] }),
            http(&json!({ "transforms": [
                { "RequestHeadersAllowed": "a" }, { "ResponseHeadersCopy": "false" }, { "ResponseHeader": "h", "Set": "v" },
            ] })),
            &[
                "not carried over: /Routes/r/Transforms/0: ResponseTrailersCopy is true or false",
                "not carried over: /Routes/r/Transforms/2: connection frames",
                "differs: /Routes/r/Transforms/1: contradicts RequestHeadersAllowed",
                "not carried over: /Routes/r/Transforms/3: connection frames",
                "differs: /Routes/r/Transforms/4: Sometimes is no When",
                "not carried over: /Routes/r/Transforms/5: b d is no name",
            ],
        ),
        (json!({ "Metadata": { "a": "b" } }), http(&json!({ "metadata": { "a": "b" } })), &[]),
        (
            json!({ "Metadata": { "JwtSigningKey": "k", "OnlyHttps": "true", "Prometheus": "false" } }),
            http(&json!({ "metadata": { "JwtSigningKey": "k", "OnlyHttps": "true", "Prometheus": "false" }, "status": 0 })),
            &["not carried over: /Routes/r/Metadata/JwtSigningKey: the check of tokens", "not carried over: /Routes/r/Metadata/OnlyHttps"],
        ),
        (
            json!({ "Match": { "Hosts": ["localhost:5001"], "Paths": ["/a*"], "Methods": ["get"] } }),
            http(
                &json!({ "match": { "hosts": ["localhost:5001", "127.0.0.1:5001", "[::1]:5001"], "paths": ["/a*"], "methods": ["get"] } }),
            ),
            &[],
        ),
        (json!({ "Match": { "Hosts": ["*"] } }), json!([]), &["not carried over: /Routes/r/Match: without Hosts"]),
        (
            json!({ "Match": { "Hosts": ["ü.de"], "Paths": ["*"] } }),
            json!([]),
            &["not carried over: /Routes/r/Match/Hosts/0", "not carried over: /Routes/r/Match: without"],
        ),
        (
            json!({ "Match": { "Hosts": ["*"], "Paths": ["*"], "Methods": ["A B"] } }),
            json!([]),
            &["not carried over: /Routes/r/Match/Methods/0", "not carried over: /Routes/r/Match/Methods: no method"],
        ),
        (
            json!({ "Match": { "Hosts": ["*"], "Paths": ["*"], "Statement": "Method = 'GET' or Method = 'POST' and IsHttps = true" } }),
            http(
                &json!({ "match": { "hosts": ["*"], "paths": ["*"], "statement": "(Method = 'GET' or Method = 'POST') and IsHttps = true" } }),
            ),
            &[],
        ),
        (
            json!({ "Match": { "Hosts": ["*"], "Paths": ["*"], "Statement": "Request.Method == 'GET'" } }),
            json!([]),
            &["not carried over: /Routes/r/Match/Statement: line 1"],
        ),
        (
            json!({ "Match": { "Hosts": ["*"], "Paths": ["*"], "Statement": "30 < ContentLength" } }),
            http(&json!({ "match": { "hosts": ["*"], "paths": ["*"], "statement": "30 < ContentLength" } })),
            &["differs: /Routes/r/Match/Statement: a value before"],
        ),
    ];
    for (fields, expected, says) in rows {
        same(&route(&fields), "routes", &expected, says);
    }
}

#[test]
fn every_field_of_a_limit_is_carried_over_or_named() {
    let rows: [(Value, Value, &[&str]); 8] = [
        (json!({ "Policy": "Concurrency", "PermitLimit": 10 }), json!({ "policy": "concurrency", "permit_limit": 10 }), &[]),
        (
            json!({ "By": "Key", "Header": "X", "Cookie": "s", "Policy": "tokenbucket", "PermitLimit": 5, "QueueLimit": 2, "Window": "00:00:10", "TokensPerPeriod": 2 }),
            json!({ "policy": "token_bucket", "by": "key", "header": "X", "cookie": "s", "permit_limit": 5, "queue_limit": 2, "tokens_per_period": 2, "window": "00:00:10" }),
            &[],
        ),
        (
            json!({ "By": "Total", "Policy": "SlidingWindow", "PermitLimit": 1, "SegmentsPerWindow": 3 }),
            json!({ "policy": "sliding_window", "permit_limit": 1, "segments_per_window": 3 }),
            &[],
        ),
        (
            json!({ "By": "Key", "Policy": "FixedWindow", "PermitLimit": 1 }),
            json!({ "policy": "fixed_window", "by": "key", "permit_limit": 1 }),
            &["differs: /Routes/r/Limit/By: neither Header"],
        ),
        (
            json!({ "By": "RedisConcurrency", "Policy": "FixedWindow", "PermitLimit": 1 }),
            json!({ "policy": "fixed_window", "permit_limit": 1 }),
            &["not carried over: /Routes/r/Limit/By: one count in Redis"],
        ),
        (json!({ "Policy": "Nope", "PermitLimit": 1 }), json!({ "policy": "none" }), &["differs: /Routes/r/Limit: no known Policy"]),
        (json!({ "Policy": "Concurrency", "PermitLimit": 0 }), json!({ "policy": "none" }), &["differs: /Routes/r/Limit: no known Policy"]),
        (
            json!({ "Policy": "FixedWindow", "PermitLimit": 1, "QueueLimit": -1, "Window": "00:00:00", "SegmentsPerWindow": 1000, "z": 1 }),
            json!({ "policy": "fixed_window", "permit_limit": 1, "segments_per_window": 100 }),
            &[
                "not carried over: /Routes/r/Limit/z",
                "not carried over: /Routes/r/Limit/QueueLimit",
                "not carried over: /Routes/r/Limit/SegmentsPerWindow",
                "not carried over: /Routes/r/Limit/Window",
            ],
        ),
    ];
    for (fields, expected, says) in rows {
        same(&route(&json!({ "Limit": fields })), "routes", &http(&json!({ "limit": expected })), says);
    }
}

#[test]
fn every_field_of_a_cluster_is_carried_over_or_named() {
    let two = |fields: Value| {
        let mut cluster = json!({ "LoadBalancingPolicy": "RoundRobin", "Destinations": [{ "Address": "h:1" }, { "Address": "i:2" }] });
        cluster.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!({ "Clusters": { "c": cluster } })
    };
    let nodes = json!([{ "host": "h", "port": 1, "weight": 1 }, { "host": "i", "port": 2, "weight": 1 }]);
    let plain = || json!([{ "id": "c", "type": "roundrobin", "pass_host": "node", "nodes": nodes }]);
    let untyped = || json!([{ "id": "c", "pass_host": "node", "nodes": nodes }]);
    let rows: [(Value, Value, &[&str]); 14] = [
        (json!({}), plain(), &[]),
        (json!({ "LoadBalancingPolicy": null }), untyped(), &["differs: /Clusters/c/LoadBalancingPolicy"]),
        (
            json!({ "LoadBalancingPolicy": "leastrequests" }),
            untyped(),
            &["not carried over: /Clusters/c/LoadBalancingPolicy: nodes are taken in turn"],
        ),
        (json!({ "LoadBalancingPolicy": "Foo" }), untyped(), &["not carried over: /Clusters/c/LoadBalancingPolicy: Foo is no known"]),
        (
            json!({ "LoadBalancingPolicy": "PowerOfTwoChoices", "Destinations": [{ "Address": "h:1", "Weight": 3 }] }),
            json!([{ "id": "c", "pass_host": "node", "nodes": [{ "host": "h", "port": 1, "weight": 3 }] }]),
            &[],
        ),
        (
            json!({ "LoadBalancingPolicy": "Hash", "Metadata": { "HashBy": "header", "Key": "x", "SessionAffinity": "Cookie" } }),
            untyped(),
            &["not carried over: /Clusters/c/LoadBalancingPolicy", "not carried over: /Clusters/c/Metadata/SessionAffinity"],
        ),
        (
            json!({ "HealthCheck": { "Active": { "Enable": true }, "Passive": {} } }),
            plain(),
            &["not carried over: /Clusters/c/HealthCheck/Active", "not carried over: /Clusters/c/HealthCheck/Passive"],
        ),
        (
            json!({ "HttpClientConfig": { "MaxConnectionsPerServer": 1 }, "HttpRequest": { "Version": "1.1" } }),
            plain(),
            &["not carried over: /Clusters/c/HttpClientConfig/Max", "not carried over: /Clusters/c/HttpRequest/Version"],
        ),
        (
            json!({ "HttpRequest": { "Version": "2.0", "VersionPolicy": "requestversionexact" } }),
            json!([{ "id": "c", "type": "roundrobin", "scheme": "h2c", "pass_host": "node", "nodes": nodes }]),
            &[],
        ),
        (
            json!({ "Destinations": [{ "Address": "https://h/", "Host": "d.local" }] }),
            json!([{ "id": "c", "type": "roundrobin", "scheme": "https", "tls": { "verify": true }, "pass_host": "rewrite", "upstream_host": "d.local", "nodes": [{ "host": "h", "port": 443, "weight": 1 }] }]),
            &[],
        ),
        (
            json!({ "Destinations": [{ "Address": "https://h/" }], "HttpClientConfig": { "dangerousAcceptAnyServerCertificate": "true" } }),
            json!([{ "id": "c", "type": "roundrobin", "scheme": "https", "pass_host": "node", "nodes": [{ "host": "h", "port": 443, "weight": 1 }] }]),
            &[],
        ),
        (
            json!({ "Destinations": [{ "Address": "h:1", "Host": "a" }, { "Address": "i:2" }] }),
            plain(),
            &["not carried over: /Clusters/c/Destinations/1/Address: destinations with different"],
        ),
        (
            json!({ "Destinations": [{ "Address": "h:1" }, { "Address": "https://x" }, { "Address": "http://unix:/s" }, { "Address": " " }, { "Address": "http://i:2/v1" }] }),
            plain(),
            &[
                "not carried over: /Clusters/c/Destinations/1/Address: another scheme",
                "not carried over: /Clusters/c/Destinations/2/Address",
                "not carried over: /Clusters/c/Destinations/4/Address: the path /v1",
            ],
        ),
        (json!({ "x": 1 }), plain(), &["not carried over: /Clusters/c/x: unknown"]),
    ];
    for (fields, expected, says) in rows {
        same(&two(fields), "upstreams", &expected, says);
    }
}

#[test]
fn every_field_of_a_sni_is_carried_over_or_named() {
    let pem = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
    let (cert, key) = (pem("CERTIFICATE"), pem("PRIVATE KEY"));
    let at = |fields: Value| {
        let mut sni = json!({ "Host": ["a.com"], "Certificate": { "Path": "a.pem", "KeyPath": "a.key" } });
        sni.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!({ "Sni": { "s": sni } })
    };
    let one = |fields: Value| {
        let mut ssl = json!({ "id": "s", "snis": ["a.com"], "cert": cert, "key": key });
        ssl.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!([ssl])
    };
    let rows: [(Value, Value, &[&str]); 15] = [
        (json!({}), one(json!({})), &[]),
        (json!({ "Certificate": { "PEM": cert, "PEMKey": key } }), one(json!({})), &[]),
        (json!({ "Certificate": { "PEM": format!("{cert}{key}") } }), one(json!({})), &[]),
        (
            json!({ "Certificate": { "Path": "a.pem", "KeyPath": "locked.key" } }),
            json!([]),
            &["not carried over: /Sni/s/Certificate: no certificate: the key has a password"],
        ),
        (
            json!({ "Certificate": { "Path": "a.pem", "KeyPath": "a.key", "Password": "p" } }),
            json!([]),
            &["not carried over: /Sni/s/Certificate: no certificate: keys with a password"],
        ),
        (json!({ "Certificate": { "Path": "no.pfx" } }), json!([]), &["not carried over: /Sni/s/Certificate: no certificate: no.pfx:"]),
        (json!({ "Certificate": { "Subject": "CN=a" } }), json!([]), &["not carried over: /Sni/s/Certificate: no certificate: only PEM"]),
        (json!({ "Certificate": null }), json!([]), &["not carried over: /Sni/s: neither Passthrough"]),
        (json!({ "Protocols": ["Tls12", "Tls13"] }), one(json!({ "ssl_protocols": ["TLSv1.2", "TLSv1.3"] })), &[]),
        (
            json!({ "Protocols": "Tls11, Tls13" }),
            one(json!({ "ssl_protocols": ["TLSv1.3"] })),
            &["not carried over: /Sni/s/Protocols: Tls11"],
        ),
        (
            json!({ "Protocols": "Tls" }),
            json!([]),
            &["not carried over: /Sni/s/Protocols: Tls", "not carried over: /Sni/s/Protocols: no version"],
        ),
        (
            json!({ "ClientCertificateMode": "RequireCertificate" }),
            one(json!({ "status": 0 })),
            &["not carried over: /Sni/s/ClientCertificateMode"],
        ),
        (
            json!({ "ClientCertificateMode": "AllowCertificate", "CheckCertificateRevocation": true, "HandshakeTimeout": "00:00:01" }),
            one(json!({})),
            &[
                "not carried over: /Sni/s/HandshakeTimeout",
                "not carried over: /Sni/s/ClientCertificateMode",
                "not carried over: /Sni/s/CheckCertificateRevocation",
            ],
        ),
        (
            json!({ "Host": ["*b.com", "*"] }),
            one(json!({ "snis": ["b.com", "*.b.com", "*"] })),
            &[
                "differs: /Sni/s/Host/0: *b.com is b.com and *.b.com",
                "differs: /Sni/s/Host/1: a ClientHello",
                "differs: /Sni/s/Host: a certificate's wildcard",
            ],
        ),
        (json!({ "Host": [" "] }), json!([]), &["not carried over: /Sni/s/Host: no name"]),
    ];
    for (fields, expected, says) in rows {
        same(&at(fields), "ssls", &expected, says);
    }
}

#[test]
fn names_lead_to_stream_routes() {
    let config = json!({
        "Listen": {
            "by-name": { "Protocols": "TCP", "UseSni": true, "Address": ["0.0.0.0:443"] },
            "fixed": { "Protocols": "TCP", "UseSni": true, "SniId": "p", "Address": ["0.0.0.0:444"], "RouteId": "t" },
            "web": { "Protocols": ["HTTP1", "HTTP2"], "UseSni": true, "SniId": "c", "Address": ["0.0.0.0:445"] },
        },
        "Routes": { "t": { "ClusterId": "u" } },
        "Clusters": { "u": {} },
        "Sni": {
            "p": { "Host": ["p.com"], "Passthrough": true, "RouteId": "T", "Order": 3 },
            "c": { "Host": ["c.com"], "Certificate": { "Path": "a.pem", "KeyPath": "a.key" } },
        },
    });
    same(
        &config,
        "stream_routes",
        &json!([
            { "id": "p", "protocol": "tcp", "snis": ["p.com"], "order": 3, "tls_passthrough": true, "upstream_id": "u" },
            { "id": "c", "protocol": "tcp", "snis": ["c.com"] },
        ]),
        &["differs: /Listen/fixed/RouteId: with UseSni"],
    );
    same(
        &config,
        "listeners",
        &json!([
            { "id": "by-name", "protocol": "tcp", "addr": "0.0.0.0:443", "tls": true },
            { "id": "fixed", "protocol": "tcp", "addr": "0.0.0.0:444", "tls": true, "stream_route_id": "p" },
            { "id": "web", "protocol": "http", "addr": "0.0.0.0:445", "tls": true, "ssl_id": "c", "http": { "versions": ["h1", "h2"] } },
        ]),
        &["differs: /Listen/fixed/RouteId: with UseSni"],
    );
}

#[test]
fn replies_that_were_not_relayed_are_not_relayed() {
    let udp = |route: Value| {
        json!({
            "Listen": { "u": { "Protocols": "UDP", "Address": ["0.0.0.0:53"], "RouteId": "r" } },
            "Routes": { "r": route },
        })
    };
    let stream = |n: u32| json!([{ "id": "r", "protocol": "udp", "server_port": 53, "udp_responses": n }]);
    same(&udp(json!({})), "stream_routes", &stream(0), &[]);
    same(&udp(json!({ "UdpResponses": 2 })), "stream_routes", &stream(2), &[]);
}

#[test]
fn an_http_listener_with_a_route_of_its_own_never_serves_others() {
    let listen = |id: &str| json!({ "Address": ["0.0.0.0:80"], "RouteId": id });
    let only = json!({ "Listen": { "l": listen("r") }, "Routes": { "r": { "Match": { "Hosts": ["a"], "Paths": ["/"] } } } });
    same(&only, "routes", &json!([{ "id": "r" }]), &[]);
    let two = json!({
        "Listen": { "l": listen("r") },
        "Routes": { "r": {}, "s": { "Match": { "Hosts": ["a"], "Paths": ["/"] } } },
    });
    let says = ["not carried over: /Listen/l/RouteId: an HTTP listener", "not carried over: /Routes/r: only listeners"];
    same(&two, "listeners", &json!([]), &says);
    same(&two, "routes", &json!([{ "id": "s", "match": { "hosts": ["a"], "paths": ["/"] } }]), &says);
}

#[test]
fn an_ordinal_comparison_is_one_of_every_route() {
    let route = |id: &str| json!({ "ClusterId": "c", "Match": { "Hosts": [format!("{id}.com")], "Paths": ["/Api*"] } });
    let file = json!({ "Listen": {}, "RouteComparison": "Ordinal", "Routes": { "a": route("a"), "b": route("b") } });
    let imported = read(&file);
    let cases: Vec<&Value> = imported.document["put"]["routes"].as_array().unwrap().iter().map(|route| &route["match"]["case"]).collect();
    assert_eq!(cases, ["hosts_and_paths"; 2]);
    assert!(!notes(&imported).iter().any(|note| note.contains("RouteComparison")), "{:?}", notes(&imported));
}

#[test]
fn options_become_the_setting() {
    let all = json!({
        "Listen": {}, "DefaultProxyTimeout": "00:01:00", "ConnectionTimeout": "00:00:02", "DnsRefreshPeriod": "00:05:00", "DnsAddressFamily": "InterNetwork",
        "RouteCahceSize": 1, "RouteComparison": "CurrentCulture", "Limit": { "Policy": "Concurrency", "PermitLimit": 9 },
    });
    let setting = json!([{ "id": "global", "default_timeout": "00:01:00", "connect_timeout": "00:00:02", "limit": { "policy": "concurrency", "permit_limit": 9 } }]);
    let says = [
        "not carried over: /DnsRefreshPeriod",
        "not carried over: /DnsAddressFamily",
        "differs: /RouteCahceSize",
        "not carried over: /RouteComparison",
    ];
    same(&all, "settings", &setting, &says);
    let beside = r#"{"reverseproxy": {"listen": {}}, "ReverseProxyOptions": {"defaultproxytimeout": "00:00:07"}, "Logging": {}, "ServerOptions": {"Limits": {}}, "x": 1}"#;
    let imported = vkproxy(beside, &files).unwrap();
    assert_eq!(imported.document["put"]["settings"], json!([{ "id": "global", "default_timeout": "00:00:07" }]));
    assert_eq!(imported.notes.iter().map(|n| n.path.as_str()).collect::<Vec<_>>(), ["/Logging", "/ServerOptions/Limits", "/x"]);
}

#[test]
fn ids_become_legal_and_stay_apart() {
    let imported = read(&json!({ "Clusters": { "a/b": {}, "a b": {}, "c": {} } }));
    let ids: Vec<&str> = imported.document["put"]["upstreams"].as_array().unwrap().iter().map(|u| u["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["a-b", "a-b-2", "c"]);
    assert_eq!(notes(&imported), ["differs: /Clusters/a~1b: its id is a-b here", "differs: /Clusters/a b: its id is a-b-2 here"]);
}

#[test]
fn what_is_no_configuration_is_refused() {
    for (text, says) in
        [("{", "not JSON"), ("{}", "no section"), (r#"{"Logging": {}}"#, "no section"), (r#"{"Listen": {}, "listen": {}}"#, "twice")]
    {
        let error = vkproxy(text, &files).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
    assert!(vkproxy(r#"{"Listen": {}}"#, &files).is_ok(), "the section alone");
}
