//! From the accepted objects to a snapshot: only what was touched is compiled, the rest is the previous snapshot's. Refuses
//! nothing; what cannot be linked is pending.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

use super::{Built, Claim, Claims, Conflict, L4Route, Objects, Pending, PortSpec, Registries, Snapshot, View, compile};
use crate::base::addr::Port;
use crate::base::id::{Id, Key, Kind};
use crate::model::{Global, Listener, Origin, Resource, StreamRoute, Stored, Upstream, UpstreamRef};
use crate::upstream::Target;

/// Builds the next snapshot. Objects that are not touched, and do not refer to one that is, keep their compiled forms by pointer.
pub fn build(view: View<'_>, registries: &Registries, previous: &Snapshot) -> Built {
    let next = Snapshot { revision: view.revision, arrived: None, objects: view.objects.clone(), ..previous.clone() };
    let mut work = Work { next, old: &previous.objects, registries, compiled: 0, routes: BTreeSet::new(), listeners: BTreeSet::new() };
    let mut claimants = BTreeSet::new();
    for key in view.touched {
        match key.kind {
            Kind::Upstream => work.upstream(key),
            Kind::StreamRoute => drop(work.routes.insert(key.clone())),
            Kind::Listener => drop(claimants.insert(key.clone())),
            Kind::Setting => work.setting(key),
        }
    }
    for key in std::mem::take(&mut work.routes) {
        work.route(&key);
    }
    work.claims(&claimants);
    work.listeners.extend(claimants);
    for key in std::mem::take(&mut work.listeners) {
        work.listener_link(&key);
    }
    let pending = work.next.pending.iter().map(|(key, missing)| Pending { key: key.clone(), missing: missing.clone() }).collect();
    let conflicts = work.next.conflicts.to_vec();
    Built { snapshot: work.next, pending, conflicts, compiled: work.compiled }
}

struct Work<'a> {
    next: Snapshot,
    old: &'a Objects,
    registries: &'a Registries,
    compiled: usize,
    /// Routes to look at: touched, or linked with something that changed.
    routes: BTreeSet<Key>,
    /// Listeners whose link to a route has to be looked at.
    listeners: BTreeSet<Key>,
}

