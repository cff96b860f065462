//! One TCP session with a chosen route: a node is dialled, bytes are relayed, and it ends with one reason.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::announce::announce;
use super::crypt::{Crypt, End};
use super::idle::Idle;
use crate::base::meter::{ByteMeter, Direction};
use crate::base::reason::Reason;
use crate::limit::{Hold, Waiting};
use crate::live::sessions::Session;
use crate::model::{Global, Listener, ProxyVersion};
use crate::net::relay::Relay;
use crate::snapshot::L4Route;
use crate::telemetry::RouteSeries;
use crate::tls::{self, Alpn, Channel};
use crate::upstream::{Connected, DialError, Dialer, Node};

/// The idle time of a session whose one side has sent FIN, where neither route nor upstream gives an idle time.
const HALF_CLOSED: Duration = Duration::from_secs(60);

/// How a session ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Why.
    pub reason: Reason,
    /// The node that it was connected to, or the last that was tried.
    pub node: Option<Arc<Node>>,
    /// Connects that were tried after the first.
    pub retries: usize,
    /// How long the connect that succeeded took.
    pub connect: Option<Duration>,
}

impl Outcome {
    /// An end before any node was tried.
    pub const fn early(reason: Reason) -> Self {
        Self { reason, node: None, retries: 0, connect: None }
    }
}

/// The client's side of a session, with what came of it before it had a route.
#[derive(Debug)]
pub struct Client {
    /// `None` once the session has it.
    tcp: Option<TcpStream>,
    /// `None`: nothing came.
    front: Option<Box<Front>>,
}

#[derive(Debug)]
enum Front {
    /// These bytes, which the node is to get.
    Held(Box<[u8]>),
    /// A handshake, which is over.
    Tls(Box<Channel>),
}

impl Client {
    /// A client of which nothing was read.
    pub const fn plain(tcp: TcpStream) -> Self {
        Self { tcp: Some(tcp), front: None }
    }

    /// A client of which these bytes were read, which the node gets before all others.
    pub fn held(tcp: TcpStream, bytes: Vec<u8>) -> Self {
        Self { tcp: Some(tcp), front: Some(Box::new(Front::Held(bytes.into()))) }
    }

    /// A client that speaks TLS, after the handshake.
    pub fn tls(tcp: TcpStream, channel: Box<Channel>) -> Self {
        Self { tcp: Some(tcp), front: Some(Box::new(Front::Tls(channel))) }
    }
}

/// What a session takes from the snapshot, so that it need not hold the whole of it.
#[derive(Debug)]
pub struct Plan {
    /// Its route.
    pub route: Arc<L4Route>,
    /// The time for one connect where the upstream gives none.
    pub connect_timeout: Duration,
    /// The idle time where neither route nor upstream gives one.
    pub default_timeout: Duration,
    /// The PROXY header that the connection to the node begins with.
    pub announce: Option<ProxyVersion>,
    /// What its limit said.
    pub pass: Pass,
}

/// What a limit said to a session that may go on, now or later.
#[derive(Debug, Default)]
pub enum Pass {
    /// It holds nothing of a limit.
    #[default]
    Free,
    /// It holds a permit until its end.
    Held(Hold),
    /// It has to wait first.
    Waits(Box<Waiting>),
}

impl Pass {
    /// Whether it has to wait first.
    pub const fn waits(&self) -> bool {
        matches!(self, Self::Waits(_))
    }
}

impl Plan {
    /// Joins a route with the settings of the moment, those of the listener, and what its limit said.
    pub const fn new(route: Arc<L4Route>, global: &Global, listener: &Listener, pass: Pass) -> Self {
        let announce = listener.proxy_protocol_to_upstream;
        Self { route, connect_timeout: global.connect_timeout, default_timeout: global.default_timeout, announce, pass }
    }

    fn idle(&self) -> Idle {
        Idle::new(self.route.idle.unwrap_or(self.default_timeout), self.route.idle.unwrap_or(HALF_CLOSED))
    }
}

