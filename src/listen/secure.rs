//! TLS with the client: its ClientHello is awaited, and once it has a route it is passed through, or a handshake is made with it.
//! A client whose name leads nowhere is told so by an alert. Chooses no route.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::worker::Context;
use crate::base::reason::Reason;
use crate::live::sessions::{Session, Tls};
use crate::proxy::tcp::{Client, Plan};
use crate::telemetry::Metrics;
use crate::tls::hello::Hello;
use crate::tls::{self, AlertDescription, Channel, Kind};

/// The handshake has to be over so long after the connection was accepted.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// Waits for a ClientHello. Every byte that came is in the answer.
///
/// # Errors
/// What the session ends with; it is counted with its kind.
pub(super) async fn greet(stream: &TcpStream, session: &Session, began: Instant, metrics: &Metrics) -> Result<(Hello, Vec<u8>), Reason> {
    let gathered = timeout_at(began + HANDSHAKE, tls::gather(stream)).await;
    let kind = match gathered {
        Ok(Ok((hello, bytes))) => {
            if let Some(sni) = &hello.sni {
                session.set_sni(sni.clone());
            }
            return Ok((hello, bytes));
        }
        Ok(Err(failed)) => failed.kind(),
        Err(_) => Kind::Timeout,
    };
    failed(session, metrics, kind);
    Err(Reason::TlsHandshake)
}

/// What becomes of a client whose hello is there: it is passed through or gets a handshake, as its route says; without a route it
/// gets an alert. Somebody may end the session meanwhile.
///
/// # Errors
/// What the session ends with.
pub(super) async fn settle(
    stream: TcpStream,
    (hello, bytes): (Hello, Vec<u8>),
    routed: Result<Plan, Reason>,
    session: &Session,
    (context, began): (&Context, Instant),
) -> Result<(Plan, Client), Reason> {
    let plan = match routed {
        Ok(plan) if plan.route.tls_passthrough => return through(stream, bytes, plan),
        Ok(plan) => plan,
        Err(reason) => {
            if reason == Reason::NoRoute {
                turn_away(&stream, session, began).await;
            }
            return Err(reason);
        }
    };
    let name = session.sni().or(context.fallback_sni.as_deref());
    let Some(identity) = name.and_then(|name| context.cell.load().certificate(name).cloned()) else {
        failed(session, &context.metrics, Kind::NoCertificate);
        turn_away(&stream, session, began).await;
        return Err(Reason::SniNoMatch);
    };
    let accepted =
        timeout_at(began + HANDSHAKE, unless_ended(session, tls::accept(&stream, identity.config().clone(), &hello, bytes))).await;
    let kind = match accepted {
        Ok(Ok(Ok(channel))) => {
            agreed(&channel, session, &context.metrics);
            return Ok((plan, Client::tls(stream, channel)));
        }
        Ok(Ok(Err(failed))) => {
            tracing::debug!(session = session.id, error = %failed, "handshake");
            failed.kind()
        }
        Ok(Err(reason)) => return Err(reason),
        Err(_) => Kind::Timeout,
    };
    failed(session, &context.metrics, kind);
    Err(Reason::TlsHandshake)
}

/// TLS that does not end here cannot begin here either.
fn through(stream: TcpStream, hello: Vec<u8>, plan: Plan) -> Result<(Plan, Client), Reason> {
    if plan.route.target.as_ref().is_some_and(|target| target.client().is_some()) {
        tracing::debug!(route = %plan.route.id, "tls_passthrough to an upstream of scheme tls");
        return Err(Reason::NoUpstream);
    }
    Ok((plan, Client::held(stream, hello)))
}

fn agreed(channel: &Channel, session: &Session, metrics: &Metrics) {
    let (version, cipher) = (channel.version().unwrap_or_default(), channel.cipher().unwrap_or_default());
    session.set_tls(Tls { version, cipher });
    metrics.handshake(&session.listener, version, channel.resumed());
}

fn failed(session: &Session, metrics: &Metrics, kind: Kind) {
    metrics.handshake_failed(&session.listener, kind.as_str());
    tracing::debug!(session = session.id, sni = session.sni(), reason = kind.as_str(), "no handshake");
}

/// Tells a client that there is nothing under its name.
async fn turn_away(stream: &TcpStream, session: &Session, began: Instant) {
    let told = unless_ended(session, tls::refuse(stream, AlertDescription::UnrecognisedName));
    // a client that does not listen has had its time
    let _ = timeout_at(began + HANDSHAKE, told).await;
}

/// A future's answer, or the reason that somebody ends the session for.
async fn unless_ended<T>(session: &Session, future: impl Future<Output = T>) -> Result<T, Reason> {
    let mut future = pin!(future);
    poll_fn(|cx| match session.poll_end(cx) {
        Poll::Ready(reason) => Poll::Ready(Err(reason)),
        Poll::Pending => future.as_mut().poll(cx).map(Ok),
    })
    .await
}
