//! The upstream nodes as the data plane sees them, for the control API.

use std::sync::{Arc, RwLock};

/// One node of one upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// The upstream: its id, or `stream_routes/<id>` for one written into a route.
    pub upstream: String,
    /// Host and port as configured.
    pub node: String,
    /// The addresses that it stands for now; empty while its name does not resolve.
    pub addresses: Vec<std::net::SocketAddr>,
    /// Its weight.
    pub weight: u32,
    /// Its priority.
    pub priority: i32,
    /// Sessions that are connected to it or connecting.
    pub in_flight: u64,
    /// Why its name does not resolve, if so.
    pub dns_error: Option<String>,
}

/// Asks for the nodes of every upstream.
pub type Inspector = Arc<dyn Fn() -> Vec<NodeStatus> + Send + Sync>;

/// Where the upstream room leaves its inspector and Admin finds it.
#[derive(Clone, Default)]
pub struct Nodes(Arc<RwLock<Option<Inspector>>>);

impl Nodes {
    /// Sets the inspector; called once, at wiring.
    pub fn provide(&self, inspector: Inspector) {
        *self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(inspector);
    }

    /// The nodes now; empty before wiring.
    pub fn list(&self) -> Vec<NodeStatus> {
        let inspector = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        inspector.map(|ask| ask()).unwrap_or_default()
    }
}

impl std::fmt::Debug for Nodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nodes")
    }
}
