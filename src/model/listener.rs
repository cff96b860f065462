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
    /// The versions of HTTP that it speaks; of no meaning on other listeners.
    pub http: HttpVersions,
    /// Where it listens.
    pub addrs: Vec<SocketAddr>,
    /// One fixed route for all its connections; otherwise they are matched.
    pub stream_route_id: Option<Id>,
    /// The one certificate of a listener with TLS; otherwise it is chosen by name.
    pub ssl_id: Option<Id>,
    /// Whether connections begin with a ClientHello, by whose name they are matched; TLS ends here, unless their route says otherwise.
    pub tls: bool,
    /// The PROXY header that every connection has to begin with; `None`: no header is looked for.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// The PROXY header that every connection to a node begins with.
    pub proxy_protocol_to_upstream: Option<ProxyVersion>,
    /// How long sessions may go on after the listener was removed; the process's own when absent.
    pub drain_timeout: Option<Duration>,
    /// False: known but closed.
    pub enabled: bool,
}

/// Versions of HTTP. Over TLS the client chooses one of them by ALPN; else by how it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpVersions {
    /// HTTP/1.0 and HTTP/1.1.
    pub h1: bool,
    /// HTTP/2.
    pub h2: bool,
}

impl Default for HttpVersions {
    fn default() -> Self {
        Self { h1: true, h2: true }
    }
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
