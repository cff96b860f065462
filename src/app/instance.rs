//! This process among the others: its name, the telling of its status, the list of those that live.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;

use super::build::open_store;
use crate::base::drain::Watch;
use crate::base::id::Id;
use crate::base::task::{self, PanicHook};
use crate::conf::{Conf, EtcdConf, Provider};
use crate::control::publish::{Follower, FollowerParts, Publisher, PublisherParts, run_id};
use crate::control::status::StatusHandle;
use crate::live::applied::Applied;
use crate::live::fleet::{Fleet, fleet};
use crate::live::listeners::Ports;
use crate::store::{Memory, Store};
use crate::telemetry::Metrics;

/// What is told, and how.
pub(super) struct Telling {
    pub(super) store: Arc<dyn Store>,
    pub(super) name: String,
    pub(super) status: StatusHandle,
    pub(super) ports: Ports,
    pub(super) applied: Applied,
    pub(super) metrics: Metrics,
    pub(super) drain: Watch,
    pub(super) panics: PanicHook,
}

/// What the file says, or the host's name, which is what people call a machine.
pub(super) fn name(conf: &Conf) -> String {
    conf.instance_id.as_ref().map_or_else(|| legal(&rustix::system::uname().nodename().to_string_lossy()), ToString::to_string)
}

/// A name that can be part of a key.
fn legal(host: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '-' };
    let name: String = host.chars().take(Id::MAX).map(plain).collect();
    if name.is_empty() { "gateway".to_owned() } else { name }
}

impl Telling {
    /// Starts it. It ends, its status taken back, soon after the drain began: that is what the handle waits for.
    pub(super) fn start(self, conf: &Conf) -> (Fleet, JoinHandle<()>) {
        let (writer, reads) = fleet(&self.name);
        let store = self.store;
        let run = run_id();
        let follower = FollowerParts { store: store.clone(), prefix: conf.prefix.clone(), run: run.clone(), fleet: Arc::new(writer) };
        let publisher = PublisherParts {
            store,
            prefix: conf.prefix.clone(),
            instance: self.name,
            run,
            started: SystemTime::now(),
            status: self.status,
            ports: self.ports,
            applied: self.applied,
            metrics: self.metrics,
            drain: self.drain,
            answer: match &conf.provider {
                Provider::Embedded { .. } => Duration::ZERO,
                Provider::Etcd(etcd) => etcd.timeout,
            },
        };
        task::supervise("instances", self.panics.clone(), move || Follower::new(follower.clone()).run());
        let publishing = task::supervise("publish", self.panics, move || Publisher::new(publisher.clone()).run());
        (reads, publishing)
    }
}

/// Where status is written: in the store that the fleet shares. A store that belongs to one process has no fleet, and a write that
/// must be durable every three seconds for nobody would only wear the disk: memory will do.
///
/// The way to the shared store is one of its own, and nobody scrapes its figures: a user who may not read or write status is no
/// reason to call the configuration stale or the store down.
pub(super) async fn store(conf: &Conf) -> anyhow::Result<Arc<dyn Store>> {
    match &conf.provider {
        Provider::Embedded { .. } => Ok(Arc::new(Memory::new())),
        Provider::Etcd(etcd) => {
            let provider = Provider::Etcd(EtcdConf { last_good: None, ..etcd.clone() });
            open_store(&provider, &conf.prefix, &Metrics::new()?).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_host_has_a_legal_name() {
        for (host, name) in [("gw-1.example", "gw-1.example"), ("a/b c", "a-b-c"), ("", "gateway")] {
            assert_eq!(legal(host), name);
            Id::parse(&legal(host)).unwrap();
        }
        assert_eq!(legal(&"x".repeat(100)).len(), Id::MAX);
    }
}
