//! The configuration file, as an operator types it: each row a file, and what comes of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sluice::conf::{AccessFormat, Conf, EtcdConf, EtcdTlsConf, LogFormat, Provider, ProxyMode, Role, load, parse};

const SEED_KEY: &str = "edd1c9f034335f136f87ad84b625c8f1";

fn with(text: &str, env: &[(&str, &str)]) -> Result<Conf, String> {
    let env: BTreeMap<_, _> = env.iter().copied().collect();
    parse(Path::new("conf/config.yaml"), text, &|name| env.get(name).map(ToString::to_string)).map_err(|e| e.to_string())
}

fn read(text: &str) -> Result<Conf, String> {
    with(text, &[])
}

fn listeners(conf: &Conf) -> Vec<String> {
    conf.listeners.iter().map(|l| format!("{} {}", l.id, l.value)).collect()
}

/// `text` under `gateway.stream_proxy.tcp`, as a flow list.
fn tcp(text: &str) -> Result<Conf, String> {
    read(&format!("gateway: {{stream_proxy: {{tcp: [{text}]}}}}"))
}

#[test]
fn an_empty_file_is_all_defaults() {
    let conf = read("").unwrap();
    assert_eq!(conf.proxy_mode, ProxyMode::Both);
    assert_eq!((conf.listeners.len(), conf.workers, conf.drain_timeout), (0, None, Duration::from_secs(30)));
    assert_eq!(conf.provider, Provider::Embedded { path: "data/sluice.redb".into() });
    assert_eq!(conf.prefix, "/sluice");
    let admin = conf.admin.unwrap();
    assert_eq!((admin.listen.to_string().as_str(), admin.key_required), ("127.0.0.1:9180", true));
    assert_eq!(admin.allow.iter().map(ToString::to_string).collect::<Vec<_>>(), ["127.0.0.0/8", "::1"]);
    assert!(matches!(admin.keys.as_slice(), [key] if key.key.is_none() && key.role == Role::Admin && key.name == "admin"));
    assert_eq!(conf.metrics_listen, Some(SocketAddr::from(([127, 0, 0, 1], 9091))));
    assert_eq!(conf.control_listen, Some(SocketAddr::from(([127, 0, 0, 1], 9092))));
    assert_eq!((conf.log.level.to_string().as_str(), conf.log.format), ("info", LogFormat::Text));
    let access = conf.access_log;
    assert_eq!((access.enabled, access.format, access.path, access.sample), (true, AccessFormat::Json, None, 1.0));
    assert!(conf.notices.is_empty(), "{:?}", conf.notices);
}

#[test]
fn the_file_that_make_run_uses_loads_without_a_notice() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("conf/config.yaml");
    let conf = load(&path, &|_| None).unwrap();
    assert_eq!(
        listeners(&conf),
        [r#"conf-tcp-0 {"protocol":"tcp","addr":["9100"]}"#, r#"conf-tcp-1 {"protocol":"tcp","addr":["127.0.0.1:9101"]}"#]
    );
    assert!(conf.notices.is_empty(), "{:?}", conf.notices);
}

/// A line without its comment mark, if all of it is a comment.
fn shown_line(line: &str) -> String {
    let commented = line.trim_start().starts_with("# ");
    format!("{}\n", if commented { line.replacen("# ", "", 1) } else { line.to_owned() })
}

#[test]
fn every_key_that_the_file_comments_out_is_a_known_key_with_its_default() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("conf/config.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    // the prose of the head ends at the first key
    let (_, text) = text.split_once("\n\n").unwrap();
    let shown: String = text.lines().map(shown_line).collect();
    let conf = with(&shown, &[("ADMIN_KEY", "from-the-environment")]).unwrap();
    let bare = read("").unwrap();
    assert_eq!((conf.drain_timeout, &conf.provider, &conf.prefix), (bare.drain_timeout, &bare.provider, &bare.prefix));
    assert_eq!((conf.metrics_listen, conf.control_listen, conf.log), (bare.metrics_listen, bare.control_listen, bare.log));
    let (admin, bare) = (conf.admin.unwrap(), bare.admin.unwrap());
    assert_eq!((admin.listen, admin.allow, admin.key_required), (bare.listen, bare.allow, bare.key_required));
    assert_eq!(admin.keys[0].key.as_ref().map(|k| k.reveal().as_str()), Some("from-the-environment"));
}

