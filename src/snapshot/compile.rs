//! One object from its typed form to its fast one, and the limits that its compiled size sets. Links are made in `build`.

use std::sync::Arc;
use std::time::Duration;

use super::{L4Route, Registries};
use crate::base::addr::Protocol;
use crate::base::violation::Violation;
use crate::model::{ClientIdentity, Resource, Scheme, Ssl, StreamRoute, Upstream, UpstreamRef};
use crate::tls::check::{self, BadTrust, PairError};
use crate::tls::inspect::{Facts, Validity};
use crate::upstream::Target;

/// A route takes one entry of the table per pair of its addresses; more than this many pairs are refused.
const PAIRS: usize = 4096;

/// What is wrong with an object that its schema and its fields alone do not show; empty if nothing is.
pub fn check(resource: &Resource) -> Vec<Violation> {
    match resource {
        Resource::StreamRoute(route) => {
            pairs(route).into_iter().chain(inline(route).into_iter().flat_map(|u| upstream(u, "/upstream"))).collect()
        }
        Resource::Upstream(one) => upstream(one, ""),
        Resource::Ssl(ssl) => certificates(ssl),
        Resource::Listener(_) | Resource::Global(_) => Vec::new(),
    }
}

fn pairs(route: &StreamRoute) -> Option<Violation> {
    let pairs = route.server_addr.len().max(1).saturating_mul(route.remote_addr.len().max(1));
    (pairs > PAIRS).then(|| {
        let text = format!("server_addr times remote_addr makes {pairs} pairs of addresses, more than {PAIRS}: split the route");
        Violation::new("/remote_addr", "too_many_pairs", text)
    })
}

fn inline(route: &StreamRoute) -> Option<&Upstream> {
    match &route.upstream {
        UpstreamRef::Inline(upstream) => Some(upstream),
        UpstreamRef::None | UpstreamRef::Id(_) => None,
    }
}

fn upstream(upstream: &Upstream, at: &str) -> Vec<Violation> {
    let mut found = identity(upstream, at);
    found.extend(unserved(upstream, at));
    found
}

/// What of an upstream this build does not serve. `at` is where the upstream is.
fn unserved(upstream: &Upstream, at: &str) -> Option<Violation> {
    let text = "scheme tls is not served by this build yet (known: tcp, udp, http)";
    (upstream.scheme == Scheme::Tls).then(|| Violation::new(format!("{at}/scheme"), "unsupported", text))
}

/// What is wrong with the certificate that an upstream brings along.
fn identity(upstream: &Upstream, at: &str) -> Vec<Violation> {
    let Some(tls) = &upstream.tls else { return Vec::new() };
    let mut found = Vec::new();
    if let Some(ClientIdentity::Inline(own)) = &tls.client
        && let Err(error) = check::pair(&own.cert, own.key.reveal())
    {
        let field = if matches!(error, PairError::Cert(_)) { "client_cert" } else { "client_key" };
        found.push(Violation::new(format!("{at}/tls/{field}"), rule(error), error.to_string()));
    }
    if let Some(Err(error)) = tls.ca.as_deref().map(|ca| check::trust(ca, None)) {
        found.push(Violation::new(format!("{at}/tls/ca"), "certificate", format!("failed to validate ca: {error}")));
    }
    found
}

/// Whether each key is that of its certificate, and whether there is somebody to trust. The first pair is `cert` and `key`, the
/// others are those of `certs` and `keys`.
fn certificates(ssl: &Ssl) -> Vec<Violation> {
    let mut found = Vec::new();
    for (at, pair) in ssl.pairs.iter().enumerate() {
        let Err(error) = check::pair(&pair.cert, pair.key.reveal()) else { continue };
        let of_cert = matches!(error, PairError::Cert(_));
        let (field, text) = match at.checked_sub(1) {
            None => (if of_cert { "/cert".to_owned() } else { "/key".to_owned() }, error.to_string()),
            Some(item) => {
                let list = if of_cert { "certs" } else { "keys" };
                (format!("/{list}/{item}"), format!("failed to handle cert-key pair[{at}]: {error}"))
            }
        };
        found.push(Violation::new(field, rule(error), text));
    }
    if let Some(client) = &ssl.client
        && let Err(error) = check::trust(&client.ca, client.crl.as_deref())
    {
        let field = if error == BadTrust::Crl { "/client/crl" } else { "/client/ca" };
        found.push(Violation::new(field, "certificate", format!("failed to validate client_cert: {error}")));
    }
    found
}

/// What should be known of an object that is taken all the same. `now`: seconds since 1970.
pub fn warnings(resource: &Resource, now: i64) -> Vec<String> {
    let Resource::Ssl(ssl) = resource else { return Vec::new() };
    let told = ssl.pairs.iter().enumerate().filter_map(|(at, pair)| {
        let place = at.checked_sub(1).map_or_else(|| "/cert".to_owned(), |item| format!("/certs/{item}"));
        match Facts::of(&pair.cert).ok()?.validity(now) {
            Validity::Valid => None,
            Validity::NotYet => Some(format!("{place}: the certificate is not valid yet")),
            Validity::Expired => Some(format!("{place}: the certificate has expired")),
        }
    });
    told.collect()
}

const fn rule(error: PairError) -> &'static str {
    match error {
        PairError::Cert(_) => "certificate",
        PairError::Key(_) => "private_key",
        PairError::Mismatch => "key_mismatch",
    }
}

/// Whether an object takes part; a disabled one counts as absent for matching and binding.
pub fn enabled(resource: &Resource) -> bool {
    match resource {
        Resource::Listener(listener) => listener.enabled,
        Resource::StreamRoute(route) => route.enabled,
        Resource::Ssl(ssl) => ssl.enabled,
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
