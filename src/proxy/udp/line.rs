//! The node's side of one UDP session: its socket, which node it is, and the way to the next one.

use std::io;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::io::Errno;
use tokio::time::Instant;

use super::flow::{FlowId, Millis, Terms};
use super::shell::Guard;
use super::toll::Toll;
use crate::base::datagram::DropReason;
use crate::base::meter::Direction;
use crate::base::reason::Reason;
use crate::net::udp::batch::Batch;
use crate::net::udp::{self, ready::Ready};
use crate::proxy::tcp::Outcome;
use crate::snapshot::L4Route;
use crate::upstream::{InFlight, Node, Picker, Target};

/// The idle time where neither route nor upstream gives one, in milliseconds.
const IDLE: Millis = 60_000;
/// A first datagram that is longer is not kept for another node.
const HELD_MOST: usize = 2048;

/// What one session keeps beside its flow.
#[derive(Debug)]
pub(super) struct Line<G> {
    socket: UdpSocket,
    /// Its node, and its count there, held as long as the session is there.
    on_node: InFlight,
    picker: Picker,
    pub(super) route: Arc<L4Route>,
    pub(super) guard: G,
    /// Boxed: most sessions have no limit.
    toll: Option<Box<Toll>>,
    /// The first datagram, while no node has answered and another one could.
    held: Option<Box<[u8]>>,
    retries: u32,
}

/// A node that a session is connected to.
#[derive(Debug)]
pub(super) struct Reached {
    socket: UdpSocket,
    in_flight: InFlight,
}

/// No node could be reached.
#[derive(Debug)]
pub(super) struct Unreached {
    pub(super) reason: Reason,
    pub(super) node: Option<Arc<Node>>,
    pub(super) tries: usize,
}

impl<G> Line<G> {
    pub(super) fn new(reached: Reached, picker: Picker, route: Arc<L4Route>, guard: G, toll: Option<Toll>, retries: usize) -> Self {
        let Reached { socket, in_flight } = reached;
        let retries = u32::try_from(retries).unwrap_or(u32::MAX);
        Self { socket, on_node: in_flight, picker, route, guard, toll: toll.map(Box::new), held: None, retries }
    }

    /// The node that it is with.
    pub(super) const fn node(&self) -> &Arc<Node> {
        self.on_node.node()
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// How many of so many datagrams of the client its limit lets pass.
    pub(super) fn pass(&self, client: IpAddr, datagrams: u32, now: Instant) -> u32 {
        self.toll.as_ref().map_or(datagrams, |toll| toll.pass(client, datagrams, now))
    }

    /// Keeps a copy of the first datagram, should another node have to get it.
    pub(super) fn hold(&mut self, datagram: Option<&[u8]>) {
        if self.held.is_none() && self.route.target.as_ref().is_some_and(|t| t.nodes().len() > 1) {
            self.held = datagram.filter(|d| d.len() <= HELD_MOST).map(Into::into);
        }
    }

    /// A node has answered.
    pub(super) fn answered(&mut self) {
        self.held = None;
    }

    /// Leaves the node for the next one that can be connected to, trying at most so many. The first datagram goes to it `again`, if it
    /// was kept.
    pub(super) fn leave(&mut self, ready: &Ready, id: FlowId, again: bool, most: usize) -> Result<(), Unreached> {
        let Some(target) = self.route.target.clone() else {
            return Err(Unreached { reason: Reason::NoUpstream, node: None, tries: 0 });
        };
        let (reached, tries) = reach(&target, &self.route, &mut self.picker, ready, id, most)?;
        self.retries = self.retries.saturating_add(u32::try_from(tries).unwrap_or(u32::MAX));
        (self.socket, self.on_node) = (reached.socket, reached.in_flight);
        if again && let Some(first) = &self.held {
            // if it fails too, the session hears of it with its next datagram
            let _ = self.socket.send(first);
        }
        Ok(())
    }
}

impl<G: Guard> Line<G> {
    /// Counts what was passed on.
    pub(super) fn moved(&self, direction: Direction, datagrams: usize, bytes: usize) {
        self.guard.session().add_bytes(direction, super::count(bytes));
        self.route.series.moved(direction, bytes);
        self.route.series.datagrams(direction, super::count(datagrams));
    }

