//! The stages of a connection: registered, opened, routed, proxied, ended. What a stage does is elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::net::TcpStream;

use super::budget::Place;
use super::gate::Gate;
use super::guard::ConnGuard;
use super::opening::{self, Opening};
use super::worker::Context;
use crate::base::addr::{Protocol, Remote, canonical};
use crate::base::reason::Reason;
use crate::live::sessions::Arrival;
use crate::net::wire::Wire;
use crate::proxy::http;
use crate::proxy::tcp::{self, Outcome, Plan};
use crate::route::l4::Ask;
use crate::snapshot::PortSpec;

/// Serves one accepted connection to its end. Without a place there is no room for it: it is closed at once.
///
/// Its stages: registered; what the listener awaits of a client is read; routed; proxied; ended with one reason. Only the
/// proxying is long, so that alone has its room in the future: what waits before it has to be boxed, by listeners that need it.
pub(super) async fn serve(stream: TcpStream, peer: SocketAddr, gate: Arc<Gate>, context: Arc<Context>, place: Option<Place>) {
    let spec = gate.spec();
    let mut guard = ConnGuard::register(&context, arrival(&stream, peer, &gate, &spec));
    let opening = match (&place, opening::awaited(&spec.listener)) {
        (_, false) => Ok(Opening::default()),
        (Some(_), true) => Box::pin(opening::read(&stream, &spec.listener, guard.session(), guard.began())).await,
        (None, true) => Err(Reason::Overload),
    };
    if spec.listener.protocol == Protocol::Http {
        return Box::pin(requests(stream, guard, opening, context, place)).await;
    }
    let routed = route(&mut guard, &context, &spec, opening);
    drop((spec, gate, context));
    let outcome = match routed {
        _ if place.is_none() => Outcome::early(Reason::Overload),
        Ok(plan) => tcp::run(stream, guard.session(), &plan, guard.began()).await,
        Err(reason) => Outcome::early(reason),
    };
    guard.close(&outcome);
    drop(place);
}

/// Serves a connection whose requests are routed each by itself.
async fn requests(stream: TcpStream, mut guard: ConnGuard, opening: Result<Opening, Reason>, context: Arc<Context>, place: Option<Place>) {
    guard.routed(None, context.cell.load().revision());
    let reason = match (opening, &place) {
        (Err(reason), _) => reason,
        (Ok(_), None) => Reason::Overload,
        (Ok(_), Some(_)) => {
            http::serve(Wire::Plain(stream), Arc::new(http::Front::new(context.http.clone(), guard.session().clone(), false))).await
        }
    };
    guard.close(&Outcome::early(reason));
    drop(place);
}

fn arrival(stream: &TcpStream, peer: SocketAddr, gate: &Gate, spec: &PortSpec) -> Arrival {
    Arrival {
        listener: spec.listener.id.clone(),
        port: gate.port,
        protocol: spec.listener.protocol,
        peer: Remote(canonical(peer)),
        local: gate.local(stream),
        started: SystemTime::now(),
    }
}

/// Finds the session's route by the configuration of the moment, and counts the session as the route's, or as one without.
fn route(guard: &mut ConnGuard, context: &Context, spec: &PortSpec, opening: Result<Opening, Reason>) -> Result<Plan, Reason> {
    let snapshot = context.cell.load();
    let opening = opening.inspect_err(|_| guard.routed(None, snapshot.revision()))?;
    let session = guard.session();
    let ask = Ask { client: session.client().0.ip(), server: session.local.0, sni: opening.sni.as_deref() };
    let route = snapshot.route_for(spec, &ask);
    guard.routed(route.map(|r| &**r), snapshot.revision());
    route.map(|route| Plan::new(route.clone(), snapshot.global(), &spec.listener)).ok_or(Reason::NoRoute)
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
