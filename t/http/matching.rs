//! Which route a request of curl goes to: the tables M, P and SI, over the wire.

use serde_json::{Value, json};

use super::{Web, to};
use crate::support::curl;
use crate::support::h1::{Client, origin};
use crate::support::upstream::Server;

/// A route in the making, to the origin of a letter.
struct Route(&'static str, Value, char);

fn on(id: &'static str, hosts: &[&str], paths: &[&str], up: char) -> Route {
    Route(id, json!({"match": {"hosts": hosts, "paths": paths}}), up)
}

impl Route {
    fn order(mut self, order: i32) -> Self {
        self.1["order"] = json!(order);
        self
    }

    fn methods(mut self, methods: &[&str]) -> Self {
        self.1["match"]["methods"] = json!(methods);
        self
    }

    fn case(mut self, case: &str) -> Self {
        self.1["match"]["case"] = json!(case);
        self
    }

    fn when(mut self, statement: &str) -> Self {
        self.1["match"]["statement"] = json!(statement);
        self
    }
}

/// A gateway and the origins A to D.
struct Table {
    web: Web,
    origins: Vec<(char, Server)>,
}

impl Table {
    fn new() -> Self {
        Self { web: Web::start(), origins: vec![('A', origin("A")), ('B', origin("B")), ('C', origin("C")), ('D', origin("D"))] }
    }

    /// With these routes, each row's request (`METHOD host target header:value…`; the host `-` for an empty one) is answered by that origin,
    /// or with that status by the gateway itself, empty.
    #[track_caller]
    fn check(&self, case: &str, routes: Vec<Route>, rows: &[(&str, &str)]) {
        let routes: Vec<(&str, Value)> = routes
            .into_iter()
            .map(|Route(id, mut route, up)| {
                route["upstream"] = to(&[&self.origins.iter().find(|(name, _)| *name == up).unwrap().1]);
                (id, route)
            })
            .collect();
        self.web.routes(&routes);
        for (ask, expected) in rows {
            let mut words = ask.split(' ');
            let (method, host, target) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            let host = if host == "-" { "Host;".to_owned() } else { format!("Host: {host}") };
            let lines: Vec<&str> = std::iter::once(host.as_str()).chain(words).collect();
            let answer = curl::ask(self.web.at, method, target, &lines, None);
            let who = answer.header("x-up").map_or_else(|| answer.status().to_string(), ToOwned::to_owned);
            assert_eq!(who, *expected, "{case}: {ask}");
            assert!(answer.header("x-up").is_some() || answer.body.is_empty(), "{case}: {ask}: {answer:?}");
        }
    }
}

#[test]
fn a_host_is_exact_an_end_or_any() {
    let table = Table::new();
    table.check(
        "M1, P1",
        vec![on("r", &["a.com"], &["*"], 'A')],
        &[("GET a.com /", "A"), ("GET A.COM /", "A"), ("GET aa.com /", "404"), ("GET x.a.com /", "404"), ("GET a.com:80 /", "A")],
    );
    table.check(
        "M3",
        vec![on("r", &["*a.com"], &["*"], 'A')],
        &[("GET a.com /", "A"), ("GET aa.com /", "A"), ("GET x.a.com /", "A"), ("GET ab.com /", "404")],
    );
    table.check("P3", vec![on("r", &["*.a.com"], &["*"], 'A')], &[("GET a.com /", "404"), ("GET y.x.a.com /", "A")]);
    table.check("M5", vec![on("r", &["*"], &["*"], 'A')], &[("GET a.com /", "A"), ("GET [::1]:1 /x/y?z", "A"), ("GET - /", "A")]);
    table.check(
        "P5",
        vec![on("port", &["*:8080"], &["*"], 'A'), on("bare", &["b.com"], &["*"], 'B')],
        &[("GET a.com:8080 /", "A"), ("GET a.com /", "404"), ("GET b.com:8080 /", "B"), ("GET b.com /", "B")],
    );
    let local: Vec<_> = ["localhost", "127.0.0.1", "[::1]"].map(|host| format!("GET {host}:5001 /")).into_iter().collect();
    let local: Vec<_> = local.iter().map(|ask| (ask.as_str(), "A")).chain([("GET localhost /", "404")]).collect();
    let cased = [("GET a.com /api", "404"), ("GET a.com /Api/x", "A"), ("GET A.com /Api/x", "404")];
    table.check("M21", vec![on("r", &["a.com"], &["/Api*"], 'A').case("hosts_and_paths")], &cased);
    let paths = [("GET a.com /api", "404"), ("GET A.com /Api/x", "A")];
    table.check("paths only", vec![on("r", &["a.com"], &["/Api*"], 'A').case("paths")], &paths);
    table.check("M23", vec![on("r", &["localhost:5001"], &["*"], 'A')], &local);
    table.check("P27", vec![on("r", &["a.*.com"], &["*"], 'A')], &[("GET a.b.com /", "404")]);
}

#[test]
fn the_more_specific_host_goes_first_and_gives_way_where_nothing_fits() {
    let table = Table::new();
    let hosts = || {
        vec![
            on("any", &["*"], &["*"], 'A'),
            on("suf", &["*.com"], &["*"], 'B'),
            on("long", &["*.a.com"], &["*"], 'C'),
            on("ex", &["x.a.com"], &["*"], 'D'),
        ]
    };
    let rows = [("GET x.a.com /", "D"), ("GET y.a.com /", "C"), ("GET b.com /", "B"), ("GET b.org /", "A")];
    table.check("M7", hosts(), &rows);
    let ordered = hosts().into_iter().zip([-100, 100, 500, 1000]).map(|(route, order)| route.order(order)).collect();
    table.check("M19", ordered, &rows);
    table.check(
        "M9",
        vec![on("suf", &["*.com"], &["/only"], 'A'), on("any", &["*"], &["*"], 'B')],
        &[("GET b.com /other", "B"), ("GET b.com /only", "A")],
    );
    table.check(
        "P7",
        vec![on("ex", &["a.com"], &["/only"], 'A'), on("wild", &["*"], &["*"], 'B')],
        &[("GET a.com /only", "A"), ("GET a.com /other", "B"), ("GET b.com /other", "B")],
    );
    table.check(
        "M27",
        vec![on("r", &["a.com", "*.b.org"], &["/x", "/y*"], 'A')],
        &[("GET a.com /x", "A"), ("GET q.b.org /yy", "A"), ("GET b.org /x", "404")],
    );
    let (nohost, nopath) =
        (Route("nohost", json!({"match": {"paths": ["/p"]}}), 'A'), Route("nopath", json!({"match": {"hosts": ["h.com"]}}), 'B'));
    table.check("P23", vec![nohost, nopath], &[("GET x /p", "A"), ("GET h.com /p", "B"), ("GET x /q", "404")]);
}

#[test]
fn a_path_is_exact_a_beginning_or_any_and_the_longest_wins() {
    let table = Table::new();
    table.check(
        "M11",
        vec![on("wide", &["a.com"], &["*"], 'A'), on("pre", &["a.com"], &["/api*"], 'B'), on("ex", &["a.com"], &["/api"], 'C')],
        &[("GET a.com /api", "C"), ("GET a.com /api/", "B"), ("GET a.com /apix", "B"), ("GET a.com /api/x", "B"), ("GET a.com /z", "A")],
    );
    table.check(
        "P11",
        vec![on("p1", &["a.com"], &["/a*"], 'A'), on("p2", &["a.com"], &["/a/b*"], 'B'), on("p3", &["a.com"], &["/a/b/c*"], 'C')],
        &[("GET a.com /a/b/c/d", "C"), ("GET a.com /a/b/x", "B"), ("GET a.com /a", "A"), ("GET a.com /ab", "A"), ("GET a.com /b", "404")],
    );
    table.check("P19", vec![on("r", &["a.com"], &["/Api/V1*"], 'A')], &[("GET a.com /api/v1/x", "A"), ("GET A.com /API/V1", "A")]);
    let mixed = vec![on("short", &["a.com"], &["/Api*"], 'A'), on("long", &["a.com"], &["/api/v1*"], 'B')];
    table.check("P21", mixed, &[("GET a.com /api/v1/x", "B"), ("GET a.com /API/x", "A")]);
    table.check(
        "M25, P25",
        vec![
            on("r1", &["a.com"], &["api*"], 'A'),
            on("r2", &["a.com"], &["/a*b"], 'B'),
            on("r3", &["a.com"], &["*x"], 'C'),
            on("r4", &["a.com"], &["/s**"], 'D'),
        ],
        &[
            ("GET a.com /api", "404"),
            ("GET a.com /axb", "404"),
            ("GET a.com /a*b", "B"),
            ("GET a.com /qx", "404"),
            ("GET a.com /sx", "404"),
            ("GET a.com /s*x", "D"),
        ],
    );
    table.check(
        "M29",
        vec![on("r", &["a.com"], &["/x"], 'A')],
        &[
            ("GET a.com /x?y=1", "A"),
            ("GET a.com /x/", "404"),
            ("GET a.com /X", "A"),
            ("GET a.com /x%20", "404"),
            ("GET a.com /%78", "A"),
            ("GET a.com /x%2F", "404"),
        ],
    );
}

#[test]
fn the_order_goes_before_the_path_and_the_id_is_last() {
    let table = Table::new();
    let same = |id, order, up| on(id, &["a.com"], &["/x"], up).order(order);
    table.check("P15", vec![same("r1", 5, 'A'), same("r2", -1, 'B'), same("r3", 2, 'C')], &[("GET a.com /x", "B")]);
    table.check("M17", vec![same("b", 0, 'B'), same("a", 0, 'A')], &[("GET a.com /x", "A")]);
    let wide = vec![on("wide", &["a.com"], &["*"], 'A'), on("narrow", &["a.com"], &["/api/v1"], 'B').order(1)];
    table.check("P9", wide, &[("GET a.com /api/v1", "A"), ("GET a.com /x", "A")]);
    let levels = vec![
        on("s1", &["*.com"], &["/x*"], 'A').order(1),
        on("s2", &["*.com"], &["/x/y"], 'B').order(2),
        on("s0", &["*.com"], &["/q"], 'C'),
    ];
    table.check("P17", levels, &[("GET b.com /x/y", "A"), ("GET b.com /q", "C")]);
}

#[test]
fn a_method_or_statement_that_refuses_gives_way_to_the_next_route() {
    let table = Table::new();
    let picky = |paths: &[&str]| on("ex", &["a.com"], paths, 'A').methods(&["GET"]);
    table.check("M13", vec![picky(&["/a/b*"]), on("all", &["a.com"], &["/a*"], 'B')], &[("POST a.com /a/b", "B"), ("GET a.com /a/b", "A")]);
    table.check("M15", vec![picky(&["/a"]), on("pre", &["a.com"], &["/a*"], 'B').order(1)], &[("POST a.com /a", "B")]);
    table.check(
        "P13",
        vec![picky(&["/a"]), on("pre", &["a.com"], &["/a*"], 'B')],
        &[("GET a.com /a", "A"), ("POST a.com /a", "B"), ("POST a.com /ab", "B")],
    );
    table.check(
        "M31",
        vec![on("r", &["a.com"], &["*"], 'A').methods(&["GET", "post"])],
        &[("GET a.com /", "A"), ("POST a.com /", "A"), ("PUT a.com /", "404"), ("HEAD a.com /", "404")],
    );
    let canary = vec![
        on("canary", &["a.com"], &["/api*"], 'B').when("Header('x-env') = 'test'"),
        on("stable", &["a.com"], &["/api*"], 'A').order(1),
    ];
    let asks = ["GET a.com /api/1 x-env:test", "GET a.com /api/1 X-ENV:TEST", "GET a.com /api/1 x-env:prod", "GET a.com /api/1"];
    table.check("SI1", canary, &[(asks[0], "B"), (asks[1], "B"), (asks[2], "A"), (asks[3], "A")]);
    table.check(
        "SI3",
        vec![on("ex", &["*"], &["/x"], 'A').when("Method = 'PUT'"), on("pre", &["*"], &["/x*"], 'B')],
        &[("GET a.com /x", "B")],
    );
    table.check(
        "SI7",
        vec![on("r", &["*"], &["*"], 'A').methods(&["GET"]).when("Method = 'POST'")],
        &[("GET a.com /", "404"), ("POST a.com /", "404")],
    );
    table.check("SI9", vec![on("r", &["*"], &["*"], 'A').when("   ")], &[("GET a.com /", "A")]);
}

#[test]
fn a_route_that_leads_nowhere_answers_503() {
    let web = Web::start();
    web.route("r", &json!({"match": {"hosts": ["*"], "paths": ["*"]}}));
    let answer = curl::ask(web.at, "GET", "/", &[], None);
    assert_eq!((answer.status(), answer.body.len()), (503, 0), "M33");
    web.routes(&[("r", json!({}))]);
    assert_eq!(curl::ask(web.at, "GET", "/", &[], None).status(), 503, "M35");
    let put = web.gateway.admin().put("routes", "r", &json!({"upstream_id": "unknown"}));
    assert_eq!(put.status, 400, "M33: {}", put.text());
}

#[test]
fn a_form_that_a_statement_reads_still_goes_to_the_node_whole() {
    let a = origin("A");
    let web = Web::start();
    web.routes(&[("si5", json!({"match": {"statement": "Form('role') = 'admin'"}, "upstream": to(&[&a])}))]);
    let up = curl::ask(web.at, "POST", "/form", &[], Some("user=Bob&role=admin")).json();
    assert_eq!((&up["text"], &up["length"]), (&json!("user=Bob&role=admin"), &json!(19)), "SI5");
    assert_eq!(curl::ask(web.at, "POST", "/form", &[], Some("user=Bob&role=user!")).status(), 404);
}

#[test]
fn the_host_of_a_request_of_http_1_0_may_be_missing_and_of_1_1_may_not() {
    let a = origin("A");
    let web = Web::to(&a);
    let first = |request: &str| {
        let mut client = Client::connect(web.at);
        client.send(request);
        client.answer()
    };
    assert_eq!(first("GET / HTTP/1.0\r\n\r\n").status(), 200, "M37");
    assert_eq!(first("GET / HTTP/1.1\r\n\r\n").status(), 400, "M37");
}

/// M39, and so that what a client may choose is remembered nowhere.
#[test]
fn hosts_and_paths_that_were_never_seen_take_no_memory() {
    const ROUND: usize = 4000;
    let a = origin("A");
    let web = Web::to(&a);
    let mut client = web.client();
    let mut ask = |round: usize| {
        for n in 0..ROUND {
            let answer = client.ask(
                "GET",
                &format!("/status/200?{}{round}-{n}", "q".repeat(300)),
                &[&format!("Host: {}{round}-{n}.example", "h".repeat(200))],
            );
            assert_eq!(answer.status(), 200);
        }
    };
    ask(0);
    let before = resident(web.gateway.pid());
    ask(1);
    ask(2);
    let grown = resident(web.gateway.pid()).saturating_sub(before);
    assert!(grown < 2 << 10, "{grown} KiB for {} requests", 2 * ROUND);
}

/// Memory of a process, in KiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
