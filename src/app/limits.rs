//! What the control API and the metrics see of limits: the snapshot says which one counts for a route, the registry how it stands.

use std::sync::Arc;

use crate::base::id::Id;
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

    fn of_route(&self, route: &str, key: Option<&str>) -> RouteStatus {
        let snapshot = self.cell.load();
        let Some(route) = Id::parse(route).ok().and_then(|id| snapshot.stream_route(&id)) else { return RouteStatus::Unknown };
        snapshot.limiter(&route.limit).map_or(RouteStatus::Unlimited, |limiter| RouteStatus::Limited(limit::status(limiter, key)))
    }
}
