//! What we ship for watching the gateways works: names and rules pass promtool, and a real Prometheus that scrapes two gateways under
//! load takes every expression of every dashboard and alert and has an answer.

mod prom;
mod sheet;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cases_m::{pairs, ssl};
use crate::support::gateway::upstream;
use crate::support::h1::{self, origin};
use crate::support::store::put_raw;
use crate::support::upstream::{self as servers, Refusing, Server};
use crate::support::{Conf, Gateway, client, http, poll, ports, soon};
use prom::{Prometheus, promtool};
use sheet::{alerts, dashboards, documented, expressions, panels, substituted, unknown};

/// A gateway that has one of everything that a dashboard may ask for: a route that serves, one whose node refuses, one with a
/// limit, a port that somebody else has, an object that was refused.
struct Watched {
    gateway: Gateway,
    serves: SocketAddr,
    fails: SocketAddr,
    limited: SocketAddr,
    web: SocketAddr,
    echo: Server,
    _origin: Server,
    _refusing: Refusing,
    _squatter: TcpListener,
    _store: tempfile::TempDir,
}

impl Watched {
    fn start() -> Self {
        let store = tempfile::tempdir().unwrap();
        let mut conf = Conf::new();
        conf.store = Some(store.path().join("store.redb"));
        put_raw(&store.path().join("store.redb"), &[("/sluice/upstreams/bad".into(), br#"{"nodse":{}}"#.to_vec())]);
        let web = ports::free_addr();
        let gateway = Gateway::start(conf.http(format!("{{ip: 127.0.0.1, port: {}}}", web.port())));
        let origin = origin("A");
        for (id, path) in [("site", "*"), ("api", "/api*")] {
            gateway.admin().must_put("routes", id, &json!({"match": {"paths": [path]}, "upstream": upstream(&[&origin.node()])}));
        }
        let second = ports::free_addr();
        gateway.put_live("listeners", "web", &json!({"protocol": "http", "addr": second.to_string()}));
        assert_eq!(h1::get(second, "/api").status(), 200);
        let (echo, refusing, squatter) = (servers::echo(), servers::refusing(), TcpListener::bind(ports::free_addr()).unwrap());
        let [serves, fails, limited] = [(); 3].map(|()| ports::free_addr());
        for (id, node, addr) in [("mysql", echo.node(), serves), ("broken", refusing.addr.to_string(), fails)] {
            gateway.admin().must_put("upstreams", id, &upstream(&[&node]));
            gateway.admin().must_put("stream_routes", id, &json!({"server_port": addr.port(), "upstream_id": id}));
            gateway.listen(id, addr);
        }
        let limit = json!({"policy": "token_bucket", "by": "key", "permit_limit": 2, "tokens_per_period": 1, "window": "1s"});
        let route = json!({"server_port": limited.port(), "upstream_id": "mysql", "limit": limit});
        gateway.admin().must_put("stream_routes", "limited", &route);
        gateway.listen("limited", limited);
        gateway.admin().must_put("ssls", "site", &ssl(&pairs().0));
        let busy = squatter.local_addr().unwrap().to_string();
        gateway.admin().must_put("listeners", "busy", &json!({"protocol": "tcp", "addr": busy}));
        Self { gateway, serves, fails, limited, web, echo, _origin: origin, _refusing: refusing, _squatter: squatter, _store: store }
    }

    fn metrics(&self) -> String {
        let answer = http::call(self.gateway.metrics_addr(), "GET", "/metrics", &[], b"").unwrap();
        assert_eq!(answer.status, 200);
        answer.text()
    }
}

/// Clients that come and go, clients that stay, and an operator who changes something, until it is dropped.
struct Load {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    fn on(gateways: &[Watched]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let targets: Vec<_> = gateways.iter().map(|w| ([w.serves, w.fails, w.limited, w.web], w.gateway.admin())).collect();
        let nodes: Vec<_> = gateways.iter().map(|w| w.echo.node()).collect();
        let thread = std::thread::spawn(move || {
            let mut staying: Vec<TcpStream> = targets.iter().map(|([serves, ..], _)| client::connect(*serves)).collect();
            while !stopped.load(Ordering::Acquire) {
                for (([serves, fails, limited, web], admin), node) in targets.iter().zip(&nodes) {
                    client::ping(&mut client::connect(*serves), &[7; 1000]).unwrap();
                    let mut refused = client::connect(*fails);
                    // it is closed as soon as the node has refused
                    let _ = refused.write_all(b"x").and_then(|()| refused.read(&mut [0; 8]));
                    // served, or closed at once
                    let _ = client::ping(&mut client::connect(*limited), b"x");
                    assert_eq!(h1::get(*web, "/status/500").status(), 500);
                    assert_eq!(h1::get(*web, "/").json()["up"], "A");
                    admin.must_put("upstreams", "changes", &upstream(&[node]));
                }
                for stream in &mut staying {
                    client::ping(stream, &[7; 1000]).unwrap();
                }
                std::thread::park_timeout(Duration::from_millis(100));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking(), "the load failed");
    }
}

#[test]
fn the_metrics_of_a_busy_gateway_pass_promtool() {
    let watched = [Watched::start()];
    let _load = Load::on(&watched);
    let has = |name: &str| watched[0].metrics().contains(name);
    for name in
        ["upstream_connect_failures_total{", "connections_closed_total{", "listener_bind_failures_total{", "config_rejections_total{"]
    {
        soon(name, || has(name));
    }
    let text = watched[0].metrics();
    assert_eq!(promtool(&["check", "metrics"], text.as_bytes()), "", "promtool has something to say about\n{text}");
}

#[test]
fn what_should_never_happen_is_exported_as_zero() {
    let watched = Watched::start();
    let text = watched.metrics();
    let zero = |name: &str, label: &str, word: &str| {
        assert!(text.contains(&format!("\n{name}{{{label}=\"{word}\"}} 0\n")), "{name} of {word}\n{text}");
    };
    for word in ["descriptors", "memory"] {
        zero("sluice_accept_pauses_total", "resource", word);
    }
    for sink in ["access", "log"] {
        zero("sluice_log_dropped_total", "sink", sink);
    }
    for task in sheet::tasks() {
        zero("sluice_task_panics_total", "task", &task);
    }
}

#[test]
fn configuration_and_alerts_pass_promtool_and_their_unit_tests() {
    promtool(&["check", "config", "prometheus.yml"], b"");
    promtool(&["check", "rules", "--lint=all", "--lint-fatal", "alerts.yml"], b"");
    promtool(&["test", "rules", "alerts_test.yml"], b"");
}

#[test]
fn every_alert_is_tested_and_explained() {
    let tests = sheet::text("conf/prometheus/alerts_test.yml");
    let page = sheet::text("docs/ALERTS.md");
    let rules = sheet::yaml("conf/prometheus/alerts.yml");
    let all = alerts();
    assert_eq!(all.iter().map(|(name, _)| name).collect::<BTreeSet<_>>().len(), all.len(), "a name twice");
    for rule in rules["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()) {
        let name = rule["alert"].as_str().unwrap();
        let fires = [format!("ALERTS{{alertname=\"{name}\", alertstate=\"firing\", instance="), format!("alertname: {name}\n")];
        let tested = tests.contains(&fires[0])
            || tests.split(&fires[1]).skip(1).any(|after| after.split("alertname:").next().unwrap().contains("exp_alerts:"));
        assert!(tested, "{name} never fires in a test");
        assert!(page.contains(&format!("\n## {name}\n")), "docs/ALERTS.md does not explain {name}");
        let annotations = &rule["annotations"];
        assert_eq!(annotations["runbook"], format!("docs/ALERTS.md#{}", name.to_lowercase()));
        assert!(annotations["summary"].is_string() && annotations["description"].is_string(), "{name}");
        assert!(["critical", "warning"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{name}");
    }
    let explained = page.lines().filter(|l| l.starts_with("## Sluice")).count();
    assert_eq!(explained, all.len(), "docs/ALERTS.md explains an alert that there is not");
}

#[test]
fn every_dashboard_is_complete() {
    let all = dashboards();
    assert_eq!(all.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["http", "overview", "route"]);
    let uids: Vec<String> = all.iter().map(|(_, d)| d["uid"].as_str().unwrap().to_owned()).collect();
    for (name, dashboard) in &all {
        assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 37, "{name}");
        let variables: Vec<&str> =
            dashboard["templating"]["list"].as_array().unwrap().iter().map(|v| v["name"].as_str().unwrap()).collect();
        let known = ["datasource", "instance", "kind", "route", "listener"];
        let wanted: Vec<&str> = known.into_iter().filter(|known| *known != "kind" || name == "route").collect();
        assert_eq!(variables, wanted, "{name}");
        let own = dashboard["uid"].as_str().unwrap();
        for other in uids.iter().filter(|uid| *uid != own) {
            let links = dashboard["links"].as_array().unwrap();
            assert!(links.iter().any(|l| l["url"] == format!("/d/{other}") && l["includeVars"] == true), "{name} does not lead to {other}");
        }
        let (mut ids, mut titles) = (BTreeSet::new(), BTreeSet::new());
        for panel in panels(dashboard) {
            let title = panel["title"].as_str().unwrap();
            assert!(ids.insert(panel["id"].as_u64().unwrap()) && titles.insert(title), "{name}: {title} twice");
            assert!(panel["description"].as_str().is_some_and(|d| d.len() > 20), "{name}: {title} has no description");
            assert!(panel["fieldConfig"]["defaults"]["unit"].as_str().is_some_and(|u| !u.is_empty()), "{name}: {title} has no unit");
            assert!(!expressions(panel).is_empty(), "{name}: {title}");
            for place in panel["targets"].as_array().unwrap().iter().chain([panel]) {
                assert_eq!(place["datasource"]["uid"], "${datasource}", "{name}: {title}");
            }
            for expression in expressions(panel) {
                assert!(expression.contains("$instance"), "{name}: {title} does not heed the chosen instances: {expression}");
            }
        }
        no_panel_covers_another(name, dashboard);
    }
}

fn no_panel_covers_another(name: &str, dashboard: &Value) {
    let mut taken = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(x + w <= 24, "{name}: {}", panel["title"]);
        for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(place), "{name}: {} covers another panel", panel["title"]);
        }
    }
}

#[test]
fn dashboards_and_alerts_name_only_metrics_and_labels_that_are_documented() {
    let known = documented();
    let mut all: Vec<(String, String)> = alerts();
    for (name, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            all.extend(expressions(panel).into_iter().map(|e| (format!("{name}: {}", panel["title"]), e)));
        }
        for variable in dashboard["templating"]["list"].as_array().unwrap() {
            all.extend(variable["definition"].as_str().map(|query| (name.clone(), query.to_owned())));
        }
    }
    for (place, expression) in &all {
        assert_eq!(unknown(expression, &known), Vec::<String>::new(), "{place}: {expression}");
        assert!(!sheet::named(expression).is_empty(), "{place}: {expression} names no metric");
    }
}

#[test]
fn a_prometheus_that_watches_two_busy_gateways_answers_every_dashboard_and_alert() {
    let watched = [Watched::start(), Watched::start()];
    let load = Load::on(&watched);
    let prometheus = Prometheus::start([watched[0].gateway.metrics_addr(), watched[1].gateway.metrics_addr()]);
    soon("both are scraped", || prometheus.values("up{job=\"sluice\"} == 1").len() == 2);

    for (name, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            for expression in expressions(panel) {
                let sent = substituted(&expression);
                let what = format!("{name}: {} has data: {sent}", panel["title"]);
                poll::until(Duration::from_secs(40), &what, || {
                    prometheus.values(&sent).iter().any(|value| value.is_finite()).then_some(())
                });
            }
        }
        for variable in dashboard["templating"]["list"].as_array().unwrap() {
            let Some(query) = variable["definition"].as_str() else { continue };
            let inside = query.strip_prefix("label_values(").unwrap().strip_suffix(')').unwrap();
            let (series, label) = inside.rsplit_once(", ").unwrap();
            let found = prometheus.ask(&format!("label/{label}/values"), &[("match[]", &substituted(series))]);
            assert!(found["data"].as_array().is_some_and(|v| v.len() >= 2), "{query}: {found}");
        }
    }

    for (name, expression) in alerts() {
        // that it is valid is all that can be asked of what should not happen
        prometheus.values(&expression);
        let rules = prometheus.ask("rules", &[("type", "alert")]);
        let all = rules["data"]["groups"].as_array().unwrap().iter().flat_map(|g| g["rules"].as_array().unwrap());
        let rule = all.into_iter().find(|rule| rule["name"] == name.as_str()).unwrap_or_else(|| panic!("{name} is not loaded"));
        assert_eq!((&rule["health"], rule["lastError"].as_str().unwrap_or_default()), (&json!("ok"), ""), "{name}: {rule}");
    }
    // and of what does happen here, that it is noticed
    for name in ["SluiceObjectRejected", "SluiceListenerNotBound", "SluiceConnectFailuresHigh", "SluiceHttpErrorsHigh"] {
        soon(&format!("{name} is noticed"), || !prometheus.values(&format!("ALERTS{{alertname=\"{name}\"}}")).is_empty());
    }
    drop(load);
}