impl Work<'_> {
    fn setting(&mut self, key: &Key) {
        if key.id.as_str() != "global" {
            return;
        }
        let new = object(&self.next.objects, key).and_then(|stored| global(&stored.resource));
        self.next.global = new.cloned().unwrap_or_default();
        self.compiled += 1;
    }

    fn upstream(&mut self, key: &Key) {
        let spec = object(&self.next.objects, key).and_then(|stored| upstream(&stored.resource)).cloned();
        let had = self.next.targets.get(&key.id);
        match (spec, had) {
            (None, None) => return,
            (Some(spec), Some(had)) if *had.spec() == spec => return,
            (None, Some(_)) => drop(self.next.targets.remove_mut(&key.id)),
            (Some(spec), _) => {
                let target = self.registries.upstreams.target(key.id.as_str(), &spec);
                self.next.targets.insert_mut(key.id.clone(), target);
                self.compiled += 1;
            }
        }
        if let Some(users) = self.next.users.get(key) {
            self.routes.extend(users.iter().cloned());
        }
    }

    fn route(&mut self, key: &Key) {
        let old = object(self.old, key).and_then(|stored| stream_route(&stored.resource)).cloned();
        let new = object(&self.next.objects, key).and_then(|stored| stream_route(&stored.resource)).cloned();
        self.link(key, old.as_deref().and_then(route_link), new.as_deref().and_then(route_link));
        if old.is_some() != new.is_some()
            && let Some(users) = self.next.users.get(key)
        {
            self.listeners.extend(users.iter().cloned());
        }
        match new {
            Some(new) => self.put_route(key, old.as_deref(), &new),
            None => self.remove_route(key, old.as_deref()),
        }
    }

    fn put_route(&mut self, key: &Key, old: Option<&StreamRoute>, new: &StreamRoute) {
        let target = self.target(key, old, new);
        match route_link(new) {
            Some(missing) if target.is_none() => self.next.pending.insert_mut(key.clone(), missing),
            Some(_) | None => drop(self.next.pending.remove_mut(key)),
        }
        let had = self.next.routes.get(&key.id);
        if old == Some(new) && had.is_some_and(|had| same_target(had.target.as_ref(), target.as_ref())) {
            return;
        }
        let compiled: Arc<L4Route> = Arc::new(compile::route(new, target, self.registries));
        self.compiled += 1;
        if let Some(old) = old.filter(|old| *old != new) {
            self.next.table.remove(old);
        }
        if compile::takes_tcp(new) {
            self.next.table.insert(new, compiled.clone());
        }
        self.next.routes.insert_mut(key.id.clone(), compiled);
    }

    fn remove_route(&mut self, key: &Key, old: Option<&StreamRoute>) {
        self.next.pending.remove_mut(key);
        self.next.routes.remove_mut(&key.id);
        if let Some(old) = old {
            self.next.table.remove(old);
        }
    }

    fn target(&self, key: &Key, old: Option<&StreamRoute>, new: &StreamRoute) -> Option<Arc<Target>> {
        match &new.upstream {
            UpstreamRef::None => None,
            UpstreamRef::Id(id) => self.next.targets.get(id).cloned(),
            UpstreamRef::Inline(spec) => {
                let had = || self.next.routes.get(&key.id).and_then(|route| route.target.clone());
                let kept = old.filter(|old| compile::kept_inline(old, new)).and_then(|_| had());
                kept.or_else(|| Some(self.registries.upstreams.target(&compile::inline_name(new), spec)))
            }
        }
    }

    /// Notes in the reverse index that an object refers to another one than before.
    fn link(&mut self, key: &Key, old: Option<Key>, new: Option<Key>) {
        if old == new {
            return;
        }
        if let Some(old) = old
            && let Some(users) = self.next.users.get_mut(&old)
        {
            users.remove_mut(key);
            if users.is_empty() {
                self.next.users.remove_mut(&old);
            }
        }
        let Some(new) = new else { return };
        match self.next.users.get_mut(&new) {
            Some(users) => users.insert_mut(key.clone()),
            None => self.next.users.insert_mut(new, RedBlackTreeSetSync::new_sync().insert(key.clone())),
        }
    }

    fn listener_link(&mut self, key: &Key) {
        let old = object(self.old, key).and_then(|stored| listener(&stored.resource)).and_then(|l| listener_link(l));
        let new = object(&self.next.objects, key).and_then(|stored| listener(&stored.resource)).and_then(|l| listener_link(l));
        self.link(key, old, new.clone());
        match new {
            Some(missing) if !self.next.routes.contains_key(&missing.id) => self.next.pending.insert_mut(key.clone(), missing),
            Some(_) | None => drop(self.next.pending.remove_mut(key)),
        }
    }

    /// Who has which port, after these listeners changed.
    fn claims(&mut self, listeners: &BTreeSet<Key>) {
        let mut ports = BTreeSet::new();
        for key in listeners {
            self.claim(key, &mut ports);
        }
        if ports.is_empty() {
            return;
        }
        let mut specs: BTreeMap<Port, Arc<PortSpec>> = (*self.next.ports).clone();
        let mut changed = false;
        for port in &ports {
            let had = specs.get(port);
            match self.next.claims.get(port).and_then(|claims| winner(*port, claims)) {
                Some(spec) if had.is_some_and(|had| **had == spec) => {}
                Some(spec) => {
                    specs.insert(*port, Arc::new(spec));
                    changed = true;
                }
                None => changed |= specs.remove(port).is_some(),
            }
        }
        if changed {
            self.next.ports = Arc::new(specs);
        }
        let mut conflicts: Vec<Conflict> = self.next.conflicts.iter().filter(|c| !ports.contains(&c.port)).cloned().collect();
        conflicts.extend(ports.iter().filter_map(|port| Some((port, self.next.claims.get(port)?))).flat_map(losers));
        conflicts.sort();
        if conflicts != *self.next.conflicts {
            self.next.conflicts = Arc::new(conflicts);
        }
    }

    /// Renews what one listener claims; the ports that are concerned are added to `ports`.
    fn claim(&mut self, key: &Key, ports: &mut BTreeSet<Port>) {
        let (old, new) = (object(self.old, key), object(&self.next.objects, key).cloned());
        let claimed = |stored: Option<&Arc<Stored>>| Some((claim(stored?), listener(&stored?.resource)?.clone()));
        let (old, new) = (claimed(old), claimed(new.as_ref()));
        if old == new {
            return;
        }
        self.compiled += usize::from(new.is_some());
        if let Some((claim, listener)) = &old {
            for port in listener.ports() {
                self.unclaim(port, claim);
                ports.insert(port);
            }
        }
        if let Some((claim, listener)) = &new {
            for port in listener.ports() {
                let claims = self.next.claims.get(&port).cloned().unwrap_or_else(RedBlackTreeMapSync::new_sync);
                self.next.claims.insert_mut(port, claims.insert(claim.clone(), listener.clone()));
                ports.insert(port);
            }
        }
    }

    fn unclaim(&mut self, port: Port, claim: &Claim) {
        let Some(claims) = self.next.claims.get_mut(&port) else { return };
        claims.remove_mut(claim);
        if claims.is_empty() {
            self.next.claims.remove_mut(&port);
        }
    }
}

