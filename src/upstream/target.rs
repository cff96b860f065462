//! A compiled upstream: its nodes in order, the balance over them, and its own time limits.

use std::sync::Arc;
use std::time::Duration;

use super::balance::{Balance, Share, Tried};
use super::node::Node;
use crate::model::{Scheme, Upstream};
use crate::tls::{Client, Profile};

/// What sessions of a route connect to. Immutable but for the balance's position and the nodes' counters.
#[derive(Debug)]
pub struct Target {
    name: Arc<str>,
    spec: Arc<Upstream>,
    nodes: Vec<Arc<Node>>,
    balance: Balance,
    client: Option<Arc<Client>>,
}

impl Target {
    pub(super) fn new(name: Arc<str>, spec: Arc<Upstream>, nodes: Vec<Arc<Node>>, client: Option<Arc<Client>>) -> Self {
        let balance = Balance::new(spec.nodes.iter().map(|n| Share { weight: n.weight, priority: n.priority }));
        Self { name, spec, nodes, balance, client }
    }

    /// Its identity: the upstream's id, or `stream_routes/<id>` for one written into a route.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What it was compiled from.
    pub fn spec(&self) -> &Arc<Upstream> {
        &self.spec
    }

    /// Its nodes, in step with those of the spec.
    pub fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    /// How TLS is spoken to its nodes for requests; `None`: it is not.
    pub fn client(&self) -> Option<&Arc<Client>> {
        self.client.as_ref()
    }

    /// How TLS is spoken to its nodes for a session of bytes: only where the scheme is TLS itself.
    pub fn tunnel(&self) -> Option<&Arc<Client>> {
        self.client.as_ref().filter(|_| self.spec.scheme == Scheme::Tls)
    }

    /// What [`Target::client`] was made of.
    pub fn profile(&self) -> Option<&Profile> {
        self.client.as_deref().map(Client::profile)
    }

    /// How many nodes a session may try after the first one failed to connect.
    pub fn retries(&self) -> usize {
        let given = self.spec.retries.and_then(|r| usize::try_from(r).ok());
        given.unwrap_or_else(|| self.balance.usable().saturating_sub(1))
    }

    /// No new try after this long; `None`: no limit.
    pub fn retry_timeout(&self) -> Option<Duration> {
        self.spec.retry_timeout.filter(|t| !t.is_zero())
    }

    /// The node to try next.
    pub fn next(&self, tried: &mut Tried) -> Option<&Arc<Node>> {
        self.nodes.get(self.balance.next(tried)?)
    }
}
