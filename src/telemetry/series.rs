//! Handles bound once per route, per listener of a route and per failure of a node, so that the data path only adds to numbers.
//! What is bound here is also taken back here, with the last holder. Families and the registry are in `families`.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dashmap::DashMap;
use prometheus::{Histogram, IntCounter, IntGauge};

use super::families::Metrics;
use crate::base::addr::Protocol;
use crate::base::id::Id;
use crate::base::meter::Direction;
use crate::base::reason::Reason;

/// The series of one route. Shared by the route's compiled form and its sessions; retired with the last of them.
#[derive(Debug)]
pub struct RouteSeries {
    metrics: Metrics,
    route: Option<Id>,
    listeners: DashMap<(Id, Protocol), Arc<ListenerSeries>>,
    failures: DashMap<(String, Reason), IntCounter>,
    closed: [OnceLock<IntCounter>; Reason::ALL.len()],
    bytes_in: IntCounter,
    bytes_out: IntCounter,
    duration: Histogram,
    connect: Histogram,
    http: OnceLock<HttpSeries>,
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
    pub(super) fn bind(metrics: Metrics, route: Option<Id>) -> Self {
        let label = route.as_ref().map_or("", Id::as_str);
        Self {
            bytes_in: metrics.bytes_total.with_label_values(&[label, "in"]),
            bytes_out: metrics.bytes_total.with_label_values(&[label, "out"]),
            duration: metrics.connection_duration_seconds.with_label_values(&[label]),
            connect: metrics.upstream_connect_seconds.with_label_values(&[label]),
            closed: std::array::from_fn(|_| OnceLock::new()),
            listeners: DashMap::new(),
            failures: DashMap::new(),
            http: OnceLock::new(),
            metrics,
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

    /// A session ended.
    pub fn closed(&self, reason: Reason, lasted: Duration) {
        if let Some(slot) = Reason::ALL.iter().position(|r| *r == reason).and_then(|at| self.closed.get(at)) {
            slot.get_or_init(|| self.metrics.connections_closed_total.with_label_values(&[self.label(), reason.as_str()])).inc();
        }
        self.duration.observe(lasted.as_secs_f64());
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

    /// A connect succeeded after this long.
    pub fn connected(&self, took: Duration) {
        self.connect.observe(took.as_secs_f64());
    }

    /// A connect to a node failed.
    pub fn connect_failed(&self, node: &str, reason: Reason) {
        let bound = || self.metrics.upstream_connect_failures_total.with_label_values(&[self.label(), node, reason.as_str()]);
        self.failures.entry((node.to_owned(), reason)).or_insert_with(bound).inc();
    }
}

impl RouteSeries {
    /// Takes over what an earlier holder of the same route had bound, so that it leaves the output with this one.
    fn inherit(&self, earlier: &Self) {
        for place in &earlier.listeners {
            self.listeners.entry(place.key().clone()).or_insert_with(|| place.value().clone());
        }
        if earlier.http.get().is_some() {
            // the same names and labels are the same series
            let _ = self.http();
        }
        for place in &earlier.failures {
            self.failures.entry(place.key().clone()).or_insert_with(|| place.value().clone());
        }
    }

    /// Takes every series of the route out of the output.
    fn unbind(&self) {
        let label = self.label();
        let metrics = &self.metrics;
        // an error here only says that the series was never bound
        for direction in ["in", "out"] {
            let _ = metrics.bytes_total.remove_label_values(&[label, direction]);
        }
        for reason in Reason::ALL {
            let _ = metrics.connections_closed_total.remove_label_values(&[label, reason.as_str()]);
        }
        let _ = metrics.connection_duration_seconds.remove_label_values(&[label]);
        let _ = metrics.upstream_connect_seconds.remove_label_values(&[label]);
        if self.http.get().is_some() {
            for class in CLASSES {
                let _ = metrics.http_requests_total.remove_label_values(&[label, class]);
            }
            let _ = metrics.http_request_seconds.remove_label_values(&[label]);
        }
        for place in &self.listeners {
            let (listener, protocol) = place.key();
            let labels = [label, listener.as_str(), protocol.as_str()];
            let _ = metrics.connections_total.remove_label_values(&labels);
            let _ = metrics.connections_active.remove_label_values(&labels);
        }
        for place in &self.failures {
            let (node, reason) = place.key();
            let _ = metrics.upstream_connect_failures_total.remove_label_values(&[label, node, reason.as_str()]);
        }
    }
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
        if let Some(successor) = self.metrics.retire(self.route.as_ref(), || self.unbind()) {
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
        let (a, b) = (metrics.route(Some(&id)), metrics.route(Some(&id)));
        a.listener(&Id::parse("l").unwrap(), Protocol::Tcp).opened();
        a.moved(Direction::In, 5);
        drop(a);
        b.moved(Direction::In, 2);
        b.closed(Reason::Ok, Duration::from_millis(1));
        assert!(text(&metrics).contains(r#"sluice_bytes_total{direction="in",route="r1"} 7"#));
        drop(b);
        assert!(!text(&metrics).contains(r#"route="r1""#));
        metrics.route(Some(&id)).moved(Direction::In, 1);
    }
    #[test]
    fn failures_of_nodes_leave_with_their_route() {
        let metrics = Metrics::new().unwrap();
        let id = Id::parse("r1").unwrap();
        let series = metrics.route(Some(&id));
        series.connect_failed("127.0.0.1:1", Reason::UpstreamRefused);
        series.connect_failed("127.0.0.1:1", Reason::UpstreamRefused);
        series.connect_failed("127.0.0.1:1", Reason::UpstreamTimeout);
        let told = r#"sluice_upstream_connect_failures_total{node="127.0.0.1:1",reason="upstream_refused",route="r1"} 2"#;
        assert!(text(&metrics).contains(told));
        drop(series);
        assert!(!text(&metrics).contains("upstream_connect_failures_total{"));
    }

    #[test]
    fn what_an_earlier_holder_bound_leaves_with_its_successor() {
        let metrics = Metrics::new().unwrap();
        let id = Id::parse("r1").unwrap();
        // both were bound at once: the second filled the place while the first was on its way out
        let earlier = RouteSeries::bind(metrics.clone(), Some(id.clone()));
        earlier.connect_failed("127.0.0.1:1", Reason::UpstreamRefused);
        earlier.listener(&Id::parse("l").unwrap(), Protocol::Tcp).opened();
        let successor = metrics.route(Some(&id));
        drop(earlier);
        assert!(text(&metrics).contains("upstream_connect_failures_total{"));
        drop(successor);
        assert!(!text(&metrics).contains(r#"route="r1""#));
    }
}
