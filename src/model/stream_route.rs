//! An L4 route: which sessions, and where they go.

use std::sync::Arc;
use std::time::Duration;

use super::{RouteLimit, Upstream};
use crate::base::addr::Protocol;
use crate::base::cidr::Cidr;
use crate::base::id::Id;
use crate::base::sni::SniPattern;

/// One stream route object. An empty list of addresses matches any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamRoute {
    /// Its id.
    pub id: Id,
    /// The local addresses that the client may have connected to.
    pub server_addr: Vec<Cidr>,
    /// The client addresses.
    pub remote_addr: Vec<Cidr>,
    /// The local port.
    pub server_port: Option<u16>,
    /// The names that a client asks for in its ClientHello; an empty list matches with and without a name.
    pub snis: Vec<SniPattern>,
    /// On listeners with TLS: the bytes are passed on as they are.
    pub tls_passthrough: bool,
    /// TCP or UDP alone; both when absent.
    pub protocol: Option<Protocol>,
    /// Smaller goes first; 0 when not given.
    pub order: i64,
    /// Where matched sessions go.
    pub upstream: UpstreamRef,
    /// The idle time after which a session is closed.
    pub timeout: Option<Duration>,
    /// The longest that a session may last in all.
    pub max_duration: Option<Duration>,
    /// Replies that are relayed for each datagram of a UDP client: all when absent, none when 0; when the last one was relayed the
    /// session ends.
    pub udp_responses: Option<u32>,
    /// How many of its sessions may pass.
    pub limit: RouteLimit,
    /// False: known but never matched.
    pub enabled: bool,
}

/// How a route names its upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamRef {
    /// It names none: sessions that match are closed.
    None,
    /// By the id of an upstream object. An id wins over an inline upstream.
    Id(Id),
    /// Written into the route.
    Inline(Arc<Upstream>),
}
