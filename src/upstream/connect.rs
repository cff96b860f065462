//! Dialling: a node of the target, the next one when a connect fails, within the target's number of tries and time.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::node::{InFlight, Node};
use super::target::Target;
use super::walk::Walk;
use crate::base::reason::Reason;
use crate::telemetry::RouteSeries;

/// A connection to a node.
#[derive(Debug)]
pub struct Connected {
    /// The connection.
    pub stream: TcpStream,
    /// The node; held as long as the session lasts.
    pub node: Arc<Node>,
    /// The session's count on the node.
    pub in_flight: InFlight,
    /// How many nodes failed before.
    pub retries: usize,
    /// How long the connect that succeeded took.
    pub took: Duration,
    /// When it succeeded.
    pub at: Instant,
}

/// No node could be reached. `reason` is that of the last try.
#[derive(Debug, thiserror::Error)]
#[error("no node reached after {tries} tries: {reason}")]
pub struct DialError {
    /// What the session ends with.
    pub reason: Reason,
    /// How many nodes were tried.
    pub tries: usize,
    /// The node that was tried last.
    pub node: Option<Arc<Node>>,
}

/// One session's way to a node, from one to the next.
#[derive(Debug)]
pub struct Dialer<'a> {
    walk: Walk<'a>,
    series: &'a RouteSeries,
    /// For one connect.
    limit: Duration,
    began: Instant,
}

impl<'a> Dialer<'a> {
    /// A way to the target, beginning now. `connect_timeout` is the time for one connect where the target gives none; `series` is told of every
    /// try.
    pub fn new(target: &'a Target, connect_timeout: Duration, series: &'a RouteSeries, began: Instant) -> Self {
        let limit = target.spec().timeout.map_or(connect_timeout, |t| t.connect);
        Self { walk: Walk::new(target, series, began), series, limit, began }
    }

    /// The time for one connect.
    pub const fn limit(&self) -> Duration {
        self.limit
    }

    /// Connects to the next node that answers. The session's timer is set for each connect, and left as it was
    /// last. Dropping the future closes what is under way.
    pub async fn next(&mut self, mut timer: Pin<&mut Sleep>) -> Result<Connected, DialError> {
        while let Some(node) = self.walk.next() {
            let in_flight = node.hold();
            let retries = self.walk.retries();
            let start = if retries == 0 { self.began } else { Instant::now() };
            timer.as_mut().reset(start + self.limit);
            match within(timer.as_mut(), reach(node)).await {
                Ok(stream) => {
                    let at = Instant::now();
                    let took = at.saturating_duration_since(start);
                    self.series.connected(took);
                    return Ok(Connected { stream, node: node.clone(), in_flight, retries, took, at });
                }
                Err(reason) => self.walk.failed(node, reason),
            }
        }
        Err(self.walk.end())
    }

    /// Notes that a node which was connected to is of no use after all, before it saw anything of the session.
    pub fn failed(&mut self, node: &Arc<Node>, reason: Reason) {
        self.walk.failed(node, reason);
    }
}

/// The result of a connect, or a time-out once the timer has fired.
pub(super) async fn within<T>(mut timer: Pin<&mut Sleep>, connect: impl Future<Output = Result<T, Reason>>) -> Result<T, Reason> {
    let mut connect = pin!(connect);
    poll_fn(|cx| match connect.as_mut().poll(cx) {
        Poll::Pending => timer.as_mut().poll(cx).map(|()| Err(Reason::UpstreamTimeout)),
        done @ Poll::Ready(_) => done,
    })
    .await
}

/// Connects to one node: to its address, or to those of its name in turn.
pub(super) async fn reach(node: &Node) -> Result<TcpStream, Reason> {
    if let Some(addr) = node.fixed() {
        return connect(addr).await.map_err(|e| reason(&e));
    }
    let addresses = node.addresses().await.map_err(|_| Reason::DnsFailed)?;
    let mut last = Reason::DnsFailed;
    for addr in addresses {
        match connect(addr).await {
            Ok(stream) => return Ok(stream),
            Err(e) => last = reason(&e),
        }
    }
    Err(last)
}

/// One connect. The socket's error is asked for only when the readiness tells of one.
async fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&addr.into()) {
        Ok(()) => {}
        Err(e) if rustix::io::Errno::from_io_error(&e) == Some(rustix::io::Errno::INPROGRESS) => {}
        Err(e) => return Err(e),
    }
    let stream = TcpStream::from_std(socket.into())?;
    let ready = stream.ready(Interest::WRITABLE | Interest::ERROR).await?;
    if (ready.is_error() || ready.is_write_closed())
        && let Some(error) = stream.take_error()?
    {
        return Err(error);
    }
    Ok(stream)
}

/// What a failed connect means.
fn reason(error: &io::Error) -> Reason {
    use rustix::io::Errno;
    match Errno::from_io_error(error) {
        Some(Errno::CONNREFUSED) => Reason::UpstreamRefused,
        Some(Errno::CONNRESET | Errno::CONNABORTED | Errno::PIPE) => Reason::UpstreamReset,
        Some(Errno::TIMEDOUT) => Reason::UpstreamTimeout,
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => Reason::Overload,
        _ => Reason::UpstreamUnreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Kind;
    use crate::model::{self, Host, Upstream};
    use crate::telemetry::Metrics;
    use crate::upstream::Registry;
    use tokio::net::TcpListener;

    fn node(addr: SocketAddr) -> model::Node {
        model::Node { host: Host::Ip(addr.ip()), port: addr.port(), weight: 1, priority: 0 }
    }

    async fn dead() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
    }

    async fn dial(spec: Upstream) -> Result<Connected, DialError> {
        let (registry, _resolver) = Registry::new();
        let target = registry.target("u", &Arc::new(spec), None).unwrap();
        let series = Metrics::new().unwrap().route(Kind::StreamRoute, None);
        let now = Instant::now();
        let timer = pin!(tokio::time::sleep_until(now));
        Dialer::new(&target, Duration::from_secs(3), &series, now).next(timer).await
    }

    #[tokio::test]
    async fn the_next_node_is_tried_when_one_refuses() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let nodes = vec![node(dead().await), node(dead().await), node(server.local_addr().unwrap())];
        let connected = dial(Upstream { nodes, ..Upstream::default() }).await.unwrap();
        assert_eq!(connected.retries, 2);
        assert_eq!(connected.node.in_flight(), 1);
        drop(connected.in_flight);
        assert_eq!(connected.node.in_flight(), 0);
    }

    #[tokio::test]
    async fn retries_are_no_more_than_allowed() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let nodes = vec![node(dead().await), node(server.local_addr().unwrap())];
        let error = dial(Upstream { nodes, retries: Some(0), ..Upstream::default() }).await.unwrap_err();
        assert_eq!((error.reason, error.tries), (Reason::UpstreamRefused, 1));
        let one = vec![node(dead().await)];
        let error = dial(Upstream { nodes: one, retries: Some(3), ..Upstream::default() }).await.unwrap_err();
        assert_eq!(error.tries, 4, "a lone node is tried again");
    }

    #[tokio::test]
    async fn an_upstream_without_nodes_has_none_to_offer() {
        assert_eq!(dial(Upstream::default()).await.unwrap_err().reason, Reason::NoHealthyNode);
    }
}
