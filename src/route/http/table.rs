//! The HTTP table: from host and path to the first route in order that takes a request. Persistent, so that a copy is cheap and
//! an edit touches one path. Listeners, upstreams and bodies are the caller's business.

use std::borrow::Cow;
use std::sync::Arc;

use rpds::HashTrieMapSync;

use super::affix::{Affixes, Texts, change, thin};
use super::line::{Candidate, Rank};
use super::paths::Paths;
use super::request::{NeedsForm, Request};
use super::rule::Rule;
use crate::base::addr::without_port;
use crate::model::{HttpRoute, RouteMatch};
use crate::route::fold::{Short, folded};

/// Matches everything, as a host and as a path.
const ANY: &str = "*";

/// Routes, each with a value. A copy shares everything with its original.
///
/// A route takes one entry per pair of its hosts and paths. A look-up costs one probe per length that ends of hosts have, and one
/// per length that beginnings of paths have at the hosts that fit; it does not depend on how many routes there are, unless their
/// filters refuse. It does not allocate for hosts and paths of up to 256 bytes.
#[derive(Debug)]
pub struct Table<T> {
    /// Hosts as they are, those with a port and those without.
    exact: Texts<Paths<T>>,
    /// Ends of hosts without a port.
    ends: Affixes<Paths<T>>,
    /// Ends of hosts that say a port.
    ported: Affixes<Paths<T>>,
    any: Paths<T>,
}

/// What a pattern of hosts matches.
enum Place {
    Exact(Short),
    Ends(Short),
    Ported(Short),
    Any,
}

impl Place {
    fn of(pattern: &str) -> Self {
        match pattern.strip_prefix(ANY) {
            Some("") => Self::Any,
            Some(end) if without_port(end).len() < end.len() => Self::Ported(folded(end)),
            Some(end) => Self::Ends(folded(end)),
            None => Self::Exact(folded(pattern)),
        }
    }
}

impl<T> Clone for Table<T> {
    fn clone(&self) -> Self {
        Self { exact: self.exact.clone(), ends: self.ends.clone(), ported: self.ported.clone(), any: self.any.clone() }
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { exact: HashTrieMapSync::new_sync(), ends: Affixes::default(), ported: Affixes::default(), any: Paths::default() }
    }
}

impl<T> Table<T> {
    /// The first route in order that takes a request: the more specific host (exact, the longest end, any), then the smaller
    /// `order`, then the more specific path (exact, the longest beginning, any), then the smaller id. A route whose methods or
    /// statement refuse gives way to the next, those of less specific hosts included.
    ///
    /// # Errors
    /// The answer depends on the form in the body, which was not read yet.
    pub fn find(&self, request: &Request<'_>) -> Result<Option<&T>, NeedsForm> {
        let (host, path) = (folded(request.host), folded(request.path));
        let port = request.host.len() - without_port(request.host).len();
        let bare = host.get(..host.len().saturating_sub(port)).unwrap_or(&host);
        let with_port = (bare.len() < host.len()).then(|| self.exact.get(&*host)).flatten();
        for paths in with_port.into_iter().chain(self.exact.get(bare)) {
            if let Some(found) = paths.find(&path, request)? {
                return Ok(Some(found));
            }
        }
        let (mut ported, mut ends) = (self.ported.ends(&host).peekable(), self.ends.ends(bare).peekable());
        loop {
            let port_first = match (ported.peek(), ends.peek()) {
                (Some((a, _)), Some((b, _))) => a >= b,
                (ahead, _) => ahead.is_some(),
            };
            let Some((_, paths)) = (if port_first { ported.next() } else { ends.next() }) else { break };
            if let Some(found) = paths.find(&path, request)? {
                return Ok(Some(found));
            }
        }
        self.any.find(&path, request)
    }

    /// Whether there is no route.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.ends.is_empty() && self.ported.is_empty() && self.any.is_empty()
    }
}

impl<T: Clone> Table<T> {
    /// Adds a route, or gives the same route another value. A route whose earlier form was different has to be removed first.
    pub fn insert(&mut self, route: &HttpRoute, rule: &Arc<Rule>, value: &T) {
        let rank: Rank = (route.order, route.id.clone());
        let add = |paths: &mut Paths<T>| {
            for path in or_any(&route.matching.paths) {
                paths.insert(path, &rank, Candidate { rule: rule.clone(), value: value.clone() });
            }
        };
        for host in hosts(&route.matching) {
            match Place::of(&host) {
                Place::Exact(text) => change(&mut self.exact, &text, add),
                Place::Ends(text) => self.ends.change(&text, add),
                Place::Ported(text) => self.ported.change(&text, add),
                Place::Any => add(&mut self.any),
            }
        }
    }

    /// Takes a route away, in the form in which it was added. Nothing happens if it is not there.
    pub fn remove(&mut self, route: &HttpRoute) {
        let rank: Rank = (route.order, route.id.clone());
        let take = |paths: &mut Paths<T>| or_any(&route.matching.paths).for_each(|path| paths.remove(path, &rank));
        for host in hosts(&route.matching) {
            match Place::of(&host) {
                Place::Exact(text) => thin(&mut self.exact, &text, take, Paths::is_empty),
                Place::Ends(text) => self.ends.thin(&text, take, Paths::is_empty),
                Place::Ported(text) => self.ported.thin(&text, take, Paths::is_empty),
                Place::Any => take(&mut self.any),
            }
        }
    }
}

/// How many entries of the table a route takes.
pub fn entries(route: &HttpRoute) -> usize {
    hosts(&route.matching).count().saturating_mul(route.matching.paths.len().max(1))
}

fn or_any(patterns: &[String]) -> impl Iterator<Item = &str> {
    let any = patterns.is_empty().then_some(ANY);
    any.into_iter().chain(patterns.iter().map(String::as_str))
}

/// The patterns of a route's hosts. `localhost:<port>` stands for the two addresses of the loop-back interface as well.
pub(super) fn hosts(matching: &RouteMatch) -> impl Iterator<Item = Cow<'_, str>> {
    or_any(&matching.hosts).flat_map(|pattern| {
        let port = pattern.strip_prefix("localhost:").filter(|port| !port.is_empty());
        let more = port.map(|port| [Cow::Owned(format!("127.0.0.1:{port}")), Cow::Owned(format!("[::1]:{port}"))]);
        std::iter::once(Cow::Borrowed(pattern)).chain(more.into_iter().flatten())
    })
}
