//! What the control API and the metrics see of limits: the snapshot says which one counts for a route, the registry how it stands.

use std::sync::Arc;

use crate::base::id::{Id, Kind};
use crate::base::task::{self, PanicHook};
use crate::limit::{self, Registry};
use crate::live::fleet::Fleet;
use crate::live::limits::{LimitStatus, Limits, RouteStatus, Source};
use crate::snapshot::cell::Cell;

/// Leaves both where the faces of the process find them; the registry is handed back, for [`keep`].
pub(super) fn shown(cell: &Cell, registry: &Registry) -> (Registry, Limits) {
    let limits = Limits::default();
    limits.provide(Arc::new(Seen { cell: cell.clone(), limits: registry.clone() }));
    (registry.clone(), limits)
}

/// Starts what keeps shares right and tables swept.
pub(super) fn keep(registry: Registry, fleet: Fleet, panics: PanicHook) {
    task::supervise("limits", panics, move || registry.clone().keep(fleet.clone()));
}

/// Both, joined.
struct Seen {
    cell: Cell,
    limits: Registry,
}

impl Source for Seen {
    fn list(&self) -> Vec<LimitStatus> {
        self.limits.inspect()
    }

    fn of_route(&self, kind: Option<Kind>, route: &str, key: Option<&str>) -> RouteStatus {
        let Ok(id) = Id::parse(route) else { return RouteStatus::Unknown };
        let snapshot = self.cell.load();
        let stream = snapshot.stream_route(&id).filter(|_| kind != Some(Kind::Route)).map(|route| &route.limit);
        let http = snapshot.http_route(&id).filter(|_| kind != Some(Kind::StreamRoute)).map(|route| &route.limit);
        let limit = match (stream, http) {
            (None, None) => return RouteStatus::Unknown,
            (Some(_), Some(_)) => return RouteStatus::Ambiguous,
            (Some(limit), None) | (None, Some(limit)) => limit,
        };
        snapshot.limiter(limit).map_or(RouteStatus::Unlimited, |limiter| RouteStatus::Limited(limit::status(limiter, key)))
    }
}