/// Counts bytes for the session and for its route.
#[derive(Debug)]
struct Meter {
    session: Arc<Session>,
    series: Arc<RouteSeries>,
}

impl ByteMeter for Meter {
    #[expect(clippy::as_conversions, reason = "a usize fits into 64 bits")]
    fn moved(&self, direction: Direction, bytes: usize) {
        self.session.add_bytes(direction, bytes as u64);
        self.series.moved(direction, bytes);
    }
}

/// Runs a session to its end. `began` is when it was accepted. Dropping the future closes both sides.
pub async fn run(client: &mut Client, session: &Arc<Session>, plan: &Plan, began: Instant) -> Outcome {
    // one timer for all of a session's limits: putting it off is cheap, making another one is not
    let mut timer = pin!(sleep_until(began));
    // boxed: a session spends its life in the relay, and should not carry the room for dialling along
    let (connected, channel) = match Box::pin(dial(session, plan, began, timer.as_mut())).await {
        Ok(connected) => connected,
        Err(outcome) => return outcome,
    };
    let Connected { stream, node, in_flight, retries, took, at } = connected;
    session.set_node(node.label().clone());
    let meter = Meter { session: session.clone(), series: plan.route.series.clone() };
    let limits = Limits { idle: plan.idle(), deadline: plan.route.max_duration.map(|d| began + d) };
    timer.as_mut().reset(limits.next(at));
    let Some(tcp) = client.tcp.take() else {
        return Outcome::early(Reason::Internal);
    };
    let reason = if channel.is_none() && client.front.is_none() {
        Conversation { relay: Relay::new(tcp, stream, meter), session, limits, timer }.await
    } else {
        // boxed: it is rare, or it is large anyway
        Box::pin(encrypted((tcp, client.front.take()), (stream, channel), meter, session, limits, timer)).await
    };
    drop(in_flight);
    Outcome { reason, node: Some(node), retries, connect: Some(took) }
}

/// Reaches a node, unless somebody wants the session to end first.
async fn dial(
    session: &Session,
    plan: &Plan,
    began: Instant,
    timer: Pin<&mut Sleep>,
) -> Result<(Connected, Option<Box<Channel>>), Outcome> {
    let Some(target) = &plan.route.target else {
        return Err(Outcome::early(Reason::NoUpstream));
    };
    let mut dialer = Dialer::new(target, plan.connect_timeout, &plan.route.series, began);
    let mut dial = pin!(async {
        match target.tunnel() {
            None => Ok((reach(&mut dialer, session, plan, timer).await?, None)),
            Some(client) => secure(&mut dialer, client, session, plan, timer).await,
        }
    });
    poll_fn(|cx| {
        if let Poll::Ready(reason) = session.poll_end(cx) {
            return Poll::Ready(Err(Outcome::early(reason)));
        }
        dial.as_mut().poll(cx)
    })
    .await
}

/// Connects to the next node, and tells it of the client where the listener wants that.
async fn reach(dialer: &mut Dialer<'_>, session: &Session, plan: &Plan, timer: Pin<&mut Sleep>) -> Result<Connected, Outcome> {
    let failed = |e: DialError| Outcome { reason: e.reason, node: e.node, retries: e.tries.saturating_sub(1), connect: None };
    let connected = dialer.next(timer).await.map_err(failed)?;
    match plan.announce {
        Some(version) => announce(connected, session, version).await,
        None => Ok(connected),
    }
}

