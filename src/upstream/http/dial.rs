//! A connection to a node of a target for one request: one that waits, else a new one; the next node when a connect fails.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::h1::H1;
use crate::base::reason::Reason;
use crate::model::Keepalive;
use crate::net::wire::Wire;
use crate::telemetry::RouteSeries;
use crate::upstream::balance::Tried;
use crate::upstream::connect::{DialError, reach, within};
use crate::upstream::node::{InFlight, Node};
use crate::upstream::target::Target;

/// A connection for one request.
#[derive(Debug)]
pub struct Lease {
    /// The connection.
    pub h1: H1,
    /// Where it leads.
    pub node: Arc<Node>,
    /// Nodes that failed before.
    pub retries: usize,
    /// How long the connect took; `None` for a connection that was waiting.
    pub connect: Option<Duration>,
    kind: u64,
    keep: Keepalive,
    _in_flight: InFlight,
}

/// One request's way to a node.
#[derive(Debug)]
pub struct Requests<'a> {
    /// Where to.
    pub target: &'a Target,
    /// The time for one connect; the target's own wins.
    pub connect_timeout: Duration,
    /// Told of every try.
    pub series: &'a RouteSeries,
    /// Nodes that this request was tried on.
    pub tried: Tried,
    /// How many these were.
    pub tries: usize,
}

impl Requests<'_> {
    /// A connection to the first node that answers. The timer is set for each connect and left as it was last. Dropping the future
    /// closes what is under way.
    pub async fn lease(&mut self, began: Instant, mut timer: Pin<&mut Sleep>) -> Result<Lease, DialError> {
        let limit = self.target.spec().timeout.map_or(self.connect_timeout, |t| t.connect);
        let mut last = DialError { reason: Reason::NoHealthyNode, tries: self.tries, node: None };
        while self.tries <= self.target.retries() {
            let late = self.tries > 0 && self.target.retry_timeout().is_some_and(|t| began.elapsed() >= t);
            let Some(node) = self.target.next(&mut self.tried).filter(|_| !late) else { break };
            self.tries += 1;
            let (kind, keep) = (0, self.target.spec().keepalive);
            let in_flight = node.hold();
            let lease = |h1, connect| Lease { h1, node: node.clone(), retries: self.tries - 1, connect, kind, keep, _in_flight: in_flight };
            if let Some(h1) = node.pool().take(kind) {
                return Ok(lease(h1, None));
            }
            let start = Instant::now();
            timer.as_mut().reset(start + limit);
            match within(timer.as_mut(), open(node)).await {
                Ok(h1) => {
                    let took = start.elapsed();
                    self.series.connected(took);
                    return Ok(lease(h1, Some(took)));
                }
                Err(reason) => {
                    self.series.connect_failed(node.label(), reason);
                    tracing::debug!(node = %node.label(), %reason, "connect failed");
                    last = DialError { reason, tries: self.tries, node: Some(node.clone()) };
                    if reason == Reason::Overload {
                        break;
                    }
                }
            }
        }
        Err(last)
    }
}

impl Lease {
    /// A new connection to the same node, for a request of which nothing was sent on this one. The timer is set for the connect.
    pub async fn renew(self, connect_timeout: Duration, series: &RouteSeries, mut timer: Pin<&mut Sleep>) -> Result<Self, DialError> {
        let start = Instant::now();
        timer.as_mut().reset(start + connect_timeout);
        match within(timer, open(&self.node)).await {
            Ok(h1) => {
                let took = start.elapsed();
                series.connected(took);
                Ok(Self { h1, connect: Some(took), ..self })
            }
            Err(reason) => {
                series.connect_failed(self.node.label(), reason);
                Err(DialError { reason, tries: self.retries + 1, node: Some(self.node) })
            }
        }
    }

    /// Lets the next request have the connection, if it is free.
    pub fn give_back(self, now: Instant) {
        if self.h1.is_free() {
            self.node.pool().give(self.h1, self.kind, &self.keep, now);
        }
    }
}

async fn open(node: &Node) -> Result<H1, Reason> {
    let tcp = reach(node).await?;
    H1::open(Wire::Plain(tcp)).await.map_err(|_| Reason::UpstreamReset)
}
