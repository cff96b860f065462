//! What the control API and the metrics see of limits: the snapshot says which one counts for a route, the registry how it stands.

use crate::base::id::Id;
use crate::limit::{self, Registry};
use crate::live::limits::{LimitStatus, RouteStatus, Source};
use crate::snapshot::cell::Cell;

/// Both, joined.
pub(super) struct Seen {
    pub(super) cell: Cell,
    pub(super) limits: Registry,
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
