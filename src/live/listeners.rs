//! The state of every port that configuration asks for: written by the listening side, read by the control API and metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use crate::base::addr::{Port, Protocol};
use crate::base::id::Id;

/// What became of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortState {
    /// Bound and accepting.
    Active,
    /// The bind failed; it is tried again.
    Failed {
        /// The system's error number, e.g. 98 for an address in use.
        errno: i32,
        /// What it means and what helps.
        message: String,
    },
    /// Another listener has the address; this one takes over when that one goes.
    Conflict {
        /// The listener that has it.
        winner: Id,
    },
    /// Closed for new connections; its sessions are ending.
    Draining,
}

impl PortState {
    /// The word in answers and in `sluice_listeners{state}`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Failed { .. } => "failed",
            Self::Conflict { .. } => "conflict",
            Self::Draining => "draining",
        }
    }

    /// All words of [`PortState::as_str`].
    pub const WORDS: [&'static str; 4] = ["active", "failed", "conflict", "draining"];
}

/// One port of one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortStatus {
    /// The listener object.
    pub listener: Id,
    /// What it speaks.
    pub protocol: Protocol,
    /// The address.
    pub port: Port,
    /// What became of it.
    pub state: PortState,
    /// Whether readiness waits for it: conf's listeners are required, the store's are not.
    pub required: bool,
}

/// The table of ports. Cheap to clone; all clones are one table.
#[derive(Clone, Debug, Default)]
pub struct Ports(Arc<RwLock<BTreeMap<(Id, Port), PortStatus>>>);

impl Ports {
    /// Sets the state of one port.
    pub fn set(&self, status: PortStatus) {
        self.write(|map| map.insert((status.listener.clone(), status.port), status));
    }

    /// Forgets one port.
    pub fn remove(&self, listener: &Id, port: Port) {
        self.write(|map| map.remove(&(listener.clone(), port)));
    }

    /// All ports, by listener and address.
    pub fn list(&self) -> Vec<PortStatus> {
        match self.0.read() {
            Ok(map) => map.values().cloned().collect(),
            Err(poisoned) => poisoned.into_inner().values().cloned().collect(),
        }
    }

    fn write<T>(&self, change: impl FnOnce(&mut BTreeMap<(Id, Port), PortStatus>) -> T) {
        // the table has no invariant that a panicking writer could have broken
        let mut map = self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        change(&mut map);
    }
}
