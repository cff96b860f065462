//! Configurations with any number of routes, for the benchmarks beside this file.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use serde_json::{Value, json};
use sluice::base::id::{Id, Key, Kind};
use sluice::control::ingest::{Ingest, Verdict};
use sluice::model::{Origin, Resource, Stored, StreamRoute};
use sluice::route::l4::{Ask, Table};
use sluice::schema::Schemas;
use sluice::snapshot::{Objects, Registries, Snapshot, View, build};
use sluice::telemetry::Metrics;
use sluice::upstream::Registry;

/// The ports that routes are spread over.
const PORTS: u32 = 5_000;

/// Reads routes as the gateway does.
pub struct Reader(Ingest);

impl Reader {
    /// One that knows the schemas.
    pub fn new() -> Self {
        Self(Ingest::new(Arc::new(Schemas::compile().expect("schemas"))))
    }

    /// Route `n`: for one client at one port, with an upstream of its own.
    pub fn route(&self, n: u32, order: u32) -> Arc<StreamRoute> {
        let upstream = json!({"nodes": {format!("127.0.0.1:{}", port(n)): 1}});
        let match_ = json!({"server_port": port(n), "remote_addr": client(n).to_string(), "order": order, "upstream": upstream});
        self.read(&format!("r{n}"), &match_)
    }

    fn read(&self, name: &str, value: &Value) -> Arc<StreamRoute> {
        match self.0.read_value(&key(name), value, 1) {
            Verdict::Accepted(Resource::StreamRoute(route)) => route,
            other => panic!("{value}: {other:?}"),
        }
    }
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

fn key(name: &str) -> Key {
    Key::new(Kind::StreamRoute, Id::parse(name).expect("an id"))
}

/// The client of route `n`.
fn client(n: u32) -> IpAddr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 0)) + n).into()
}

fn port(n: u32) -> u16 {
    u16::try_from(1 + n % PORTS).expect("a port")
}

/// A table of so many routes in three shapes: a port and a client, a network, a larger network.
pub fn table(routes: u32) -> Table<u32> {
    let (reader, mut table) = (Reader::new(), Table::default());
    for n in 0..routes - 2 {
        table.insert(&reader.route(n, 0), n);
    }
    table.insert(&reader.read("network", &json!({"remote_addr": "10.0.0.0/8"})), routes - 2);
    table.insert(&reader.read("all", &json!({"remote_addr": "0.0.0.0/0"})), routes - 1);
    table
}

/// Sessions of many routes in no order, so that caches do not tell the answer.
pub fn asks(routes: u32) -> Vec<Ask> {
    let asked = (0..4096_u32).map(|k| k.wrapping_mul(2_654_435_761) % (routes - 2));
    asked.map(|n| Ask { client: client(n), server: SocketAddr::new([127, 0, 0, 1].into(), port(n)) }).collect()
}

/// Sessions that only the last route takes.
pub fn strangers() -> Vec<Ask> {
    let server = SocketAddr::new([127, 0, 0, 1].into(), 65_000);
    (0..4096_u32).map(|k| Ask { client: Ipv4Addr::from(0xc000_0200 + k).into(), server }).collect()
}

/// Objects and the snapshot that was built from them.
pub struct Hall {
    registries: Registries,
    objects: Objects,
    snapshot: Snapshot,
    revision: u64,
}

impl Hall {
    /// A gateway with so many routes.
    pub fn new(reader: &Reader, routes: u32) -> Self {
        let registries = Registries { metrics: Metrics::new().expect("metrics"), upstreams: Registry::new().0 };
        let snapshot = Snapshot::empty(&registries);
        let mut hall = Self { registries, objects: Objects::new_sync(), snapshot, revision: 0 };
        let compiled = hall.apply((0..routes).map(|n| reader.route(n, 0)));
        assert_eq!(compiled, usize::try_from(routes).expect("a count"));
        hall
    }

    /// Stores routes and builds the next snapshot; how many objects were compiled.
    pub fn apply(&mut self, routes: impl IntoIterator<Item = Arc<StreamRoute>>) -> usize {
        self.revision += 1;
        let touched: BTreeSet<Key> = routes.into_iter().map(|route| self.put(route)).collect();
        let view = View { objects: &self.objects, touched: &touched, revision: self.revision };
        let built = build(view, &self.registries, &self.snapshot);
        self.snapshot = built.snapshot;
        built.compiled
    }

    fn put(&mut self, route: Arc<StreamRoute>) -> Key {
        let key = Key::new(Kind::StreamRoute, route.id.clone());
        let resource = Resource::StreamRoute(route);
        let stored = Stored { key: key.clone(), origin: Origin::Store, created: 1, modified: self.revision, resource };
        self.objects.insert_mut(key.clone(), Arc::new(stored));
        key
    }
}
