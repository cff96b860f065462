//! A port, or several, that the gateway opens and closes while it runs.

use std::net::SocketAddr;
use std::time::Duration;

use crate::base::addr::{Port, Protocol};
use crate::base::id::Id;

/// One listener object. Its addresses are expanded: a range is as many addresses as it names, sorted and without repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its id.
    pub id: Id,
    /// What it speaks.
    pub protocol: Protocol,
    /// Where it listens.
    pub addrs: Vec<SocketAddr>,
    /// One fixed route for all its connections; otherwise they are matched.
    pub stream_route_id: Option<Id>,
    /// How long sessions may go on after the listener was removed; the process's own when absent.
    pub drain_timeout: Option<Duration>,
    /// False: known but closed.
    pub enabled: bool,
}

impl Listener {
    /// The ports that it wants.
    pub fn ports(&self) -> impl Iterator<Item = Port> + '_ {
        self.addrs.iter().map(|addr| Port { transport: self.protocol.into(), addr: *addr })
    }
}
