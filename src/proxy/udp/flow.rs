//! The flow table: which session a datagram belongs to, and what becomes of it. Opens no socket and reads no clock: datagrams, errors
//! and the time are passed in, decisions come out, and seeds can replay it (`t/udp_sim.rs`).

use std::net::{IpAddr, SocketAddr};

use super::index::Index;
use super::places::{Place, Places};
use super::sources::Sources;
use super::wheel::{Link, Links, Wheel};
use crate::base::datagram::DropReason;
use crate::base::id::Id;
use crate::base::reason::Reason;

/// Milliseconds since the beginning of the table.
pub type Millis = u64;

/// What makes datagrams one session: who sends them, and to which of our addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The client.
    pub client: SocketAddr,
    /// The address that the client sends to.
    pub local: IpAddr,
}

/// The name of a flow: never used twice by one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId {
    index: u32,
    turn: u32,
}

impl FlowId {
    /// As a number, for the system to give back.
    pub fn to_u64(self) -> u64 {
        u64::from(self.turn) << 32 | u64::from(self.index)
    }

    /// The flow of a number of [`FlowId::to_u64`].
    pub fn from_u64(number: u64) -> Self {
        let half = |n: u64| u32::try_from(n & u64::from(u32::MAX)).unwrap_or(0);
        Self { index: half(number), turn: half(number >> 32) }
    }

    /// Its place in the table, which no other flow has at the same time.
    pub const fn index(self) -> u32 {
        self.index
    }
}

/// What a route says about its sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// A session ends when nothing moved for so long.
    pub idle: Millis,
    /// It ends after so long in any case.
    pub longest: Option<Millis>,
    /// Replies for each datagram of the client: all, none, or so many, and then it ends.
    pub responses: Option<u32>,
    /// How many further nodes may be tried while none has answered.
    pub retries: u32,
}

/// What becomes of a client's datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// They belong to a session.
    Known(FlowId),
    /// They would begin one.
    New,
    /// They are dropped.
    Refused(DropReason),
}

/// What becomes of a node's datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It goes to the client.
    Relay,
    /// It goes to the client, and the session is over.
    Last,
    /// It is dropped.
    Refused(DropReason),
}

/// What becomes of a session whose node cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It goes on with the next node. The first datagram goes there once more if no node has answered yet.
    Next {
        /// Whether no node has answered yet.
        again: bool,
    },
    /// It ends: enough nodes were tried.
    Close,
}

/// One session. `line` is what the socket side keeps with it.
#[derive(Debug)]
pub struct Flow<S> {
    key: Key,
    idle: Millis,
    /// When it ends in any case.
    end: Millis,
    last: Millis,
    responses: Option<u32>,
    retries: u32,
    /// Replies that may still come, where they are counted.
    budget: u64,
    answered: bool,
    tries_left: u32,
    datagrams: [u64; 2],
    link: Link,
    index: u32,
    _place: Place,
    /// What the socket side keeps with it.
    pub line: S,
}

impl<S> Flow<S> {
    /// Who it is with.
    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// Datagrams passed on: from the client, and to it.
    pub const fn datagrams(&self) -> [u64; 2] {
        self.datagrams
    }

    /// Whether a node has answered since the last one failed.
    pub const fn answered(&self) -> bool {
        self.answered
    }

    /// So many datagrams of its client came, and may be passed on.
    pub fn arrived(&mut self, datagrams: u32, now: Millis) {
        self.last = now;
        let more = u64::from(self.responses.unwrap_or(0)).saturating_mul(u64::from(datagrams));
        self.budget = self.budget.saturating_add(more);
    }

    /// Counts datagrams that were passed on to the node.
    pub const fn passed_in(&mut self, datagrams: u64) {
        let [inward, _] = &mut self.datagrams;
        *inward = inward.saturating_add(datagrams);
    }

    /// Counts datagrams that were passed on to the client.
    pub const fn passed_out(&mut self, datagrams: u64) {
        let [_, outward] = &mut self.datagrams;
        *outward = outward.saturating_add(datagrams);
    }

