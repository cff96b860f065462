//! The stages of a connection: registered, routed, proxied, ended.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::net::TcpStream;

use super::budget::Place;
use super::gate::Gate;
use super::guard::ConnGuard;
use super::worker::Context;
use crate::base::addr::{Remote, canonical};
use crate::base::reason::Reason;
use crate::live::sessions::Arrival;
use crate::proxy::tcp::{self, Outcome, Plan};
use crate::route::l4::Ask;

/// Serves one accepted connection to its end. Without a place there is no room for it: it is closed at once.
pub(super) async fn serve(stream: TcpStream, peer: SocketAddr, gate: Arc<Gate>, context: Arc<Context>, place: Option<Place>) {
    let client = canonical(peer);
    let local = gate.local(&stream);
    let spec = gate.spec();
    let arrival = Arrival {
        listener: spec.listener.id.clone(),
        port: gate.port,
        protocol: spec.listener.protocol,
        client: Remote(client),
        local,
        started: SystemTime::now(),
    };
    let mut guard = ConnGuard::register(&context, arrival);
    let plan = {
        let snapshot = context.cell.load();
        let route = snapshot.route_for(&spec, &Ask { client: client.ip(), server: local.0 });
        guard.routed(route.map(|r| &**r), snapshot.revision());
        route.map(|route| Plan::new(route.clone(), snapshot.global()))
    };
    drop((spec, gate, context));
    let outcome = match plan {
        _ if place.is_none() => Outcome::early(Reason::Overload),
        Some(plan) => tcp::run(stream, guard.session(), &plan, guard.began()).await,
        None => Outcome::early(Reason::NoRoute),
    };
    guard.close(&outcome);
    drop(place);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, B, C, D, E, F>(_: fn(A, B, C, D, E) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_at_rest_is_small() {
        let bytes = size(serve);
        assert!((800..=1100).contains(&bytes), "{bytes} bytes: a change of this size wants a reason");
    }
}
