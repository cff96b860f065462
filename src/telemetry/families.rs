//! Every metric family, declared once with its name, unit and labels; `docs/METRICS.md` lists the same names.

use std::sync::{Arc, Weak};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use super::own::Own;
use super::series::RouteSeries;
use crate::base::id::{Id, Kind};
use crate::base::quota::{Policy, Scope};

/// Bounds for the time of one connect, in seconds.
const CONNECT_SECONDS: [f64; 10] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 3.0];
/// Bounds for the length of a session, in seconds.
const SESSION_SECONDS: [f64; 10] = [0.005, 0.05, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 1800.0, 7200.0];
/// Bounds for the time of one request, in seconds.
const REQUEST_SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];
/// Bounds for the time from a change's arrival to its use by every worker, in seconds.
const APPLY_SECONDS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5];

/// The families. Cheap to clone; all clones are one set.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Families>);

/// What is told of one limit when somebody looks.
#[derive(Clone, Copy, Debug)]
pub struct LimitFigures<'a> {
    /// The kind of the object that carries it, as in `config_objects`.
    pub kind: &'a str,
    /// The route that carries it; empty for the global one.
    pub route: &'a str,
    /// How it counts.
    pub policy: Policy,
    /// What its numbers are meant for.
    pub scope: Scope,
    /// How many wait.
    pub queued: usize,
    /// How many keys it knows, if it has any.
    pub keys: Option<usize>,
}

/// Fields are the families by their name without the prefix `sluice_`.
#[derive(Debug)]
pub struct Families {
    registry: Registry,
    routes: DashMap<(Kind, Option<Id>), Weak<RouteSeries>>,
    pub(super) connections_total: IntCounterVec,
    pub(super) connections_active: IntGaugeVec,
    pub(super) connections_closed_total: IntCounterVec,
    pub(super) connection_duration_seconds: HistogramVec,
    pub(super) bytes_total: IntCounterVec,
    pub(super) limiter_allowed_total: IntCounterVec,
    pub(super) limiter_rejections_total: IntCounterVec,
    pub(super) limiter_queue_length: IntGaugeVec,
    pub(super) limiter_keys: IntGaugeVec,
    pub(super) upstream_connect_seconds: HistogramVec,
    pub(super) upstream_connect_failures_total: IntCounterVec,
    pub(super) http_requests_total: IntCounterVec,
    pub(super) http_request_seconds: HistogramVec,
    pub(super) udp_sessions_total: IntCounterVec,
    pub(super) udp_sessions_active: IntGaugeVec,
    pub(super) udp_datagrams_total: IntCounterVec,
    pub(super) udp_dropped_total: IntCounterVec,
    pub upstream_nodes: IntGaugeVec,
    pub listeners: IntGaugeVec,
    pub listener_bind_failures_total: IntCounterVec,
    pub(super) tls_handshakes_total: IntCounterVec,
    pub(super) tls_handshake_failures_total: IntCounterVec,
    pub config_objects: IntGaugeVec,
    pub config_rejections_total: IntCounterVec,
    pub config_revision: IntGaugeVec,
    pub config_apply_seconds: Histogram,
    pub config_resyncs_total: IntCounterVec,
    pub config_stale: IntGauge,
    pub config_held: IntGauge,
    pub store_up: IntGauge,
    pub(super) ready: IntGauge,
    pub store_errors_total: IntCounterVec,
    pub admin_auth_failures_total: IntCounterVec,
    pub(super) status_publish_errors_total: IntCounter,
    pub accept_pauses_total: IntCounterVec,
    pub log_dropped_total: IntCounterVec,
    pub task_panics_total: IntCounterVec,
    pub tls_certificate_not_after_timestamp_seconds: IntGaugeVec,
    pub build_info: GaugeVec,
    pub start_time_seconds: Gauge,
}

impl std::ops::Deref for Metrics {
    type Target = Families;

