//! One bound port, as its workers share it: the specification of the moment, and where a connection reached it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use tokio::net::TcpStream;

use crate::base::addr::{Local, Port, canonical};
use crate::snapshot::PortSpec;

/// A bound port. An edit that keeps the address swaps the specification; nothing is bound again.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) port: Port,
    spec: ArcSwap<PortSpec>,
    closed: AtomicBool,
}

impl Gate {
    pub(super) fn new(spec: Arc<PortSpec>) -> Self {
        Self { port: spec.port, spec: ArcSwap::new(spec), closed: AtomicBool::new(false) }
    }

    pub(super) fn spec(&self) -> Arc<PortSpec> {
        self.spec.load_full()
    }

    pub(super) fn update(&self, spec: Arc<PortSpec>) {
        self.spec.store(spec);
    }

    /// Lets no session begin any more, or lets them begin again. Of UDP only: a TCP port is closed instead.
    pub(super) fn set_closed(&self, closed: bool) {
        self.closed.store(closed, Ordering::Relaxed);
    }

    /// Whether no session may begin any more.
    pub(super) fn closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// The address that the client connected to. Asked of the system only where the port is bound to all addresses.
    pub(super) fn local(&self, stream: &TcpStream) -> Local<SocketAddr> {
        let bound = self.port.addr;
        let addr = if bound.ip().is_unspecified() { stream.local_addr().unwrap_or(bound) } else { bound };
        Local(canonical(addr))
    }
}
