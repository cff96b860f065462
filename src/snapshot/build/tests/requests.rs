//! The same of HTTP routes.

use http::{HeaderMap, Version};

use super::*;
use crate::model::{HttpRoute, RouteMatch};
use crate::route::http::request::{Form, Request};

/// The route that a GET for a path at a host finds, with the port of the node that it leads to.
pub(super) fn found(snapshot: &Snapshot, host: &str, path: &str) -> Option<(String, Option<u16>)> {
    let headers = HeaderMap::new();
    let (method, scheme, query) = ("GET", "http", "");
    let request = Request { method, scheme, host, path, query, version: Version::HTTP_11, headers: &headers, form: Form::Unread };
    let route = snapshot.http_route_for(&request).unwrap()?;
    let port = route.target.as_ref().and_then(|t| t.spec().nodes.first().map(|node| node.port));
    Some((route.id.as_str().to_owned(), port))
}

pub(super) fn http_edit() -> impl Strategy<Value = Edit> {
    let name = || (0u8..4).prop_map(|n| format!("x{n}"));
    let link = prop_oneof![
        Just(UpstreamRef::None),
        name().prop_map(|n| by_id(&n)),
        name().prop_map(|n| by_id(&n)),
        (1u16..3).prop_map(|port| UpstreamRef::Inline(Arc::new(fixture::upstream(port)))),
    ];
    let pick = |from: &[&'static str]| prop::collection::vec(prop::sample::select(from.to_vec()).prop_map(str::to_owned), 0..2);
    let matching = (pick(&["a", "*a", "b:1", "*"]), pick(&["/", "/x", "/*", "*"]), prop::option::weighted(0.2, Just("Path = '/x'".into())));
    (name(), link, matching, 0i64..2, prop::bool::weighted(0.8)).prop_map(|(n, link, (hosts, paths, statement), order, enabled)| {
        let matching = RouteMatch { hosts, paths, statement, ..RouteMatch::default() };
        let r = HttpRoute { matching, order, enabled, ..fixture::http_route(&n, link) };
        Edit::Put(n, Origin::Store, Resource::Route(Arc::new(r)))
    })
}

/// What a snapshot finds for a few requests.
pub(super) fn all_found(snapshot: &Snapshot) -> Vec<Option<(String, Option<u16>)>> {
    ["a", "ba", "b:1", "c"].iter().flat_map(|host| ["/", "/x", "/y"].map(|path| found(snapshot, host, path))).collect()
}

impl Hall {
    fn http(&mut self, name: &str, paths: &[&str], upstream: UpstreamRef) {
        let matching = RouteMatch { paths: paths.iter().map(|p| (*p).to_owned()).collect(), ..RouteMatch::default() };
        let r = HttpRoute { matching, ..fixture::http_route(name, upstream) };
        self.put(name, Origin::Store, Resource::Route(Arc::new(r)));
    }

    fn found(&self, path: &str) -> Option<(String, Option<u16>)> {
        found(&self.built.snapshot, "h", path)
    }
}

type Found = (String, Option<u16>);

fn at(name: &str, port: Option<u16>) -> Found {
    (name.to_owned(), port)
}

#[test]
fn an_http_route_waits_for_its_upstream_and_heals() {
    let mut hall = Hall::new();
    hall.http("r", &["/a"], by_id("u"));
    hall.build();
    assert_eq!(hall.waits(), ["routes/r for upstreams/u"]);
    assert_eq!(hall.found("/a"), Some(at("r", None)));
    hall.upstream("u", 7);
    hall.build();
    assert!(hall.waits().is_empty());
    assert_eq!(hall.found("/a"), Some(at("r", Some(7))));
    hall.delete(Kind::Upstream, "u");
    hall.build();
    assert_eq!(hall.waits(), ["routes/r for upstreams/u"]);
    hall.delete(Kind::Route, "r");
    hall.build();
    assert_eq!((hall.waits().len(), hall.found("/a")), (0, None));
}

#[test]
fn an_http_route_that_moves_leaves_its_old_place() {
    let mut hall = Hall::new();
    hall.http("r", &["/a", "/b*"], UpstreamRef::None);
    hall.http("s", &["/c"], UpstreamRef::Inline(Arc::new(fixture::upstream(5))));
    hall.build();
    let before = hall.built.snapshot.clone();
    hall.http("r", &["/b"], UpstreamRef::None);
    hall.build();
    assert_eq!(hall.built.compiled, 1);
    assert_eq!(["/a", "/b", "/bb"].map(|path| hall.found(path)), [None, Some(at("r", None)), None]);
    assert_eq!(found(&before, "h", "/bb"), Some(at("r", None)), "a snapshot in use does not change");
    let of = |s: &Snapshot| s.http_routes.get(&fixture::id("s")).unwrap().clone();
    assert!(Arc::ptr_eq(&of(&before), &of(&hall.built.snapshot)));
}

#[test]
fn an_http_route_and_a_stream_route_may_have_one_id() {
    let mut hall = Hall::new();
    hall.upstream("u", 1);
    hall.http("x", &["/a"], by_id("u"));
    hall.route("x", by_id("u"));
    hall.build();
    hall.delete(Kind::StreamRoute, "x");
    hall.build();
    assert_eq!(hall.found("/a"), Some(at("x", Some(1))));
}

#[test]
fn a_disabled_http_route_is_never_matched() {
    let mut hall = Hall::new();
    let off = HttpRoute { enabled: false, ..fixture::http_route("r", by_id("u")) };
    hall.put("r", Origin::Store, Resource::Route(Arc::new(off)));
    hall.build();
    assert_eq!((hall.waits().len(), hall.found("/")), (0, None));
}

#[test]
fn a_statement_that_does_not_parse_matches_nothing_rather_than_more() {
    let mut hall = Hall::new();
    let statement = Some("Method =".into());
    let bad = HttpRoute { matching: RouteMatch { statement, ..RouteMatch::default() }, ..fixture::http_route("r", UpstreamRef::None) };
    assert_eq!(compile::check(&Resource::Route(Arc::new(bad.clone())))[0].rule, "statement");
    hall.put("r", Origin::Store, Resource::Route(Arc::new(bad)));
    hall.build();
    assert_eq!(hall.found("/"), None);
}

#[test]
fn transforms_that_do_not_compile_are_refused_and_match_nothing() {
    let mut hall = Hall::new();
    let transforms = vec![[("PathPrefx".to_owned(), "/a".to_owned())].into()];
    let bad = HttpRoute { transforms, ..fixture::http_route("r", UpstreamRef::None) };
    let [wrong] = &compile::check(&Resource::Route(Arc::new(bad.clone())))[..] else { panic!("one violation") };
    assert_eq!((wrong.path.as_str(), wrong.rule.as_str()), ("/transforms/0/PathPrefx", "transform"));
    hall.put("r", Origin::Store, Resource::Route(Arc::new(bad)));
    hall.build();
    assert_eq!(hall.found("/"), None);
}

#[test]
fn transforms_that_did_not_change_are_not_compiled_again() {
    let mut hall = Hall::new();
    let of = |hall: &Hall| hall.built.snapshot.http_routes.get(&fixture::id("r")).unwrap().transforms.clone();
    let with = |path: &str, order| {
        let transforms = vec![[("PathSet".to_owned(), path.to_owned())].into()];
        Resource::Route(Arc::new(HttpRoute { order, transforms, ..fixture::http_route("r", UpstreamRef::None) }))
    };
    let mut built = Vec::new();
    for resource in [with("/a", 1), with("/a", 2), with("/b", 2)] {
        hall.put("r", Origin::Store, resource);
        hall.build();
        built.push(of(&hall));
    }
    assert!(Arc::ptr_eq(&built[0], &built[1]) && !Arc::ptr_eq(&built[1], &built[2]));
}

#[test]
fn one_edit_among_ten_thousand_http_routes_compiles_one() {
    let mut hall = Hall::new();
    hall.upstream("u", 1);
    for n in 0..10_000_u32 {
        hall.http(&format!("r{n}"), &[&format!("/{n}/*")], by_id("u"));
    }
    hall.build();
    assert_eq!(hall.built.compiled, 10_001);
    hall.http("r5", &["/five"], by_id("u"));
    hall.build();
    assert_eq!(hall.built.compiled, 1);
    assert_eq!((hall.found("/five"), hall.found("/5/x"), hall.found("/6/x")), (Some(at("r5", Some(1))), None, Some(at("r6", Some(1)))));
}
