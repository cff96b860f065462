//! Handles bound once per route, per listener of a route and per failure of a node, so that the data path only adds to numbers.
//! What is bound here is also taken back here, with the last holder. Families and the registry are in `families`.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dashmap::DashMap;
use prometheus::{Histogram, IntCounter, IntGauge};

use super::families::Metrics;
use crate::base::addr::Protocol;
use crate::base::datagram::DropReason;
use crate::base::id::{Id, Kind};
use crate::base::meter::Direction;
use crate::base::quota::{Policy, Scope};
use crate::base::reason::Reason;

/// The series of one route, of streams or of HTTP: both kinds have ids of their own. Shared by the route's compiled form and its
/// sessions; retired with the last of them.
#[derive(Debug)]
pub struct RouteSeries {
    metrics: Metrics,
    kind: Kind,
    route: Option<Id>,
    listeners: DashMap<(Id, Protocol), Arc<ListenerSeries>>,
    failures: DashMap<(String, Reason), IntCounter>,
    closed: [OnceLock<IntCounter>; Reason::ALL.len()],
    /// By policy and scope: a route may count under another one after an edit, and under the global one's.
    limits: [OnceLock<Arc<LimitSeries>>; LIMITS],
    bytes_in: IntCounter,
    bytes_out: IntCounter,
    duration: OnceLock<Histogram>,
    connect: Histogram,
    http: OnceLock<HttpSeries>,
    udp: OnceLock<Box<UdpSeries>>,
}

/// What only UDP sessions have; bound with the first of them.
#[derive(Debug)]
struct UdpSeries {
    total: IntCounter,
    active: IntGauge,
    datagrams_in: IntCounter,
    datagrams_out: IntCounter,
    dropped: [OnceLock<IntCounter>; DropReason::ALL.len()],
}

/// Pairs of a policy and a scope.
const LIMITS: usize = Policy::ALL.len() * Scope::ALL.len();

/// What limits of one policy and scope said to one route.
#[derive(Debug)]
pub struct LimitSeries {
    allowed: IntCounter,
    rejections: IntCounter,
}

impl LimitSeries {
    /// One was let pass.
    pub fn allowed(&self) {
        self.allowed.inc();
    }

    /// One was refused.
    pub fn rejected(&self) {
        self.rejections.inc();
    }
}

/// The series of one route's requests; bound with the first of them.
#[derive(Debug)]
struct HttpSeries {
    classes: [IntCounter; CLASSES.len()],
    seconds: Histogram,
}

/// The classes of status codes (RFC 9110, 15).
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The series of one route's sessions that came through one listener.
#[derive(Debug)]
pub struct ListenerSeries {
    total: IntCounter,
    active: IntGauge,
}

#[expect(clippy::disallowed_methods, reason = "the one place where handles are bound")]
impl RouteSeries {
    pub(super) fn bind(metrics: Metrics, kind: Kind, route: Option<Id>) -> Self {
        let label = route.as_ref().map_or("", Id::as_str);
        Self {
            bytes_in: metrics.bytes_total.with_label_values(&[kind.dir(), label, "in"]),
            bytes_out: metrics.bytes_total.with_label_values(&[kind.dir(), label, "out"]),
            duration: OnceLock::new(),
            connect: metrics.upstream_connect_seconds.with_label_values(&[kind.dir(), label]),
            closed: std::array::from_fn(|_| OnceLock::new()),
            limits: std::array::from_fn(|_| OnceLock::new()),
            listeners: DashMap::new(),
            failures: DashMap::new(),
            http: OnceLock::new(),
            udp: OnceLock::new(),
            metrics,
            kind,
            route,
        }
    }

    fn label(&self) -> &str {
        self.route.as_ref().map_or("", Id::as_str)
    }

