//! A session's place in the registry and in the metrics, from before the first check to its one end.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::worker::Context;
use crate::base::addr::Protocol;
use crate::base::reason::Reason;
use crate::live::sessions::{Arrival, Registered, Session};
use crate::proxy::record;
use crate::proxy::tcp::Outcome;
use crate::snapshot::L4Route;
use crate::telemetry::{ListenerSeries, Record};

/// Registered on arrival, counted once routed, ended exactly once: by [`ConnGuard::close`], or as `internal` when its task
/// panicked.
#[derive(Debug)]
#[must_use = "dropping it ends the session"]
pub(super) struct ConnGuard {
    context: Arc<Context>,
    place: Registered,
    began: Instant,
    counted: Option<Counted>,
}

/// The handles that a routed session is counted with.
#[derive(Debug)]
struct Counted {
    route: Option<Arc<L4Route>>,
    revision: u64,
    listener: Arc<ListenerSeries>,
}

impl ConnGuard {
    pub(super) fn register(context: &Arc<Context>, arrival: Arrival) -> Self {
        let place = context.sessions.register(arrival);
        Self { context: context.clone(), place, began: Instant::now(), counted: None }
    }

    pub(super) fn session(&self) -> &Arc<Session> {
        &self.place
    }

    pub(super) const fn began(&self) -> Instant {
        self.began
    }

    /// Counts the session as one of this route, or as one that matched none.
    pub(super) fn routed(&mut self, route: Option<&Arc<L4Route>>, revision: u64) {
        let series = route.map_or(&self.context.unrouted, |r| &r.series);
        let listener = series.listener(&self.place.listener, self.place.protocol);
        listener.opened();
        if self.place.protocol == Protocol::Udp {
            series.udp_opened();
        }
        if let Some(route) = route {
            self.place.set_route(route.id.clone());
        }
        self.counted = Some(Counted { route: route.cloned(), revision, listener });
    }

    /// Ends the session.
    pub(super) fn close(mut self, outcome: &Outcome) {
        self.end(outcome, [0, 0]);
    }

    /// Ends a UDP session after so many datagrams from the client and to it.
    pub(super) fn close_after(mut self, outcome: &Outcome, datagrams: [u64; 2]) {
        self.end(outcome, datagrams);
    }

    fn end(&mut self, outcome: &Outcome, datagrams: [u64; 2]) {
        let Some(counted) = self.counted.take() else { return };
        let lasted = self.began.elapsed();
        counted.listener.ended();
        let series = counted.route.as_ref().map_or(&self.context.unrouted, |r| &r.series);
        let datagrams = (self.place.protocol == Protocol::Udp).then(|| {
            series.udp_ended();
            datagrams
        });
        series.closed(outcome.reason, lasted);
        // the lines of HTTP are those of its requests
        if self.place.protocol != Protocol::Http && self.context.access.wants() {
            self.context.access.submit(self.record(&counted, outcome, lasted, datagrams));
        }
    }

    fn record(&self, counted: &Counted, outcome: &Outcome, lasted: Duration, datagrams: Option<[u64; 2]>) -> Record {
        let route = counted.route.as_ref();
        Record {
            route: route.map(|r| r.id.clone()),
            upstream: route.and_then(|r| r.target.as_ref()).map(|t| t.name().clone()),
            endpoint: outcome.node.as_ref().map(|n| n.label().clone()),
            retries: u32::try_from(outcome.retries).unwrap_or(u32::MAX),
            connect: outcome.connect,
            duration: lasted,
            datagrams,
            reason: outcome.reason,
            config_revision: counted.revision,
            ..record::of(&self.place)
        }
    }
}

impl Drop for ConnGuard {
    fn drop(&mut self) {
        let reason = self.place.asked_to_end().unwrap_or(Reason::Internal);
        self.end(&Outcome::early(reason), [0, 0]);
    }
}
