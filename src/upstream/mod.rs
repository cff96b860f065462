//! From an upstream's description to a connection: nodes, choice among them, names resolved, dialling.

use std::sync::Arc;

use crate::model::Upstream;

/// The live state of all upstreams, found by name while a snapshot is built; survives snapshots.
#[derive(Clone, Debug, Default)]
pub struct Registry;

/// A compiled upstream.
#[derive(Debug)]
pub struct Target {
    spec: Arc<Upstream>,
}

impl Registry {
    /// The compiled form of an upstream. `name` is its identity: its id, or `stream_routes/<id>` for one written into a route;
    /// nodes that an earlier form of the same name had keep their state.
    pub fn target(&self, name: &str, spec: &Arc<Upstream>) -> Arc<Target> {
        let _ = name;
        Arc::new(Target { spec: spec.clone() })
    }
}

impl Target {
    /// What it was compiled from.
    pub fn spec(&self) -> &Arc<Upstream> {
        &self.spec
    }
}
