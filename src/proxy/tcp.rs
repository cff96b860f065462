//! One TCP session with a chosen route: a node is dialled, bytes are relayed, and it ends with one reason.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use super::idle::Idle;
use crate::base::meter::{ByteMeter, Direction};
use crate::base::reason::Reason;
use crate::live::sessions::Session;
use crate::model::Global;
use crate::net::relay::Relay;
use crate::snapshot::L4Route;
use crate::telemetry::RouteSeries;
use crate::upstream::{Connected, Dialer, Node};

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

/// What a session takes from the snapshot, so that it need not hold the whole of it.
#[derive(Debug)]
pub struct Plan {
    /// Its route.
    pub route: Arc<L4Route>,
    /// The time for one connect where the upstream gives none.
    pub connect_timeout: Duration,
    /// The idle time where neither route nor upstream gives one.
    pub default_timeout: Duration,
}

impl Plan {
    /// Joins a route with the settings of the moment.
    pub const fn new(route: Arc<L4Route>, global: &Global) -> Self {
        Self { route, connect_timeout: global.connect_timeout, default_timeout: global.default_timeout }
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
pub async fn run(client: TcpStream, session: &Arc<Session>, plan: &Plan, began: Instant) -> Outcome {
    // boxed: a session spends its life in the relay, and should not carry the room for dialling along
    let connected = match Box::pin(dial(session, plan)).await {
        Ok(connected) => connected,
        Err(outcome) => return outcome,
    };
    let Connected { stream, node, in_flight, retries, took } = connected;
    session.set_node(node.label().clone());
    let meter = Meter { session: session.clone(), series: plan.route.series.clone() };
    let limits = Limits { idle: plan.idle(), deadline: plan.route.max_duration.map(|d| began + d) };
    let reason = Conversation::new(Relay::new(client, stream, meter), session, limits).await;
    drop(in_flight);
    Outcome { reason, node: Some(node), retries, connect: Some(took) }
}

/// Reaches a node, unless somebody wants the session to end first.
async fn dial(session: &Session, plan: &Plan) -> Result<Connected, Outcome> {
    let Some(target) = &plan.route.target else {
        return Err(Outcome::early(Reason::NoUpstream));
    };
    let dialer = Dialer { target, connect_timeout: plan.connect_timeout, series: &plan.route.series };
    let mut dial = std::pin::pin!(dialer.dial());
    poll_fn(|cx| {
        if let Poll::Ready(reason) = session.poll_end(cx) {
            return Poll::Ready(Err(Outcome::early(reason)));
        }
        dial.as_mut().poll(cx).map_err(|e| Outcome { reason: e.reason, node: e.node, retries: e.tries.saturating_sub(1), connect: None })
    })
    .await
}

pin_project! {
    /// Relays until an end: by the two sides, by a time limit, or by somebody's wish.
    ///
    /// Written out as a struct: as an `async fn` it would hold the relay twice.
    struct Conversation<'a> {
        relay: Relay<Meter>,
        session: &'a Session,
        limits: Limits,
        #[pin]
        timer: Sleep,
    }
}

impl<'a> Conversation<'a> {
    fn new(relay: Relay<Meter>, session: &'a Session, limits: Limits) -> Self {
        let timer = sleep(limits.wait(Instant::now()));
        Self { relay, session, limits, timer }
    }
}

impl Future for Conversation<'_> {
    type Output = Reason;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Reason> {
        let this = self.project();
        if let Poll::Ready(reason) = Pin::new(&mut *this.relay).poll(cx) {
            return Poll::Ready(reason);
        }
        if let Poll::Ready(reason) = this.session.poll_end(cx) {
            this.relay.reset();
            return Poll::Ready(reason);
        }
        this.limits.poll(cx, this.timer, this.relay.half_closed(), this.session)
    }
}

/// The time limits of one session, on one timer.
#[derive(Debug)]
struct Limits {
    idle: Idle,
    deadline: Option<Instant>,
}

impl Limits {
    fn wait(&self, now: Instant) -> Duration {
        let slice = self.idle.slice();
        self.deadline.map_or(slice, |d| slice.min(d.saturating_duration_since(now)))
    }

    fn poll(&mut self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>, half_closed: bool, session: &Session) -> Poll<Reason> {
        if half_closed && self.idle.half_close() {
            let now = Instant::now();
            timer.as_mut().reset(now + self.wait(now));
        }
        while timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if self.deadline.is_some_and(|d| now >= d) {
                return Poll::Ready(Reason::MaxDuration);
            }
            if self.idle.tick(session.bytes(Direction::In).wrapping_add(session.bytes(Direction::Out))) {
                return Poll::Ready(Reason::IdleTimeout);
            }
            timer.as_mut().reset(now + self.wait(now));
        }
        Poll::Pending
    }
}