    fn due(&self) -> Millis {
        self.last.saturating_add(self.idle).min(self.end)
    }

    fn over(&self, now: Millis) -> Option<Reason> {
        if now >= self.end {
            return Some(Reason::MaxDuration);
        }
        (now >= self.last.saturating_add(self.idle)).then_some(Reason::IdleTimeout)
    }
}

/// The table of one listening socket.
#[derive(Debug)]
pub struct Flows<S> {
    places: Places,
    sources: Sources,
    closed: bool,
    index: Index,
    rows: Rows<S>,
    wheel: Wheel,
}

#[derive(Debug)]
struct Rows<S> {
    rows: Vec<Row<S>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Row<S> {
    turn: u32,
    /// Boxed, so that memory is given back when a flood is over.
    flow: Option<Box<Flow<S>>>,
}

impl<S> Links for Rows<S> {
    fn link(&mut self, entry: u32) -> Option<&mut Link> {
        let row = self.rows.get_mut(usize::try_from(entry).ok()?)?;
        row.flow.as_mut().map(|flow| &mut flow.link)
    }
}

impl<S> Flows<S> {
    /// An empty table. The places may be shared with others.
    pub fn new(places: Places, sources: Sources) -> Self {
        let rows = Rows { rows: Vec::new(), free: Vec::new() };
        Self { places, sources, closed: false, index: Index::default(), rows, wheel: Wheel::default() }
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.index.len() == 0
    }

    /// Lets no session begin any more, or lets them begin again.
    pub const fn set_closed(&mut self, closed: bool) {
        self.closed = closed;
    }

    /// Datagrams came from a client. Those of a session count for it only once it is told with [`Flow::arrived`].
    pub fn arrive(&mut self, key: &Key, now: Millis) -> Arrival {
        if let Some(index) = self.index.find(key, |at| self.rows.key(at) == Some(key))
            && let Some((turn, _)) = self.rows.at(index)
        {
            return Arrival::Known(FlowId { index, turn });
        }
        if self.closed {
            return Arrival::Refused(DropReason::ListenerRemoved);
        }
        if self.places.short() && !self.sources.take(key.client.ip(), now) {
            return Arrival::Refused(DropReason::SourceRate);
        }
        Arrival::New
    }

    /// Begins the session of datagrams that were [`Arrival::New`]. `make` gets the session's name, and what
    /// it answers is kept with it; it is not called where there is no place, which is an error of `None`.
    pub fn open<E>(
        &mut self,
        key: Key,
        route: &Id,
        terms: Terms,
        now: Millis,
        make: impl FnOnce(FlowId) -> Result<S, E>,
    ) -> Result<FlowId, Option<E>> {
        let place = self.places.take(route).ok_or(None)?;
        let id = self.rows.reserve();
        let line = make(id).map_err(|e| {
            self.rows.give_back(id.index);
            Some(e)
        })?;
        let flow = Flow {
            key,
            idle: terms.idle,
            end: terms.longest.map_or(Millis::MAX, |longest| now.saturating_add(longest)),
            last: now,
            responses: terms.responses,
            retries: terms.retries,
            budget: 0,
            answered: false,
            tries_left: terms.retries,
            datagrams: [0, 0],
            link: Link::none(),
            index: id.index,
            _place: place,
            line,
        };
        let due = flow.due();
        self.rows.fill(id.index, flow);
        self.index.put(&key, id.index);
        self.wheel.put(&mut self.rows, id.index, due, now);
        Ok(id)
    }

    /// A datagram came from the session's node.
    pub fn reply(&mut self, id: FlowId, now: Millis) -> Reply {
        let Some(flow) = self.get_mut(id) else { return Reply::Refused(DropReason::Unasked) };
        if !flow.answered {
            flow.answered = true;
            flow.tries_left = flow.retries;
        }
        match flow.responses {
            None => {
                flow.last = now;
                Reply::Relay
            }
            Some(_) => match flow.budget {
                0 => Reply::Refused(DropReason::Unasked),
                left => {
                    (flow.last, flow.budget) = (now, left - 1);
                    if left == 1 { Reply::Last } else { Reply::Relay }
                }
            },
        }
    }

