//! Objects for tests, in few words. Never in a build that serves.

use super::{Registries, Snapshot};
use crate::base::addr::{Protocol, parse_listen};
use crate::base::id::{Id, Key, Kind};
use crate::limit;
use crate::model::{Host, HttpRoute, Listener, Node, RouteLimit, RouteMatch, StreamRoute, Upstream, UpstreamRef};
use crate::route::l4::Ask;
use crate::telemetry::Metrics;
use crate::tls;
use crate::upstream;

/// Registries with nothing in them.
pub(crate) fn registries() -> Registries {
    let (limits, identities) = (limit::Registry::default(), tls::Identities::default());
    Registries { metrics: Metrics::new().unwrap(), upstreams: upstream::Registry::new().0, limits, identities }
}

pub(crate) fn id(text: &str) -> Id {
    Id::parse(text).unwrap()
}

pub(crate) fn key(kind: Kind, name: &str) -> Key {
    Key::new(kind, id(name))
}

/// A route without conditions.
pub(crate) fn route(name: &str, upstream: UpstreamRef) -> StreamRoute {
    StreamRoute {
        id: id(name),
        server_addr: Vec::new(),
        remote_addr: Vec::new(),
        server_port: None,
        snis: Vec::new(),
        tls_passthrough: false,
        protocol: None,
        order: 0,
        upstream,
        timeout: None,
        max_duration: None,
        udp_responses: None,
        limit: RouteLimit::Global,
        enabled: true,
    }
}

/// An HTTP route without conditions.
pub(crate) fn http_route(name: &str, upstream: UpstreamRef) -> HttpRoute {
    HttpRoute {
        id: id(name),
        matching: RouteMatch::default(),
        order: 0,
        upstream,
        timeout: None,
        transforms: Vec::new(),
        limit: RouteLimit::Global,
        enabled: true,
    }
}

pub(crate) fn listener(name: &str, addr: &str) -> Listener {
    Listener {
        id: id(name),
        protocol: Protocol::Tcp,
        http: crate::model::HttpVersions::default(),
        addrs: parse_listen(addr).unwrap(),
        stream_route_id: None,
        ssl_id: None,
        tls: false,
        proxy_protocol: None,
        proxy_protocol_to_upstream: None,
        drain_timeout: None,
        enabled: true,
    }
}

/// An upstream of one node.
pub(crate) fn upstream(port: u16) -> Upstream {
    let node = Node { host: Host::Ip([127, 0, 0, 1].into()), port, weight: 1, priority: 0 };
    Upstream { nodes: vec![node], ..Upstream::default() }
}

/// The port of the node that a session of the first open port is led to.
pub(crate) fn leads_to(snapshot: &Snapshot) -> Option<u16> {
    let spec = snapshot.ports().values().next()?;
    let ask = Ask { client: [127, 0, 0, 1].into(), server: spec.port.addr, sni: None };
    let target = snapshot.route_for(spec, &ask)?.target.clone()?;
    target.spec().nodes.first().map(|node| node.port)
}
