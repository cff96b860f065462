//! One object from its typed form to its fast one, and the limits that its compiled size sets. Links are made in `build`.

use std::sync::Arc;
use std::time::Duration;

use super::{HttpRoute, L4Route, Registries};
use crate::base::addr::Protocol;
use crate::base::violation::Violation;
use crate::model::{self, Resource, StreamRoute};
use crate::route::http::rule::Rule;
use crate::route::http::table::entries;
use crate::upstream::Target;

/// A route takes one entry of the table per pair of its addresses, or of its hosts and paths; more than this many pairs are refused.
const PAIRS: usize = 4096;

/// What is wrong with an object that its schema and its fields alone do not show; empty if nothing is.
pub fn check(resource: &Resource) -> Vec<Violation> {
    match resource {
        Resource::StreamRoute(route) => pairs(route).into_iter().collect(),
        Resource::Route(route) => http_violations(route),
        Resource::Listener(_) | Resource::Upstream(_) | Resource::Global(_) => Vec::new(),
    }
}

fn pairs(route: &StreamRoute) -> Option<Violation> {
    let pairs = route.server_addr.len().max(1).saturating_mul(route.remote_addr.len().max(1));
    (pairs > PAIRS).then(|| {
        let text = format!("server_addr times remote_addr makes {pairs} pairs of addresses, more than {PAIRS}: split the route");
        Violation::new("/remote_addr", "too_many_pairs", text)
    })
}

fn http_violations(route: &model::HttpRoute) -> Vec<Violation> {
    let mut found = Vec::new();
    if let Err(e) = Rule::compile(&route.matching) {
        found.push(Violation::new("/match/statement", "statement", format!("invalid match.statement: {e}")));
    }
    let pairs = entries(route);
    if pairs > PAIRS {
        let text = format!("hosts times paths makes {pairs} pairs, more than {PAIRS}: split the route");
        found.push(Violation::new("/match/paths", "too_many_pairs", text));
    }
    if found.is_empty() {
        found.push(Violation::new("", "unsupported", "this build does not serve HTTP routes yet"));
    }
    found
}

/// Whether an object takes part; a disabled one counts as absent for matching and binding.
pub fn enabled(resource: &Resource) -> bool {
    match resource {
        Resource::Listener(listener) => listener.enabled,
        Resource::StreamRoute(route) => route.enabled,
        Resource::Route(route) => route.enabled,
        Resource::Upstream(_) | Resource::Global(_) => true,
    }
}

/// Whether a route takes TCP sessions.
pub(super) fn takes_tcp(route: &StreamRoute) -> bool {
    !matches!(route.protocol, Some(Protocol::Udp))
}

/// A route with its target.
pub(super) fn route(route: &StreamRoute, target: Option<Arc<Target>>, registries: &Registries) -> L4Route {
    L4Route {
        id: route.id.clone(),
        idle: idle(route, target.as_deref()),
        max_duration: route.max_duration,
        series: registries.metrics.route(Some(&route.id)),
        target,
    }
}

fn idle(route: &StreamRoute, target: Option<&Target>) -> Option<Duration> {
    let upstream = || target.and_then(|t| t.spec().timeout).map(|t| t.send.max(t.read));
    route.timeout.or_else(upstream)
}

/// The filters of an HTTP route; `None` if they do not compile, which [`check`] refuses.
pub(super) fn rule(route: &model::HttpRoute) -> Option<Arc<Rule>> {
    Rule::compile(&route.matching).ok().map(Arc::new)
}

/// An HTTP route with its filters and its target.
pub(super) fn http_route(route: &model::HttpRoute, rule: Arc<Rule>, target: Option<Arc<Target>>, registries: &Registries) -> HttpRoute {
    let upstream = || target.as_ref().and_then(|t| t.spec().timeout).map(|t| t.send.max(t.read));
    HttpRoute {
        id: route.id.clone(),
        timeout: route.timeout.or_else(upstream),
        series: registries.metrics.route(Some(&route.id)),
        rule,
        target,
    }
}