    /// The session's node cannot be reached.
    pub fn failed(&mut self, id: FlowId) -> Failure {
        let Some(flow) = self.get_mut(id) else { return Failure::Close };
        let again = !flow.answered;
        // a node that had answered is not one of the tries that none has answered to
        flow.answered = false;
        match flow.tries_left.checked_sub(1) {
            None => Failure::Close,
            Some(left) => {
                flow.tries_left = left;
                Failure::Next { again }
            }
        }
    }

    /// A session whose time is up, and why. It stays in the table until it is closed, which comes next.
    pub fn expired(&mut self, now: Millis) -> Option<(FlowId, Reason)> {
        while let Some(index) = self.wheel.next(&mut self.rows, now) {
            let Some((turn, flow)) = self.rows.at(index) else { continue };
            if let Some(reason) = flow.over(now) {
                return Some((FlowId { index, turn }, reason));
            }
            let due = flow.due();
            self.wheel.put(&mut self.rows, index, due, now);
        }
        None
    }

    /// When [`Flows::expired`] may have something again.
    pub fn due(&self) -> Option<Millis> {
        self.wheel.due()
    }

    /// Ends a session.
    pub fn close(&mut self, id: FlowId) -> Option<Box<Flow<S>>> {
        self.get(id)?;
        self.wheel.take(&mut self.rows, id.index);
        let flow = self.rows.empty(id.index)?;
        self.index.take(&flow.key, id.index);
        Some(flow)
    }

    /// A session.
    pub fn get(&self, id: FlowId) -> Option<&Flow<S>> {
        let row = self.rows.rows.get(usize::try_from(id.index).ok()?)?;
        row.flow.as_deref().filter(|_| row.turn == id.turn)
    }

    /// A session.
    pub fn get_mut(&mut self, id: FlowId) -> Option<&mut Flow<S>> {
        self.rows.at(id.index).filter(|(turn, _)| *turn == id.turn).map(|(_, flow)| flow)
    }

    /// The session at a place.
    pub fn at_mut(&mut self, index: u32) -> Option<&mut Flow<S>> {
        self.rows.at(index).map(|(_, flow)| flow)
    }

    /// All sessions.
    pub fn iter(&self) -> impl Iterator<Item = (FlowId, &Flow<S>)> {
        self.rows.rows.iter().filter_map(|row| {
            let flow = row.flow.as_deref()?;
            Some((FlowId { index: flow.index, turn: row.turn }, flow))
        })
    }
}

impl<S> Rows<S> {
    fn key(&self, index: u32) -> Option<&Key> {
        let row = self.rows.get(usize::try_from(index).ok()?)?;
        row.flow.as_ref().map(|flow| &flow.key)
    }

    fn at(&mut self, index: u32) -> Option<(u32, &mut Flow<S>)> {
        let row = self.rows.get_mut(usize::try_from(index).ok()?)?;
        row.flow.as_deref_mut().map(|flow| (row.turn, flow))
    }

    fn reserve(&mut self) -> FlowId {
        if let Some(index) = self.free.pop() {
            let turn = usize::try_from(index).ok().and_then(|at| self.rows.get(at)).map_or(0, |row| row.turn);
            return FlowId { index, turn };
        }
        let index = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        self.rows.push(Row { turn: 0, flow: None });
        FlowId { index, turn: 0 }
    }

    fn give_back(&mut self, index: u32) {
        if let Some(row) = usize::try_from(index).ok().and_then(|at| self.rows.get_mut(at)) {
            row.turn = row.turn.wrapping_add(1);
            self.free.push(index);
        }
    }

    fn fill(&mut self, index: u32, flow: Flow<S>) {
        if let Some(row) = usize::try_from(index).ok().and_then(|at| self.rows.get_mut(at)) {
            row.flow = Some(Box::new(flow));
        }
    }

    fn empty(&mut self, index: u32) -> Option<Box<Flow<S>>> {
        let flow = usize::try_from(index).ok().and_then(|at| self.rows.get_mut(at))?.flow.take()?;
        self.give_back(index);
        Some(flow)
    }
}
