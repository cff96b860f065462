//! The stages of a connection: registered, opened, routed, limited, proxied, ended. What a stage does is elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::net::TcpStream;
use tokio::time::Instant;

use super::budget::Place;
use super::gate::Gate;
use super::guard::ConnGuard;
use super::opening::{self, Opening};
use super::secure;
use super::toll;
use super::worker::Context;
use crate::base::addr::{Protocol, Remote, canonical};
use crate::base::reason::Reason;
use crate::live::sessions::Arrival;
use crate::model::HttpVersions;
use crate::proxy::http;
use crate::proxy::tcp::{self, Client, Outcome, Plan};
use crate::route::l4::Ask;
use crate::snapshot::PortSpec;
use crate::tls::Wire;

/// Serves one accepted connection to its end. Without a place there is no room for it: it is closed at once.
///
/// Its stages: registered, at once; what the listener awaits of a client is read; routed; limited; made secure, where it speaks TLS;
/// proxied; ended with one reason. Only the proxying is long, so that alone has its room in the future: what waits before it has to be boxed, by
/// listeners that need it.
///
/// Not an `async fn`: what that is given is in its future twice.
pub(super) fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    gate: &Gate,
    context: Arc<Context>,
    place: Option<Place>,
) -> impl Future<Output = ()> + use<> {
    let spec = gate.spec();
    let mut guard = ConnGuard::register(&context, arrival(&stream, peer, gate, &spec));
    async move {
        if spec.listener.protocol == Protocol::Http {
            return Box::pin(requests(stream, guard, context, spec, place)).await;
        }
        let mut ready = if opening::awaited(&spec.listener) && place.is_some() {
            Box::pin(open(stream, &mut guard, &context, &spec)).await
        } else {
            match route(&mut guard, &context, &spec, Ok(&Opening::default()), place.is_some()) {
                Ok(plan) if plan.pass.waits() => Box::pin(queue(stream, plan, &guard)).await,
                routed => routed.map(|plan| (plan, Client::plain(stream))),
            }
        };
        drop((spec, context));
        let outcome = match &mut ready {
            // by reference: what is moved into a future is in it twice
            Ok((plan, client)) => tcp::run(client, guard.session(), plan, guard.began()).await,
            Err(reason) => Outcome::early(*reason),
        };
        // the permit, then the account, then the place
        drop(ready);
        guard.close(&outcome);
        drop(place);
    }
}

/// Serves a connection whose requests are routed each by itself.
async fn requests(stream: TcpStream, mut guard: ConnGuard, context: Arc<Context>, spec: Arc<PortSpec>, place: Option<Place>) {
    guard.routed(None, context.cell.load().revision());
    let opening = match (&place, opening::awaited(&spec.listener)) {
        (None, _) => Err(Reason::Overload),
        (Some(_), false) => Ok(Opening::default()),
        (Some(_), true) => opening::read(&stream, &spec.listener, guard.session(), guard.began(), &context.metrics).await,
    };
    let ready = match opening.map(|opening| opening.greeting) {
        Ok(None) => Ok((Wire::Plain(stream), None, spoken(spec.listener.http))),
        Ok(Some(greeting)) => {
            Box::pin(secure::requests(stream, greeting, &spec.listener, guard.session(), (&context, guard.began()))).await
        }
        Err(reason) => Err(reason),
    };
    drop(spec);
    let reason = match ready {
        Ok((wire, secured, spoken)) => {
            let front = http::Front::new(context.http.clone(), guard.session().clone(), secured);
            http::serve(wire, Arc::new(front), spoken).await
        }
        Err(reason) => reason,
    };
    guard.close(&Outcome::early(reason));
    drop(place);
}

/// What a client may begin with.
const fn spoken(versions: HttpVersions) -> http::Spoken {
    match versions {
        HttpVersions { h1: true, h2: true } => http::Spoken::Either,
        HttpVersions { h2: true, .. } => http::Spoken::H2,
        HttpVersions { .. } => http::Spoken::H1,
    }
}

/// The stages before proxying, where something is awaited of the client.
async fn open(stream: TcpStream, guard: &mut ConnGuard, context: &Context, spec: &PortSpec) -> Result<(Plan, Client), Reason> {
    let opening = opening::read(&stream, &spec.listener, guard.session(), guard.began(), &context.metrics).await;
    let mut routed = route(guard, context, spec, opening.as_ref().map_err(|reason| *reason), true);
    let mut from = guard.began();
    if let Ok(plan) = &mut routed
        && plan.pass.waits()
    {
        if let Err(reason) = toll::wait(&stream, guard.session(), plan, from).await {
            routed = Err(reason);
        }
        // the time in the queue is not the client's
        from = Instant::now();
    }
    match opening.ok().and_then(|opening| opening.greeting) {
        None => routed.map(|plan| (plan, Client::plain(stream))),
        Some(greeting) => secure::settle(stream, greeting, routed, spec.listener.ssl_id.as_ref(), guard.session(), (context, from)).await,
    }
}

/// Waits for the limit, where nothing was awaited of the client.
async fn queue(stream: TcpStream, mut plan: Plan, guard: &ConnGuard) -> Result<(Plan, Client), Reason> {
    toll::wait(&stream, guard.session(), &mut plan, guard.began()).await?;
    Ok((plan, Client::plain(stream)))
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

/// Finds the session's route by the configuration of the moment, counts the session as the route's, or as one without, and asks
/// the limit. What there is no room for asks none.
fn route(guard: &mut ConnGuard, context: &Context, spec: &PortSpec, opening: Result<&Opening, Reason>, room: bool) -> Result<Plan, Reason> {
    let snapshot = context.cell.load();
    let opening = opening.inspect_err(|_| guard.routed(None, snapshot.revision()))?;
    let session = guard.session();
    let bare = opening.is_bare();
    let fallback = context.fallback_sni.as_deref().filter(|_| spec.listener.tls && !bare);
    let ask = Ask { client: session.client().0.ip(), server: session.local.0, sni: opening.sni().or(fallback) };
    // what is no TLS can only be passed through, and costs no other route a permit
    let route = snapshot.route_for(spec, &ask).filter(|route| !bare || route.tls_passthrough);
    guard.routed(route, snapshot.revision());
    if !room {
        return Err(Reason::Overload);
    }
    if bare && route.is_none() {
        return Err(secure::bare(guard.session(), &context.metrics));
    }
    let route = route.ok_or(Reason::NoRoute)?;
    // what was read before may have taken its time
    let now = if opening::awaited(&spec.listener) { Instant::now() } else { guard.began() };
    let pass = toll::ask(&snapshot, route, guard.session(), now)?;
    Ok(Plan::new(route.clone(), snapshot.global(), &spec.listener, pass))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<'a, A, B, C, D, F>(_: impl Fn(A, B, &'a Gate, C, D) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_at_rest_is_small() {
        let bytes = size(serve);
        assert!((800..=1100).contains(&bytes), "{bytes} bytes: a change of this size wants a reason");
    }
}
