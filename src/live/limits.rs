//! The limits as the data plane counts them, for the control API and the metrics.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use crate::base::id::Kind;
use crate::base::quota::{Policy, Scope};

/// How one limit stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitStatus {
    /// What carries it: `stream_routes/<id>`, `routes/<id>`, or `settings/global`.
    pub name: Arc<str>,
    /// How it counts.
    pub policy: Policy,
    /// What its numbers are meant for.
    pub scope: Scope,
    /// What it counts together: `total`, `client`, `header x-user`, `cookie sid`.
    pub by: String,
    /// The permits that are configured.
    pub permit_limit: u32,
    /// Those of them that this instance may give.
    pub share: u32,
    /// Among how many instances they are divided; 1 where they are not.
    pub instances: u32,
    /// How many may wait.
    pub queue_limit: u32,
    /// How many wait now.
    pub queued: usize,
    /// How many keys are known; `None` where everything is counted together.
    pub keys: Option<usize>,
    /// The permits that are left; `None` where each key has its own and none was named.
    pub remaining: Option<u32>,
    /// When the next permits come by themselves.
    pub reset: Option<Duration>,
}

impl LimitStatus {
    /// The kind of what carries it: `stream_routes`, `routes` or `settings`.
    pub fn kind(&self) -> &str {
        self.name.split_once('/').map_or("", |(kind, _)| kind)
    }

    /// The route that carries it; empty for the global one.
    pub fn route(&self) -> &str {
        self.name.split_once('/').map_or("", |(kind, id)| if kind == "settings" { "" } else { id })
    }
}

/// The limit that counts for a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteStatus {
    /// There is no such route.
    Unknown,
    /// No kind was named, and both have such a route.
    Ambiguous,
    /// None counts for it.
    Unlimited,
    /// This one does: its own, or the global one.
    Limited(LimitStatus),
}

/// Who knows the limits.
pub trait Source: Send + Sync {
    /// All of them, by name.
    fn list(&self) -> Vec<LimitStatus>;

    /// The one that counts for a route, of that kind if one is named; for one key if one is named.
    fn of_route(&self, kind: Option<Kind>, route: &str, key: Option<&str>) -> RouteStatus;
}

/// Where the source is left at wiring and found by Admin.
#[derive(Clone, Default)]
pub struct Limits(Arc<RwLock<Option<Arc<dyn Source>>>>);

impl Limits {
    /// Sets the source; called once, at wiring.
    pub fn provide(&self, source: Arc<dyn Source>) {
        *self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(source);
    }

    fn source(&self) -> Option<Arc<dyn Source>> {
        self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// All limits, by name; none before wiring.
    pub fn list(&self) -> Vec<LimitStatus> {
        self.source().map(|source| source.list()).unwrap_or_default()
    }

    /// The limit that counts for a route; see [`Source::of_route`].
    pub fn of_route(&self, kind: Option<Kind>, route: &str, key: Option<&str>) -> RouteStatus {
        self.source().map_or(RouteStatus::Unknown, |source| source.of_route(kind, route, key))
    }
}

impl std::fmt::Debug for Limits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Limits")
    }
}
