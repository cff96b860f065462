//! The sockets around the flow table: one task for each listening socket of each worker. It reads what came in one call, passes it on
//! flow by flow, and does the same for the replies. Decides nothing: [`super::flow`] does.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use atomic_waker::AtomicWaker;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant, Sleep, sleep_until};

use super::count;
use super::flow::{Arrival, Failure, Flow, FlowId, Flows, Key, Millis, Reply};
use super::line::{self, Fault, Line, Unreached, fault};
use super::places::Places;
use super::sources::Sources;
use super::toll::Toll;
use crate::base::datagram::DropReason;
use crate::base::meter::Direction;
use crate::base::reason::Reason;
use crate::limit::Limiter;
use crate::live::sessions::Session;
use crate::net::udp::batch::{Batch, SLOTS, Way};
use crate::net::udp::ready::{Ready, watch};
use crate::proxy::tcp::Outcome;
use crate::snapshot::L4Route;
use crate::telemetry::RouteSeries;
use crate::upstream::Picker;

/// Batches that one turn of the task moves before others get theirs.
const TURNS: usize = 8;
/// Replies that are read from one node with one call.
const REPLIES: usize = 16;
/// Calls to one node before the next one's turn.
const ROUNDS: usize = 4;
/// Sessions that were refused and are told of in the access log, in a second.
const REFUSALS: u32 = 100;

thread_local! {
    static BATCH: RefCell<Batch> = RefCell::default();
}

/// What the listening side does for the sessions of one socket.
pub trait Front: Send + 'static {
    /// A session's place in the registry, the metrics and the log.
    type Guard: Guard;

    /// What the configuration of the moment says of a session.
    fn route(&self, client: SocketAddr, local: SocketAddr) -> Ruling;
    /// Registers a session.
    fn register(&self, client: SocketAddr, local: SocketAddr, route: Option<&Arc<L4Route>>, revision: u64) -> Self::Guard;
    /// The series of what belongs to no route.
    fn unrouted(&self) -> &RouteSeries;
    /// Whether the process has a descriptor for another session.
    fn has_room(&self) -> bool;
    /// Whether no session may begin any more.
    fn closed(&self) -> bool;
}

/// What a session begins with.
#[derive(Debug)]
pub struct Ruling {
    /// Its route.
    pub route: Option<Arc<L4Route>>,
    /// The limit that counts for the route.
    pub limiter: Option<Arc<Limiter>>,
    /// The revision of the configuration that says so.
    pub revision: u64,
}

/// A registered session; dropping it ends it too.
pub trait Guard: Send + 'static {
    /// The session.
    fn session(&self) -> &Arc<Session>;
    /// Ends it after so many datagrams from the client and to it.
    fn close(self, outcome: &Outcome, datagrams: [u64; 2]);
}

/// What a shell is made of.
#[derive(Debug)]
pub struct Parts<F> {
    /// The listening side.
    pub front: F,
    /// The listening socket, which does not block.
    pub socket: UdpSocket,
    /// The places that all shells share.
    pub places: Places,
    /// The pace at which sources may begin sessions while places are short.
    pub sources: Sources,
    /// Ends every session and closes the socket; answered when that is done. Where the order can come no more, the shell ends after
    /// its last session once the front is closed.
    pub stop: oneshot::Receiver<oneshot::Sender<()>>,
}

/// The sessions of one listening socket on one worker, as a future. When it is done, dropping it closes the socket;
/// whoever asked is to be answered after that.
#[derive(Debug)]
pub struct Shell<F: Front> {
    front: F,
    clients: AsyncFd<OwnedFd>,
    bound: SocketAddr,
    nodes: Ready,
    flows: Flows<Line<F::Guard>>,
    began: Instant,
    timer: Pin<Box<Sleep>>,
    set: Option<Millis>,
    bell: Arc<Bell>,
    stop: Option<oneshot::Receiver<oneshot::Sender<()>>>,
    lost: u32,
    told: (Millis, u32),
    order: Vec<(FlowId, usize)>,
    news: Vec<u64>,
    more: Vec<FlowId>,
    ending: Vec<FlowId>,
}

