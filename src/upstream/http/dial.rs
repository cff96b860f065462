//! A connection to a node of a target for one request: one that waits, else a new one; the next node when a connect fails.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::h1::H1;
use super::h2::Shared;
use super::kind::{Wanted, bare};
use super::link::Link;
use crate::base::reason::Reason;
use crate::model::{Keepalive, Scheme};
use crate::telemetry::RouteSeries;
use crate::tls::{self, Alpn, Wire};
use crate::upstream::connect::{DialError, reach, within};
use crate::upstream::node::{InFlight, Node};
use crate::upstream::target::Target;
use crate::upstream::timer::Timer;
use crate::upstream::walk::Walk;

/// A connection for one request.
#[derive(Debug)]
pub struct Lease {
    /// The connection, or the stream of one.
    pub link: Link,
    /// Where it leads.
    pub node: Arc<Node>,
    /// Nodes that failed before.
    pub retries: usize,
    /// How long the connect took; `None` for a connection that was there.
    pub connect: Option<Duration>,
    keep: Keepalive,
    _in_flight: InFlight,
}

/// One request's way to a node.
#[derive(Debug)]
pub struct Requests<'a> {
    /// Where to.
    pub target: &'a Target,
    /// The authority that the request has there; `None`: what the node is called.
    pub authority: Option<&'a str>,
    /// The time for one connect; the target's own wins.
    pub connect_timeout: Duration,
    /// Told of every try.
    pub series: &'a RouteSeries,
}

impl Requests<'_> {
    /// A connection to the first node that answers. `timer` is for connects only. Dropping the future closes what is under way.
    pub async fn lease(&self, began: Instant, timer: &mut Timer) -> Result<Lease, DialError> {
        let spec = self.target.spec();
        let limit = spec.timeout.map_or(self.connect_timeout, |t| t.connect);
        let shares = shares(spec.scheme);
        let mut walk = Walk::new(self.target, self.series, began);
        while let Some(node) = walk.next() {
            let wanted = Wanted::of(self.target, node, self.authority);
            let in_flight = node.hold();
            let retries = walk.retries();
            let lease = |link, connect| Lease { link, node: node.clone(), retries, connect, keep: spec.keepalive, _in_flight: in_flight };
            if let Some(link) = waiting(node, shares, wanted, began) {
                return Ok(lease(link, None));
            }
            let start = Instant::now();
            match within(timer.until(start + limit), Box::pin(open(node, shares, wanted))).await {
                Ok(Opened::Now(link)) => {
                    let took = start.elapsed();
                    self.series.connected(took);
                    return Ok(lease(link, Some(took)));
                }
                Ok(Opened::ByAnother(link)) => return Ok(lease(link, None)),
                Err(reason) => walk.failed(node, reason),
            }
        }
        Err(walk.end())
    }
}

impl Lease {
    /// A new connection to the same node, for a request of which nothing was sent on this one.
    pub async fn renew(mut self, connect_timeout: Duration, series: &RouteSeries, timer: &mut Timer) -> Result<Self, DialError> {
        let start = Instant::now();
        match within(timer.until(start + connect_timeout), open(&self.node, self.link.is_shared(), self.link.kind().wanted())).await {
            Ok(Opened::Now(link)) => {
                let took = start.elapsed();
                series.connected(took);
                (self.link, self.connect) = (link, Some(took));
            }
            Ok(Opened::ByAnother(link)) => self.link = link,
            Err(reason) => {
                series.connect_failed(self.node.label(), reason);
                return Err(DialError { reason, tries: self.retries + 1, node: Some(self.node) });
            }
        }
        Ok(self)
    }

    /// Lets the next request have the connection, if it is free.
    pub fn give_back(self, now: Instant) {
        if let Link::H1(h1) = self.link
            && h1.is_free()
        {
            self.node.pool().give(h1, &self.keep, now);
        }
    }
}

/// Where a connection came from.
enum Opened {
    Now(Link),
    /// Another request opened it, and there was room.
    ByAnother(Link),
}

/// Whether requests to nodes of a scheme share connections: they speak HTTP/2.
const fn shares(scheme: Scheme) -> bool {
    match scheme {
        Scheme::H2c | Scheme::Grpcs => true,
        Scheme::Tcp | Scheme::Tls | Scheme::Udp | Scheme::Https => false,
    }
}

/// What is there already.
fn waiting(node: &Node, shares: bool, wanted: Wanted<'_>, now: Instant) -> Option<Link> {
    if shares { node.pool().stream(wanted, now).map(Link::H2) } else { node.pool().take(wanted).map(Link::H1) }
}

async fn open(node: &Node, shares: bool, wanted: Wanted<'_>) -> Result<Opened, Reason> {
    if !shares {
        let wire = wire(node, wanted, Alpn::Http1).await?;
        return Ok(Opened::Now(Link::H1(Box::new(H1::new(wire, wanted.kind())))));
    }
    let _turn = node.pool().turn().await;
    if let Some(link) = waiting(node, shares, wanted, Instant::now()) {
        return Ok(Opened::ByAnother(link));
    }
    let wire = wire(node, wanted, Alpn::Http2).await?;
    let now = Instant::now();
    let shared = Shared::open(wire, wanted.kind(), now).await?;
    let stream = node.pool().share(shared, now).ok_or(Reason::UpstreamReset)?;
    Ok(Opened::Now(Link::H2(stream)))
}

/// A connected stream to a node, with TLS where that is wanted. Boxed: the handshake is rare, and the plain way is not to carry its room.
async fn wire(node: &Node, wanted: Wanted<'_>, alpn: Alpn) -> Result<Wire, Reason> {
    let tcp = reach(node).await?;
    let Some((client, name)) = wanted.secure() else { return Ok(Wire::Plain(tcp)) };
    match Box::pin(tls::connect(&tcp, client, Some(name), bare(node.label()), alpn)).await {
        Ok(channel) => Ok(Wire::Tls(Box::new(tls::Stream::new(tcp, channel)))),
        Err(failed) => {
            tracing::debug!(node = %node.label(), name, error = %failed, "TLS with the node");
            Err(Reason::UpstreamTls)
        }
    }
}
