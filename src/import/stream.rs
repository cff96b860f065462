//! `Routes` as stream routes: those that listeners name, those that names lead to, and those that nobody reaches.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::cluster::{Targets, Use};
use super::file::{Entry, Names};
use super::listen::{Listen, Speaks};
use super::note::Notes;
use super::put::Put as _;
use super::route::common;
use super::sni::Sni;

/// Stream routes in the making.
#[derive(Debug, Default)]
pub(super) struct Streams {
    names: Names,
    pub(super) made: Vec<Value>,
}

impl Streams {
    /// The route of listeners that name it. It is bound to the first port of them: a listener that names a route does not ask for
    /// its conditions, and one that matches shall not find it.
    pub(super) fn fixed<'a>(
        &mut self,
        route: &Entry<'a>,
        listens: &[&Listen<'_, 'a>],
        targets: &mut Targets<'_, 'a>,
        notes: &mut Notes,
    ) -> String {
        let udp = listens.iter().any(|listen| listen.speaks == Speaks::Udp);
        let tcp = listens.iter().any(|listen| listen.speaks == Speaks::Tcp);
        let id = self.names.take(&route.id);
        let mut stream = json!({ "id": id });
        if udp != tcp {
            stream.put("protocol", if udp { "udp" } else { "tcp" });
        }
        if let Some(first) = listens.first().and_then(|listen| listen.addrs.first()) {
            bound_to(*first, &mut stream);
        }
        l4(route, tcp, udp, &mut stream, targets, notes);
        self.made.push(stream);
        id
    }

    /// The route of names. Without one of `VKProxy`'s, sessions are closed.
    pub(super) fn named<'a>(&mut self, sni: &Sni<'_, 'a>, targets: &mut Targets<'_, 'a>, notes: &mut Notes) -> String {
        let id = self.names.take(&sni.entry.id);
        let mut stream = json!({ "id": id, "protocol": "tcp", "snis": sni.names });
        if let Some(order) = sni.order {
            stream.put("order", order);
        }
        if sni.passthrough {
            stream.put("tls_passthrough", true);
        }
        if let Some(route) = sni.route {
            l4(route, true, false, &mut stream, targets, notes);
        }
        self.made.push(stream);
        id
    }

    /// A route that nothing leads to, and that has no conditions. On, it would take every session.
    pub(super) fn unreached<'a>(&mut self, route: &Entry<'a>, targets: &mut Targets<'_, 'a>, notes: &mut Notes) {
        notes.differs(&route.part.at, "no listener and no Sni leads to it: a stream route that is off (status 0)");
        let mut stream = json!({ "id": self.names.take(&route.id), "status": 0 });
        l4(route, true, route.part.get("UdpResponses").is_some(), &mut stream, targets, notes);
        self.made.push(stream);
    }
}

fn bound_to(addr: SocketAddr, stream: &mut Value) {
    if !addr.ip().is_unspecified() {
        stream.put("server_addr", addr.ip().to_string());
    }
    stream.put("server_port", addr.port());
}

fn l4<'a>(route: &Entry<'a>, tcp: bool, udp: bool, stream: &mut Value, targets: &mut Targets<'_, 'a>, notes: &mut Notes) {
    let part = &route.part;
    common(part, Use::L4, stream, targets, notes);
    if tcp && stream.get("timeout").is_some() {
        notes.differs(&part.at_of("Timeout"), "of TCP it is the idle time here, not the whole time; that would be max_duration");
    }
    if part.get("Transforms").is_some_and(|list| !list.items().is_empty()) && part.get("Match").is_none() {
        notes.differs(&part.at_of("Transforms"), "below HTTP there is nothing to transform");
    }
    // absent means that replies are not relayed there, and that all are relayed here
    let responses: Option<u32> = part.number("UdpResponses", notes);
    if let Some(responses) = responses.or(udp.then_some(0)).filter(|_| udp || responses.is_some()) {
        stream.put("udp_responses", responses);
    }
}
