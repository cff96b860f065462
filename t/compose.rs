//! The fleet in containers, as far as it can be tested without Docker: the files fit together, the gateway takes its configuration, and
//! what runs inside of containers (the health check, the demo's objects) does what it should.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use regex::Regex;
use serde_json::{Map, Value};
use sluice::base::id::{Id, Key, Kind};
use sluice::conf::{Conf as Loaded, Provider};
use sluice::control::ingest::{Ingest, Verdict};
use sluice::schema::Schemas;

use crate::support::{Conf, Gateway, ports};

const CONFIG: &str = "conf/compose/config.yaml";
const GATEWAYS: [&str; 2] = ["gateway-1", "gateway-2"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn yaml(name: &str) -> Value {
    merged(serde_saphyr::from_str(&text(name)).unwrap_or_else(|e| panic!("{name}: {e}")))
}

/// With every `<<` merged into the map that it stands in; the map's own keys win.
fn merged(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(merged).collect()),
        Value::Object(entries) => {
            let (mut out, mut own) = (Map::new(), Map::new());
            for (key, value) in entries {
                match (key.as_str(), merged(value)) {
                    ("<<", Value::Object(base)) => out.extend(base),
                    (_, value) => {
                        own.insert(key, value);
                    }
                }
            }
            out.extend(own);
            Value::Object(out)
        }
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => plain,
    }
}

fn services() -> Map<String, Value> {
    yaml("docker-compose.yml")["services"].as_object().unwrap().clone()
}

fn list<'a>(value: &'a Value, key: &str) -> Vec<&'a str> {
    value[key].as_array().map(|all| all.iter().map(|v| v.as_str().unwrap()).collect()).unwrap_or_default()
}

fn names(of: &Value) -> BTreeSet<&str> {
    of.as_object().unwrap().keys().map(String::as_str).collect()
}

/// `(source, target)` of every volume of a service.
fn volumes(service: &Value) -> Vec<(&str, &str)> {
    list(service, "volumes").iter().map(|v| v.split_once(':').unwrap()).map(|(from, to)| (from, to.trim_end_matches(":ro"))).collect()
}

/// `(port on this machine, port inside)` of every published port of a service; all are published on loopback.
fn published(service: &Value) -> Vec<(u16, u16)> {
    let port = |entry: &&str| {
        let (outside, inside) =
            entry.strip_prefix("127.0.0.1:").unwrap_or_else(|| panic!("{entry} is open to others")).split_once(':').unwrap();
        (outside.parse().unwrap(), inside.parse().unwrap())
    };
    list(service, "ports").iter().map(port).collect()
}

