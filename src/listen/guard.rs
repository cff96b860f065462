//! A session's place in the registry and in the metrics, from before the first check to its one end.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::worker::Context;
use crate::base::addr::Protocol;
use crate::base::id::Id;
use crate::base::meter::Direction;
use crate::base::reason::Reason;
use crate::live::sessions::{Arrival, Registered, Session};
use crate::proxy::tcp::Outcome;
use crate::snapshot::L4Route;
use crate::telemetry::{ListenerSeries, Record, RouteSeries};

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
    route: Option<Id>,
    target: Option<Arc<str>>,
    revision: u64,
    series: Arc<RouteSeries>,
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
    pub(super) fn routed(&mut self, route: Option<&L4Route>, revision: u64) {
        let series = route.map_or_else(|| self.context.unrouted.clone(), |r| r.series.clone());
        let listener = series.listener(&self.place.listener, self.place.protocol);
        listener.opened();
        if let Some(route) = route {
            self.place.set_route(route.id.clone());
        }
        let target = route.and_then(|r| r.target.as_ref()).map(|t| t.name().clone());
        self.counted = Some(Counted { route: route.map(|r| r.id.clone()), target, revision, series, listener });
    }

    /// Ends the session.
    pub(super) fn close(mut self, outcome: &Outcome) {
        self.end(outcome);
    }

    fn end(&mut self, outcome: &Outcome) {
        let Some(counted) = self.counted.take() else { return };
        let lasted = self.began.elapsed();
        counted.listener.ended();
        counted.series.closed(outcome.reason, lasted);
        // the lines of HTTP are those of its requests
        if self.place.protocol != Protocol::Http && self.context.access.wants() {
            self.context.access.submit(self.record(counted, outcome, lasted));
        }
    }

    fn record(&self, counted: Counted, outcome: &Outcome, lasted: Duration) -> Record {
        let session = &*self.place;
        Record {
            ts: SystemTime::now(),
            session_id: session.id,
            route: counted.route,
            listener: session.listener.clone(),
            proto: session.protocol,
            client: session.client().0,
            peer_addr: session.claim().map(|_| session.peer.0),
            local_addr: session.local.0,
            upstream: counted.target,
            endpoint: outcome.node.as_ref().map(|n| n.label().clone()),
            retries: u32::try_from(outcome.retries).unwrap_or(u32::MAX),
            connect: outcome.connect,
            duration: lasted,
            rx_bytes: session.bytes(Direction::In),
            tx_bytes: session.bytes(Direction::Out),
            reason: outcome.reason,
            config_revision: counted.revision,
            http: None,
        }
    }
}

impl Drop for ConnGuard {
    fn drop(&mut self) {
        let reason = self.place.asked_to_end().unwrap_or(Reason::Internal);
        self.end(&Outcome::early(reason));
    }
}
