//! The tables against what is documented of them, row by row, and against sorting and scanning.

use std::cmp::Reverse;
use std::sync::Arc;

use http::{HeaderMap, Version};
use proptest::prelude::*;

use super::path;
use super::request::{Form, NeedsForm, Request};
use super::rule::Rule;
use super::table::{Table, entries};
use crate::base::id::Id;
use crate::model::{Case, HttpRoute, RouteMatch, UpstreamRef};

fn route(id: &str, hosts: &[&str], paths: &[&str]) -> HttpRoute {
    let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    HttpRoute {
        limit: crate::model::RouteLimit::Global,
        id: Id::parse(id).unwrap(),
        matching: RouteMatch { hosts: owned(hosts), paths: owned(paths), ..RouteMatch::default() },
        order: 0,
        upstream: UpstreamRef::None,
        timeout: None,
        max_body_size: None,
        transforms: Vec::new(),
        enabled: true,
    }
}

impl HttpRoute {
    fn order(self, order: i64) -> Self {
        Self { order, ..self }
    }

    fn methods(mut self, methods: &[&str]) -> Self {
        self.matching.methods = methods.iter().map(|m| (*m).to_owned()).collect();
        self
    }

    fn case(mut self, case: Case) -> Self {
        self.matching.case = case;
        self
    }

    fn when(mut self, statement: &str) -> Self {
        self.matching.statement = Some(statement.into());
        self
    }
}

fn table(routes: &[HttpRoute]) -> Table<Id> {
    let mut table = Table::default();
    for r in routes {
        table.insert(r, &rule(r), &r.id);
    }
    table
}

fn rule(route: &HttpRoute) -> Arc<Rule> {
    Arc::new(Rule::compile(&route.matching).unwrap())
}

