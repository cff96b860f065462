//! An HTTP route: which requests, and where they go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{RouteLimit, UpstreamRef};
use crate::base::id::Id;

/// One HTTP route object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRoute {
    /// Its id.
    pub id: Id,
    /// Which requests.
    pub matching: RouteMatch,
    /// Smaller goes first among routes of one host; 0 when not given.
    pub order: i64,
    /// Where matched requests go.
    pub upstream: UpstreamRef,
    /// The idle time of a request: how long nothing may move.
    pub timeout: Option<Duration>,
    /// The most bytes of a request's body; 0 for no bound, whatever the settings say.
    pub max_body_size: Option<u64>,
    /// Changes to the request and the response, in their order.
    pub transforms: Vec<TransformSpec>,
    /// How many of its requests may pass.
    pub limit: RouteLimit,
    /// False: known but never matched.
    pub enabled: bool,
}

/// One element of `transforms` as given: one main key and what belongs to it.
pub type TransformSpec = BTreeMap<String, String>;

/// Which requests a route takes.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RouteMatch {
    /// `a.com`, `*a.com` (suffix) or `*`; any when empty.
    pub hosts: Vec<String>,
    /// `/a`, `/a*` (prefix) or `*`; any when empty.
    pub paths: Vec<String>,
    /// Whether the case of these counts.
    pub case: Case,
    /// Any when empty.
    pub methods: Vec<String>,
    /// A condition in the language of `route::statement`, which compiles it.
    pub statement: Option<Arc<str>>,
}

/// Where the case of letters counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Case {
    /// Nowhere.
    #[default]
    Ignored,
    /// In paths (RFC 9110, 4.2.3).
    Paths,
    /// In paths and hosts, as with `RouteComparison: Ordinal` of `VKProxy`.
    HostsAndPaths,
}
