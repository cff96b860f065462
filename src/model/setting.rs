//! Values for the whole gateway that may change at run time: `settings/global`.

use std::sync::Arc;
use std::time::Duration;

use super::Limit;

/// The content of `settings/global`, with what is not given as its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Global {
    /// The idle time of sessions whose route and upstream give none.
    pub default_timeout: Duration,
    /// The time for one connect where the upstream gives none.
    pub connect_timeout: Duration,
    /// The most bytes of a request's body where the route says nothing; 0 for no bound.
    pub max_body_size: u64,
    /// The limit of all routes that say nothing of limits: one count for all of them together.
    pub limit: Option<Arc<Limit>>,
}

impl Default for Global {
    fn default() -> Self {
        Self { default_timeout: Duration::from_secs(300), connect_timeout: Duration::from_secs(3), max_body_size: 30_000_000, limit: None }
    }
}