fn find(table: &Table<Id>, ask: &str) -> Result<Option<String>, NeedsForm> {
    let mut words = ask.split(' ');
    let (method, host, target) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
    let (raw, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    let mut headers = HeaderMap::new();
    for line in words {
        let (name, value) = line.split_once(':').unwrap();
        headers.append(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
    }
    let path = path::plain(raw);
    let host = if host == "-" { "" } else { host };
    let request =
        Request { method, scheme: "http", host, path: &path, query, version: Version::HTTP_11, headers: &headers, form: Form::Unread };
    Ok(table.find(&request)?.map(|id| id.as_str().to_owned()))
}

/// Each row: a request (`METHOD host target header:value…`) and the route that takes it; `-` for none.
#[track_caller]
fn rows(routes: &[HttpRoute], rows: &[(&str, &str)]) {
    let table = table(routes);
    for (ask, expected) in rows {
        let found = find(&table, ask).unwrap();
        assert_eq!(found.as_deref().unwrap_or("-"), *expected, "{ask}");
    }
}

#[test]
fn a_host_is_exact_an_end_or_any() {
    rows(
        &[route("r", &["a.com"], &["*"])],
        &[
            ("GET a.com /", "r"),
            ("GET A.COM /", "r"),
            ("GET aa.com /", "-"),
            ("GET a.com:80 /", "r"),
            ("GET a.com: /", "r"),
            ("GET x.a.com /", "-"),
            ("GET - /", "-"),
        ],
    );
    rows(
        &[route("r", &["*a.com"], &["*"])],
        &[("GET a.com /", "r"), ("GET aa.com /", "r"), ("GET x.A.com:99 /", "r"), ("GET ab.com /", "-")],
    );
    rows(&[route("r", &["*.a.com"], &["*"])], &[("GET a.com /", "-"), ("GET x.a.com /", "r"), ("GET y.x.a.com /", "r")]);
    rows(&[route("r", &["*"], &["*"])], &[("GET a.com /", "r"), ("GET [::1]:1 /x", "r"), ("GET - /", "r")]);
    rows(&[route("r", &["a.*.com"], &["*"])], &[("GET a.b.com /", "-"), ("GET a.*.com /", "r")]);
}

#[test]
fn a_port_counts_only_where_the_pattern_has_one() {
    rows(&[route("r", &["*:8080"], &["*"])], &[("GET a.com:8080 /", "r"), ("GET a.com /", "-"), ("GET a.com:80 /", "-")]);
    rows(
        &[route("with", &["a.com:8080"], &[]), route("a", &["a.com"], &[])],
        &[("GET a.com:8080 /", "with"), ("GET a.com:80 /", "a"), ("GET a.com /", "a")],
    );
    rows(&[route("r", &["*8080"], &["*"])], &[("GET a.com:8080 /", "-"), ("GET a8080 /", "r")]);
    rows(
        &[route("v6", &["[::1]"], &[]), route("v6p", &["[::2]:80"], &[])],
        &[("GET [::1] /", "v6"), ("GET [::1]:80 /", "v6"), ("GET [::2]:80 /", "v6p"), ("GET [::2] /", "-")],
    );
    let all =
        [route("long", &["*.a.com"], &[]), route("port", &["*:80"], &[]), route("even", &["*m:90"], &[]), route("com", &["*.com"], &[])];
    rows(&all, &[("GET x.a.com:80 /", "long"), ("GET b.org:80 /", "port"), ("GET b.com:80 /", "com"), ("GET b.com:90 /", "even")]);
}

#[test]
fn case_counts_where_a_route_says_so() {
    rows(
        &[route("r", &["a.com", "*.B.com", "*:81"], &["/Api*", "/X"]).case(Case::HostsAndPaths)],
        &[
            ("GET a.com /Api/x", "r"),
            ("GET a.com /api", "-"),
            ("GET A.com /Api", "-"),
            ("GET a.com:80 /X", "r"),
            ("GET a.com /x", "-"),
            ("GET y.B.com:80 /X", "r"),
            ("GET y.b.com /X", "-"),
            ("GET Q:81 /X", "r"),
        ],
    );
    // what refuses because of the case gives way to the next
    let three = [
        route("upper", &["*"], &["/A"]).case(Case::Paths),
        route("lower", &["*"], &["/a"]).case(Case::Paths).order(1),
        route("rest", &["*"], &["/*"]).order(2),
    ];
    rows(&three, &[("GET H /A", "upper"), ("GET h /a", "lower"), ("GET h /b", "rest")]);
    rows(
        &[route("local", &["localhost:1"], &["/A"]).case(Case::HostsAndPaths)],
        &[("GET 127.0.0.1:1 /A", "local"), ("GET [::1]:1 /a", "-")],
    );
}

#[test]
fn localhost_with_a_port_is_the_loopback_interface() {
    rows(
        &[route("r", &["localhost:5001"], &["*"])],
        &[
            ("GET localhost:5001 /", "r"),
            ("GET 127.0.0.1:5001 /", "r"),
            ("GET [::1]:5001 /", "r"),
            ("GET localhost /", "-"),
            ("GET 127.0.0.1:5002 /", "-"),
        ],
    );
    rows(&[route("r", &["localhost"], &["*"])], &[("GET localhost:1 /", "r"), ("GET 127.0.0.1 /", "-")]);
}

#[test]
fn the_more_specific_host_goes_first_whatever_the_order() {
    let all = [
        route("any", &["*"], &["*"]),
        route("suf", &["*.com"], &["*"]),
        route("long", &["*.a.com"], &["*"]),
        route("ex", &["x.a.com"], &["*"]),
    ];
    rows(&all, &[("GET x.a.com /", "ex"), ("GET y.a.com /", "long"), ("GET b.com /", "suf"), ("GET b.org /", "any")]);
    let all = [
        route("any", &["*"], &["*"]).order(-100),
        route("suf", &["*.com"], &["*"]).order(100),
        route("ex", &["a.com"], &["*"]).order(1000),
    ];
    rows(&all, &[("GET a.com /", "ex"), ("GET b.com /", "suf"), ("GET c.org /", "any")]);
}

#[test]
fn a_host_that_has_no_fit_gives_way_to_less_specific_ones() {
    rows(
        &[route("ex", &["a.com"], &["/only"]), route("wild", &["*"], &["*"])],
        &[("GET a.com /only", "ex"), ("GET a.com /other", "wild"), ("GET b.com /other", "wild")],
    );
    rows(&[route("suf", &["*.com"], &["/only"]), route("any", &["*"], &["*"])], &[("GET b.com /other", "any"), ("GET b.com /only", "suf")]);
    rows(
        &[route("ex", &["a.com"], &[]).methods(&["GET"]), route("suf", &["*.com"], &[]).when("Path = '/x'"), route("any", &[], &[])],
        &[("GET a.com /", "ex"), ("PUT a.com /x", "suf"), ("PUT b.com /x", "suf"), ("PUT a.com:1 /y", "any")],
    );
    rows(
        &[route("suf", &["*.com"], &[]).methods(&["GET"]), route("short", &["*m"], &[])],
        &[("PUT b.com /", "short"), ("GET b.com /", "suf")],
    );
}

#[test]
fn a_path_is_exact_a_beginning_or_any() {
    rows(
        &[route("wide", &["a.com"], &["*"]), route("pre", &["a.com"], &["/api*"]), route("ex", &["a.com"], &["/api"])],
        &[
            ("GET a.com /api", "ex"),
            ("GET a.com /api/", "pre"),
            ("GET a.com /apix", "pre"),
            ("GET a.com /api/x", "pre"),
            ("GET a.com /z", "wide"),
        ],
    );
    rows(
        &[route("p1", &["a.com"], &["/a*"]), route("p2", &["a.com"], &["/a/b*"]), route("p3", &["a.com"], &["/a/b/c*"])],
        &[("GET a.com /a/b/c/d", "p3"), ("GET a.com /a/b/x", "p2"), ("GET a.com /a", "p1"), ("GET a.com /ab", "p1"), ("GET a.com /b", "-")],
    );
    rows(
        &[route("r", &["a.com"], &["/x"])],
        &[
            ("GET a.com /x?y=1", "r"),
            ("GET a.com /x/", "-"),
            ("GET a.com /X", "r"),
            ("GET a.com /x%20", "-"),
            ("GET a.com /%78", "r"),
            ("GET a.com /a/../x", "r"),
        ],
    );
    rows(
        &[route("r1", &["a.com"], &["api*"]), route("r2", &["a.com"], &["/a*b"]), route("r3", &["a.com"], &["*x"])],
        &[("GET a.com /api", "-"), ("GET a.com /axb", "-"), ("GET a.com /a*b", "r2"), ("GET a.com /qx", "-")],
    );
    rows(&[route("r", &[], &["/a**"])], &[("GET h /ab", "-"), ("GET h /a*c", "r")]);
}

#[test]
fn beginnings_have_no_case_and_count_in_characters() {
    rows(&[route("r", &["a.com"], &["/Api/V1*"])], &[("GET a.com /api/v1/x", "r"), ("GET A.com /API/V1", "r")]);
    rows(&[route("short", &["a.com"], &["/Api*"]), route("long", &["a.com"], &["/api/v1*"])], &[("GET a.com /api/v1/x", "long")]);
    rows(&[route("r", &[], &["/straß*"]), route("s", &[], &["/stra*"])], &[("GET h /STRA%C3%9Fe", "r"), ("GET h /stra%C3", "s")]);
}

#[test]
fn order_goes_before_the_path_and_the_path_before_the_id() {
    rows(
        &[route("wide", &["a.com"], &["*"]), route("narrow", &["a.com"], &["/api/v1"]).order(1)],
        &[("GET a.com /api/v1", "wide"), ("GET a.com /x", "wide")],
    );
    let all =
        [route("r1", &["a.com"], &["/x"]).order(5), route("r2", &["a.com"], &["/x"]).order(-1), route("r3", &["a.com"], &["/x"]).order(2)];
    rows(&all, &[("GET a.com /x", "r2")]);
    let all = [route("s1", &["*.com"], &["/x*"]).order(1), route("s2", &["*.com"], &["/x/y"]).order(2), route("s0", &["*.com"], &["/q"])];
    rows(&all, &[("GET b.com /x/y", "s1"), ("GET b.com /q", "s0")]);
    rows(&[route("b", &["a.com"], &["*"]), route("a", &["a.com"], &["*"])], &[("GET a.com /", "a")]);
}

#[test]
fn a_method_or_statement_that_refuses_gives_way_to_the_next_candidate() {
    rows(
        &[route("ex", &["a.com"], &["/a"]).methods(&["GET"]), route("pre", &["a.com"], &["/a*"])],
        &[("GET a.com /a", "ex"), ("POST a.com /a", "pre"), ("POST a.com /ab", "pre")],
    );
    rows(&[route("get", &["a.com"], &["/a/b*"]).methods(&["GET"]), route("all", &["a.com"], &["/a*"])], &[("POST a.com /a/b", "all")]);
    rows(&[route("ex", &["a.com"], &["/a"]).methods(&["GET"]), route("pre", &["a.com"], &["/a*"]).order(1)], &[("POST a.com /a", "pre")]);
    rows(
        &[route("r", &["a.com"], &["*"]).methods(&["GET", "post"])],
        &[("GET a.com /", "r"), ("POST a.com /", "r"), ("PUT a.com /", "-"), ("HEAD a.com /", "-")],
    );
    rows(&[route("ex", &[], &["/x"]).when("Path = '/none'"), route("pre", &[], &["/x*"])], &[("GET h /x", "pre")]);
    rows(&[route("r", &[], &[]).methods(&["GET"]).when("Method = 'POST'")], &[("GET h /", "-"), ("POST h /", "-")]);
    rows(&[route("r", &[], &[]).when(" \n ")], &[("GET h /", "r")]);
}

#[test]
fn a_canary_takes_only_what_its_statement_says() {
    let all = [route("canary", &["a.com"], &["/api*"]).when("Header('x-env') = 'test'"), route("stable", &["a.com"], &["/api*"]).order(1)];
    rows(
        &all,
        &[
            ("GET a.com /api/1 x-env:test", "canary"),
            ("GET a.com /api/1 X-ENV:TEST", "canary"),
            ("GET a.com /api/1 x-env:prod", "stable"),
            ("GET a.com /api/1", "stable"),
        ],
    );
}

#[test]
fn what_is_absent_matches_any() {
    rows(
        &[route("nohost", &[], &["/p"]), route("nopath", &["h.com"], &[])],
        &[("GET x /p", "nohost"), ("GET h.com /p", "nopath"), ("GET x /q", "-")],
    );
    let both = route("r", &["a.com", "*.b.org"], &["/x", "/y*"]);
    assert_eq!(entries(&both), 4);
    assert_eq!(entries(&route("l", &["localhost:1"], &[])), 3);
    rows(&[both], &[("GET a.com /x", "r"), ("GET q.b.org /yy", "r"), ("GET b.org /x", "-")]);
}

#[test]
fn a_form_is_asked_for_only_where_its_route_is_reached() {
    let all = [route("form", &[], &["/f"]).when("Form('role') = 'admin'"), route("any", &[], &[])];
    let table = table(&all);
    let kind = "content-type:application/x-www-form-urlencoded";
    assert_eq!(find(&table, &format!("POST h /f {kind}")), Err(NeedsForm));
    assert_eq!(find(&table, &format!("POST h /g {kind}")).unwrap().unwrap(), "any");
    assert_eq!(find(&table, "POST h /f").unwrap().unwrap(), "any");
}

#[test]
fn many_routes_of_one_place_stay_in_order_through_growth_and_shrinking() {
    let all: Vec<_> = (0..200).map(|n| route(&format!("r{n:03}"), &["a.com"], &["/x"]).methods(&[&format!("M{n}")])).collect();
    let mut table = table(&all);
    assert_eq!(find(&table, "M150 a.com /x").unwrap().unwrap(), "r150");
    for r in &all[3..] {
        table.remove(r);
    }
    assert_eq!(find(&table, "M2 a.com /x").unwrap().unwrap(), "r002");
    assert_eq!(find(&table, "M150 a.com /x").unwrap(), None);
    for r in &all[..3] {
        table.remove(r);
    }
    assert!(table.is_empty());
}

/// How specific the best fit of a list of host patterns is, the smaller the more; said as plainly as possible.
fn host_fit(patterns: &[String], host: &str) -> Option<(u8, Reverse<usize>, u8)> {
    let bare = host.split(':').next().unwrap_or_default();
    let fit = |pattern: &String| {
        let pattern = pattern.to_lowercase();
        let (against, plain) = if pattern.contains(':') { (host, 0) } else { (bare, 1) };
        match pattern.strip_prefix('*') {
            Some("") => Some((2, Reverse(0), 1)),
            Some(end) => against.ends_with(end).then_some((1, Reverse(end.len()), plain)),
            None => (against == pattern).then_some((0, Reverse(0), plain)),
        }
    };
    let any = (2, Reverse(0), 1);
    if patterns.is_empty() { Some(any) } else { patterns.iter().filter_map(fit).min() }
}

fn path_fits(patterns: &[String], path: &str) -> Vec<(u8, Reverse<usize>)> {
    let fit = |pattern: &String| {
        let pattern = pattern.to_lowercase();
        match pattern.strip_suffix('*') {
            Some("") => Some((2, Reverse(0))),
            Some(beginning) => path.starts_with(beginning).then_some((1, Reverse(beginning.len()))),
            None => (path == pattern).then_some((0, Reverse(0))),
        }
    };
    if patterns.is_empty() { vec![(2, Reverse(0))] } else { patterns.iter().filter_map(fit).collect() }
}

/// The documented order, by sorting and scanning.
fn oracle(routes: &[HttpRoute], method: &str, host: &str, path: &str) -> Option<String> {
    let (host, path) = (host.to_lowercase(), path.to_lowercase());
    let accepts = |r: &&HttpRoute| r.matching.methods.is_empty() || r.matching.methods.iter().any(|m| m == method);
    routes
        .iter()
        .filter(accepts)
        .filter_map(|r| {
            let host = host_fit(&r.matching.hosts, &host)?;
            let path = path_fits(&r.matching.paths, &path).into_iter().min()?;
            Some(((host, r.order, path, r.id.clone()), r.id.as_str().to_owned()))
        })
        .min()
        .map(|(_, id)| id)
}

fn routes() -> impl Strategy<Value = Vec<HttpRoute>> {
    let host = "(\\*|\\*?[.mcA]{1,4}(:1)?|a\\.com(:1|:2)?)";
    let path = "(\\*|/[aB/]{0,4}\\*?)";
    let lists = (prop::collection::vec(host, 0..3), prop::collection::vec(path, 0..3));
    let one = (lists, -1i64..2, prop::bool::weighted(0.3));
    prop::collection::vec(one, 0..32).prop_map(|list| {
        let make = |(at, ((hosts, paths), order, picky))| {
            let matching = RouteMatch { hosts, paths, ..RouteMatch::default() };
            let r = HttpRoute { matching, order, ..route(&format!("r{at}"), &[], &[]) };
            if picky { r.methods(&["PUT"]) } else { r }
        };
        list.into_iter().enumerate().map(make).collect()
    })
}

fn asks() -> impl Strategy<Value = Vec<(String, String, String)>> {
    let method = prop::sample::select(vec!["GET".to_owned(), "PUT".to_owned()]);
    prop::collection::vec((method, "([.mcA]{1,4}|a\\.com)(:[12])?", "/[aB/]{0,5}"), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: prop::test_runner::RngSeed::Fixed(1000), ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn the_table_agrees_with_sorting_and_scanning(routes in routes(), asks in asks()) {
        let table = table(&routes);
        for (method, host, path) in asks {
            let found = find(&table, &format!("{method} {host} {path}")).unwrap();
            prop_assert_eq!(found, oracle(&routes, &method, &host, &path), "{} {} {}", method, host, path);
        }
    }

    #[test]
    fn what_was_added_and_removed_before_leaves_no_trace(
        routes in routes(), asks in asks(), gone in prop::collection::vec(any::<bool>(), 32), turn in 0usize..32,
    ) {
        let mut all = routes.clone();
        let shift = turn.min(all.len());
        all.rotate_left(shift);
        let mut table = table(&all);
        let before = table.clone();
        let (out, kept): (Vec<_>, Vec<_>) = routes.iter().zip(gone).partition(|(_, gone)| *gone);
        for (r, _) in &out {
            table.remove(r);
        }
        let kept: Vec<_> = kept.into_iter().map(|(r, _)| r.clone()).collect();
        for (method, host, path) in &asks {
            let ask = format!("{method} {host} {path}");
            prop_assert_eq!(find(&table, &ask).unwrap(), oracle(&kept, method, host, path));
            prop_assert_eq!(find(&before, &ask).unwrap(), oracle(&routes, method, host, path), "the copy did not change");
        }
        for r in &kept {
            table.remove(r);
        }
        prop_assert!(table.is_empty());
    }
}