    /// The handles for one listener of this route; bound at first use.
    pub fn listener(&self, listener: &Id, protocol: Protocol) -> Arc<ListenerSeries> {
        let key = (listener.clone(), protocol);
        if let Some(found) = self.listeners.get(&key) {
            return found.value().clone();
        }
        let labels = [self.label(), listener.as_str(), protocol.as_str()];
        let bound = || {
            Arc::new(ListenerSeries {
                total: self.metrics.connections_total.with_label_values(&labels),
                active: self.metrics.connections_active.with_label_values(&labels),
            })
        };
        self.listeners.entry(key).or_insert_with(bound).value().clone()
    }

    /// The handles for limits of a policy and a scope; bound at first use.
    pub fn limit(&self, policy: Policy, scope: Scope) -> Arc<LimitSeries> {
        let labels = [self.kind.dir(), self.label(), policy.as_str(), scope.as_str()];
        let bound = || {
            Arc::new(LimitSeries {
                allowed: self.metrics.limiter_allowed_total.with_label_values(&labels),
                rejections: self.metrics.limiter_rejections_total.with_label_values(&labels),
            })
        };
        let place = limit_pairs().position(|pair| pair == (policy, scope)).and_then(|at| self.limits.get(at));
        place.map_or_else(bound, |place| place.get_or_init(bound).clone())
    }

    /// A session ended.
    pub fn closed(&self, reason: Reason, lasted: Duration) {
        if let Some(slot) = Reason::ALL.iter().position(|r| *r == reason).and_then(|at| self.closed.get(at)) {
            slot.get_or_init(|| self.metrics.connections_closed_total.with_label_values(&[self.label(), reason.as_str()])).inc();
        }
        let bound = || self.metrics.connection_duration_seconds.with_label_values(&[self.label()]);
        self.duration.get_or_init(bound).observe(lasted.as_secs_f64());
    }

    /// Bytes moved.
    #[expect(clippy::as_conversions, reason = "a usize fits into 64 bits")]
    pub fn moved(&self, direction: Direction, bytes: usize) {
        match direction {
            Direction::In => self.bytes_in.inc_by(bytes as u64),
            Direction::Out => self.bytes_out.inc_by(bytes as u64),
        }
    }

    fn http(&self) -> &HttpSeries {
        self.http.get_or_init(|| HttpSeries {
            classes: CLASSES.map(|class| self.metrics.http_requests_total.with_label_values(&[self.label(), class])),
            seconds: self.metrics.http_request_seconds.with_label_values(&[self.label()]),
        })
    }

    /// A request was answered with this status, so long after its head had come.
    pub fn answered(&self, status: u16, took: Duration) {
        let http = self.http();
        let class = usize::from(status / 100).saturating_sub(1).min(CLASSES.len() - 1);
        if let Some(counter) = http.classes.get(class) {
            counter.inc();
        }
        http.seconds.observe(took.as_secs_f64());
    }

    fn udp(&self) -> &UdpSeries {
        self.udp.get_or_init(|| {
            let label = self.label();
            Box::new(UdpSeries {
                total: self.metrics.udp_sessions_total.with_label_values(&[label]),
                active: self.metrics.udp_sessions_active.with_label_values(&[label]),
                datagrams_in: self.metrics.udp_datagrams_total.with_label_values(&[label, "in"]),
                datagrams_out: self.metrics.udp_datagrams_total.with_label_values(&[label, "out"]),
                dropped: std::array::from_fn(|_| OnceLock::new()),
            })
        })
    }

    /// A UDP session began.
    pub fn udp_opened(&self) {
        self.udp().total.inc();
        self.udp().active.inc();
    }

    /// A UDP session ended.
    pub fn udp_ended(&self) {
        self.udp().active.dec();
    }

    /// Datagrams were passed on.
    pub fn datagrams(&self, direction: Direction, datagrams: u64) {
        match direction {
            Direction::In => self.udp().datagrams_in.inc_by(datagrams),
            Direction::Out => self.udp().datagrams_out.inc_by(datagrams),
        }
    }

    /// Datagrams were not passed on.
    pub fn dropped(&self, reason: DropReason, datagrams: u64) {
        if let Some(slot) = DropReason::ALL.iter().position(|r| *r == reason).and_then(|at| self.udp().dropped.get(at)) {
            slot.get_or_init(|| self.metrics.udp_dropped_total.with_label_values(&[self.label(), reason.as_str()])).inc_by(datagrams);
        }
    }

