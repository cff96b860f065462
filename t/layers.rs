//! Direction is a failing test: who may import whom, how files begin, how long they may be, where nothing may panic, and that the
//! metrics in the code are those in the documentation.

mod house;
mod scan;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use house::House;
use scan::Tok;

/// The rooms in floor order, and what each may import. `docs/ARCHITECTURE.md` holds the same table.
const TABLE: [(&str, &str); 19] = [
    ("base", ""),
    ("net", "base"),
    ("telemetry", "base"),
    ("model", "base"),
    ("schema", "base"),
    ("conf", "base"),
    ("live", "base"),
    ("store", "base telemetry"),
    ("limit", "base model telemetry live"),
    ("route", "base model"),
    ("tls", "base net model telemetry"),
    ("upstream", "base net model telemetry live tls"),
    ("filter", "base model telemetry"),
    ("import", "base route filter"),
    ("snapshot", "base model telemetry limit tls route upstream filter"),
    ("control", "base model schema store telemetry live snapshot"),
    ("proxy", "base net model telemetry live limit tls route upstream filter snapshot"),
    ("listen", "base net model telemetry live limit tls route snapshot proxy"),
    ("admin", "base net model schema store telemetry live snapshot control tls"),
];

/// The roof: wiring only, may import everything.
const ROOF: [&str; 3] = ["app", "cli", "main"];

/// The most lines that a file may have without its tests.
const LONGEST: usize = 600;

/// Rooms that handle what comes from sockets and stores.
const NO_PANIC: [&str; 6] = ["listen", "proxy", "net", "tls", "store", "control"];

