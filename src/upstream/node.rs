//! The live state of one node: where it is, and how many sessions are on it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use super::http::Pool;
use super::resolve::{Name, Unresolved};
use crate::model::{self, Host};

/// One node of one upstream. Shared by all snapshots that know it.
#[derive(Debug)]
pub struct Node {
    label: Arc<str>,
    port: u16,
    place: Place,
    in_flight: AtomicU64,
    pool: OnceLock<Box<Pool>>,
}

#[derive(Debug)]
enum Place {
    Fixed(SocketAddr),
    Named(Arc<Name>),
}

/// Up to this many addresses of a name are tried in one go.
const ADDRESSES: usize = 4;

/// Addresses to try, in order.
pub(super) type Addresses = smallvec::SmallVec<[SocketAddr; 1]>;

/// A session's hold on a node; letting go is dropping it.
#[derive(Debug)]
#[must_use = "dropping it ends the session's count"]
pub struct InFlight(Arc<Node>);

impl InFlight {
    /// The node.
    pub const fn node(&self) -> &Arc<Node> {
        &self.0
    }
}

impl Node {
    pub(super) fn new(spec: &model::Node, name: impl FnOnce(&Arc<str>) -> Arc<Name>) -> Self {
        let place = match &spec.host {
            Host::Ip(ip) => Place::Fixed(SocketAddr::new(*ip, spec.port)),
            Host::Name(host) => Place::Named(name(host)),
        };
        Self { label: spec.to_string().into(), port: spec.port, place, in_flight: AtomicU64::new(0), pool: OnceLock::new() }
    }

    /// Host and port as configured.
    pub fn label(&self) -> &Arc<str> {
        &self.label
    }

    /// Sessions that are connected to it or connecting.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Its HTTP connections that wait for a request.
    pub fn pool(&self) -> &Pool {
        self.pool.get_or_init(Box::default)
    }

    /// Closes connections that have waited for longer than `idle`, and those that the node has closed.
    pub(super) fn sweep(&self, idle: Duration, now: Instant) {
        if let Some(pool) = self.pool.get() {
            pool.sweep(idle, now);
        }
    }

    /// Counts a session.
    pub fn hold(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self.clone())
    }

    /// Its address, where that needs no waiting for a name.
    pub fn fixed(&self) -> Option<SocketAddr> {
        match &self.place {
            Place::Fixed(addr) => Some(*addr),
            Place::Named(_) => None,
        }
    }

    /// The addresses to try. Waits while its name has not been looked up for the first time. Cancel safe.
    pub async fn addresses(&self) -> Result<Addresses, Unresolved> {
        match &self.place {
            Place::Fixed(addr) => Ok(std::iter::once(*addr).collect()),
            Place::Named(name) => {
                let ips = name.addresses().await?;
                Ok(ips.iter().take(ADDRESSES).map(|ip| SocketAddr::new(*ip, self.port)).collect())
            }
        }
    }

    /// The addresses known now, and why there are none.
    pub fn known(&self) -> (Vec<SocketAddr>, Option<String>) {
        match &self.place {
            Place::Fixed(addr) => (vec![*addr], None),
            Place::Named(name) => {
                let (ips, error) = name.known();
                (ips.iter().map(|ip| SocketAddr::new(*ip, self.port)).collect(), error)
            }
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