    /// A connect succeeded after this long.
    pub fn connected(&self, took: Duration) {
        self.connect.observe(took.as_secs_f64());
    }

    /// A connect to a node failed.
    pub fn connect_failed(&self, node: &str, reason: Reason) {
        let bound =
            || self.metrics.upstream_connect_failures_total.with_label_values(&[self.kind.dir(), self.label(), node, reason.as_str()]);
        self.failures.entry((node.to_owned(), reason)).or_insert_with(bound).inc();
    }
}

impl RouteSeries {
    /// Takes over what an earlier holder of the same route had bound, so that it leaves the output with this one.
    fn inherit(&self, earlier: &Self) {
        for place in &earlier.listeners {
            self.listeners.entry(place.key().clone()).or_insert_with(|| place.value().clone());
        }
        for place in &earlier.failures {
            self.failures.entry(place.key().clone()).or_insert_with(|| place.value().clone());
        }
    }

    /// Takes every series of the route out of the output. An error here only says that a series was never bound.
    fn unbind(&self) {
        let (kind, label) = (self.kind.dir(), self.label());
        let metrics = &self.metrics;
        for direction in ["in", "out"] {
            let _ = metrics.bytes_total.remove_label_values(&[kind, label, direction]);
        }
        for (policy, scope) in limit_pairs() {
            let labels = [kind, label, policy.as_str(), scope.as_str()];
            let _ = metrics.limiter_allowed_total.remove_label_values(&labels);
            let _ = metrics.limiter_rejections_total.remove_label_values(&labels);
        }
        let _ = metrics.upstream_connect_seconds.remove_label_values(&[kind, label]);
        for place in &self.failures {
            let (node, reason) = place.key();
            let _ = metrics.upstream_connect_failures_total.remove_label_values(&[kind, label, node, reason.as_str()]);
        }
        // sessions of HTTP belong to no route; a stream route of the same id may have some
        if self.kind == Kind::Route {
            self.unbind_requests();
        } else {
            self.unbind_sessions();
        }
    }

    fn unbind_requests(&self) {
        for class in CLASSES {
            let _ = self.metrics.http_requests_total.remove_label_values(&[self.label(), class]);
        }
        let _ = self.metrics.http_request_seconds.remove_label_values(&[self.label()]);
    }

    fn unbind_sessions(&self) {
        let (metrics, label) = (&self.metrics, self.label());
        for reason in Reason::ALL {
            let _ = metrics.connections_closed_total.remove_label_values(&[label, reason.as_str()]);
        }
        let _ = metrics.connection_duration_seconds.remove_label_values(&[label]);
        for place in &self.listeners {
            let (listener, protocol) = place.key();
            let labels = [label, listener.as_str(), protocol.as_str()];
            let _ = metrics.connections_total.remove_label_values(&labels);
            let _ = metrics.connections_active.remove_label_values(&labels);
        }
        for direction in ["in", "out"] {
            let _ = metrics.udp_datagrams_total.remove_label_values(&[label, direction]);
        }
        let _ = metrics.udp_sessions_total.remove_label_values(&[label]);
        let _ = metrics.udp_sessions_active.remove_label_values(&[label]);
        for reason in DropReason::ALL {
            let _ = metrics.udp_dropped_total.remove_label_values(&[label, reason.as_str()]);
        }
    }
}

fn limit_pairs() -> impl Iterator<Item = (Policy, Scope)> {
    Policy::ALL.into_iter().flat_map(|policy| Scope::ALL.into_iter().map(move |scope| (policy, scope)))
}

impl ListenerSeries {
    /// A session began.
    pub fn opened(&self) {
        self.total.inc();
        self.active.inc();
    }

    /// A session ended.
    pub fn ended(&self) {
        self.active.dec();
    }
}

