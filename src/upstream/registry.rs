//! The live nodes of all upstreams, found by identity while a snapshot is built: they survive snapshots, and go with their
//! last holder.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use super::node::Node;
use super::resolve::{Names, Resolver, names};
use super::target::Target;
use crate::live::nodes::NodeStatus;
use crate::model::Upstream;
use crate::tls::{BadClient, Client, Profile};

/// How often waiting connections are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// All live upstreams. Cheap to clone; all clones are one registry.
#[derive(Clone, Debug)]
pub struct Registry {
    names: Names,
    live: Arc<Mutex<HashMap<Arc<str>, Weak<Target>>>>,
}

impl Registry {
    /// An empty registry, and the resolver that has to run for names to get addresses.
    pub fn new() -> (Self, Resolver) {
        let (names, resolver) = names();
        (Self { names, live: Arc::default() }, resolver)
    }

    /// The compiled form of an upstream. `name` is its identity: its id, or `stream_routes/<id>` for one written into a route.
    /// The same specification again is the same target, round robin position included; nodes that an earlier form of the same
    /// name had keep their state, and so does TLS with an equal profile.
    ///
    /// # Errors
    /// A profile that the TLS library refuses; profiles are checked before.
    pub fn target(&self, name: &str, spec: &Arc<Upstream>, profile: Option<Profile>) -> Result<Arc<Target>, BadClient> {
        let mut live = self.live.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let known = live.get_key_value(name).map(|(name, held)| (name.clone(), held.upgrade()));
        let (name, earlier) = known.unwrap_or_else(|| (name.into(), None));
        if let Some(same) = earlier.as_ref().filter(|t| t.spec() == spec && t.profile() == profile.as_ref()) {
            return Ok(same.clone());
        }
        let kept = |label: &str| earlier.as_ref()?.nodes().iter().find(|n| &**n.label() == label).cloned();
        let node =
            |spec: &crate::model::Node| kept(&spec.to_string()).unwrap_or_else(|| Arc::new(Node::new(spec, |host| self.names.name(host))));
        let target =
            Arc::new(Target::new(name.clone(), spec.clone(), spec.nodes.iter().map(node).collect(), client(profile, earlier.as_deref())?));
        if live.len() == live.capacity() {
            // swept only when the table would grow, so that an edit among many costs no walk over all
            live.retain(|_, held| held.strong_count() > 0);
        }
        live.insert(name, Arc::downgrade(&target));
        Ok(target)
    }

    /// Closes pooled connections that have waited for too long, or that their nodes have closed, once a second for ever.
    pub async fn sweep(self) {
        let mut ticks = tokio::time::interval(SWEEP);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let now = ticks.tick().await;
            for target in self.held() {
                for node in target.nodes() {
                    node.sweep(target.spec().keepalive.idle, now);
                }
            }
        }
    }

    fn held(&self) -> Vec<Arc<Target>> {
        self.live.lock().unwrap_or_else(std::sync::PoisonError::into_inner).values().filter_map(Weak::upgrade).collect()
    }

    /// Every node of every live upstream, by upstream name.
    pub fn inspect(&self) -> Vec<NodeStatus> {
        let held = self.held();
        let mut all: Vec<NodeStatus> =
            held.iter().flat_map(|t| t.nodes().iter().zip(&t.spec().nodes).map(|(n, s)| status(t, n, s))).collect();
        all.sort_by(|a, b| (&a.upstream, &a.node).cmp(&(&b.upstream, &b.node)));
        all
    }
}

/// TLS towards the nodes: that of the earlier form, sessions included, if nothing of it changed.
fn client(profile: Option<Profile>, earlier: Option<&Target>) -> Result<Option<Arc<Client>>, BadClient> {
    let Some(profile) = profile else { return Ok(None) };
    match earlier.and_then(Target::client).filter(|had| *had.profile() == profile) {
        Some(had) => Ok(Some(had.clone())),
        None => Client::new(profile).map(|made| Some(Arc::new(made))),
    }
}

fn status(target: &Target, node: &Node, spec: &crate::model::Node) -> NodeStatus {
    let (addresses, dns_error) = node.known();
    NodeStatus {
        upstream: target.name().to_string(),
        node: node.label().to_string(),
        addresses,
        weight: spec.weight,
        priority: spec.priority,
        in_flight: node.in_flight(),
        dns_error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Host;

    fn upstream(ports: &[u16]) -> Arc<Upstream> {
        let node = |port: &u16| crate::model::Node { host: Host::Ip([127, 0, 0, 1].into()), port: *port, weight: 1, priority: 0 };
        Arc::new(Upstream { nodes: ports.iter().map(node).collect(), ..Upstream::default() })
    }

    #[test]
    fn an_edit_keeps_the_state_of_the_nodes_that_stay() {
        let (registry, _resolver) = Registry::new();
        let before = registry.target("u", &upstream(&[1, 2]), None).unwrap();
        let held = before.nodes()[1].hold();
        let after = registry.target("u", &upstream(&[2, 3]), None).unwrap();
        assert!(Arc::ptr_eq(&before.nodes()[1], &after.nodes()[0]));
        assert_eq!(
            registry.inspect().iter().map(|n| (n.node.as_str(), n.in_flight)).collect::<Vec<_>>(),
            [("127.0.0.1:2", 1), ("127.0.0.1:3", 0)]
        );
        drop(held);
    }

    #[test]
    fn the_same_specification_is_the_same_target_and_all_go_with_their_holders() {
        let (registry, _resolver) = Registry::new();
        let a = registry.target("u", &upstream(&[1]), None).unwrap();
        assert!(Arc::ptr_eq(&a, &registry.target("u", &upstream(&[1]), None).unwrap()));
        assert!(!Arc::ptr_eq(&a, &registry.target("v", &upstream(&[1]), None).unwrap()));
        drop(a);
        assert!(registry.inspect().is_empty());
    }
}
