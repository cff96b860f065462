//! The hall: the immutable compiled view of all configuration, which the data path reads through one pointer. Nothing in here
//! changes after it was built, opens a socket, or knows a store.

pub mod build;
pub mod cell;
mod certificates;
pub mod compile;
pub mod diff;
#[cfg(test)]
pub(crate) mod fixture;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rpds::{HashTrieMapSync, RedBlackTreeMapSync, RedBlackTreeSetSync};
use tokio::time::Instant;

use crate::base::addr::{Port, Protocol, Transport};
use crate::base::id::{Id, Key, Kind};
use crate::filter::Transforms;
use crate::limit::{self, Limiter};
use crate::model::{Global, Listener, Origin, Stored};
use crate::route::http::request::{NeedsForm, Request};
use crate::route::http::rule::Rule;
use crate::route::http::table::Table as HttpTable;
use crate::route::l4::{Ask, Table};
use crate::telemetry::{Metrics, RouteSeries};
use crate::tls::{self, Identity, Index};
use crate::upstream::{self, Target};

pub use build::build;

/// All accepted objects, the disabled ones too. A copy shares everything with its original.
pub type Objects = HashTrieMapSync<Key, Arc<Stored>>;

/// The long-lived state that compiled objects are linked with; it is found by identity and survives snapshots.
#[derive(Clone, Debug)]
pub struct Registries {
    /// Metric handles by route.
    pub metrics: Metrics,
    /// Certificates by ssl object.
    pub identities: tls::Identities,
    /// Nodes by upstream.
    pub upstreams: upstream::Registry,
    /// What limits have counted.
    pub limits: limit::Registry,
}

/// What a snapshot is built from.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// All accepted objects.
    pub objects: &'a Objects,
    /// The keys that may differ from the previous build; every one that does differ is among them.
    pub touched: &'a BTreeSet<Key>,
    /// The store revision that the objects are of.
    pub revision: u64,
}

/// A snapshot and what could not be linked in it.
#[derive(Debug)]
pub struct Built {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// Objects that refer to something missing, by key.
    pub pending: Vec<Pending>,
    /// Ports that listeners wanted and did not get, as [`Snapshot::conflicts`].
    pub conflicts: Vec<Conflict>,
    /// How many objects were compiled: the measure of the work done.
    pub compiled: usize,
}

/// An object that refers to one that is missing or disabled. It heals by itself when that one arrives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pending {
    /// The object that waits.
    pub key: Key,
    /// What it waits for.
    pub missing: Key,
}

/// A port that a listener wants and another one has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// The listener that waits; it takes over by itself when the winner goes.
    pub listener: Id,
    /// The port.
    pub port: Port,
    /// What the waiting listener speaks.
    pub protocol: Protocol,
    /// The listener that has the port.
    pub winner: Id,
    /// Whether the waiting listener is one of conf's.
    pub required: bool,
}

/// One port to be open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSpec {
    /// The port.
    pub port: Port,
    /// The listener that has it.
    pub listener: Arc<Listener>,
    /// Whether readiness waits for it: true for conf's.
    pub required: bool,
}

/// A compiled L4 route.
#[derive(Debug)]
pub struct L4Route {
    /// The route's id.
    pub id: Id,
    /// Where its sessions go; `None` if it names no upstream, or one that is not there.
    pub target: Option<Arc<Target>>,
    /// The idle time: the route's own, else the larger of the upstream's send and read. `None`: the global default, as it is when a
    /// session begins.
    pub idle: Option<Duration>,
    /// The longest that a session may last.
    pub max_duration: Option<Duration>,
    /// Replies for each datagram of a client: all, none, or so many.
    pub udp_responses: Option<u32>,
    /// Which limit its sessions ask.
    pub limit: RouteLimiter,
    /// On listeners with TLS: the bytes are passed on as they are.
    pub tls_passthrough: bool,
    /// Its metric handles.
    pub series: Arc<RouteSeries>,
}

/// Which limit a route asks.
#[derive(Clone, Debug)]
pub enum RouteLimiter {
    /// The global one, as it is when a session begins: its changes reach all routes without touching one of them.
    Global,
    /// None at all.
    Exempt,
    /// Its own.
    Own(Arc<Limiter>),
}

/// A compiled HTTP route.
#[derive(Debug)]
pub struct HttpRoute {
    /// The route's id.
    pub id: Id,
    /// Where its requests go; `None` if it names no upstream, or one that is not there.
    pub target: Option<Arc<Target>>,
    /// The idle time: the route's own, else the larger of the upstream's send and read. `None`: the global default, as it is when a
    /// request begins.
    pub timeout: Option<Duration>,
    /// Which limit its requests ask.
    pub limit: RouteLimiter,
    /// What it does to requests and responses.
    pub transforms: Arc<Transforms>,
    /// Its metric handles.
    pub series: Arc<RouteSeries>,
    rule: Arc<Rule>,
}

