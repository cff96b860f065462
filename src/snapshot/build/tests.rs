//! What a build keeps, compiles, links and leaves waiting; and that any sequence of edits ends where a fresh build does.

mod requests;

use super::upstreams::same_target;
use super::*;
use crate::base::addr::{Port, parse_listen};
use crate::model::{Global, Listener, Origin, Resource, StreamRoute, Timeouts, Upstream, UpstreamRef};
use crate::route::l4::Ask;
use crate::snapshot::{L4Route, PortSpec, fixture};
use proptest::prelude::*;
use std::collections::BTreeMap;
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
    let matched = (matched, requests::all_found(now));
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
    let kind = prop_oneof![Just(Kind::Listener), Just(Kind::StreamRoute), Just(Kind::Route), Just(Kind::Upstream)];
    let delete = (kind, name()).prop_map(|(kind, n)| Edit::Delete(kind, n));
    let unset = Just(Edit::Delete(Kind::Setting, "global".into()));
    prop_oneof![3 => upstream, 4 => route, 3 => requests::http_edit(), 4 => listener, 1 => setting, 4 => delete, 1 => unset]
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: prop::test_runner::RngSeed::Fixed(1000), ..ProptestConfig::with_cases(1000) })]
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

mod certificates {
    use super::*;
    use crate::model::{ClientIdentity, Scheme, Ssl, SslUsage, UpstreamTls};
    use crate::tls::Identity;
    use crate::tls::fixture::{Issuer, ssl};

    fn shown(hall: &Hall, name: &str) -> Option<Arc<Identity>> {
        hall.built.snapshot.certificate(name).cloned()
    }

    fn put(hall: &mut Hall, ssl: Ssl) {
        let id = ssl.id.to_string();
        hall.put(&id, Origin::Store, Resource::Ssl(Arc::new(ssl)));
        hall.build();
    }

    #[test]
    fn a_certificate_is_shown_for_its_names_until_it_goes_and_edits_of_others_keep_it() {
        let (issuer, mut hall) = (Issuer::new(), Hall::new());
        let pair = issuer.pair(&["a"]);
        put(&mut hall, ssl("1", &["a.test", "*.b.test"], vec![pair.clone()]));
        let first = shown(&hall, "a.test").unwrap();
        put(&mut hall, ssl("2", &["a.test"], vec![issuer.pair(&["a"])]));
        hall.route("r", by_id("u"));
        hall.build();
        assert!(Arc::ptr_eq(&first, &shown(&hall, "a.test").unwrap()), "the older of two");
        put(&mut hall, ssl("1", &["c.test"], vec![pair]));
        assert!(Arc::ptr_eq(&first, &shown(&hall, "c.test").unwrap()), "a new name, the same tickets");
        assert!(shown(&hall, "x.b.test").is_none());
        assert!(!Arc::ptr_eq(&first, &shown(&hall, "a.test").unwrap()), "the other one takes over");
        hall.delete(Kind::Ssl, "1");
        hall.build();
        assert!(shown(&hall, "c.test").is_none());
        let mut off = ssl("2", &["a.test"], vec![issuer.pair(&["a"])]);
        off.enabled = false;
        put(&mut hall, off);
        assert!(shown(&hall, "a.test").is_none());
    }

    #[test]
    fn an_upstream_waits_for_its_certificate_and_follows_its_changes() {
        let (issuer, mut hall) = (Issuer::new(), Hall::new());
        let mut spec = fixture::upstream(1);
        let client = Some(ClientIdentity::ById(fixture::id("mine")));
        (spec.scheme, spec.tls) = (Scheme::Tls, Some(UpstreamTls { client, ..UpstreamTls::default() }));
        hall.put("u", Origin::Store, Resource::Upstream(Arc::new(spec)));
        hall.route("r", by_id("u"));
        hall.build();
        assert_eq!(hall.waits(), ["stream_routes/r for upstreams/u", "upstreams/u for ssls/mine"]);
        put(&mut hall, ssl("mine", &["a.test"], vec![issuer.pair(&["a"])]));
        assert_eq!(hall.waits().len(), 2, "one for clients is none for nodes");
        let own = |pair| Ssl { usage: SslUsage::Client, ..ssl("mine", &[], vec![pair]) };
        put(&mut hall, own(issuer.pair(&["a"])));
        assert_eq!(hall.waits(), Vec::<String>::new());
        let target = |hall: &Hall| hall.built.snapshot.targets.get(&fixture::id("u")).unwrap().clone();
        let before = target(&hall);
        put(&mut hall, own(issuer.pair(&["a"])));
        assert!(!Arc::ptr_eq(before.client().unwrap(), target(&hall).client().unwrap()), "another certificate is another client");
        assert!(Arc::ptr_eq(&before.nodes()[0], &target(&hall).nodes()[0]), "of the same nodes");
        hall.delete(Kind::Ssl, "mine");
        hall.build();
        assert_eq!(hall.waits(), ["stream_routes/r for upstreams/u", "upstreams/u for ssls/mine"]);
    }
}