/// The configuration as a gateway of that name reads it.
fn load(gateway: &str) -> Result<Loaded, sluice::conf::ConfError> {
    let all = services();
    let environment: BTreeMap<String, String> = all[gateway]["environment"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
        .map(|(name, value)| if value.starts_with("${") { (name, "a-secret-that-make-up-wrote-000000".to_owned()) } else { (name, value) })
        .collect();
    sluice::conf::load(&root().join(CONFIG), &|name| environment.get(name).cloned())
}

#[test]
fn images_are_pinned_to_a_release() {
    let release = Regex::new(r":v?\d+\.\d+(\.\d+)?(-[a-z0-9-]+)?$").unwrap();
    for (name, service) in services() {
        let image = service["image"].as_str().unwrap();
        if service["build"].is_null() {
            assert!(release.is_match(image), "{name}: {image}");
        } else {
            assert_eq!((&service["build"], image), (&Value::from("."), "sluice:local"), "{name}");
        }
    }
    let bases: Vec<String> = text("Dockerfile").lines().filter_map(|l| l.strip_prefix("FROM ")).map(ToOwned::to_owned).collect();
    assert_eq!(bases.len(), 2, "one stage builds, one runs");
    for base in bases {
        let image = base.split(' ').next().unwrap();
        assert!(release.is_match(image), "{image}");
    }
}

#[test]
fn what_services_name_is_there() {
    let compose = yaml("docker-compose.yml");
    let (networks, named, all) = (names(&compose["networks"]), names(&compose["volumes"]), services());
    let (mut outside, mut used) = (BTreeSet::new(), BTreeSet::new());
    for (name, service) in &all {
        for (from, _) in volumes(service) {
            if from.starts_with("./") {
                assert!(root().join(from).exists(), "{name} mounts {from}");
            } else {
                assert!(named.contains(from), "{name}: no volume {from}");
                assert!(used.insert(from.to_owned()), "{from} belongs to two services");
            }
        }
        assert!(!list(service, "networks").is_empty(), "{name}");
        assert!(list(service, "networks").iter().all(|n| networks.contains(n)), "{name}");
        for needed in service["depends_on"].as_object().into_iter().flat_map(Map::keys) {
            assert!(all[needed]["healthcheck"].is_object(), "{name} waits for the health of {needed}");
        }
        for (port, _) in published(service) {
            assert!(outside.insert(port), "{name}: {port} is published twice");
        }
    }
    assert_eq!(used.len(), named.len(), "a volume that nobody uses");
}

#[test]
fn no_secret_is_written_down() {
    let from_outside = Regex::new(r"^\$\{[A-Z_]+:\?.+\}$").unwrap();
    let mut secrets = 0;
    for (name, service) in services() {
        for (variable, value) in service["environment"].as_object().into_iter().flatten() {
            if variable.ends_with("_KEY") || variable.ends_with("_PASSWORD") {
                assert!(from_outside.is_match(value.as_str().unwrap()), "{name}: {variable}");
                secrets += 1;
            }
        }
    }
    assert_eq!(secrets, 4, "two gateways, the demo, Grafana");
    assert!(text(".gitignore").lines().any(|l| l == "/.env"));
    assert!(text(CONFIG).contains("key: ${{ADMIN_KEY}}"));
}

#[test]
fn the_gateways_take_their_configuration() {
    for gateway in GATEWAYS {
        let conf = load(gateway).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(sluice::app::refusals(&conf), Vec::<String>::new());
        assert_eq!(conf.instance_id.as_ref().map(ToString::to_string).as_deref(), Some(gateway));
        assert_eq!(conf.prefix, "/sluice");
        let admin = conf.admin.as_ref().unwrap();
        assert!(admin.key_required && admin.keys.iter().all(|k| k.key.is_some()), "the key is not generated: nobody would find it");

        // what is published leads to something that listens
        let serving: Vec<u16> = [conf.control_listen.unwrap().port(), admin.listen.port()]
            .into_iter()
            .chain(conf.listeners.iter().map(|l| port_of(&l.value["addr"])))
            .collect();
        let service = services()[gateway].clone();
        for (_, inside) in published(&service) {
            assert!(serving.contains(&inside), "{gateway}: nobody listens on {inside}");
        }
        let grace = sluice::base::duration::parse(service["stop_grace_period"].as_str().unwrap()).unwrap();
        assert!(grace > conf.drain_timeout, "{gateway} is killed before its sessions have ended");
        let kept = volumes(&service).into_iter().find(|(_, to)| to.ends_with("/data")).unwrap().1;
        assert!(text("Dockerfile").contains(&format!("--chown=65532:65532 /out/data {kept}\n")), "{gateway} cannot write to {kept}");
    }
}

/// The port of a listener with one address.
fn port_of(addr: &Value) -> u16 {
    let addr = addr.as_array().map_or(addr, |all| &all[0]);
    addr.as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap()
}

#[test]
fn the_gateways_find_their_store() {
    let conf: Value = serde_saphyr::from_str(&text(CONFIG)).unwrap();
    let all = services();
    let hosts = list(&conf["deployment"]["etcd"], "host");
    assert_eq!(hosts, ["http://etcd-1:2379", "http://etcd-2:2379", "http://etcd-3:2379"]);
    for gateway in GATEWAYS {
        let Provider::Etcd(read) = load(gateway).unwrap().provider else { panic!("no etcd") };
        assert_eq!(read.hosts, hosts);
    }
    for host in hosts {
        let name = host.strip_prefix("http://").unwrap().split(':').next().unwrap();
        let environment = &all[name]["environment"];
        assert_eq!((environment["ETCD_NAME"].as_str(), environment["ETCD_ADVERTISE_CLIENT_URLS"].as_str()), (Some(name), Some(host)));
        let peer = &environment["ETCD_INITIAL_ADVERTISE_PEER_URLS"];
        let members = environment["ETCD_INITIAL_CLUSTER"].as_str().unwrap();
        assert!(members.split(',').any(|m| *m == format!("{name}={}", peer.as_str().unwrap())), "{members}");
        for gateway in GATEWAYS {
            assert!(list(&all[gateway], "networks").iter().any(|n| list(&all[name], "networks").contains(n)), "{gateway} and {name}");
        }
    }
}

#[test]
fn prometheus_and_grafana_find_what_they_watch() {
    let all = services();
    let prometheus = yaml("conf/prometheus/prometheus.yml");
    let metrics = load(GATEWAYS[0]).unwrap().metrics_listen.unwrap().port();
    for job in prometheus["scrape_configs"].as_array().unwrap() {
        for target in list(&job["static_configs"][0], "targets") {
            let (name, port) = target.split_once(':').unwrap();
            if name == "localhost" {
                continue;
            }
            let service = all.get(name).unwrap_or_else(|| panic!("no service {name}"));
            assert!(list(service, "networks").iter().any(|n| list(&all["prometheus"], "networks").contains(n)), "{name} is out of reach");
            let expected = if job["job_name"] == "sluice" { metrics.to_string() } else { "2379".to_owned() };
            assert_eq!(port, expected, "{target}");
        }
    }
    let files: Vec<(&str, &str)> = volumes(&all["prometheus"]);
    for rules in list(&prometheus, "rule_files") {
        assert!(files.iter().any(|(_, to)| *to == format!("/etc/prometheus/{rules}")), "{rules}");
    }
    let source = yaml("conf/grafana/provisioning/datasources/prometheus.yml");
    assert_eq!(source["datasources"][0]["url"], "http://prometheus:9090");
    let provider = yaml("conf/grafana/provisioning/dashboards/sluice.yml");
    let path = provider["providers"][0]["options"]["path"].as_str().unwrap();
    let mounted = volumes(&all["grafana"]);
    assert!(
        mounted.contains(&("./conf/grafana/dashboards", path))
            && mounted.contains(&("./conf/grafana/provisioning", "/etc/grafana/provisioning"))
    );
    let home = all["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].as_str().unwrap();
    assert!(root().join("conf/grafana/dashboards").join(home.strip_prefix(&format!("{path}/")).unwrap()).exists(), "{home}");
}

#[test]
fn the_image_is_built_from_what_the_build_may_see_and_runs_as_nobody() {
    let (file, ignored) = (text("Dockerfile"), text(".dockerignore"));
    let seen: BTreeSet<&str> = ignored.lines().filter_map(|l| l.strip_prefix('!')).collect();
    assert!(ignored.lines().any(|l| l == "*"), "everything else stays outside");
    let mut copied = BTreeSet::new();
    for line in file.lines().filter_map(|l| l.strip_prefix("COPY ")).filter(|l| !l.starts_with("--from")) {
        let words: Vec<&str> = line.split(' ').collect();
        copied.extend(words[..words.len() - 1].iter().copied());
    }
    assert_eq!(copied, seen, "what is copied and what may be seen");
    assert!(copied.iter().all(|name| root().join(name).exists()), "{copied:?}");
    // what the sources take in must be among it
    let included = Regex::new(r#"include_(?:str|bytes)!\("([^"]+)"\)"#).unwrap();
    for source in sources(&root().join("src")) {
        let folder = source.parent().unwrap();
        for found in included.captures_iter(&std::fs::read_to_string(&source).unwrap()) {
            let path = folder.join(&found[1]).canonicalize().unwrap();
            let top = path.strip_prefix(root().canonicalize().unwrap()).unwrap().iter().next().unwrap().to_str().unwrap();
            assert!(copied.contains(top), "{}: {}", source.display(), &found[1]);
        }
    }
    let user = file.lines().filter_map(|l| l.strip_prefix("USER ")).next_back().unwrap();
    assert!(!user.starts_with('0') && !user.starts_with("root"), "{user}");
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

#[test]
fn the_health_check_tells_a_ready_gateway_from_one_that_is_not_there() {
    let check = services()["gateway-1"]["healthcheck"]["test"].clone();
    let words: Vec<&str> = check.as_array().unwrap().iter().map(|w| w.as_str().unwrap()).collect();
    assert_eq!(words[..3], ["CMD", "bash", "-c"]);
    let asks = |port: u16| {
        let script = words[3].replace("/9091", &format!("/{port}"));
        assert_ne!(script, words[3]);
        Command::new("timeout").args(["5", "bash", "-c", &script]).output().unwrap().status.success()
    };
    let gateway = Gateway::start(Conf::new());
    assert!(asks(gateway.conf.metrics_port));
    assert!(!asks(ports::free()), "nobody is there");
    // a required port that somebody has: it lives, and is not ready
    let squatter = std::net::TcpListener::bind(ports::free_addr()).unwrap();
    let busy = Gateway::launch(&[], Conf::new().tcp(format!("\"{}\"", squatter.local_addr().unwrap())));
    crate::support::soon("it answers", || busy.readyz().is_some());
    assert!(!asks(busy.conf.metrics_port));
}

#[test]
fn the_demo_puts_objects_that_lead_from_the_gateway_to_the_demo_upstream() {
    let ingest = Ingest::new(Arc::new(Schemas::compile().unwrap()));
    let read = |kind: Kind| {
        let value = text(&format!("conf/compose/demo/{}.json", kind.singular()));
        match ingest.read(&Key::new(kind, Id::parse("demo").unwrap()), value.as_bytes(), 0) {
            Verdict::Accepted(_) => serde_json::from_str::<Value>(&value).unwrap(),
            Verdict::Rejected(rejected) => panic!("{rejected:?}"),
        }
    };
    let (upstream, route) = (read(Kind::Upstream), read(Kind::StreamRoute));
    let conf = load(GATEWAYS[0]).unwrap();
    assert!(conf.listeners.iter().any(|l| u64::from(port_of(&l.value["addr"])) == route["server_port"]));
    assert_eq!(route["upstream_id"], "demo");
    let all = services();
    let node = names(&upstream["nodes"]).into_iter().next().unwrap();
    let (host, port) = node.split_once(':').unwrap();
    assert_eq!(list(&all[host], "command"), ["--port", port]);

    let gateway = Gateway::start(Conf::new());
    let put = |key: &str| -> Output {
        Command::new(root().join("conf/compose/demo/put.sh"))
            .env("ADMIN", format!("http://{}", gateway.admin_addr()))
            .env("ADMIN_KEY", key)
            .output()
            .unwrap()
    };
    assert!(!put("wrong").status.success());
    let done = put(&gateway.conf.admin_key);
    assert!(done.status.success(), "{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert_eq!(gateway.admin().get("/stream_routes/demo").json()["value"]["server_port"], route["server_port"]);
    let again = put(&gateway.conf.admin_key);
    assert!(again.status.success(), "a second time is fine");
}