fn winner(port: Port, claims: &Claims) -> Option<PortSpec> {
    let ((origin, ..), listener) = claims.first()?;
    Some(PortSpec { port, listener: listener.clone(), required: *origin == Origin::Conf })
}

fn losers<'a>((port, claims): (&'a Port, &'a Claims)) -> impl Iterator<Item = Conflict> + 'a {
    let first = claims.first().map(|((_, _, id), _)| id);
    claims.iter().skip(1).zip(std::iter::repeat(first)).filter_map(|(((origin, _, id), listener), winner)| {
        let (winner, protocol, required) = (winner?.clone(), listener.protocol, *origin == Origin::Conf);
        Some(Conflict { listener: id.clone(), port: *port, protocol, winner, required })
    })
}

fn claim(stored: &Stored) -> Claim {
    (stored.origin, stored.created, stored.key.id.clone())
}

fn same_target(a: Option<&Arc<Target>>, b: Option<&Arc<Target>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// An object that takes part.
fn object<'a>(objects: &'a Objects, key: &Key) -> Option<&'a Arc<Stored>> {
    objects.get(key).filter(|stored| compile::enabled(&stored.resource))
}

fn route_link(route: &StreamRoute) -> Option<Key> {
    match &route.upstream {
        UpstreamRef::Id(id) => Some(Key::new(Kind::Upstream, id.clone())),
        UpstreamRef::None | UpstreamRef::Inline(_) => None,
    }
}

fn listener_link(listener: &Listener) -> Option<Key> {
    listener.stream_route_id.clone().map(|id: Id| Key::new(Kind::StreamRoute, id))
}

fn stream_route(resource: &Resource) -> Option<&Arc<StreamRoute>> {
    match resource {
        Resource::StreamRoute(route) => Some(route),
        Resource::Listener(_) | Resource::Upstream(_) | Resource::Global(_) => None,
    }
}

fn listener(resource: &Resource) -> Option<&Arc<Listener>> {
    match resource {
        Resource::Listener(listener) => Some(listener),
        Resource::StreamRoute(_) | Resource::Upstream(_) | Resource::Global(_) => None,
    }
}

fn upstream(resource: &Resource) -> Option<&Arc<Upstream>> {
    match resource {
        Resource::Upstream(upstream) => Some(upstream),
        Resource::Listener(_) | Resource::StreamRoute(_) | Resource::Global(_) => None,
    }
}

fn global(resource: &Resource) -> Option<&Arc<Global>> {
    match resource {
        Resource::Global(global) => Some(global),
        Resource::Listener(_) | Resource::StreamRoute(_) | Resource::Upstream(_) => None,
    }
}
