//! From the accepted objects to a snapshot: only what was touched is compiled, the rest is the previous snapshot's. Refuses
//! nothing; what cannot be linked is pending.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

use super::{Built, Claim, Claims, Conflict, L4Route, Objects, Pending, PortSpec, Registries, Snapshot, View, compile};
use crate::base::addr::Port;
use crate::base::id::{Id, Key, Kind};
use crate::model::{Global, Listener, Origin, Resource, Stored, StreamRoute, Upstream, UpstreamRef};
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::addr::parse_listen;
    use crate::model::Timeouts;
    use crate::route::l4::Ask;
    use crate::snapshot::fixture;
    use proptest::prelude::*;
    use std::time::Duration;

    /// Objects with the snapshot that was built last.
    struct Hall {
        registries: Registries,
        objects: Objects,
        touched: BTreeSet<Key>,
        revision: u64,
        built: Built,
    }

    impl Hall {
        fn new() -> Self {
            let registries = fixture::registries();
            let snapshot = Snapshot::empty(&registries);
            let built = Built { snapshot, pending: Vec::new(), conflicts: Vec::new(), compiled: 0 };
            Self { registries, objects: Objects::new_sync(), touched: BTreeSet::new(), revision: 0, built }
        }

        fn put(&mut self, name: &str, origin: Origin, resource: Resource) {
            self.revision += 1;
            let key = fixture::key(resource.kind(), name);
            let created = self.objects.get(&key).map_or(self.revision, |had| had.created);
            let stored = Stored { key: key.clone(), origin, created, modified: self.revision, resource };
            self.objects.insert_mut(key.clone(), Arc::new(stored));
            self.touched.insert(key);
        }

        fn delete(&mut self, kind: Kind, name: &str) {
            self.revision += 1;
            let key = fixture::key(kind, name);
            self.objects.remove_mut(&key);
            self.touched.insert(key);
        }

        fn build(&mut self) -> &Snapshot {
            let touched = std::mem::take(&mut self.touched);
            let view = View { objects: &self.objects, touched: &touched, revision: self.revision };
            self.built = build(view, &self.registries, &self.built.snapshot);
            &self.built.snapshot
        }

        fn fresh(&self) -> Built {
            let touched = self.objects.keys().cloned().collect();
            let view = View { objects: &self.objects, touched: &touched, revision: self.revision };
            let registries = fixture::registries();
            build(view, &registries, &Snapshot::empty(&registries))
        }

        fn route(&mut self, name: &str, upstream: UpstreamRef) {
            self.put(name, Origin::Store, Resource::StreamRoute(Arc::new(fixture::route(name, upstream))));
        }

        fn upstream(&mut self, name: &str, port: u16) {
            self.put(name, Origin::Store, Resource::Upstream(Arc::new(fixture::upstream(port))));
        }

        fn listener(&mut self, name: &str, addr: &str, fixed: Option<&str>) {
            let listener = Listener { stream_route_id: fixed.map(fixture::id), ..fixture::listener(name, addr) };
            self.put(name, Origin::Store, Resource::Listener(Arc::new(listener)));
        }

        fn compiled(&self, name: &str) -> Arc<L4Route> {
            self.built.snapshot.routes.get(&fixture::id(name)).unwrap().clone()
        }

        fn spec(&self, addr: &str) -> Arc<PortSpec> {
            let addr = parse_listen(addr).unwrap()[0];
            let port = Port { transport: crate::base::addr::Transport::Tcp, addr };
            self.built.snapshot.ports.get(&port).unwrap().clone()
        }

        fn waits(&self) -> Vec<String> {
            self.built.pending.iter().map(|p| format!("{} for {}", p.key, p.missing)).collect()
        }
    }

    fn by_id(name: &str) -> UpstreamRef {
        UpstreamRef::Id(fixture::id(name))
    }

    #[test]
    fn an_unrelated_edit_keeps_every_other_compiled_object_by_pointer() {
        let mut hall = Hall::new();
        hall.upstream("u", 1);
        hall.route("a", by_id("u"));
        hall.route("inline", UpstreamRef::Inline(Arc::new(fixture::upstream(5))));
        hall.listener("l", "1000-1001", None);
        hall.build();
        let before = (hall.compiled("a"), hall.compiled("inline"), hall.spec("1000"), hall.built.snapshot.ports.clone());
        hall.route("b", by_id("u"));
        hall.build();
        assert_eq!(hall.built.compiled, 1);
        assert!(Arc::ptr_eq(&before.0, &hall.compiled("a")));
        assert!(Arc::ptr_eq(&before.3, &hall.built.snapshot.ports));
        hall.listener("m", "1002", None);
        hall.build();
        assert!(Arc::ptr_eq(&before.2, &hall.spec("1000")));
        assert!(Arc::ptr_eq(before.0.target.as_ref().unwrap(), hall.compiled("b").target.as_ref().unwrap()));
        let moved = StreamRoute { order: 7, ..fixture::route("inline", UpstreamRef::Inline(Arc::new(fixture::upstream(5)))) };
        hall.put("inline", Origin::Store, Resource::StreamRoute(Arc::new(moved)));
        hall.build();
        assert!(!Arc::ptr_eq(&before.1, &hall.compiled("inline")));
        assert!(same_target(before.1.target.as_ref(), hall.compiled("inline").target.as_ref()));
        assert!(Arc::ptr_eq(&before.1.series, &hall.compiled("inline").series));
    }

    #[test]
    fn writing_the_same_content_again_compiles_nothing() {
        let mut hall = Hall::new();
        for _ in 0..2 {
            hall.upstream("u", 1);
            hall.route("a", by_id("u"));
            hall.listener("l", "1000", Some("a"));
            hall.build();
        }
        assert_eq!(hall.built.compiled, 0);
        assert_eq!(hall.built.snapshot.revision(), 6);
    }

    #[test]
    fn a_changed_upstream_recompiles_just_the_routes_that_refer_to_it() {
        let mut hall = Hall::new();
        hall.upstream("u", 1);
        hall.upstream("v", 2);
        for n in 0..50 {
            hall.route(&format!("u{n}"), by_id("u"));
        }
        hall.route("v0", by_id("v"));
        hall.build();
        let other = hall.compiled("u7");
        hall.upstream("v", 3);
        hall.build();
        assert_eq!(hall.built.compiled, 2);
        assert!(Arc::ptr_eq(&other, &hall.compiled("u7")));
        assert_eq!(hall.compiled("v0").target.as_ref().unwrap().spec().nodes[0].port, 3);
    }

    #[test]
    fn a_dangling_reference_is_pending_and_heals_when_the_other_side_arrives() {
        let mut hall = Hall::new();
        hall.listener("l", "1000", Some("r"));
        hall.build();
        assert_eq!(hall.waits(), ["listeners/l for stream_routes/r"]);
        let ask = Ask { client: [127, 0, 0, 1].into(), server: ([127, 0, 0, 1], 1000).into(), sni: None };
        assert!(hall.built.snapshot.route_for(&hall.spec("1000"), &ask).is_none());
        hall.route("r", by_id("u"));
        hall.build();
        assert_eq!(hall.waits(), ["stream_routes/r for upstreams/u"]);
        assert!(hall.built.snapshot.route_for(&hall.spec("1000"), &ask).unwrap().target.is_none());
        hall.upstream("u", 1);
        hall.build();
        assert!(hall.waits().is_empty());
        assert!(hall.built.snapshot.route_for(&hall.spec("1000"), &ask).unwrap().target.is_some());
        hall.delete(Kind::Upstream, "u");
        hall.delete(Kind::StreamRoute, "r");
        hall.build();
        assert_eq!(hall.waits(), ["listeners/l for stream_routes/r"]);
    }

    #[test]
    fn both_sides_of_a_reference_may_come_in_one_build() {
        let mut hall = Hall::new();
        hall.route("r", by_id("u"));
        hall.listener("l", "1000", Some("r"));
        hall.upstream("u", 1);
        hall.build();
        assert!(hall.waits().is_empty());
        assert!(hall.compiled("r").target.is_some());
    }

    #[test]
    fn the_loser_of_a_port_takes_over_when_the_winner_goes() {
        let mut hall = Hall::new();
        hall.listener("old", "1000-1001", None);
        hall.listener("new", "1000", None);
        hall.build();
        let lost = |hall: &Hall| hall.built.conflicts.iter().map(|c| format!("{} to {}", c.listener, c.winner)).collect::<Vec<_>>();
        assert_eq!(hall.spec("1000").listener.id.as_str(), "old");
        assert_eq!(lost(&hall), ["new to old"]);
        hall.put("conf", Origin::Conf, Resource::Listener(Arc::new(fixture::listener("conf", "1000"))));
        hall.build();
        assert!(hall.spec("1000").required);
        assert_eq!(lost(&hall), ["new to conf", "old to conf"]);
        hall.delete(Kind::Listener, "conf");
        hall.delete(Kind::Listener, "old");
        hall.build();
        assert_eq!(hall.spec("1000").listener.id.as_str(), "new");
        assert!(lost(&hall).is_empty());
        assert_eq!(hall.built.snapshot.ports.len(), 1);
    }

    #[test]
    fn what_is_disabled_counts_as_absent() {
        let mut hall = Hall::new();
        hall.upstream("u", 1);
        hall.listener("l", "1000", Some("r"));
        let off = StreamRoute { enabled: false, ..fixture::route("r", by_id("gone")) };
        hall.put("r", Origin::Store, Resource::StreamRoute(Arc::new(off)));
        let closed = Listener { enabled: false, ..fixture::listener("m", "1000-1001") };
        hall.put("m", Origin::Store, Resource::Listener(Arc::new(closed)));
        hall.build();
        assert_eq!(hall.waits(), ["listeners/l for stream_routes/r"]);
        assert_eq!((hall.built.snapshot.ports.len(), hall.built.conflicts.len()), (1, 0));
        assert!(hall.built.snapshot.table.is_empty());
    }

    #[test]
    fn the_idle_time_is_the_routes_else_the_larger_of_the_upstreams() {
        let seconds = Duration::from_secs;
        let mut hall = Hall::new();
        let timeout = Some(Timeouts { connect: seconds(1), send: seconds(2), read: seconds(3) });
        hall.put("u", Origin::Store, Resource::Upstream(Arc::new(Upstream { timeout, ..fixture::upstream(1) })));
        hall.route("upstream", by_id("u"));
        hall.route("none", UpstreamRef::None);
        let own = StreamRoute { timeout: Some(seconds(9)), ..fixture::route("own", by_id("u")) };
        hall.put("own", Origin::Store, Resource::StreamRoute(Arc::new(own)));
        hall.build();
        let idle: Vec<_> = ["own", "upstream", "none"].iter().map(|r| hall.compiled(r).idle).collect();
        assert_eq!(idle, [Some(seconds(9)), Some(seconds(3)), None]);
    }

    #[test]
    fn one_edit_among_a_hundred_thousand_routes_compiles_one() {
        let mut hall = Hall::new();
        hall.upstream("u", 1);
        for n in 0..100_000_u32 {
            let remote_addr = vec![std::net::IpAddr::V4(n.into()).to_string().parse().unwrap()];
            let name = format!("r{n}");
            let r = StreamRoute { remote_addr, ..fixture::route(&name, by_id("u")) };
            hall.put(&name, Origin::Store, Resource::StreamRoute(Arc::new(r)));
        }
        hall.build();
        assert_eq!(hall.built.compiled, 100_001);
        hall.route("r5", by_id("u"));
        hall.build();
        assert_eq!(hall.built.compiled, 1);
        hall.delete(Kind::StreamRoute, "r6");
        hall.build();
        assert_eq!(hall.built.compiled, 0);
    }

    /// Everything that a snapshot says, in a form that can be compared.
    fn said(built: &Built) -> impl PartialEq + std::fmt::Debug + use<> {
        let now = &built.snapshot;
        let routes: BTreeMap<_, _> =
            now.routes.iter().map(|(id, r)| (id.clone(), (r.target.as_ref().map(|t| t.spec().clone()), r.idle, r.max_duration))).collect();
        let users: BTreeMap<_, _> = now.users.iter().map(|(k, u)| (k.clone(), u.iter().cloned().collect::<Vec<_>>())).collect();
        let claims: BTreeMap<_, _> =
            now.claims.iter().map(|(p, c)| (*p, c.iter().map(|(c, l)| (c.clone(), l.clone())).collect::<Vec<_>>())).collect();
        let targets: BTreeMap<_, _> = now.targets.iter().map(|(id, t)| (id.clone(), t.spec().clone())).collect();
        let matched: Vec<_> = (999..1004)
            .flat_map(|port| [1, 2].map(|host| Ask { client: [127, 0, 0, host].into(), server: ([127, 0, 0, 1], port).into(), sni: None }))
            .map(|ask| now.table.find(&ask).map(|r| (r.id.clone(), r.target.as_ref().map(|t| t.spec().clone()))))
            .collect();
        let links = (built.pending.clone(), built.conflicts.clone(), users, claims);
        (now.revision(), now.global().clone(), now.ports.clone(), links, routes, targets, matched)
    }

    #[derive(Clone, Debug)]
    enum Edit {
        Put(String, Origin, Resource),
        Delete(Kind, String),
    }

    fn edit() -> impl Strategy<Value = Edit> {
        let name = || (0u8..4).prop_map(|n| format!("x{n}"));
        let upstream =
            (name(), 1u16..3).prop_map(|(n, port)| Edit::Put(n, Origin::Store, Resource::Upstream(Arc::new(fixture::upstream(port)))));
        let link = prop_oneof![
            Just(UpstreamRef::None),
            name().prop_map(|n| by_id(&n)),
            name().prop_map(|n| by_id(&n)),
            (1u16..3).prop_map(|port| UpstreamRef::Inline(Arc::new(fixture::upstream(port)))),
        ];
        let route = (name(), link, prop::option::of(1000u16..1003), prop::option::of(1u8..3), 0i64..2, prop::bool::weighted(0.8)).prop_map(
            |(n, link, server_port, client, order, enabled)| {
                let remote_addr = client.map(|c| format!("127.0.0.{c}").parse().unwrap()).into_iter().collect();
                let r = StreamRoute { remote_addr, server_port, order, enabled, ..fixture::route(&n, link) };
                Edit::Put(n, Origin::Store, Resource::StreamRoute(Arc::new(r)))
            },
        );
        let listener = (name(), 1000u16..1003, 0u16..2, prop::option::of(name()), prop::bool::weighted(0.8), any::<bool>()).prop_map(
            |(n, from, more, fixed, enabled, conf)| {
                let addrs = format!("{from}-{}", from + more);
                let fixed = fixed.map(|f| fixture::id(&f));
                let l = Listener { stream_route_id: fixed, enabled, ..fixture::listener(&n, &addrs) };
                Edit::Put(n, if conf { Origin::Conf } else { Origin::Store }, Resource::Listener(Arc::new(l)))
            },
        );
        let setting = (1u64..9).prop_map(|s| {
            let global = Global { default_timeout: Duration::from_secs(s), ..Global::default() };
            Edit::Put("global".into(), Origin::Store, Resource::Global(Arc::new(global)))
        });
        let kind = prop_oneof![Just(Kind::Listener), Just(Kind::StreamRoute), Just(Kind::Upstream)];
        let delete = (kind, name()).prop_map(|(kind, n)| Edit::Delete(kind, n));
        let unset = Just(Edit::Delete(Kind::Setting, "global".into()));
        prop_oneof![3 => upstream, 4 => route, 4 => listener, 1 => setting, 4 => delete, 1 => unset]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        #[test]
        fn any_sequence_of_edits_ends_where_a_fresh_build_of_the_result_does(
            batches in prop::collection::vec(prop::collection::vec(edit(), 1..5), 1..12)
        ) {
            let mut hall = Hall::new();
            for batch in batches {
                for edit in batch {
                    match edit {
                        Edit::Put(name, origin, resource) => hall.put(&name, origin, resource),
                        Edit::Delete(kind, name) => hall.delete(kind, &name),
                    }
                }
                hall.build();
            }
            prop_assert_eq!(said(&hall.built), said(&hall.fresh()));
        }
    }
}
