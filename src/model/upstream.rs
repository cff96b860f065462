//! A set of nodes and how one of them is chosen and reached.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::KeyPair;
use crate::base::id::Id;

/// One upstream object, or one written into a route. Nodes are chosen by smooth weighted round robin.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Upstream {
    /// The nodes, each host and port at most once within a priority.
    pub nodes: Vec<Node>,
    /// How many further nodes are tried when a connect fails; nodes − 1 when absent.
    pub retries: Option<u32>,
    /// No new try once this much time has passed since the first; none or zero: no limit.
    pub retry_timeout: Option<Duration>,
    /// Time limits of its own.
    pub timeout: Option<Timeouts>,
    /// Whether it is switched off: it counts as absent.
    pub disabled: bool,
    /// What is spoken to the nodes.
    pub scheme: Scheme,
    /// How TLS is spoken to them; only where [`Scheme::is_secure`].
    pub tls: Option<UpstreamTls>,
    /// Which authority requests are sent with.
    pub pass_host: PassHost,
    /// How connections wait for their next request.
    pub keepalive: Keepalive,
}

/// Which authority (`Host`) a request has on its way to a node.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum PassHost {
    /// The client's own.
    Pass,
    /// The node's.
    #[default]
    Node,
    /// This one.
    Rewrite(Arc<str>),
}

/// How connections to a node are kept for the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// The most that wait on one worker.
    pub size: usize,
    /// How long one waits at most.
    pub idle: Duration,
    /// How many requests one carries at most.
    pub requests: u32,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { size: 320, idle: Duration::from_secs(60), requests: 1000 }
    }
}

/// What is spoken to the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Scheme {
    /// Plain bytes (`tcp`, `kafka`, and `http`: HTTP/1.1, as far as requests are routed).
    #[default]
    Tcp,
    /// TLS over TCP; HTTP/1.1 on it, as far as requests are routed.
    Tls,
    /// Datagrams.
    Udp,
    /// HTTP/2 without TLS (`h2c`, and `grpc`).
    H2c,
    /// HTTP/1.1 over TLS.
    Https,
    /// HTTP/2 over TLS.
    Grpcs,
}

impl Scheme {
    /// Whether TLS is spoken for requests. Sessions of bytes have it with [`Self::Tls`] alone: the words of HTTP mean nothing to them.
    pub const fn is_secure(self) -> bool {
        match self {
            Self::Tls | Self::Https | Self::Grpcs => true,
            Self::Tcp | Self::Udp | Self::H2c => false,
        }
    }
}

/// How TLS is spoken to nodes.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct UpstreamTls {
    /// The certificate that the gateway shows; `None`: none.
    pub client: Option<ClientIdentity>,
    /// Whether a node must show a certificate that `ca` vouches for.
    pub verify: bool,
    /// PEM: who vouches for nodes; the system's own list when absent.
    pub ca: Option<Arc<str>>,
    /// The name that nodes are asked for; the client's own when absent.
    pub sni: Option<Arc<str>>,
}

/// The certificate that the gateway shows to nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientIdentity {
    /// Written into the upstream.
    Inline(KeyPair),
    /// By the id of an ssl object of [`super::SslUsage::Client`].
    ById(Id),
}

/// The three time limits of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For one connect.
    pub connect: Duration,
    /// Idle time towards the node.
    pub send: Duration,
    /// Idle time from the node.
    pub read: Duration,
}

/// One place to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node {
    /// An address or a name.
    pub host: Host,
    /// The port, never 0.
    pub port: u16,
    /// Its share; a node of weight 0 is used only where its priority has no other.
    pub weight: u32,
    /// Higher is used first; lower ones only when all of the higher were tried.
    pub priority: i32,
}

/// What a node is called.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// An IP address.
    Ip(IpAddr),
    /// A name to resolve, in lower case.
    Name(Arc<str>),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V4(v4)) => v4.fmt(f),
            Self::Ip(IpAddr::V6(v6)) => write!(f, "[{v6}]"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}
