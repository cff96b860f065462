//! What has to happen to the open ports for one set to become another, as a value. Opens and closes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::PortSpec;
use crate::base::addr::Port;

/// The way from one set of ports to another. No port is in two of the lists.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListenPlan {
    /// Ports to bind.
    pub open: Vec<Arc<PortSpec>>,
    /// Ports that stay bound and get another description.
    pub update: Vec<Arc<PortSpec>>,
    /// Ports to close.
    pub close: Vec<Port>,
}

impl ListenPlan {
    /// Whether nothing has to happen.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.update.is_empty() && self.close.is_empty()
    }
}

/// The plan that leads from `old` to `new`. Descriptions that are the same, by pointer or by content, are left alone.
pub fn diff(old: &BTreeMap<Port, Arc<PortSpec>>, new: &BTreeMap<Port, Arc<PortSpec>>) -> ListenPlan {
    let mut plan = ListenPlan::default();
    for (port, spec) in new {
        match old.get(port) {
            None => plan.open.push(spec.clone()),
            Some(had) if Arc::ptr_eq(had, spec) || had == spec => {}
            Some(_) => plan.update.push(spec.clone()),
        }
    }
    plan.close = old.keys().filter(|port| !new.contains_key(port)).copied().collect();
    plan
}

/// What a set of ports becomes by a plan.
pub fn apply(plan: &ListenPlan, old: &BTreeMap<Port, Arc<PortSpec>>) -> BTreeMap<Port, Arc<PortSpec>> {
    let mut new = old.clone();
    for port in &plan.close {
        new.remove(port);
    }
    for spec in plan.open.iter().chain(&plan.update) {
        new.insert(spec.port, spec.clone());
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::addr::Protocol;
    use crate::base::id::Id;
    use crate::model::Listener;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn spec(port: u16, route: Option<u8>, required: bool) -> Arc<PortSpec> {
        let listener = Listener {
            id: Id::parse("l").unwrap(),
            protocol: Protocol::Tcp,
            http: crate::model::HttpVersions::default(),
            addrs: vec![([127, 0, 0, 1], port).into()],
            stream_route_id: route.map(|r| Id::parse(&r.to_string()).unwrap()),
            ssl_id: None,
            tls: false,
            proxy_protocol: None,
            proxy_protocol_to_upstream: None,
            drain_timeout: None,
            enabled: true,
        };
        let port = listener.ports().next().unwrap();
        Arc::new(PortSpec { port, listener: Arc::new(listener), required })
    }

    fn ports() -> impl Strategy<Value = BTreeMap<Port, Arc<PortSpec>>> {
        prop::collection::vec((1u16..8, prop::option::of(0u8..2), any::<bool>()), 0..8)
            .prop_map(|list| list.into_iter().map(|(p, r, q)| spec(p, r, q)).map(|s| (s.port, s)).collect())
    }

    proptest! {
        #[test]
        fn applying_the_difference_gives_the_new_set(a in ports(), b in ports()) {
            let plan = diff(&a, &b);
            prop_assert_eq!(apply(&plan, &a), b.clone());
            let named: Vec<Port> =
                plan.open.iter().chain(&plan.update).map(|s| s.port).chain(plan.close.iter().copied()).collect();
            prop_assert_eq!(named.iter().collect::<BTreeSet<_>>().len(), named.len(), "a port is in one list at most");
            prop_assert!(diff(&b, &b.clone()).is_empty());
        }
    }

    #[test]
    fn a_changed_description_is_an_update_and_no_reopening() {
        let (old, new) = (spec(1, None, false), spec(1, Some(1), false));
        let plan = diff(&BTreeMap::from([(old.port, old)]), &BTreeMap::from([(new.port, new.clone())]));
        assert_eq!(plan, ListenPlan { update: vec![new], ..ListenPlan::default() });
    }
}