/// Everything that the data path needs to know. A copy shares everything with its original.
#[derive(Clone, Debug)]
pub struct Snapshot {
    revision: u64,
    arrived: Option<Instant>,
    objects: Objects,
    global: Arc<Global>,
    limiter: Option<Arc<Limiter>>,
    ports: Arc<BTreeMap<Port, Arc<PortSpec>>>,
    conflicts: Arc<Vec<Conflict>>,
    /// Who wants a port, the winner first.
    claims: HashTrieMapSync<Port, Claims>,
    targets: HashTrieMapSync<Id, Arc<Target>>,
    /// Enabled routes.
    routes: HashTrieMapSync<Id, Arc<L4Route>>,
    /// Routes that take TCP sessions.
    table: Table<Arc<L4Route>>,
    certificates: Index<Arc<Identity>>,
    /// The same by the id of their object.
    identities: HashTrieMapSync<Id, Arc<Identity>>,
    /// Routes that take UDP sessions.
    datagrams: Table<Arc<L4Route>>,
    /// Enabled HTTP routes.
    http_routes: HashTrieMapSync<Id, Arc<HttpRoute>>,
    http_table: HttpTable<Arc<HttpRoute>>,
    /// Who refers to an object, whether it is there or not.
    users: HashTrieMapSync<Key, RedBlackTreeSetSync<Key>>,
    /// Who waits for what.
    pending: RedBlackTreeMapSync<Key, Key>,
    unmatched: Arc<RouteSeries>,
}

/// Conf before store, then the older, then the smaller id.
type Claim = (Origin, u64, Id);
type Claims = RedBlackTreeMapSync<Claim, Arc<Listener>>;

impl Snapshot {
    /// A gateway without configuration.
    pub fn empty(registries: &Registries) -> Self {
        Self {
            revision: 0,
            arrived: None,
            objects: Objects::new_sync(),
            global: Arc::default(),
            limiter: None,
            ports: Arc::default(),
            conflicts: Arc::default(),
            claims: HashTrieMapSync::new_sync(),
            targets: HashTrieMapSync::new_sync(),
            routes: HashTrieMapSync::new_sync(),
            table: Table::default(),
            certificates: Index::default(),
            identities: HashTrieMapSync::new_sync(),
            datagrams: Table::default(),
            http_routes: HashTrieMapSync::new_sync(),
            http_table: HttpTable::default(),
            users: HashTrieMapSync::new_sync(),
            pending: RedBlackTreeMapSync::new_sync(),
            unmatched: registries.metrics.route(Kind::StreamRoute, None),
        }
    }

    /// The store revision that it shows.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// When the oldest change that came with it arrived from the store; `None` for one that was never published.
    pub fn arrived(&self) -> Option<Instant> {
        self.arrived
    }

    /// The accepted objects that it was built from.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// The values for the whole gateway.
    pub fn global(&self) -> &Global {
        &self.global
    }

    /// The ports to be open, each with the listener that has it. The same `Arc` as before unless a port changed.
    pub fn ports(&self) -> &Arc<BTreeMap<Port, Arc<PortSpec>>> {
        &self.ports
    }

    /// The ports that listeners want and others have, by listener and port.
    pub fn conflicts(&self) -> &[Conflict] {
        &self.conflicts
    }

    /// The route of a session that came in through a port: the listener's fixed one, if it names one, else the first that matches.
    pub fn route_for(&self, spec: &PortSpec, ask: &Ask<'_>) -> Option<&Arc<L4Route>> {
        match &spec.listener.stream_route_id {
            Some(fixed) => self.routes.get(fixed),
            None => match spec.port.transport {
                Transport::Tcp => self.table.find(ask),
                Transport::Udp => self.datagrams.find(ask),
            },
        }
    }

    /// The certificate for a name in lower case without a trailing dot.
    pub fn certificate(&self, name: &str) -> Option<&Arc<Identity>> {
        self.certificates.find(name)
    }

    /// The certificate of an enabled ssl object for clients.
    pub fn identity(&self, id: &Id) -> Option<&Arc<Identity>> {
        self.identities.get(id)
    }

    /// The limit that counts for a route: its own, else the global one; `None` if there is none, or if the route is exempt.
    pub fn limiter<'a>(&'a self, limit: &'a RouteLimiter) -> Option<&'a Arc<Limiter>> {
        match limit {
            RouteLimiter::Own(limiter) => Some(limiter),
            RouteLimiter::Global => self.limiter.as_ref(),
            RouteLimiter::Exempt => None,
        }
    }

    /// The enabled L4 route of this id.
    pub fn stream_route(&self, id: &Id) -> Option<&Arc<L4Route>> {
        self.routes.get(id)
    }

    /// The enabled HTTP route of this id.
    pub fn http_route(&self, id: &Id) -> Option<&Arc<HttpRoute>> {
        self.http_routes.get(id)
    }

    /// The route of an HTTP request: the first that matches.
    ///
    /// # Errors
    /// It depends on the form in the body, which was not read yet.
    pub fn http_route_for(&self, request: &Request<'_>) -> Result<Option<&Arc<HttpRoute>>, NeedsForm> {
        self.http_table.find(request)
    }

    /// The metric handles of sessions that matched no route.
    pub fn unmatched(&self) -> &Arc<RouteSeries> {
        &self.unmatched
    }
}
