//! The metrics address: figures for Prometheus, and whether the process lives and is ready. Needs no key; tells no secret.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use hyper::{Method, StatusCode};
use serde_json::json;
use tokio::net::TcpListener;

use super::envelope::Answer;
use super::health;
use super::server::{self, Head, Site};
use crate::base::drain;
use crate::live::applied::Applied;
use crate::live::limits::Limits;
use crate::live::listeners::{PortState, Ports};
use crate::live::nodes::{NodeStatus, Nodes};
use crate::telemetry::{LimitFigures, Metrics};

const PROMETHEUS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// What the metrics address tells of.
#[derive(Clone, Debug)]
pub struct MetricsParts {
    /// The figures.
    pub metrics: Metrics,
    /// The ports, for readiness and for `listeners{state}`.
    pub ports: Ports,
    /// The nodes, for `upstream_nodes{upstream,state}`.
    pub nodes: Nodes,
    /// The limits, for `limiter_queue_length` and `limiter_keys`.
    pub limits: Limits,
    /// The applied revision, for readiness.
    pub applied: Applied,
    /// The end of the process, for readiness and for the server itself.
    pub drain: drain::Watch,
}

/// Serves metrics and health until the process ends.
pub async fn serve_metrics(listener: TcpListener, parts: Arc<MetricsParts>) {
    let drain = parts.drain.clone();
    server::serve(listener, Arc::new(Figures(parts)), drain).await;
}

struct Figures(Arc<MetricsParts>);

#[async_trait]
impl Site for Figures {
    const BODY: usize = 0;

    fn gate(&self, head: &Head) -> Option<Answer> {
        let looks = [Method::GET, Method::HEAD].contains(&head.method);
        Some(match head.segments().as_slice() {
            ["metrics"] | ["apisix", "prometheus", "metrics"] if looks => scrape(&self.0),
            ["healthz"] if looks => Answer::ok(&json!({ "status": "ok" })),
            ["readyz"] if looks => health::ready(self.0.applied.revision(), &self.0.ports.list(), self.0.drain.phase()),
            ["metrics" | "healthz" | "readyz"] | ["apisix", "prometheus", "metrics"] => {
                Answer::not_allowed(format!("not supported `{}` method", head.method), "GET, HEAD")
            }
            _ => Answer::not_found(),
        })
    }

    async fn answer(&self, _head: &Head, _body: Bytes) -> Answer {
        Answer::not_found()
    }
}

/// The figures, those that are states being counted now. Nothing waits in between, so two scrapes cannot mix.
fn scrape(parts: &MetricsParts) -> Answer {
    let ports = parts.ports.list();
    let in_state = |word: &str| ports.iter().filter(|port| port.state.as_str() == word).count();
    parts.metrics.set_listeners(PortState::WORDS.map(|word| (word, in_state(word))));
    parts.metrics.set_ready(health::is_ready(parts.applied.revision(), &ports, parts.drain.phase()));
    let nodes = parts.nodes.list();
    let counts = by_state(&nodes);
    parts.metrics.set_upstream_nodes(
        counts.iter().flat_map(|(upstream, [ready, unresolved])| [(*upstream, "ready", *ready), (*upstream, "unresolved", *unresolved)]),
    );
    let limits = parts.limits.list();
    parts.metrics.set_limits(limits.iter().map(|l| LimitFigures {
        kind: l.kind(),
        route: l.route(),
        policy: l.policy,
        scope: l.scope,
        queued: l.queued,
        keys: l.keys,
    }));
    match parts.metrics.encode() {
        Ok(text) => Answer::raw(StatusCode::OK, PROMETHEUS, text),
        Err(error) => Answer::error(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// For each upstream the nodes that have an address and those that have none.
fn by_state(nodes: &[NodeStatus]) -> BTreeMap<&str, [usize; 2]> {
    let mut counts = BTreeMap::<&str, [usize; 2]>::new();
    for node in nodes {
        let [ready, unresolved] = counts.entry(&node.upstream).or_default();
        *(if node.addresses.is_empty() { unresolved } else { ready }) += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::super::fake;
    use super::*;
    use crate::base::addr::{Port, Protocol, Transport};
    use crate::base::id::Id;
    use crate::live::applied::applied;
    use crate::live::listeners::PortStatus;

    fn parts() -> (MetricsParts, drain::Trigger) {
        let (trigger, drain) = drain::drain();
        let metrics = Metrics::new().unwrap();
        let (ports, nodes, limits) = (Ports::default(), Nodes::default(), Limits::default());
        (MetricsParts { metrics, ports, nodes, limits, applied: applied().1, drain }, trigger)
    }

    async fn get(parts: &MetricsParts, method: &str, uri: &str) -> (u16, serde_json::Value) {
        fake::ask(&Figures(Arc::new(parts.clone())), method, uri, &[], "").await.parts()
    }

    fn node(upstream: &str, resolves: bool) -> NodeStatus {
        let addresses = if resolves { vec!["127.0.0.1:80".parse().unwrap()] } else { vec![] };
        NodeStatus { upstream: upstream.into(), node: "n:80".into(), addresses, weight: 1, priority: 0, in_flight: 0, dns_error: None }
    }

    #[tokio::test]
    async fn ports_and_nodes_are_counted_when_somebody_looks() {
        let (parts, _trigger) = parts();
        let port = Port { transport: Transport::Tcp, addr: "127.0.0.1:9100".parse().unwrap() };
        let (listener, protocol) = (Id::parse("a").unwrap(), Protocol::Tcp);
        parts.ports.set(PortStatus { listener, protocol, port, state: PortState::Active, required: true });
        parts.nodes.provide(Arc::new(|| vec![node("u1", true), node("u1", false), node("u1", true)]));
        let (status, text) = get(&parts, "GET", "/metrics").await;
        let text = text.as_str().unwrap();
        assert_eq!(status, 200);
        for line in [
            r#"sluice_listeners{state="active"} 1"#,
            r#"sluice_listeners{state="failed"} 0"#,
            r#"sluice_upstream_nodes{state="ready",upstream="u1"} 2"#,
            r#"sluice_upstream_nodes{state="unresolved",upstream="u1"} 1"#,
            "# TYPE process_open_fds gauge",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(text.contains("\nsluice_ready 0\n"), "nothing is applied yet");
        parts.nodes.provide(Arc::new(Vec::new));
        let (_, text) = get(&parts, "GET", "/apisix/prometheus/metrics").await;
        assert!(!text.as_str().unwrap().contains("sluice_upstream_nodes{"));
    }

    #[tokio::test]
    async fn health_and_wrong_paths_are_answered_in_json() {
        let (parts, trigger) = parts();
        assert_eq!(get(&parts, "GET", "/healthz").await, (200, json!({ "status": "ok" })));
        assert_eq!(get(&parts, "GET", "/readyz").await.0, 503);
        assert_eq!(get(&parts, "POST", "/metrics").await, (405, json!({ "error_msg": "not supported `POST` method" })));
        assert_eq!(get(&parts, "GET", "/other").await, (404, json!({ "error_msg": "not found" })));
        trigger.advance(drain::Phase::Draining);
        assert_eq!(get(&parts, "GET", "/healthz").await.0, 200);
    }
}