fn allowed(from: &str, to: &str) -> bool {
    ROOF.contains(&from) || TABLE.iter().any(|(room, imports)| *room == from && imports.split(' ').any(|i| i == to && !to.is_empty()))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below a folder: (path below the folder, content).
fn files(below: &str) -> Vec<(String, String)> {
    let top = root().join(below);
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = vec![top.clone()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(&top).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no Rust files below {below}");
    found
}

fn document(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn none<T: AsRef<str>>(what: &str, found: &[T]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.iter().map(AsRef::as_ref).collect::<Vec<_>>().join("\n  "));
}

fn house(sources: &[(String, String)]) -> House {
    House::new(sources.iter().map(|(n, s)| (n.as_str(), s.as_str())))
}

/// The import table of a markdown page: rows `| room, room | what | imports |`.
fn table_of(page: &str) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for line in page.lines().map(str::trim).filter(|l| l.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [rooms, _, imports] = cells[..] else { continue };
        if rooms == "room" || rooms.starts_with('-') {
            continue;
        }
        let imports = match imports.replace('`', "").replace(',', " ") {
            none if none.starts_with("nothing") => String::new(),
            some => some.split_whitespace().collect::<Vec<_>>().join(" "),
        };
        for room in rooms.replace('`', "").split(',') {
            rows.push((room.trim().to_owned(), imports.clone()));
        }
    }
    rows
}

/// Lines outside `#[cfg(test)]` modules.
fn code_lines(name: &str, source: &str) -> usize {
    let tests: usize = scan::file(&[], name, source).tests.iter().map(|(from, to)| to - from + 1).sum();
    source.lines().count() - tests
}

/// Calls that panic, outside `#[cfg(test)]` modules, as `line: what`.
fn panics(name: &str, source: &str) -> Vec<String> {
    let tests = scan::file(&[], name, source).tests;
    let toks = scan::tokens(source);
    let mut found = Vec::new();
    for (at, token) in toks.iter().enumerate() {
        let Tok::Ident(word) = &token.tok else { continue };
        let follows = |c: char| toks.get(at + 1).is_some_and(|t| t.tok == Tok::Punct(c));
        let called_on = at > 0 && matches!(toks[at - 1].tok, Tok::Punct('.') | Tok::Sep);
        let bad = match word.as_str() {
            "unwrap" | "expect" => called_on && follows('('),
            "panic" | "todo" | "unimplemented" => follows('!'),
            _ => false,
        };
        if bad && !tests.iter().any(|(from, to)| (*from..=*to).contains(&token.line)) {
            found.push(format!("{name}:{}: {word}", token.line));
        }
    }
    found
}

/// The files of `src` that are compiled for its tests only.
fn test_files(sources: &[(String, String)]) -> BTreeSet<String> {
    let modules: Vec<Vec<String>> = sources.iter().flat_map(|(n, s)| scan::file(&house::module_path(n), n, s).test_files).collect();
    let inside = |name: &str| modules.iter().any(|module| house::module_path(name).starts_with(module));
    sources.iter().map(|(n, _)| n.clone()).filter(|n| inside(n)).collect()
}

/// The metric families that the code declares: calls whose first argument is a name and whose second is its help text.
fn declared_metrics(source: &str) -> BTreeSet<String> {
    let toks: Vec<Tok> = scan::tokens(source).into_iter().map(|t| t.tok).collect();
    let snake = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    let mut names = BTreeSet::new();
    for window in toks.windows(5) {
        if let [Tok::Ident(_), Tok::Punct('('), Tok::Str(name), Tok::Punct(','), Tok::Str(help)] = window
            && snake(name)
            && help.contains(' ')
        {
            names.insert(format!("sluice_{name}"));
        }
    }
    names
}

/// The metric families that a page describes: the first cell of its table rows, labels left out.
fn documented_metrics(page: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in page.lines().filter(|l| l.trim_start().starts_with('|')) {
        let first = line.trim().trim_start_matches('|').split('|').next().unwrap_or_default();
        let name: String = first.trim().trim_start_matches('`').chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        if name.starts_with("sluice_") {
            names.insert(name);
        }
    }
    names
}

#[test]
fn no_room_imports_what_the_table_forbids() {
    none("forbidden imports", &house(&files("src")).violations(&allowed));
}

#[test]
fn the_rooms_of_the_table_are_the_rooms_that_exist() {
    let listed: BTreeSet<String> = TABLE.iter().map(|(r, _)| *r).chain(ROOF).map(ToOwned::to_owned).collect();
    assert_eq!(house(&files("src")).rooms(), listed);
}

#[test]
fn the_table_is_in_floor_order_so_it_has_no_circle() {
    for (at, (room, imports)) in TABLE.iter().enumerate() {
        for import in imports.split_whitespace() {
            assert!(TABLE[..at].iter().any(|(below, _)| *below == import), "{room} imports {import}, which is not below it");
        }
    }
}

#[test]
fn the_architecture_page_holds_the_same_table() {
    let mut ours: Vec<(String, String)> = TABLE.iter().map(|(r, i)| ((*r).into(), (*i).into())).collect();
    ours.extend(ROOF.map(|r| (r.to_owned(), "all".to_owned())));
    let mut page = table_of(&document("docs/ARCHITECTURE.md"));
    ours.sort();
    page.sort();
    assert_eq!(page, ours, "left: docs/ARCHITECTURE.md; right: t/layers.rs");
}

#[test]
fn every_file_opens_with_what_lives_in_it() {
    let mut bare = Vec::new();
    for below in ["src", "t"] {
        bare.extend(files(below).into_iter().filter(|(_, s)| !s.starts_with("//! ")).map(|(n, _)| format!("{below}/{n}")));
    }
    none("files that do not begin with //!", &bare);
}

#[test]
fn no_file_is_longer_than_it_may_be() {
    let sources = files("src");
    let tests = test_files(&sources);
    let counted = sources.iter().filter(|(n, _)| !tests.contains(n)).map(|(n, s)| (code_lines(n, s), n));
    let long: Vec<String> = counted.filter(|(lines, _)| *lines > LONGEST).map(|(lines, n)| format!("src/{n}: {lines}")).collect();
    none("files longer than 600 lines without their tests", &long);
}

#[test]
fn what_handles_sockets_and_stores_does_not_panic() {
    let sources = files("src");
    let tests = test_files(&sources);
    let mut found = Vec::new();
    for (name, source) in sources.iter().filter(|(n, _)| !tests.contains(n)) {
        if NO_PANIC.iter().any(|room| name.starts_with(&format!("{room}/")) || *name == format!("{room}.rs")) {
            found.extend(panics(name, source));
        }
    }
    none("calls that panic", &found);
}

#[test]
fn the_metrics_in_the_code_are_those_in_the_documentation() {
    let mut code = BTreeSet::new();
    for (name, source) in files("src") {
        if name.starts_with("telemetry/") {
            code.extend(declared_metrics(&source));
        }
    }
    let page = documented_metrics(&document("docs/METRICS.md"));
    let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>();
    none("declared in src/telemetry but not in docs/METRICS.md", &only(&code, &page));
    none("in docs/METRICS.md but not declared in src/telemetry", &only(&page, &code));
}

#[test]
fn the_scan_of_the_code_misses_no_family_that_the_registry_has() {
    let source: String = files("src").into_iter().filter(|(n, _)| n.starts_with("telemetry/")).map(|(_, s)| s).collect();
    let declared = declared_metrics(&source);
    let text = String::from_utf8(sluice::telemetry::Metrics::new().unwrap().encode().unwrap()).unwrap();
    let registered = text.lines().filter_map(|l| l.strip_prefix("# TYPE sluice_")?.split(' ').next());
    for name in registered {
        assert!(declared.contains(&format!("sluice_{name}")), "{name} is registered in a way that the test does not see");
    }
}

/// The checker must be able to fail: every way to name a forbidden room is found in made-up sources.
mod the_checker {
    use super::*;

    /// A house of `base`, `model`, `store` (may import base) and `proxy` (may import base and model).
    fn judge(files: &[(&str, &str)]) -> Vec<String> {
        let mut all = vec![
            ("lib.rs", "//! x\npub mod base;\npub mod model;\npub mod store;\npub mod proxy;"),
            ("base/mod.rs", "//! x\npub mod id;"),
            ("base/id.rs", "pub struct Id;"),
            ("model/mod.rs", "pub struct Model;"),
            ("store/mod.rs", "pub mod redb;\npub struct Store;"),
            ("store/redb.rs", "pub struct Db;"),
        ];
        all.extend(files);
        let table = [("base", ""), ("model", "base"), ("store", "base"), ("proxy", "base model")];
        House::new(all).violations(&|from, to| table.iter().any(|(r, i)| *r == from && i.split_whitespace().any(|x| x == to)))
    }

    #[test]
    fn accepts_what_the_table_allows() {
        let proxy = "use crate::base::id::Id;\nuse crate::{model::Model, base};\nuse std::store::x;\nfn f() { base::id::g(); self::h(); }";
        assert_eq!(judge(&[("proxy/mod.rs", proxy)]), Vec::<String>::new());
    }

    #[test]
    fn finds_every_way_to_name_a_forbidden_room() {
        for source in [
            "use crate::store::Store;",
            "use crate::store;",
            "use crate::{base::id::Id, store::{redb::Db}};",
            "fn f() { let x = crate::store::Store; }",
            "fn f(x: Vec<crate::store::Store>) {}",
            "fn f() { use crate::store as s; }",
            "use super::store::Store;",
            "use self::super::store::Store;",
            "use crate as c;\nfn f() { c::store::redb::open(); }",
            "use super as up;\nuse up::store::Store;",
            "use super::{self as up};\nfn f() -> up::store::Store {}",
            "pub use crate::store::Store;",
            "pub(crate) use crate::store::*;",
            "mod inner { use super::super::store::Store; }",
            "#[cfg(test)]\nmod tests { use crate::store::Store; }",
            "macro_rules! m { () => { $crate::store::open() } }",
            "fn f() { let c = '\"'; crate::store::open(); let d = '\"'; }",
            "fn f<'a>(x: &'a str) { crate::store::open(r#\"\"#); }",
        ] {
            let found = judge(&[("proxy/mod.rs", source)]);
            assert!(found.iter().any(|v| v.contains("proxy may not import store")), "{source}\n{found:?}");
        }
    }

    #[test]
    fn follows_re_exports_of_other_rooms() {
        let through = |export: &str, import: &str| {
            let sources = [("model/mod.rs", export), ("proxy/mod.rs", import)];
            judge(&sources).into_iter().filter(|v| v.starts_with("proxy")).collect::<Vec<_>>()
        };
        for (export, import) in [
            ("pub use crate::store::Store;", "use crate::model::Store;"),
            ("pub use crate::store::Store as S;", "fn f() -> crate::model::S {}"),
            ("pub use crate::store as s;", "use crate::model::s::redb::Db;"),
            ("pub use crate::store::*;", "use crate::model::redb::Db;"),
            ("pub use crate::store::*;", "use crate::model::*;\nfn f() { redb::open(); }"),
            ("pub mod deep { pub use crate::store::redb; }", "use crate::model::deep::redb::Db;"),
        ] {
            assert!(!through(export, import).is_empty(), "{export} / {import}");
        }
        assert!(through("pub use crate::base::id::Id;", "use crate::model::Id;").is_empty());
    }

    #[test]
    fn follows_re_exports_of_the_crate_root() {
        let sources = [("lib.rs", "pub mod base;\npub mod store;\npub use store::Store;"), ("proxy/mod.rs", "use crate::Store;")];
        assert_eq!(judge(&sources), ["proxy/mod.rs:1: crate::Store: proxy may not import store"]);
    }

    #[test]
    fn refuses_what_would_blind_it() {
        for source in [
            "#[path = \"../store/mod.rs\"]\nmod store;",
            "extern crate sluice as me;",
            "include!(\"../store/mod.rs\");",
            "use crate::*;",
            "use super::*;",
            "use crate::cellar::Wine;",
        ] {
            assert!(!judge(&[("proxy/mod.rs", source)]).is_empty(), "{source}");
        }
    }

    #[test]
    fn reads_no_code_in_comments_strings_and_outside_crates() {
        let source = "//! [`crate::store::Store`]\n/* crate::store::x /* nested */ crate::store::y */\n// crate::store::z\n\
            const T: &str = \"crate::store::Store\";\nconst R: &str = r#\"crate::store\"x\"#;\nfn f() { sluice::store::x(); std::store::y(); }";
        assert_eq!(judge(&[("proxy/mod.rs", source)]), Vec::<String>::new());
    }

    #[test]
    fn knows_a_test_module_from_code() {
        let source = "fn a() { x.unwrap(); }\n#[cfg(test)]\nmod tests {\n    fn b() { x.unwrap(); panic!(); }\n}\nfn c() { x.expect(\"\"); }\n\
            fn d() { panic!(\"{}\", \"unwrap()\"); x.unwrap_or(1); Option::unwrap(x); }\n#[expect(dead_code)]\nfn e() {}";
        assert_eq!(panics("f", source), ["f:1: unwrap", "f:6: expect", "f:7: panic", "f:7: unwrap"]);
        assert_eq!(code_lines("f", source), 5);
    }

    #[test]
    fn knows_the_files_of_test_modules() {
        let source = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let sources = [
            source("store/mod.rs", "mod real;\n#[cfg(test)]\nmod fake;\n#[cfg(test)]\nmod tests { use super::*; }\nmod after;"),
            source("store/real.rs", ""),
            source("store/fake.rs", "mod deeper;"),
            source("store/fake/deeper.rs", ""),
            source("store/after.rs", ""),
        ];
        assert_eq!(test_files(&sources), ["store/fake.rs", "store/fake/deeper.rs"].map(String::from).into());
    }

    #[test]
    fn reads_tables_and_metrics() {
        let page = "| room | what | may import |\n|---|---|---|\n| base | ids | nothing of ours |\n| `net` | x | `base`, model |\n| app, cli | y | all |\n";
        let rows = table_of(page);
        let rows: Vec<_> = rows.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(rows, [("base", ""), ("net", "base model"), ("app", "all"), ("cli", "all")]);

        let code = "counters(\"a_total\", \"What it counts\", &[])?; hist(\n \"b_seconds\",\n \"How long it\", &B); x.remove(&[\"c\", \"d e\"]); f(\"g\", \"h\");";
        assert_eq!(declared_metrics(code), ["sluice_a_total", "sluice_b_seconds"].map(String::from).into());
        let page = "| name | meaning |\n|---|---|\n| `sluice_a_total{route}` | x |\n| sluice_b | `sluice_c` |\n";
        assert_eq!(documented_metrics(page), ["sluice_a_total", "sluice_b"].map(String::from).into());
    }
}