    fn deref(&self) -> &Families {
        &self.0
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("sluice")
}

fn hist(name: &str, help: &str, bounds: &[f64]) -> HistogramOpts {
    HistogramOpts::new(name, help).namespace("sluice").buckets(bounds.to_vec())
}

impl Metrics {
    /// Declares every family in a registry of its own, with the process's figures.
    #[expect(clippy::too_many_lines, reason = "the one list of all families")]
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counters = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
            let family = IntCounterVec::new(opts(name, help), labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok(family)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| -> Result<IntGaugeVec, prometheus::Error> {
            let family = IntGaugeVec::new(opts(name, help), labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok(family)
        };
        let histograms = |name: &str, help: &str, bounds: &[f64], labels: &[&str]| -> Result<HistogramVec, prometheus::Error> {
            let family = HistogramVec::new(hist(name, help, bounds), labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok(family)
        };
        let apply =
            Histogram::with_opts(hist("config_apply_seconds", "Time from a change's arrival until every worker uses it", &APPLY_SECONDS))?;
        registry.register(Box::new(apply.clone()))?;
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let family = IntGauge::with_opts(opts(name, help))?;
            registry.register(Box::new(family.clone()))?;
            Ok(family)
        };
        let status_errors = IntCounter::with_opts(opts("status_publish_errors_total", "Writes of this instance's status that failed"))?;
        registry.register(Box::new(status_errors.clone()))?;
        let build_info = GaugeVec::new(opts("build_info", "Always 1; the version is the label"), &["version"])?;
        registry.register(Box::new(build_info.clone()))?;
        let start = Gauge::with_opts(opts("start_time_seconds", "When the process started, in seconds since 1970"))?;
        registry.register(Box::new(start.clone()))?;
        registry.register(Box::new(Own::new()))?;
        let families = Families {
            routes: DashMap::new(),
            connections_total: counters("connections_total", "Sessions accepted", &["route", "listener", "protocol"])?,
            connections_active: gauges("connections_active", "Sessions that run now", &["route", "listener", "protocol"])?,
            connections_closed_total: counters("connections_closed_total", "Sessions that ended, by reason", &["route", "reason"])?,
            connection_duration_seconds: histograms(
                "connection_duration_seconds",
                "Length of ended sessions",
                &SESSION_SECONDS,
                &["route"],
            )?,
            bytes_total: counters("bytes_total", "Bytes moved: in is client to upstream", &["kind", "route", "direction"])?,
            limiter_allowed_total: counters(
                "limiter_allowed_total",
                "Sessions, requests, or datagrams of UDP, that a limit let pass",
                &["kind", "route", "policy", "scope"],
            )?,
            limiter_rejections_total: counters(
                "limiter_rejections_total",
                "Sessions, requests, or datagrams of UDP, that a limit refused, at once or after a wait in vain",
                &["kind", "route", "policy", "scope"],
            )?,
            limiter_queue_length: gauges(
                "limiter_queue_length",
                "Sessions and requests that wait for a permit now",
                &["kind", "route", "policy", "scope"],
            )?,
            limiter_keys: gauges("limiter_keys", "Keys that a limit knows now", &["kind", "route", "policy", "scope"])?,
            upstream_connect_seconds: histograms(
                "upstream_connect_seconds",
                "Time of successful connects",
                &CONNECT_SECONDS,
                &["kind", "route"],
            )?,
            upstream_connect_failures_total: counters(
                "upstream_connect_failures_total",
                "Connects that failed, each try counted",
                &["kind", "route", "node", "reason"],
            )?,
            http_requests_total: counters("http_requests_total", "Requests answered, by class of the status", &["route", "code_class"])?,
            http_request_seconds: histograms(
                "http_request_seconds",
                "Time from a request's head to the end of its answer",
                &REQUEST_SECONDS,
                &["route"],
            )?,
            udp_sessions_total: counters("udp_sessions_total", "UDP sessions accepted", &["route"])?,
            udp_sessions_active: gauges("udp_sessions_active", "UDP sessions that run now", &["route"])?,
            udp_datagrams_total: counters("udp_datagrams_total", "Datagrams passed on: in is client to upstream", &["route", "direction"])?,
            udp_dropped_total: counters("udp_dropped_total", "Datagrams that were not passed on, by reason", &["route", "reason"])?,
            upstream_nodes: gauges("upstream_nodes", "Nodes by state", &["upstream", "state"])?,
            listeners: gauges("listeners", "Ports by state", &["state"])?,
            tls_handshakes_total: counters("tls_handshakes_total", "Handshakes with clients", &["listener", "version", "resumed"])?,
            tls_handshake_failures_total: counters(
                "tls_handshake_failures_total",
                "Handshakes with clients that failed, by reason",
                &["listener", "reason"],
            )?,
            listener_bind_failures_total: counters("listener_bind_failures_total", "Binds that failed, each try counted", &["listener"])?,
            config_objects: gauges("config_objects", "Objects by kind and state", &["kind", "state"])?,
            config_rejections_total: counters("config_rejections_total", "Values refused", &["kind", "stage"])?,
            config_revision: gauges("config_revision", "Store revision seen (store) and used by every worker (applied)", &["which"])?,
            config_apply_seconds: apply,
            config_resyncs_total: counters("config_resyncs_total", "Times that everything was listed again, by reason", &["reason"])?,
            config_stale: gauge("config_stale", "1 while what serves may not be what the store holds")?,
            config_held: gauge("config_held", "Objects that the store has no more and that serve until their deletion is accepted")?,
            store_up: gauge("store_up", "1 while the store answers")?,
            ready: gauge("ready", "1 while /readyz answers 200")?,
            store_errors_total: counters("store_errors_total", "Store calls that failed", &["op"])?,
            admin_auth_failures_total: counters(
                "admin_auth_failures_total",
                "Requests to the Admin API refused for their key",
                &["reason"],
            )?,
            status_publish_errors_total: status_errors,
            accept_pauses_total: counters(
                "accept_pauses_total",
                "Pauses of accepting because the process ran out of a resource",
                &["resource"],
            )?,
            log_dropped_total: counters("log_dropped_total", "Lines dropped because their sink was blocked", &["sink"])?,
            task_panics_total: counters("task_panics_total", "Panics of long-lived tasks, each restarted", &["task"])?,
            tls_certificate_not_after_timestamp_seconds: gauges(
                "tls_certificate_not_after_timestamp_seconds",
                "When the first certificate of an ssl object expires, in seconds since 1970",
                &["cert"],
            )?,
            build_info,
            start_time_seconds: start,
            registry,
        };
        let metrics = Self(Arc::new(families));
        metrics.begin_at_zero();
        Ok(metrics)
    }

    /// The series of a route of its kind, or of what matched none. The same series for the same route as long as anybody holds them;
    /// they leave the output with the last holder.
    pub fn route(&self, kind: Kind, route: Option<&Id>) -> Arc<RouteSeries> {
        let mut place = self.routes.entry((kind, route.cloned())).or_default();
        if let Some(series) = place.upgrade() {
            return series;
        }
        let series = Arc::new(RouteSeries::bind(self.clone(), kind, route.cloned()));
        *place = Arc::downgrade(&series);
        series
    }

    /// Called by the last holder of a route's series. Takes the place back and runs `unbind` before anybody can fill it again;
    /// if somebody already has, answers with who.
    pub(super) fn retire(&self, kind: Kind, route: Option<&Id>, unbind: impl FnOnce()) -> Option<Arc<RouteSeries>> {
        match self.routes.entry((kind, route.cloned())) {
            Entry::Vacant(_) => None,
            Entry::Occupied(place) => {
                let successor = place.get().upgrade();
                if successor.is_none() {
                    unbind();
                    place.remove();
                }
                successor
            }
        }
    }

    /// Sets `listeners{state}`: the number of ports for each state.
    #[expect(clippy::disallowed_methods, reason = "set as a whole when somebody looks, not on the data path")]
    pub fn set_listeners<'a>(&self, counts: impl IntoIterator<Item = (&'a str, usize)>) {
        for (state, count) in counts {
            self.listeners.with_label_values(&[state]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Sets `upstream_nodes{upstream,state}`: the number of nodes for each upstream and state. What is not given is taken out.
    #[expect(clippy::disallowed_methods, reason = "set as a whole when somebody looks, not on the data path")]
    pub fn set_upstream_nodes<'a>(&self, counts: impl IntoIterator<Item = (&'a str, &'a str, usize)>) {
        self.upstream_nodes.reset();
        for (upstream, state, count) in counts {
            self.upstream_nodes.with_label_values(&[upstream, state]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Sets `limiter_queue_length` and `limiter_keys`. What is not given is taken out; several of one route are one.
    #[expect(clippy::disallowed_methods, reason = "set as a whole when somebody looks, not on the data path")]
    pub fn set_limits<'a>(&self, limits: impl IntoIterator<Item = LimitFigures<'a>>) {
        self.limiter_queue_length.reset();
        self.limiter_keys.reset();
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        for limit in limits {
            let labels = [limit.kind, limit.route, limit.policy.as_str(), limit.scope.as_str()];
            self.limiter_queue_length.with_label_values(&labels).add(number(limit.queued));
            if let Some(keys) = limit.keys {
                self.limiter_keys.with_label_values(&labels).add(number(keys));
            }
        }
    }

    /// Everything in the Prometheus text format, version 0.0.4.
    pub fn encode(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut out = Vec::with_capacity(16 * 1024);
        TextEncoder::new().encode(&self.registry.gather(), &mut out)?;
        Ok(out)
    }
}
