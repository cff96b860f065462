//! One object from its typed form to its fast one, and the limits that its compiled size sets. Links are made in `build`.

use std::sync::Arc;
use std::time::Duration;

use super::{HttpRoute, L4Route, Registries, RouteLimiter, certificates};
use crate::base::addr::Transport;
use crate::base::id::{Key, Kind};
use crate::base::violation::Violation;
use crate::filter::Transforms;
use crate::model::{self, Resource, RouteLimit, StreamRoute, Upstream, UpstreamRef};
use crate::route::http::rule::Rule;
use crate::route::http::table::entries;
use crate::upstream::Target;

/// A route takes one entry of the table per name and pair of its addresses, or per host and path; more than this many are refused.
const PAIRS: usize = 4096;

/// What is wrong with an object that its schema and its fields alone do not show; empty if nothing is.
pub fn check(resource: &Resource) -> Vec<Violation> {
    match resource {
        Resource::StreamRoute(route) => {
            let own = inline(&route.upstream).map(|one| certificates::of_upstream(one, "/upstream")).unwrap_or_default();
            pairs(route).into_iter().chain(own).collect()
        }
        Resource::Route(route) => {
            let own = inline(&route.upstream).map(|one| certificates::of_upstream(one, "/upstream")).unwrap_or_default();
            http_violations(route).into_iter().chain(own).collect()
        }
        Resource::Upstream(one) => certificates::of_upstream(one, ""),
        Resource::Ssl(ssl) => certificates::of_ssl(ssl),
        Resource::Listener(_) | Resource::Global(_) => Vec::new(),
    }
}

fn pairs(route: &StreamRoute) -> Option<Violation> {
    let lists = [route.server_addr.len(), route.remote_addr.len(), route.snis.len()];
    let pairs = lists.into_iter().fold(1_usize, |all, len| all.saturating_mul(len.max(1)));
    (pairs > PAIRS).then(|| {
        let text = format!("server_addr times remote_addr times names makes {pairs}, more than {PAIRS}: split the route");
        let path = if route.snis.len() > PAIRS { "/snis" } else { "/remote_addr" };
        Violation::new(path, "too_many_pairs", text)
    })
}

fn http_violations(route: &model::HttpRoute) -> Vec<Violation> {
    let mut found = Vec::new();
    if let Err(e) = Rule::compile(&route.matching) {
        found.push(Violation::new("/match/statement", "statement", format!("invalid match.statement: {e}")));
    }
    found.extend(Transforms::compile(&route.transforms).err().into_iter().flatten());
    let pairs = entries(route);
    if pairs > PAIRS {
        let text = format!("hosts times paths makes {pairs} pairs, more than {PAIRS}: split the route");
        found.push(Violation::new("/match/paths", "too_many_pairs", text));
    }
    found
}

fn inline(names: &UpstreamRef) -> Option<&Upstream> {
    match names {
        UpstreamRef::Inline(upstream) => Some(upstream),
        UpstreamRef::None | UpstreamRef::Id(_) => None,
    }
}

/// What should be known of an object that is taken all the same. `now`: seconds since 1970.
pub fn warnings(resource: &Resource, now: i64) -> Vec<String> {
    certificates::warnings(resource, now)
}

/// Whether an object takes part; a disabled one counts as absent for matching and binding.
pub fn enabled(resource: &Resource) -> bool {
    match resource {
        Resource::Listener(listener) => listener.enabled,
        Resource::StreamRoute(route) => route.enabled,
        Resource::Route(route) => route.enabled,
        Resource::Ssl(ssl) => ssl.enabled,
        Resource::Upstream(upstream) => !upstream.disabled,
        Resource::Global(_) => true,
    }
}

/// Whether a route takes the sessions of a transport.
pub(super) fn takes(route: &StreamRoute, transport: Transport) -> bool {
    route.protocol.is_none_or(|protocol| Transport::from(protocol) == transport)
}

/// A route with its target.
pub(super) fn route(route: &StreamRoute, target: Option<Arc<Target>>, registries: &Registries) -> L4Route {
    L4Route {
        id: route.id.clone(),
        idle: idle(route, target.as_deref()),
        max_duration: route.max_duration,
        udp_responses: route.udp_responses,
        limit: limiter(&Key::new(Kind::StreamRoute, route.id.clone()), &route.limit, registries),
        tls_passthrough: route.tls_passthrough,
        series: registries.metrics.route(Kind::StreamRoute, Some(&route.id)),
        target,
    }
}

/// What a route asks; a limit of its own is the one that it had before, with what it has counted.
fn limiter(key: &Key, limit: &RouteLimit, registries: &Registries) -> RouteLimiter {
    match limit {
        RouteLimit::Global => RouteLimiter::Global,
        RouteLimit::Exempt => RouteLimiter::Exempt,
        RouteLimit::Own(spec) => RouteLimiter::Own(registries.limits.limiter(&key.to_string(), spec)),
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

/// What an HTTP route does to requests and responses; `None` if that does not compile, which [`check`] refuses.
pub(super) fn transforms(route: &model::HttpRoute) -> Option<Arc<Transforms>> {
    Transforms::compile(&route.transforms).ok().map(Arc::new)
}

/// An HTTP route with its compiled parts and its target.
pub(super) fn http_route(
    route: &model::HttpRoute,
    rule: Arc<Rule>,
    transforms: Arc<Transforms>,
    target: Option<Arc<Target>>,
    registries: &Registries,
) -> HttpRoute {
    let upstream = || target.as_ref().and_then(|t| t.spec().timeout).map(|t| t.send.max(t.read));
    HttpRoute {
        id: route.id.clone(),
        timeout: route.timeout.or_else(upstream),
        limit: limiter(&Key::new(Kind::Route, route.id.clone()), &route.limit, registries),
        transforms,
        series: registries.metrics.route(Kind::Route, Some(&route.id)),
        rule,
        target,
    }
}