#[test]
fn the_seeds_snippets_load_as_they_stand() {
    for (text, expected) in [
        (
            r#"
apisix:
  stream_proxy: # TCP/UDP proxy
    tcp: # TCP proxy address list
      - 9100
      - "127.0.0.1:9101"
    udp: # UDP proxy address list
      - 9200
      - "127.0.0.1:9211"
"#,
            vec![
                r#"conf-tcp-0 {"protocol":"tcp","addr":["9100"]}"#,
                r#"conf-tcp-1 {"protocol":"tcp","addr":["127.0.0.1:9101"]}"#,
                r#"conf-udp-0 {"protocol":"udp","addr":["9200"]}"#,
                r#"conf-udp-1 {"protocol":"udp","addr":["127.0.0.1:9211"]}"#,
            ],
        ),
        (
            r#"
apisix:
  stream_proxy: # TCP/UDP proxy
    tcp: # TCP proxy address list
      - 9100 # by default uses 0.0.0.0
      - "127.0.0.10:9101"
"#,
            vec![r#"conf-tcp-0 {"protocol":"tcp","addr":["9100"]}"#, r#"conf-tcp-1 {"protocol":"tcp","addr":["127.0.0.10:9101"]}"#],
        ),
        (
            r"
apisix:
  stream_proxy: # TCP/UDP proxy
    tcp: # TCP proxy address list
      - addr: 9100
        tls: true
",
            vec![r#"conf-tcp-0 {"protocol":"tcp","addr":["9100"],"tls":true}"#],
        ),
    ] {
        assert_eq!(listeners(&read(text).unwrap()), expected, "{text}");
        assert_eq!(listeners(&read(&text.replace("apisix:", "gateway:")).unwrap()), expected, "{text}");
    }
}

#[test]
fn the_file_that_the_benchmark_writes_loads() {
    let conf = read(
        "
gateway:
  proxy_mode: http&stream
  workers: 2
deployment:
  config_provider: embedded
  embedded:
    path: /srv/bench/store.redb
  admin:
    admin_listen:
      ip: 127.0.0.1
      port: 40001
    admin_key:
      - name: admin
        key: bench-admin-key
        role: admin
telemetry:
  metrics_listen: 127.0.0.1:40002
  control_listen: 127.0.0.1:40003
  access_log:
    enabled: false
",
    )
    .unwrap();
    assert_eq!((conf.workers, conf.access_log.enabled), (Some(2), false));
    assert_eq!(conf.provider, Provider::Embedded { path: "/srv/bench/store.redb".into() });
    assert_eq!(conf.admin.unwrap().keys[0].key.as_ref().map(|k| k.reveal().as_str()), Some("bench-admin-key"));
}

#[test]
fn every_form_of_an_entry_is_a_listener() {
    for (entry, value) in [
        ("9100", r#"{"protocol":"tcp","addr":["9100"]}"#),
        ("\"9100\"", r#"{"protocol":"tcp","addr":["9100"]}"#),
        ("127.0.0.1:9100", r#"{"protocol":"tcp","addr":["127.0.0.1:9100"]}"#),
        ("\"[::1]:9100\"", r#"{"protocol":"tcp","addr":["[::1]:9100"]}"#),
        ("2000-2005", r#"{"protocol":"tcp","addr":["2000-2005"]}"#),
        ("\"127.0.0.1:2000-2005\"", r#"{"protocol":"tcp","addr":["127.0.0.1:2000-2005"]}"#),
        ("{addr: \"5000-5005\", tls: true}", r#"{"protocol":"tcp","addr":["5000-5005"],"tls":true}"#),
        ("{addr: 9100, tls: false}", r#"{"protocol":"tcp","addr":["9100"]}"#),
        ("{addr: 9100, proxy_protocol: true}", r#"{"protocol":"tcp","addr":["9100"],"proxy_protocol":{"accept":true}}"#),
        ("{addr: 9100, proxy_protocol_to_upstream: true}", r#"{"protocol":"tcp","addr":["9100"],"proxy_protocol_to_upstream":"v1"}"#),
    ] {
        assert_eq!(listeners(&tcp(entry).unwrap()), [format!("conf-tcp-0 {value}")], "{entry}");
    }
}

#[test]
fn every_wrong_entry_is_refused_with_the_text_that_apisix_prints() {
    let port = "port out of range (1-65535)";
    for (entry, says) in [
        ("0", format!("{port}: 0")),
        ("65536", format!("{port}: 65536")),
        ("\"0-100\"", format!("{port}: 0-100")),
        ("\"100-70000\"", format!("{port}: 100-70000")),
        ("\"127.0.0.1:0\"", format!("{port}: 127.0.0.1:0")),
        ("\"127.0.0.1:65536\"", format!("{port}: 127.0.0.1:65536")),
        ("\"3000-2000\"", "invalid port range (start > end): 3000-2000".to_owned()),
        ("\"80.5\"", "invalid port format: 80.5".to_owned()),
        ("\"1e3\"", "invalid port format: 1e3".to_owned()),
        ("\"127.0.0.1:\"", "missing port: 127.0.0.1:".to_owned()),
        ("{addr: 0}", format!("{port}: 0")),
        ("9100, 9100", "0.0.0.0:9100 collides with an earlier entry".to_owned()),
        ("\"2000-2005\", {addr: 2003, tls: true}", "0.0.0.0:2003 collides with an earlier entry".to_owned()),
    ] {
        let error = tcp(entry).unwrap_err();
        assert!(error.starts_with(&format!("conf/config.yaml:1: invalid stream_proxy.tcp entry: {says}\n")), "{entry}: {error}");
    }
    for entry in ["80.5", "-1", "{addr: 80.5}", ""] {
        let error = tcp(entry).unwrap_err();
        assert!(error.contains("failed to validate config"), "{entry}: {error}");
    }
    let udp = read("gateway:\n  stream_proxy:\n    udp:\n      - 9200\n      - 0\n").unwrap_err();
    assert_eq!(udp, "conf/config.yaml:5: invalid stream_proxy.udp entry: port out of range (1-65535): 0\n    5 |       - 0");
    let long = read("gateway:\n  stream_proxy:\n    udp:\n      - addr: 9200\n").unwrap_err();
    assert!(long.starts_with("conf/config.yaml:4: failed to validate config: "), "{long}");
}

#[test]
fn an_alias_stands_for_what_it_names() {
    let conf = read("gateway:\n  workers: &n 4\n  stream_proxy: {tcp: [&p 9100, {addr: 9101}], udp: [*p]}\n").unwrap();
    assert_eq!((conf.workers, listeners(&conf).len()), (Some(4), 3));
    assert_eq!(listeners(&conf)[2], r#"conf-udp-0 {"protocol":"udp","addr":["9100"]}"#);
}

#[test]
fn a_port_number_may_serve_tcp_and_udp_at_once() {
    let conf = read("gateway: {stream_proxy: {tcp: [9100], udp: [9100, \"9300-9305\"]}}").unwrap();
    assert_eq!(conf.listeners.iter().map(|l| l.id.as_str()).collect::<Vec<_>>(), ["conf-tcp-0", "conf-udp-0", "conf-udp-1"]);
}

#[test]
fn the_proxy_protocol_of_all_tcp_entries_yields_to_an_entrys_own_word() {
    let conf = read(
        "
gateway:
  proxy_protocol: {enable_tcp_pp: true, trusted: [10.0.0.0/8]}
  stream_proxy:
    tcp: [9100, {addr: 9101, proxy_protocol: false}]
    udp: [9200]
",
    )
    .unwrap();
    assert_eq!(
        listeners(&conf),
        [
            r#"conf-tcp-0 {"protocol":"tcp","addr":["9100"],"proxy_protocol":{"accept":true,"trusted":["10.0.0.0/8"]}}"#,
            r#"conf-tcp-1 {"protocol":"tcp","addr":["9101"]}"#,
            r#"conf-udp-0 {"protocol":"udp","addr":["9200"]}"#,
        ]
    );
}

#[test]
fn without_a_stream_part_there_are_no_stream_listeners() {
    let conf = read("gateway: {proxy_mode: http, stream_proxy: {tcp: [9100]}}").unwrap();
    assert!(conf.listeners.is_empty() && !conf.proxy_mode.stream());
    assert_eq!(conf.notices, ["gateway.stream_proxy: off, since gateway.proxy_mode is http"]);
    let conf = read("gateway: {proxy_mode: stream, node_listen: 9080}").unwrap();
    assert!(conf.listeners.is_empty() && !conf.proxy_mode.http());
    assert_eq!(conf.notices, ["gateway.node_listen: off, since gateway.proxy_mode is stream"]);
    let conf = read("gateway: {proxy_mode: stream, enable_admin: false, stream_proxy: {tcp: [{addr: 9100}]}}").unwrap();
    assert!(conf.listeners.len() == 1 && conf.admin.is_none() && conf.proxy_mode == ProxyMode::Stream);
}

#[test]
fn what_this_build_does_not_serve_is_told_and_never_lost() {
    for (text, begins) in [
        ("gateway: {ssl: {enable: true}}", "gateway.ssl.enable: "),
        ("gateway: {ssl: {enable: false, listen: [{port: 9443}]}}", "gateway.ssl.listen: off"),
        ("gateway: {proxy_protocol: {enable_tcp_pp: true}, stream_proxy: {tcp: [9100]}}", "gateway.proxy_protocol.trusted: absent"),
        ("gateway: {stream_proxy: {tcp: [{addr: 9100, proxy_protocol: true}]}}", "gateway.proxy_protocol.trusted: absent"),
        (
            "gateway: {data_encryption: {keyring: [qeddd145sfvddff3]}}",
            "gateway.data_encryption.keyring: the first key is one that APISIX publishes",
        ),
        ("gateway: {dns_resolver: [127.0.0.1:1053]}", "gateway.dns_resolver: "),
        ("deployment: {etcd: {host: [\"http://127.0.0.1:2379\"], password: x}}", "deployment.etcd: not used by config_provider embedded"),
        ("deployment: {file: {path: resources.yaml}}", "deployment.file: "),
        ("deployment: {admin: {admin_key_required: false}}", "deployment.admin.admin_key_required is false: "),
        ("telemetry: {control_listen: \"0.0.0.0:9092\"}", "telemetry.control_listen: "),
    ] {
        let notices = read(text).unwrap().notices;
        assert!(matches!(notices.as_slice(), [one] if one.starts_with(begins)), "{text}: {notices:?}");
    }
    for quiet in [
        "gateway: {ssl: {enable: true, listen: [{port: 9443}]}}",
        "gateway: {ssl: {enable: false}, proxy_protocol: {enable_tcp_pp: false}}",
        "gateway: {proxy_protocol: {enable_tcp_pp: true, enable_tcp_pp_to_upstream: true, trusted: [10.0.0.1]}, stream_proxy: {tcp: [9100]}}",
        "gateway: {proxy_protocol: {enable_tcp_pp: true, trusted: []}, stream_proxy: {tcp: [9100]}}",
        "deployment: {etcd: {prefix: /a/b-c}}",
    ] {
        assert!(read(quiet).unwrap().notices.is_empty(), "{quiet}");
    }
    let error = read("deployment:\n  config_provider: file\n").unwrap_err();
    assert!(error.starts_with("conf/config.yaml:2: this build does not serve config_provider file yet\n"), "{error}");
}

/// `text` under `deployment.etcd`, with the provider etcd.
fn etcd(text: &str) -> Result<Conf, String> {
    read(&format!("deployment:\n  config_provider: etcd\n  etcd:\n{text}"))
}

fn etcd_conf(conf: &Conf) -> &EtcdConf {
    match &conf.provider {
        Provider::Etcd(etcd) => etcd,
        other @ Provider::Embedded { .. } => panic!("{other:?}"),
    }
}

#[test]
fn etcd_needs_no_more_than_its_name() {
    let conf = read("deployment: {config_provider: etcd}").unwrap();
    let expected = EtcdConf {
        hosts: vec!["http://127.0.0.1:2379".into()],
        timeout: Duration::from_secs(5),
        user: None,
        tls: None,
        last_good: Some("data/last-good.etcd".into()),
    };
    assert_eq!((etcd_conf(&conf), conf.prefix.as_str(), conf.notices.len()), (&expected, "/sluice", 0));
}

#[test]
fn members_that_are_not_verified_are_a_risk_that_is_told() {
    let conf = etcd("    host: [https://a:1]\n    tls: {verify: false}\n").unwrap();
    assert!(etcd_conf(&conf).tls.as_ref().unwrap().unverified);
    assert!(conf.notices[0].contains("deployment.etcd.tls.verify is false"), "{:?}", conf.notices);
}

#[test]
fn every_key_of_etcd_is_read() {
    let conf = etcd(
        "    host:
      - https://etcd-0:2379
      - https://[::1]:2379/
    prefix: /gateways/blue
    timeout: 1500ms
    user: sluice
    password: 0012
    last_good: /var/lib/sluice/set
    tls: {cert: c.pem, key: k.pem, ca: ca.pem, verify: true, sni: etcd.internal}
",
    )
    .unwrap();
    let etcd = etcd_conf(&conf);
    assert_eq!(etcd.hosts, ["https://etcd-0:2379", "https://[::1]:2379"]);
    assert_eq!((conf.prefix.as_str(), etcd.timeout), ("/gateways/blue", Duration::from_millis(1500)));
    assert_eq!(etcd.last_good, Some("/var/lib/sluice/set".into()));
    assert_eq!(
        etcd_conf(&with("", &[("SLUICE_DEPLOYMENT__ETCD__LAST_GOOD", "false"), ("SLUICE_DEPLOYMENT__CONFIG_PROVIDER", "etcd")]).unwrap())
            .last_good,
        None
    );
    let (user, password) = etcd.user.clone().unwrap();
    assert_eq!((user.as_str(), password.reveal().as_str()), ("sluice", "0012"));
    let tls = etcd.tls.clone().unwrap();
    assert_eq!(tls.identity, Some(("c.pem".into(), "k.pem".into())));
    assert_eq!((tls.ca, tls.sni.as_deref()), (Some("ca.pem".into()), Some("etcd.internal")));
    assert!(conf.notices.is_empty(), "{:?}", conf.notices);
    assert!(!format!("{:?}", conf.provider).contains("0012"));
    let env = [
        ("SLUICE_DEPLOYMENT__ETCD__HOST", "[https://a:1, https://b:2]"),
        ("SLUICE_DEPLOYMENT__ETCD__TLS__CA", "x.pem"),
        ("SLUICE_DEPLOYMENT__CONFIG_PROVIDER", "etcd"),
    ];
    let conf = with("", &env).unwrap();
    assert_eq!(etcd_conf(&conf).hosts, ["https://a:1", "https://b:2"]);
    assert_eq!(etcd_conf(&conf).tls, Some(EtcdTlsConf { identity: None, ca: Some("x.pem".into()), sni: None, unverified: false }));
}

#[test]
fn what_etcd_cannot_be_is_told_with_its_line() {
    for (text, says) in [
        ("    host: []\n", "4: `deployment.etcd.host`: expected at least one"),
        ("    host:\n      - 127.0.0.1:2379\n", "5: `deployment.etcd.host`: expected http://host:port or https://host:port"),
        ("    host:\n      - http://a:1\n      - https://b:1\n", "6: `deployment.etcd.host`: all hosts are http or all are https"),
        ("    host:\n      - http://a:1\n      - http://a:1/\n", "6: `deployment.etcd.host`: it stands here for the second time"),
        ("    host: http://a:1\n", "4: `deployment.etcd.host`: expected a list, found text"),
        ("    timeout: 1ms\n", "4: `deployment.etcd.timeout`: expected at least 100ms"),
        ("    user: a\n", "4: `deployment.etcd.user`: there is no `password` beside it"),
        ("    password: hunter2\n", "4: `deployment.etcd.password`: there is no `user` beside it"),
        ("    tls: {ca: ca.pem}\n", "4: `deployment.etcd.tls`: the hosts are http: write https"),
        (
            "    host: [https://a:1]\n    tls:\n      verify: false\n      ca: x\n",
            "7: `deployment.etcd.tls.ca`: `verify` is false: no authority is asked",
        ),
        ("    host: [http://a:1]\n    tls:\n      verify: false\n", "6: `deployment.etcd.tls`: the hosts are http: write https"),
        ("    host: [https://a:1]\n    tls: {cert: c.pem}\n", "5: `deployment.etcd.tls.cert`: there is no `key` beside it"),
        ("    host: [https://a:1]\n    tls: {key: k.pem}\n", "5: `deployment.etcd.tls.key`: there is no `cert` beside it"),
        ("    hosts: [https://a:1]\n", "4: unknown key `hosts` in `deployment.etcd` (did you mean `host`?)"),
    ] {
        let error = etcd(text).unwrap_err();
        assert!(error.starts_with(&format!("conf/config.yaml:{says}")), "{text}{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    for (text, begins) in [
        ("    user: a\n    password: b\n", "deployment.etcd.password: it crosses the network in clear"),
        ("    prefix: /a\n  embedded: {path: a.redb}\n", "deployment.embedded: not used by config_provider etcd"),
    ] {
        let notices = etcd(text).unwrap().notices;
        assert!(matches!(notices.as_slice(), [one] if one.starts_with(begins)), "{text}{notices:?}");
    }
}

#[test]
fn every_fault_names_its_line() {
    for (text, says) in [
        (
            "gateway:\n  workers: 2\n  stream_porxy:\n    tcp: [9100]\n",
            "conf/config.yaml:3: unknown key `stream_porxy` in `gateway` (did you mean `stream_proxy`?)\n    3 |   stream_porxy:",
        ),
        ("gatway: {}", "conf/config.yaml:1: unknown key `gatway` at the top level (did you mean `gateway`?)"),
        (
            "deployment:\n  admin:\n    admin_listen:\n      prot: 1\n",
            "conf/config.yaml:4: unknown key `prot` in `deployment.admin.admin_listen`",
        ),
        (
            "gateway:\n  stream_proxy:\n    tcp:\n      - addr: 9100\n        tsl: true\n",
            "conf/config.yaml:5: unknown key `tsl` in `gateway.stream_proxy.tcp[0]` (did you mean `tls`?)",
        ),
        (
            "apisix:\n  enable_ipv6: true\n",
            "conf/config.yaml:2: unknown key `enable_ipv6` in `gateway` (a key of APISIX: leave it out; `\"[::]:9100\"` listens on IPv6)",
        ),
        (
            "nginx_config:\n  stream: {real_ip_from: [10.0.0.0/8]}\n",
            "conf/config.yaml:1: unknown key `nginx_config` at the top level (a key of APISIX: leave it out; its `stream.real_ip_from` is \
             `gateway.proxy_protocol.trusted`)\n",
        ),
        (
            "gateway:\n  stream_proxy:\n    tcp:\n      - tls: true\n",
            "conf/config.yaml:4: `gateway.stream_proxy.tcp[0]`: missing key `addr`",
        ),
        (
            "gateway:\n  workers: two\n",
            "conf/config.yaml:2: `gateway.workers`: expected a whole number, found text\n    2 |   workers: two",
        ),
        ("gateway:\n  workers: 0\n", "conf/config.yaml:2: `gateway.workers`: expected 1 to 1024"),
        ("gateway:\n  proxy_mode: streem\n", "conf/config.yaml:2: `gateway.proxy_mode`: unknown word `streem` (did you mean `stream`?)"),
        ("gateway:\n  drain_timeout: soon\n", "conf/config.yaml:2: `gateway.drain_timeout`: not a duration: "),
        ("gateway:\n  workers: 1\n  workers: 2\n", "conf/config.yaml:3: key `workers` stands here for the second time\n"),
        ("gateway: {}\napisix: {}\n", "conf/config.yaml:2: `apisix` and `gateway` are the same key; keep one of them\n"),
        ("gateway:\n  - 1\n", "conf/config.yaml:2: `gateway`: expected a map, found a list\n"),
        ("telemetry:\n  log:\n    level: loud\n", "conf/config.yaml:3: `telemetry.log.level`: "),
        ("telemetry:\n  metrics_listen: 9091\n", "conf/config.yaml:2: `telemetry.metrics_listen`: expected \"ip:port\", or false for none"),
        ("telemetry:\n  access_log:\n    sample: 2\n", "conf/config.yaml:3: `telemetry.access_log.sample`: expected a share from 0 to 1"),
        ("deployment:\n  etcd:\n    prefix: sluice\n", "conf/config.yaml:3: `deployment.etcd.prefix`: "),
        ("deployment:\n  instance_id: a b\n", "conf/config.yaml:2: `deployment.instance_id`: not an id"),
        (
            "deployment:\n  admin:\n    allow_admin:\n      - 10.0.0.0/33\n",
            "conf/config.yaml:4: `deployment.admin.allow_admin[0]`: not an IP",
        ),
        ("gateway:\n  a: [1\n", "conf/config.yaml:"),
        ("gateway: {}\n---\na: 1\n", "conf/config.yaml:3: a second YAML document begins"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.starts_with(says), "{text}\n{error}");
    }
}

#[test]
fn an_empty_path_is_refused_by_name_wherever_a_path_is_read() {
    for (key, text) in [
        ("deployment.embedded.path", "deployment:\n  embedded:\n    path: \"\"\n"),
        ("deployment.file.path", "deployment:\n  file:\n    path: ''\n"),
        ("deployment.etcd.tls.cert", "deployment:\n  etcd:\n    tls: {cert: \"\"}\n"),
        ("deployment.etcd.tls.key", "deployment:\n  etcd:\n    tls: {key: \"\"}\n"),
        ("deployment.etcd.tls.ca", "deployment:\n  etcd:\n    tls: {ca: \"\"}\n"),
        ("deployment.etcd.last_good", "deployment:\n  etcd:\n    last_good: \"\"\n"),
        ("telemetry.access_log.path", "telemetry:\n  access_log:\n    path: \"\"\n"),
        ("gateway.data_encryption.keyring", "gateway:\n  data_encryption:\n    keyring: [\"$file://\"]\n"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.starts_with("conf/config.yaml:3: ") && error.contains(&format!("`{key}")), "{text}\n{error}");
        assert!(error.contains("expected a path"), "{error}");
    }
    let unset = read("deployment:\n  embedded:\n    path:\n").unwrap();
    assert_eq!(unset.provider, read("").unwrap().provider);
}

#[test]
fn no_error_shows_a_secret() {
    for text in [
        "deployment: {admin: {admin_key: hunter2}}",
        "deployment: {admin: {admin_key: [hunter2]}}",
        "deployment:\n  admin:\n    admin_key:\n      - name: a\n        key: hunter2\n        key: hunter2\n        role: admin\n",
        "deployment:\n  admin:\n    admin_key:\n      - name: a\n        kye: hunter2\n        role: admin\n",
        "deployment: {admin: {admin_key: [{name: a, key: hunter2, role: amdin}]}}",
        "deployment: {admin: {admin_key: [{name: a, key: hunter2, role: admin}, {name: b, key: hunter2, role: viewer}]}}",
        "deployment:\n  admin:\n    admin_key:\n      - hunter2\n",
        "deployment:\n  admin:\n    admin_key:\n      - [hunter2]\n",
        "deployment:\n  admin:\n    admin_key:\n      hunter2\n",
        "deployment:\n  admin:\n    admin_key:\n      - name: a\n        role: admin\n        key:\n          hunter2: x\n",
        "deployment:\n  etcd:\n    passwd: hunter2\n",
        "deployment:\n  etcd:\n    password: \"hunter2\n",
        "gateway:\n  data_encryption:\n    keyring: [hunter2\n",
        "gateway: {data_encryption: {keyring: hunter2}}",
        "gateway: {data_encryption: {keyring: [hunter2]}}",
        "gateway: {data_encryption: {keyring: {hunter2: x}}}",
    ] {
        let error = read(text).unwrap_err();
        assert!(!error.contains("hunter2"), "{text}\n{error}");
    }
}

#[test]
fn the_environment_fills_in_and_overrides() {
    let env = [
        ("PORT", "9100"),
        ("ON", "true"),
        ("SECTION", "gateway"),
        ("SLUICE_GATEWAY__WORKERS", "2"),
        ("SLUICE_DEPLOYMENT__ADMIN__ADMIN_LISTEN__PORT", "19180"),
        ("SLUICE_DEPLOYMENT__ADMIN__ADMIN_KEY", "[{name: ci, key: \"0012\", role: viewer}]"),
        ("SLUICE_TELEMETRY__METRICS_LISTEN", "false"),
    ];
    let text = "
# ${{NOT_READ_IN_A_COMMENT}}
${{SECTION}}:
  workers: 8
  drain_timeout: ${{DRAIN:=5s}}
  stream_proxy:
    tcp:
      - ${{PORT}}
      - \"127.0.0.1:${{PORT2:=9101}}\"
      - {addr: \"${{PORT3:=9102}}\", tls: \"${{ON}}\"}
";
    let conf = with(text, &env).unwrap();
    assert_eq!((conf.workers, conf.drain_timeout, conf.metrics_listen), (Some(2), Duration::from_secs(5), None));
    let admin = conf.admin.as_ref().unwrap();
    assert_eq!((admin.listen.port(), admin.keys[0].name.as_str(), admin.keys[0].role), (19180, "ci", Role::Viewer));
    assert_eq!(admin.keys[0].key.as_ref().map(|k| k.reveal().as_str()), Some("0012"));
    assert_eq!(
        listeners(&conf),
        [
            r#"conf-tcp-0 {"protocol":"tcp","addr":["9100"]}"#,
            r#"conf-tcp-1 {"protocol":"tcp","addr":["127.0.0.1:9101"]}"#,
            r#"conf-tcp-2 {"protocol":"tcp","addr":["9102"],"tls":true}"#,
        ]
    );
}

#[test]
fn the_environments_faults_name_the_line_or_the_variable() {
    for (text, env, says) in [
        ("gateway:\n  workers: ${{CORES}}\n", vec![], "conf/config.yaml:2: can't find environment variable CORES\n"),
        ("gateway:\n  workers: ${{CORES}}\n", vec![("CORES", "many")], "conf/config.yaml:2: `gateway.workers`: expected a whole number"),
        ("gateway:\n  workers: 1\n  ${{K}}: 2\n", vec![("K", "workers")], "conf/config.yaml:3: key `workers` stands here for the second"),
        (
            "",
            vec![("SLUICE_GATEWAY__WORKERS", "many")],
            "environment variable SLUICE_GATEWAY__WORKERS: `gateway.workers`: expected a whole number, found text",
        ),
        (
            "",
            vec![("SLUICE_GATEWAY__STREAM_PROXY__TCP", "[0]")],
            "environment variable SLUICE_GATEWAY__STREAM_PROXY__TCP: invalid stream_proxy.tcp entry: port out of range (1-65535): 0",
        ),
    ] {
        let error = with(text, &env).unwrap_err();
        assert!(error.starts_with(says), "{text}\n{error}");
    }
}

#[test]
fn the_well_known_key_opens_loopback_only() {
    let text = |ip: &str| {
        format!(
            "deployment:\n  admin:\n    admin_listen: {{ip: \"{ip}\"}}\n    admin_key:\n      - {{name: admin, key: {SEED_KEY}, role: admin}}\n"
        )
    };
    for ip in ["127.0.0.1", "127.0.0.9", "::1"] {
        let conf = read(&text(ip)).unwrap();
        assert!(conf.notices.iter().any(|n| n.contains("stands in public documents")), "{:?}", conf.notices);
        assert!(conf.admin.unwrap().keys[0].key.as_ref().is_some_and(|k| k.reveal() == SEED_KEY));
    }
    for ip in ["0.0.0.0", "10.0.0.1", "::"] {
        let error = read(&text(ip)).unwrap_err();
        assert!(error.starts_with("conf/config.yaml:5: ") && error.contains("only while the Admin API listens on loopback"), "{error}");
        assert!(!error.contains(SEED_KEY), "{error}");
    }
}

#[test]
fn an_empty_admin_key_is_one_to_generate_and_an_empty_allow_list_lets_everybody_in() {
    let conf = read("deployment: {admin: {allow_admin: [], admin_key: [{name: ops, key: \"\", role: viewer}]}}").unwrap();
    let admin = conf.admin.unwrap();
    assert!(matches!(admin.keys.as_slice(), [key] if key.key.is_none() && key.name == "ops" && key.role == Role::Viewer));
    for ip in ["203.0.113.9", "2001:db8::9"] {
        assert!(admin.allow.iter().any(|cidr| cidr.contains(ip.parse().unwrap())), "{ip}");
    }
}

#[test]
fn two_parts_that_want_one_port_stop_the_start() {
    for (text, says) in [
        (
            "telemetry:\n  control_listen: 127.0.0.1:9091\n",
            "conf/config.yaml:2: telemetry.metrics_listen (127.0.0.1:9091) and telemetry.control_listen (127.0.0.1:9091) want the same port",
        ),
        (
            "deployment:\n  admin:\n    admin_listen:\n      port: 9092\n",
            "conf/config.yaml:4: deployment.admin.admin_listen (127.0.0.1:9092) and telemetry.control_listen (127.0.0.1:9092)",
        ),
        (
            "gateway:\n  stream_proxy:\n    tcp:\n      - 9000\n      - \"9170-9190\"\n",
            "conf/config.yaml:5: deployment.admin.admin_listen (127.0.0.1:9180) and gateway.stream_proxy.tcp (0.0.0.0:9180) want the same",
        ),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.starts_with(says), "{text}\n{error}");
    }
    for fine in [
        "gateway: {stream_proxy: {udp: [9180]}}",
        "gateway: {enable_admin: false, stream_proxy: {tcp: [9180]}}",
        "telemetry: {metrics_listen: \"127.0.0.1:0\", control_listen: \"127.0.0.1:0\"}",
    ] {
        assert!(read(fine).is_ok(), "{fine}");
    }
}

#[test]
fn http_listeners_are_a_port_or_a_list() {
    let read_all = |text: &str| -> Vec<String> { read(text).unwrap().listeners.iter().map(|l| format!("{} {}", l.id, l.value)).collect() };
    assert_eq!(read_all("gateway: {node_listen: 9080}"), [r#"conf-http-0 {"protocol":"http","addr":["0.0.0.0:9080"]}"#]);
    assert_eq!(
        read_all(
            "apisix: {proxy_mode: http, node_listen: [9080, {port: 9081, enable_http2: true}, {ip: \"::1\", port: 9082, enable_http2: false}]}"
        ),
        [
            r#"conf-http-0 {"protocol":"http","addr":["0.0.0.0:9080"]}"#,
            r#"conf-http-1 {"protocol":"http","addr":["0.0.0.0:9081"],"http":{"versions":["h1","h2"]}}"#,
            r#"conf-http-2 {"protocol":"http","addr":["[::1]:9082"],"http":{"versions":["h1"]}}"#,
        ]
    );
    assert_eq!(
        read_all(
            "apisix: {ssl: {enable: true, listen: [{port: 9443}, {ip: \"::1\", port: 9444, enable_http2: false, enable_http3: false}]}}"
        ),
        [
            r#"conf-https-0 {"protocol":"http","addr":["0.0.0.0:9443"],"tls":true}"#,
            r#"conf-https-1 {"protocol":"http","addr":["[::1]:9444"],"tls":true,"http":{"versions":["h1"]}}"#,
        ]
    );
    assert!(read_all("gateway: {ssl: {enable: false, listen: 9443}}").is_empty());
    assert!(read_all("gateway: {proxy_mode: stream, ssl: {listen: 9443}}").is_empty());
    for (text, says) in [
        ("gateway:\n  node_listen: 70000\n", "port out of range (1-65535): 70000"),
        ("gateway:\n  node_listen: 0\n", "invalid node_listen entry: port out of range (1-65535): 0"),
        ("gateway:\n  node_listen: []\n", "node_listen needs at least one entry"),
        ("gateway:\n  node_listen: [9080, 9080]\n", "invalid node_listen entry: 0.0.0.0:9080 collides with an earlier entry"),
        ("gateway:\n  node_listen: [{prot: 9080}]\n", "unknown key `prot` in `gateway.node_listen[0]` (did you mean `port`?)"),
        ("gateway:\n  node_listen: [{ip: here, port: 9080}]\n", "`gateway.node_listen[0].ip`"),
        (
            "gateway:\n  node_listen: 9100\n  stream_proxy: {tcp: [9100]}\n",
            "gateway.node_listen (0.0.0.0:9100) and gateway.stream_proxy.tcp (0.0.0.0:9100) want the same port",
        ),
        ("gateway:\n  ssl: {listen: []}\n", "ssl.listen needs at least one entry"),
        ("gateway:\n  ssl: {listen: [{port: 9443, enable_http3: true}]}\n", "this build does not serve HTTP/3 yet"),
        ("gateway:\n  node_listen: 9443\n  ssl: {listen: 9443}\n", "invalid ssl.listen entry: 0.0.0.0:9443 collides with an earlier entry"),
        (
            "gateway:\n  ssl: {listen: 9100}\n  stream_proxy: {tcp: [9100]}\n",
            "gateway.ssl.listen (0.0.0.0:9100) and gateway.stream_proxy.tcp (0.0.0.0:9100) want the same port",
        ),
        (
            "gateway:\n  node_listen: 9180\n",
            "deployment.admin.admin_listen (127.0.0.1:9180) and gateway.node_listen (0.0.0.0:9180) want the same port",
        ),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(says), "{text}: {error}");
    }
}