    /// Counts what was not.
    pub(super) fn dropped(&self, reason: DropReason, datagrams: usize) {
        self.route.series.dropped(reason, super::count(datagrams));
    }

    /// Gives up everything that is queued.
    pub(super) fn drop_queued(&self, batch: &Batch, reason: DropReason) {
        self.dropped(reason, batch.queued().map(|p| p.datagrams).sum());
    }

    /// Ends the session and closes its socket.
    pub(super) fn close(self, reason: Reason, datagrams: [u64; 2]) {
        let retries = usize::try_from(self.retries).unwrap_or(usize::MAX);
        let outcome = Outcome { reason, node: Some(self.node().clone()), retries, connect: None };
        drop((self.socket, self.on_node, self.toll));
        self.guard.close(&outcome, datagrams);
    }
}

/// Connects to the first node that lets itself be connected to, trying at most so many; answers with how many were tried.
pub(super) fn reach(
    target: &Target,
    route: &L4Route,
    picker: &mut Picker,
    ready: &Ready,
    id: FlowId,
    most: usize,
) -> Result<(Reached, usize), Unreached> {
    let mut last = Unreached { reason: Reason::NoHealthyNode, node: None, tries: 0 };
    for tries in 1..=most {
        let Some(picked) = picker.next(target) else { break };
        let connected = match picked.addr {
            Some(addr) => udp::connect(addr).and_then(|socket| ready.add(&socket, id.to_u64()).map(|()| socket)).map_err(|e| fault(&e)),
            None => Err(Fault::Node(Reason::DnsFailed)),
        };
        match connected {
            Ok(socket) => return Ok((Reached { socket, in_flight: picked.in_flight }, tries)),
            Err(fault) => {
                let reason = fault.reason();
                route.series.connect_failed(picked.node.label(), reason);
                last = Unreached { reason, node: Some(picked.node), tries };
                // no other node helps against a lack of ours
                if reason == Reason::Overload {
                    break;
                }
            }
        }
    }
    Err(last)
}

/// What a session of a route is promised.
pub(super) fn terms(route: &L4Route) -> Terms {
    let millis = |d: std::time::Duration| Millis::try_from(d.as_millis()).unwrap_or(Millis::MAX).max(1);
    Terms {
        idle: route.idle.map_or(IDLE, millis),
        longest: route.max_duration.map(millis),
        responses: route.udp_responses,
        retries: route.target.as_ref().map_or(0, |t| u32::try_from(t.retries()).unwrap_or(u32::MAX)),
    }
}

/// Whose fault a failed call on a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The socket takes nothing more now.
    Full,
    /// This datagram cannot be sent; others can.
    Datagram,
    /// The node cannot be reached.
    Node(Reason),
}

impl Fault {
    fn reason(self) -> Reason {
        match self {
            Self::Node(reason) => reason,
            Self::Full | Self::Datagram => Reason::Overload,
        }
    }
}

/// What an error of a connected socket means.
pub(super) fn fault(error: &io::Error) -> Fault {
    match Errno::from_io_error(error) {
        Some(Errno::CONNREFUSED) => Fault::Node(Reason::UpstreamRefused),
        Some(
            Errno::HOSTUNREACH | Errno::NETUNREACH | Errno::HOSTDOWN | Errno::NETDOWN | Errno::NODEV | Errno::ADDRNOTAVAIL | Errno::ACCESS,
        ) => Fault::Node(Reason::UpstreamUnreachable),
        Some(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM | Errno::MFILE | Errno::NFILE) => Fault::Full,
        _ => Fault::Datagram,
    }
}

/// Why datagrams without a node are dropped.
#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else a session without a node ends with, it is for want of one")]
pub(super) fn drop_reason(reason: Reason) -> DropReason {
    match reason {
        Reason::NoRoute => DropReason::NoRoute,
        Reason::NoUpstream => DropReason::NoUpstream,
        Reason::SessionTableFull => DropReason::SessionTableFull,
        Reason::Overload => DropReason::Overload,
        Reason::Limited => DropReason::Limited,
        _ => DropReason::NoNode,
    }
}