impl Drop for RouteSeries {
    fn drop(&mut self) {
        if let Some(successor) = self.metrics.retire(self.kind, self.route.as_ref(), || self.unbind()) {
            successor.inherit(self);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(metrics: &Metrics) -> String {
        String::from_utf8(metrics.encode().unwrap()).unwrap()
    }

    #[test]
    fn the_series_of_a_route_live_as_long_as_anybody_holds_them() {
        let metrics = Metrics::new().unwrap();
        let id = Id::parse("r1").unwrap();
        let (a, b) = (metrics.route(Kind::StreamRoute, Some(&id)), metrics.route(Kind::StreamRoute, Some(&id)));
        a.listener(&Id::parse("l").unwrap(), Protocol::Tcp).opened();
        a.moved(Direction::In, 5);
        drop(a);
        b.moved(Direction::In, 2);
        b.closed(Reason::Ok, Duration::from_millis(1));
        assert!(text(&metrics).contains(r#"sluice_bytes_total{direction="in",kind="stream_routes",route="r1"} 7"#));
        drop(b);
        assert!(!text(&metrics).contains(r#"route="r1""#));
        metrics.route(Kind::StreamRoute, Some(&id)).moved(Direction::In, 1);
    }

    #[test]
    fn routes_of_both_kinds_may_have_one_id() {
        let metrics = Metrics::new().unwrap();
        let id = Id::parse("r1").unwrap();
        let (stream, http) = (metrics.route(Kind::StreamRoute, Some(&id)), metrics.route(Kind::Route, Some(&id)));
        stream.moved(Direction::In, 1);
        stream.closed(Reason::Ok, Duration::ZERO);
        http.moved(Direction::In, 2);
        http.answered(200, Duration::ZERO);
        http.limit(Policy::Concurrency, Scope::Instance).rejected();
        for told in [
            r#"sluice_bytes_total{direction="in",kind="stream_routes",route="r1"} 1"#,
            r#"sluice_bytes_total{direction="in",kind="routes",route="r1"} 2"#,
            r#"sluice_limiter_rejections_total{kind="routes",policy="concurrency",route="r1",scope="instance"} 1"#,
        ] {
            assert!(text(&metrics).contains(told), "{told}");
        }
        drop(http);
        let left = text(&metrics);
        assert!(left.contains(r#"sluice_connections_closed_total{reason="ok",route="r1"} 1"#), "those of the other kind stay");
        assert!(!left.contains(r#"kind="routes",route="r1""#) && !left.contains("http_request"), "{left}");
    }

    #[test]
    fn failures_of_nodes_leave_with_their_route() {
        let metrics = Metrics::new().unwrap();
        let id = Id::parse("r1").unwrap();
        let series = metrics.route(Kind::StreamRoute, Some(&id));
        series.connect_failed("127.0.0.1:1", Reason::UpstreamRefused);
        series.connect_failed("127.0.0.1:1", Reason::UpstreamRefused);
        series.connect_failed("127.0.0.1:1", Reason::UpstreamTimeout);
        let told =
            r#"sluice_upstream_connect_failures_total{kind="stream_routes",node="127.0.0.1:1",reason="upstream_refused",route="r1"} 2"#;
        assert!(text(&metrics).contains(told));
        drop(series);
        assert!(!text(&metrics).contains("upstream_connect_failures_total{"));
    }

    #[test]
    fn what_an_earlier_holder_bound_leaves_with_its_successor() {
        let metrics = Metrics::new().unwrap();
        let id = Id::parse("r1").unwrap();
        // both were bound at once: the second filled the place while the first was on its way out
        let earlier = RouteSeries::bind(metrics.clone(), Kind::StreamRoute, Some(id.clone()));
        earlier.connect_failed("127.0.0.1:1", Reason::UpstreamRefused);
        earlier.listener(&Id::parse("l").unwrap(), Protocol::Tcp).opened();
        let successor = metrics.route(Kind::StreamRoute, Some(&id));
        drop(earlier);
        assert!(text(&metrics).contains("upstream_connect_failures_total{"));
        drop(successor);
        assert!(!text(&metrics).contains(r#"route="r1""#));
    }
}