/// Connects to the first node that speaks TLS with us, each within the time for one connect. One that does not has seen nothing of the session,
/// so the next one is tried.
async fn secure(
    dialer: &mut Dialer<'_>,
    client: &tls::Client,
    session: &Session,
    plan: &Plan,
    mut timer: Pin<&mut Sleep>,
) -> Result<(Connected, Option<Box<Channel>>), Outcome> {
    let mut took = None;
    loop {
        let reached = reach(dialer, session, plan, timer.as_mut()).await;
        let to = reached.map_err(|end| if end.reason == Reason::UpstreamTls { Outcome { connect: took, ..end } } else { end })?;
        let label = to.node.label();
        let host = label.rsplit_once(':').map_or(&**label, |(host, _)| host).trim_matches(['[', ']']);
        let error = match timeout(dialer.limit(), tls::connect(&to.stream, client, session.sni(), host, Alpn::Silent)).await {
            Ok(Ok(channel)) => return Ok((to, Some(channel))),
            Ok(Err(error)) => error.to_string(),
            Err(elapsed) => elapsed.to_string(),
        };
        tracing::debug!(session = session.id, node = %label, error, "TLS with the node");
        took = Some(to.took);
        dialer.failed(&to.node, Reason::UpstreamTls);
    }
}

/// A session with TLS on a side, or with bytes that go before.
async fn encrypted(
    (client, front): (TcpStream, Option<Box<Front>>),
    (stream, channel): (TcpStream, Option<Box<Channel>>),
    meter: Meter,
    session: &Session,
    limits: Limits,
    timer: Pin<&mut Sleep>,
) -> Reason {
    let (tls, held) = match front.map(|front| *front) {
        None => (None, Box::default()),
        Some(Front::Held(bytes)) => (None, bytes),
        Some(Front::Tls(channel)) => (Some(channel), Box::default()),
    };
    if tls.is_none() && channel.is_none() {
        let relay = Relay::new(client, stream, meter).holding(held);
        return Conversation { relay, session, limits, timer }.await;
    }
    let relay = Crypt::new(End::new(client, tls), End::new(stream, channel), meter);
    Conversation { relay, session, limits, timer }.await
}

/// Two sides tied together. As a future: why they came apart.
pub(super) trait Tie: Future<Output = Reason> + Unpin {
    /// One side, but not the other, has ended.
    fn half_closed(&self) -> bool;

    /// Closes both sides with RST.
    fn reset(&self);
}

impl<M: ByteMeter + Unpin> Tie for Relay<M> {
    fn half_closed(&self) -> bool {
        self.half_closed()
    }

    fn reset(&self) {
        self.reset();
    }
}

/// Relays until an end: by the two sides, by a time limit, or by somebody's wish.
///
/// Written out as a struct: as an `async fn` it would hold the relay twice.
struct Conversation<'a, R> {
    relay: R,
    session: &'a Session,
    limits: Limits,
    timer: Pin<&'a mut Sleep>,
}

impl<R: Tie> Future for Conversation<'_, R> {
    type Output = Reason;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Reason> {
        let this = &mut *self;
        if let Poll::Ready(reason) = Pin::new(&mut this.relay).poll(cx) {
            return Poll::Ready(reason);
        }
        if let Poll::Ready(reason) = this.session.poll_end(cx) {
            this.relay.reset();
            return Poll::Ready(reason);
        }
        this.limits.poll(cx, this.timer.as_mut(), this.relay.half_closed(), this.session)
    }
}

/// The time limits of one session, on one timer.
#[derive(Debug)]
struct Limits {
    idle: Idle,
    deadline: Option<Instant>,
}

impl Limits {
    /// When the timer has to fire next.
    fn next(&self, now: Instant) -> Instant {
        let tick = now + self.idle.slice();
        self.deadline.map_or(tick, |deadline| deadline.min(tick))
    }

    fn poll(&mut self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>, half_closed: bool, session: &Session) -> Poll<Reason> {
        while timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if self.deadline.is_some_and(|d| now >= d) {
                return Poll::Ready(Reason::MaxDuration);
            }
            if self.idle.tick(session.bytes(Direction::In).wrapping_add(session.bytes(Direction::Out)), half_closed) {
                return Poll::Ready(Reason::IdleTimeout);
            }
            timer.as_mut().reset(self.next(now));
        }
        Poll::Pending
    }
}
