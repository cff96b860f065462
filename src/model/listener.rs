//! A port, or several, that the gateway opens and closes while it runs.

use std::net::SocketAddr;
use std::time::Duration;

use crate::base::addr::{Port, Protocol};
use crate::base::cidr::Cidr;
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
    /// The PROXY header that every connection has to begin with; `None`: no header is looked for.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// The PROXY header that every connection to a node begins with.
    pub proxy_protocol_to_upstream: Option<ProxyVersion>,
    /// How long sessions may go on after the listener was removed; the process's own when absent.
    pub drain_timeout: Option<Duration>,
    /// False: known but closed.
    pub enabled: bool,
}

/// Whose PROXY headers are believed. The header of any other peer is read, and what it says is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// The peers that may speak for other clients; nobody, if the list is empty.
    pub trusted: Vec<Cidr>,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

impl Listener {
    /// The ports that it wants.
    pub fn ports(&self) -> impl Iterator<Item = Port> + '_ {
        self.addrs.iter().map(|addr| Port { transport: self.protocol.into(), addr: *addr })
    }
}
