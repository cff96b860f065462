//! What a person reads when the gateway has started.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::live::listeners::{PortState, PortStatus};

/// The facts of a start.
#[derive(Debug)]
pub(super) struct Banner {
    pub(super) instance: String,
    pub(super) store: String,
    /// Of the configuration that serves, if there is one yet.
    pub(super) revision: Option<u64>,
    pub(super) workers: usize,
    pub(super) ports: Vec<PortStatus>,
    pub(super) admin: Option<SocketAddr>,
    pub(super) admin_key: Option<PathBuf>,
    pub(super) metrics: Option<SocketAddr>,
    pub(super) control: Option<SocketAddr>,
}

impl fmt::Display for Banner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "sluice {}, instance {}, {} workers", env!("CARGO_PKG_VERSION"), self.instance, self.workers)?;
        match self.revision {
            Some(revision) => writeln!(f, "  store     {}, revision {revision}", self.store)?,
            None => writeln!(f, "  store     {}: nothing was read yet, so no listener is open", self.store)?,
        }
        for port in &self.ports {
            write!(f, "  listener  {} {} ({})", port.port, port.state.as_str(), port.listener)?;
            match &port.state {
                PortState::Failed { message, .. } => writeln!(f, ": {message}")?,
                PortState::Conflict { winner } => writeln!(f, ": {winner} has the address")?,
                PortState::Active | PortState::Draining => writeln!(f)?,
            }
        }
        if let Some(admin) = self.admin {
            writeln!(f, "  Admin     http://{admin}/apisix/admin")?;
        }
        if let Some(path) = &self.admin_key {
            writeln!(f, "  Admin key in {} (header X-API-KEY)", path.display())?;
        }
        if let Some(metrics) = self.metrics {
            writeln!(f, "  metrics   http://{metrics}/metrics, health at /healthz and /readyz")?;
        }
        if let Some(control) = self.control {
            writeln!(f, "  control   http://{control}/v1/config")?;
        }
        Ok(())
    }
}
