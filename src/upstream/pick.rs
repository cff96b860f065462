//! A node for a session of datagrams: chosen like one for a connection, but never waited for. Whether it answers, the session finds
//! out by itself.

use std::net::SocketAddr;
use std::sync::Arc;

use super::balance::Tried;
use super::node::{InFlight, Node};
use super::target::Target;

/// The nodes that one session has tried.
#[derive(Debug, Default)]
pub struct Picker(Tried);

/// A node for a session.
#[derive(Debug)]
pub struct Picked {
    /// The node.
    pub node: Arc<Node>,
    /// Where it is; `None` while its name has no address.
    pub addr: Option<SocketAddr>,
    /// The session's count on it.
    pub in_flight: InFlight,
}

impl Picker {
    /// The next node to try; `None` where there is none at all.
    pub fn next(&mut self, target: &Target) -> Option<Picked> {
        let node = target.next(&mut self.0)?;
        let addr = node.fixed().or_else(|| node.known().0.first().copied());
        Some(Picked { node: node.clone(), addr, in_flight: node.hold() })
    }
}
