//! TLS with the client: its ClientHello is awaited, and once it has a route it is passed through, or a handshake is made with it.
//! A client whose name leads nowhere is told so by an alert, and one without TLS can only be passed through. Chooses no route.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::worker::Context;
use crate::base::id::Id;
use crate::base::reason::Reason;
use crate::live::sessions::{Session, Tls};
use crate::model::{HttpVersions, Listener};
use crate::proxy::http::{Secured, Spoken};
use crate::proxy::tcp::{Client, Plan};
use crate::telemetry::Metrics;
use crate::tls::hello::Hello;
use crate::tls::{self, AlertDescription, Alpn, Channel, Identity, Kind, Wire};

/// The handshake has to be over so long after the connection was accepted.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// What a client began with. Every byte that came is here.
#[derive(Debug)]
pub(super) enum Greeting {
    /// A ClientHello.
    Hello(Hello, Vec<u8>),
    /// No TLS: it can be passed through, and nothing else.
    Bare(Vec<u8>),
}

impl Greeting {
    /// The name in it.
    pub(super) fn sni(&self) -> Option<&str> {
        match self {
            Self::Hello(hello, _) => hello.sni.as_deref(),
            Self::Bare(_) => None,
        }
    }

    fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Hello(_, bytes) | Self::Bare(bytes) => bytes,
        }
    }
}

/// Waits for a ClientHello, or for what cannot become one.
///
/// # Errors
/// What the session ends with; it is counted with its kind.
pub(super) async fn greet(stream: &TcpStream, session: &Session, began: Instant, metrics: &Metrics) -> Result<Greeting, Reason> {
    let mut bytes = Vec::new();
    let gathered = timeout_at(began + HANDSHAKE, tls::gather(stream, &mut bytes)).await;
    let kind = match gathered {
        Ok(Ok(hello)) => {
            if let Some(sni) = &hello.sni {
                session.set_sni(sni.clone());
            }
            return Ok(Greeting::Hello(hello, bytes));
        }
        Ok(Err(failed)) if failed.kind() == Kind::NotTls => return Ok(Greeting::Bare(bytes)),
        Ok(Err(failed)) => failed.kind(),
        Err(_) => Kind::Timeout,
    };
    failed(session, metrics, kind);
    Err(Reason::TlsHandshake)
}

/// What a session without TLS ends with where TLS ends; it is counted.
pub(super) fn bare(session: &Session, metrics: &Metrics) -> Reason {
    failed(session, metrics, Kind::NotTls);
    Reason::TlsHandshake
}

/// What becomes of a client that has begun: it is passed through or gets a handshake, as its route says; without a route it
/// gets an alert. Somebody may end the session meanwhile.
///
/// # Errors
/// What the session ends with.
pub(super) async fn settle(
    stream: TcpStream,
    greeting: Greeting,
    routed: Result<Plan, Reason>,
    ssl_id: Option<&Id>,
    session: &Session,
    (context, began): (&Context, Instant),
) -> Result<(Plan, Client), Reason> {
    let plan = match routed {
        Ok(plan) if plan.route.tls_passthrough => return through(stream, greeting.into_bytes(), plan),
        Ok(plan) => plan,
        Err(reason) => {
            if reason == Reason::NoRoute {
                turn_away(&stream, session, began).await;
            }
            return Err(reason);
        }
    };
    let Greeting::Hello(hello, bytes) = greeting else { return Err(bare(session, &context.metrics)) };
    let (channel, _) = terminate(&stream, (hello, bytes), (ssl_id, Alpn::Silent), session, (context, began)).await?;
    Ok((plan, Client::tls(stream, channel)))
}

/// A client whose requests are routed each by itself: the stream of them, what its TLS says of it, and what it speaks, by ALPN. One
/// that names no protocol speaks HTTP/1.1, if the listener does (RFC 9113, 3.2).
///
/// # Errors
/// What the session ends with.
pub(super) async fn requests(
    stream: TcpStream,
    greeting: Greeting,
    listener: &Listener,
    session: &Session,
    at: (&Context, Instant),
) -> Result<(Wire, Option<Secured>, Spoken), Reason> {
    let Greeting::Hello(hello, bytes) = greeting else { return Err(bare(session, &at.0.metrics)) };
    let versions = listener.http;
    let alpn = match versions {
        HttpVersions { h1: true, h2: true } => Alpn::Http,
        HttpVersions { h2: true, .. } => Alpn::Http2,
        HttpVersions { .. } => Alpn::Http1,
    };
    let (channel, identity) = terminate(&stream, (hello, bytes), (listener.ssl_id.as_ref(), alpn), session, at).await?;
    let secured = Secured::new(identity, listener.ssl_id.is_some(), &channel);
    let is_h2 = channel.protocol().map_or(!versions.h1, |protocol| protocol == b"h2");
    let spoken = if is_h2 { Spoken::H2 } else { Spoken::H1 };
    Ok((Wire::Tls(Box::new(tls::Stream::new(stream, channel))), Some(secured), spoken))
}

/// A handshake with the client, under the certificate of the listener or else of its name, within the time for it. Somebody may end the session meanwhile.
///
/// # Errors
/// What the session ends with; it is counted with its kind, and the client is told.
pub(super) async fn terminate(
    stream: &TcpStream,
    (hello, bytes): (Hello, Vec<u8>),
    (ssl_id, alpn): (Option<&Id>, Alpn),
    session: &Session,
    (context, began): (&Context, Instant),
) -> Result<(Box<Channel>, Arc<Identity>), Reason> {
    let found = match ssl_id {
        Some(id) => context.cell.load().identity(id).cloned(),
        None => session.sni().or(context.fallback_sni.as_deref()).and_then(|name| context.cell.load().certificate(name).cloned()),
    };
    let Some(identity) = found else {
        failed(session, &context.metrics, Kind::NoCertificate);
        turn_away(stream, session, began).await;
        return Err(Reason::SniNoMatch);
    };
    let shaken = tls::accept(stream, identity.config(alpn).clone(), &hello, bytes);
    let kind = match timeout_at(began + HANDSHAKE, unless_ended(session, shaken)).await {
        Ok(Ok(Ok(channel))) => {
            agreed(&channel, session, &context.metrics);
            return Ok((channel, identity));
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
fn through(stream: TcpStream, bytes: Vec<u8>, plan: Plan) -> Result<(Plan, Client), Reason> {
    if plan.route.target.as_ref().is_some_and(|target| target.tunnel().is_some()) {
        tracing::debug!(route = %plan.route.id, "tls_passthrough to an upstream of scheme tls");
        return Err(Reason::NoUpstream);
    }
    Ok((plan, Client::held(stream, bytes)))
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