/// The bytes that one session takes in the table of its shell, beside its place there.
pub const fn bytes<G: Guard>() -> usize {
    size_of::<Flow<Line<G>>>()
}

/// Rung when somebody wants one of the sessions to end.
#[derive(Debug, Default)]
struct Bell {
    rung: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl<F: Front> Shell<F> {
    /// Takes the socket over. To be called on the worker that polls the shell.
    pub fn new(parts: Parts<F>) -> io::Result<Self> {
        let Parts { front, socket, places, sources, stop } = parts;
        let began = Instant::now();
        Ok(Self {
            front,
            bound: socket.local_addr()?,
            clients: watch(socket.into())?,
            nodes: Ready::new()?,
            flows: Flows::new(places, sources),
            began,
            timer: Box::pin(sleep_until(began)),
            set: None,
            bell: Arc::default(),
            stop: Some(stop),
            lost: 0,
            told: (0, 0),
            order: Vec::new(),
            news: Vec::new(),
            more: Vec::new(),
            ending: Vec::new(),
        })
    }

    fn now(&self) -> Millis {
        Millis::try_from(self.began.elapsed().as_millis()).unwrap_or(Millis::MAX)
    }

    /// Takes one batch from the clients. False: there is none.
    fn take_clients(&mut self, cx: &mut Context<'_>, batch: &mut Batch, now: Millis) -> bool {
        batch.clear();
        // only a look that finds the socket not ready leaves word to be woken
        while batch.got().is_empty() {
            let Poll::Ready(Ok(mut guard)) = self.clients.poll_read_ready(cx) else { return false };
            match batch.receive_named(guard.get_inner().as_fd()) {
                Ok(SLOTS) => {}
                // fewer than asked for: nothing is left, and what comes next will be told
                Ok(_) => guard.clear_ready(),
                Err(error) => {
                    guard.clear_ready();
                    tracing::trace!(addr = %self.bound, %error, "receive");
                }
            }
        }
        self.count_lost(batch);
        self.order.clear();
        for slot in 0..batch.got().len() {
            self.place(batch, slot, now);
        }
        let mut order = std::mem::take(&mut self.order);
        order.sort_unstable();
        for run in order.chunk_by(|(a, _), (b, _)| a == b) {
            self.forward(batch, run);
        }
        self.order = order;
        true
    }

    /// Notes which session a slot belongs to.
    fn place(&mut self, batch: &mut Batch, slot: usize, now: Millis) {
        let Some(got) = batch.got().get(slot) else { return };
        let Some(client) = got.from else { return };
        let datagrams = u32::try_from(got.datagrams()).unwrap_or(u32::MAX);
        let key = Key { client, local: got.to.unwrap_or(self.bound.ip()) };
        let (id, passed) = match self.flows.arrive(&key, now) {
            Arrival::Known(id) => (id, None),
            Arrival::New => match self.open(key, datagrams, now) {
                Some((id, passed)) => (id, Some(passed)),
                None => return,
            },
            Arrival::Refused(reason) => return self.front.unrouted().dropped(reason, u64::from(datagrams)),
        };
        let at = self.began + Duration::from_millis(now);
        let Some(flow) = self.flows.get_mut(id) else { return };
        // what began the session has been asked for with it
        let passed = passed.unwrap_or_else(|| flow.line.pass(client.ip(), datagrams, at));
        if passed < datagrams {
            flow.line.dropped(DropReason::Limited, usize::try_from(datagrams - passed).unwrap_or(0));
            batch.keep(slot, usize::try_from(passed).unwrap_or(0));
        }
        if passed > 0 {
            flow.arrived(passed, now);
            self.order.push((id, slot));
        }
    }

    /// Begins a session; answers with how many of its datagrams may pass. `None`: it could not, and they are counted as dropped.
    fn open(&mut self, key: Key, datagrams: u32, now: Millis) -> Option<(FlowId, u32)> {
        let local = SocketAddr::new(key.local, self.bound.port());
        let ruling = self.front.route(key.client, local);
        let outcome = match &ruling.route {
            None => Outcome::early(Reason::NoRoute),
            Some(route) => match self.connect(key, local, route, &ruling, datagrams, now) {
                Ok(opened) => return Some(opened),
                Err(outcome) => outcome,
            },
        };
        self.refuse(&key, &ruling, &outcome, datagrams, now);
        None
    }

    fn connect(
        &mut self,
        key: Key,
        local: SocketAddr,
        route: &Arc<L4Route>,
        ruling: &Ruling,
        datagrams: u32,
        now: Millis,
    ) -> Result<(FlowId, u32), Outcome> {
        let Some(target) = &route.target else { return Err(Outcome::early(Reason::NoUpstream)) };
        if !self.front.has_room() {
            return Err(Outcome::early(Reason::Overload));
        }
        let at = self.began + Duration::from_millis(now);
        let (toll, passed) = match &ruling.limiter {
            None => (None, datagrams),
            Some(limiter) => {
                let entered = Toll::enter(limiter, route, key.client.ip(), datagrams, at);
                let (toll, passed) = entered.ok_or_else(|| Outcome::early(Reason::Limited))?;
                (Some(toll), passed)
            }
        };
        let (front, ready, bell) = (&self.front, &self.nodes, &self.bell);
        let opened = self.flows.open(key, &route.id, line::terms(route), now, |id| {
            let mut picker = Picker::default();
            let most = target.retries().saturating_add(1);
            let (reached, tries) = line::reach(target, route, &mut picker, ready, id, most)?;
            let guard = front.register(key.client, local, Some(route), ruling.revision);
            let waker = Waker::from(bell.clone());
            // only to be heard when somebody asks; nobody can have asked yet
            let _ = guard.session().poll_end(&mut Context::from_waker(&waker));
            let line = Line::new(reached, picker, route.clone(), guard, toll, tries.saturating_sub(1));
            line.guard.session().set_node(line.node().label().clone());
            Ok(line)
        });
        match opened {
            Ok(id) => Ok((id, passed)),
            Err(None) => Err(Outcome::early(Reason::SessionTableFull)),
            Err(Some(Unreached { reason, node, tries })) => Err(Outcome { reason, node, retries: tries.saturating_sub(1), connect: None }),
        }
    }

    /// Counts datagrams that could begin no session, and tells of the session that was not; of a flood, only of the first ones.
    fn refuse(&mut self, key: &Key, ruling: &Ruling, outcome: &Outcome, datagrams: u32, now: Millis) {
        let route = ruling.route.as_ref();
        let series = route.map_or_else(|| self.front.unrouted(), |r| &*r.series);
        series.dropped(line::drop_reason(outcome.reason), u64::from(datagrams));
        let (second, told) = &mut self.told;
        if now / 1000 != *second {
            (*second, *told) = (now / 1000, 0);
        }
        *told = told.saturating_add(1);
        if *told <= REFUSALS {
            let local = SocketAddr::new(key.local, self.bound.port());
            self.front.register(key.client, local, route, ruling.revision).close(outcome, [0, 0]);
        }
    }

    /// Passes one session's slots on to its node.
    fn forward(&mut self, batch: &mut Batch, run: &[(FlowId, usize)]) {
        let Some((id, first)) = run.first().copied() else { return };
        batch.unqueue();
        for (_, slot) in run {
            batch.queue(*slot, 0, None);
        }
        loop {
            let Some(flow) = self.flows.get_mut(id) else { return };
            let (mut datagrams, mut bytes) = (0, 0);
            let done = batch.flush(flow.line.fd(), |parcel| {
                datagrams += parcel.datagrams;
                bytes += parcel.bytes;
            });
            if datagrams > 0 {
                flow.passed_in(count(datagrams));
                flow.line.moved(Direction::In, datagrams, bytes);
            }
            let Err(error) = done else { break };
            match fault(&error) {
                Fault::Full => return flow.line.drop_queued(batch, DropReason::Unsent),
                Fault::Datagram => {
                    if let Some(parcel) = batch.skip() {
                        flow.line.dropped(DropReason::Unsent, parcel.datagrams);
                    }
                }
                Fault::Node(reason) => {
                    let series = flow.line.route.series.clone();
                    if !self.leave(id, reason) {
                        let left: usize = batch.queued().map(|p| p.datagrams).sum();
                        return series.dropped(DropReason::NoNode, count(left));
                    }
                }
            }
        }
        if let Some(flow) = self.flows.get_mut(id)
            && !flow.answered()
        {
            flow.line.hold(batch.first(first));
        }
    }

    /// Takes one batch from the nodes that have something. False: there is none.
    fn take_nodes(&mut self, cx: &mut Context<'_>, batch: &mut Batch, now: Millis) -> bool {
        let mut some = !self.more.is_empty();
        batch.clear();
        for id in std::mem::take(&mut self.more) {
            self.replies(batch, id, now);
        }
        let mut news = std::mem::take(&mut self.news);
        if self.nodes.poll(cx, &mut news).is_ready() {
            some |= !news.is_empty();
            for number in &news {
                self.replies(batch, FlowId::from_u64(*number), now);
            }
        }
        self.news = news;
        if some {
            self.deliver(batch);
        }
        some
    }

    /// Reads what one node sent, and queues what goes to the client.
    fn replies(&mut self, batch: &mut Batch, id: FlowId, now: Millis) {
        for _ in 0..ROUNDS {
            if batch.room() == 0 {
                self.deliver(batch);
            }
            let (begin, most) = (batch.got().len(), batch.room().min(REPLIES));
            let Some(flow) = self.flows.get(id) else { return };
            match batch.receive(flow.line.fd(), most, false) {
                Ok(n) => {
                    for slot in begin..begin + n {
                        self.reply(batch, id, slot, now);
                    }
                    if n < most {
                        return;
                    }
                }
                Err(error) => match fault(&error) {
                    Fault::Node(reason) => {
                        // what came before the error goes first
                        self.deliver(batch);
                        self.leave(id, reason);
                        return;
                    }
                    Fault::Datagram if error.kind() == io::ErrorKind::Interrupted => {}
                    Fault::Full | Fault::Datagram => return,
                },
            }
        }
        self.more.push(id);
    }

    fn reply(&mut self, batch: &mut Batch, id: FlowId, slot: usize, now: Millis) {
        let verdict = self.flows.reply(id, now);
        let Some(flow) = self.flows.get_mut(id) else { return };
        flow.line.answered();
        match verdict {
            Reply::Refused(reason) => return flow.line.dropped(reason, 1),
            Reply::Relay => {}
            Reply::Last => self.ending.push(id),
        }
        let from = self.bound.ip().is_unspecified().then_some(flow.key().local);
        batch.queue(slot, id.index(), Some(Way { to: flow.key().client, from }));
    }

    /// Sends what is queued for clients, and ends the sessions whose last reply it was.
    fn deliver(&mut self, batch: &mut Batch) {
        let flows = &mut self.flows;
        while let Err(error) = batch.flush(self.clients.get_ref().as_fd(), |parcel| {
            if let Some(flow) = flows.at_mut(parcel.tag) {
                flow.passed_out(count(parcel.datagrams));
                flow.line.moved(Direction::Out, parcel.datagrams, parcel.bytes);
            }
        }) {
            let full = fault(&error) == Fault::Full;
            while let Some(parcel) = batch.skip() {
                if let Some(flow) = flows.at_mut(parcel.tag) {
                    flow.line.dropped(DropReason::Unsent, parcel.datagrams);
                }
                if !full {
                    break;
                }
            }
        }
        batch.clear();
        for id in std::mem::take(&mut self.ending) {
            self.end(id, Reason::Ok);
        }
    }

    /// Leaves a session's node for the next one. False: the session has ended.
    fn leave(&mut self, id: FlowId, reason: Reason) -> bool {
        let Some(flow) = self.flows.get_mut(id) else { return false };
        flow.line.route.series.connect_failed(flow.line.node().label(), reason);
        tracing::debug!(node = %flow.line.node().label(), %reason, "a UDP session's node fails");
        let Failure::Next { again } = self.flows.failed(id) else {
            self.end(id, reason);
            return false;
        };
        let Some(flow) = self.flows.get_mut(id) else { return false };
        let most = flow.line.route.target.as_ref().map_or(1, |t| t.nodes().len());
        match flow.line.leave(&self.nodes, id, again, most) {
            Ok(()) => true,
            Err(unreached) => {
                self.end(id, unreached.reason);
                false
            }
        }
    }

    fn end(&mut self, id: FlowId, reason: Reason) {
        let Some(flow) = self.flows.close(id) else { return };
        let datagrams = flow.datagrams();
        flow.line.close(reason, datagrams);
    }

    fn end_asked(&mut self) {
        if self.bell.rung.swap(false, Ordering::AcqRel) {
            let asked = self.flows.iter().filter_map(|(id, flow)| Some((id, flow.line.guard.session().asked_to_end()?)));
            for (id, reason) in asked.collect::<Vec<_>>() {
                self.end(id, reason);
            }
        }
    }

    fn end_all(&mut self, reason: Reason) {
        for id in self.flows.iter().map(|(id, _)| id).collect::<Vec<_>>() {
            let asked = self.flows.get(id).and_then(|f| f.line.guard.session().asked_to_end());
            self.end(id, asked.unwrap_or(reason));
        }
    }

    /// Ends sessions whose time is up, and sets the timer for the next ones.
    fn end_expired(&mut self, cx: &mut Context<'_>, now: Millis) {
        while let Some((id, reason)) = self.flows.expired(now) {
            self.end(id, reason);
        }
        let due = self.flows.due();
        if due == self.set {
            return;
        }
        self.set = due;
        if let Some(due) = due {
            self.timer.as_mut().reset(self.began + Duration::from_millis(due));
            if self.timer.as_mut().poll(cx).is_ready() {
                self.set = None;
                cx.waker().wake_by_ref();
            }
        }
    }

    /// What the system threw away because nobody read it in time.
    fn count_lost(&mut self, batch: &Batch) {
        if let Some(lost) = batch.lost() {
            let new = lost.wrapping_sub(self.lost);
            self.lost = lost;
            self.front.unrouted().dropped(DropReason::ReceiveBuffer, u64::from(new));
        }
    }
}

impl<F: Front + Unpin> Future for Shell<F> {
    type Output = Option<oneshot::Sender<()>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.bell.task.register(cx.waker());
        match this.stop.as_mut().map(|stop| Pin::new(stop).poll(cx)) {
            Some(Poll::Ready(Ok(said))) => {
                this.end_all(Reason::ListenerRemoved);
                return Poll::Ready(Some(said));
            }
            Some(Poll::Ready(Err(_))) => this.stop = None,
            Some(Poll::Pending) | None => {}
        }
        this.flows.set_closed(this.front.closed());
        let now = this.now();
        BATCH.with_borrow_mut(|batch| {
            let turns = (0..TURNS).take_while(|_| {
                let asked = this.take_clients(cx, batch, now);
                this.take_nodes(cx, batch, now) || asked
            });
            if turns.count() == TURNS {
                cx.waker().wake_by_ref();
            }
        });
        this.end_asked();
        this.end_expired(cx, now);
        if this.stop.is_none() && this.flows.is_empty() && this.front.closed() { Poll::Ready(None) } else { Poll::Pending }
    }
}
