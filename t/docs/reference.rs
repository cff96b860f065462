//! Reference tables against the code. What the code knows is asked of the code itself, so that nothing has to be listed twice.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use sluice::base::addr::Protocol;
use sluice::base::id::{Id, Kind};
use sluice::base::reason::Reason;
use sluice::telemetry::{AccessConf, AccessFormat, AccessLog, HttpRecord, Metrics, Record};

use super::page::{self, Page, names, rows};

/// A key that is like no other.
const STRANGER: &str = "qqqqqqqqqqqqqqqq";

/// The keys that the configuration file may have at a place, by asking for one that there is not; `None` for a place without keys.
fn known_at(place: &[String]) -> Option<Vec<String>> {
    let (mut open, mut close) = (String::new(), String::new());
    for step in place {
        let (key, item) = step.strip_suffix("[]").map_or((step.as_str(), false), |key| (key, true));
        write!(open, "{{{key}: {}", if item { "[" } else { "" }).unwrap();
        close.insert_str(0, if item { "]}" } else { "}" });
    }
    let text = format!("{open}{{{STRANGER}: 1}}{close}");
    let told = sluice::conf::parse(Path::new("c"), &text, &|_| None).err()?.to_string();
    let (_, known) = told.split_once(&format!("unknown key `{STRANGER}`"))?.1.split_once("(known here: ")?;
    Some(known.split_once(')')?.0.split(", ").map(ToOwned::to_owned).collect())
}

/// Every key that holds a value, as `gateway.stream_proxy.tcp[].addr`.
fn leaves(place: &[String], found: &mut Vec<String>) {
    let Some(known) = known_at(place) else {
        found.push(place.join("."));
        return;
    };
    for key in known {
        let at = |key: String| [place, &[key]].concat();
        let list = at(format!("{key}[]"));
        if known_at(&list).is_some() {
            // the list itself has a row too
            found.push(at(key).join("."));
            leaves(&list, found);
        } else {
            leaves(&at(key), found);
        }
    }
}

fn sorted(mut all: Vec<String>) -> Vec<String> {
    all.sort();
    all
}

/// The fields of a kind as paths (`timeout.connect`, `nodes[].host`), each with its default if it has one.
fn fields(document: &Value, object: &Value, at: &str, found: &mut Vec<(String, Option<Value>)>) {
    for (name, field) in object["properties"].as_object().unwrap() {
        let path = format!("{at}{name}");
        let field = match field["$ref"].as_str().and_then(|to| to.strip_prefix("#/$defs/")) {
            Some(local) => &document["$defs"][local],
            None => field,
        };
        found.push((path.clone(), field.get("default").cloned()));
        if field.get("properties").is_some() {
            fields(document, field, &format!("{path}."), found);
        }
        let forms = field["anyOf"].as_array().into_iter().flatten();
        for item in forms.filter_map(|form| form["items"]["$ref"].as_str()?.strip_prefix("#/$defs/")) {
            fields(document, &document["$defs"][item], &format!("{path}[]."), found);
        }
    }
}

fn schema(kind: Kind) -> Value {
    let path = page::root().join(format!("schemas/{}.json", kind.singular()));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn the_configuration_page_has_every_key_of_the_file_and_no_other() {
    let mut code = Vec::new();
    leaves(&[], &mut code);
    // the same form as for TCP is understood there, to be refused with a text of its own
    code.retain(|key| !key.starts_with("gateway.stream_proxy.udp[]"));
    assert!(code.len() > 30 && code.contains(&"gateway.stream_proxy.tcp[].addr".to_owned()), "{code:?}");
    let page = Page::read("docs/CONFIGURATION.md");
    assert_eq!(sorted(names(&page.section("## The file"))), sorted(code), "left: the page; right: the code");
}

#[test]
fn the_defaults_of_the_file_are_those_of_the_code() {
    let section = Page::read("docs/CONFIGURATION.md").section("## The file");
    let alone = |cell: &str| Some(cell.strip_prefix('`')?.strip_suffix('`')?.to_owned()).filter(|text| !text.contains('`'));
    let given: BTreeMap<String, String> = rows(&section)
        .iter()
        .filter(|row| !row[0].contains("[]"))
        .filter_map(|row| Some((row[0].trim_matches('`').replace('.', "__").to_uppercase(), alone(&row[2])?)))
        .collect();
    assert!(given.len() > 15, "{given:?}");
    let read = |env: &dyn Fn(&str) -> Option<String>| format!("{:#?}", sluice::conf::parse(Path::new("c"), "", env).unwrap());
    assert_eq!(read(&|name| given.get(name.strip_prefix("SLUICE_")?).cloned()), read(&|_| None), "left: the page; right: the code");
}

#[test]
fn the_configuration_page_has_every_field_of_every_kind_with_its_default() {
    let page = Page::read("docs/CONFIGURATION.md");
    for kind in Kind::ALL {
        let (document, mut code) = (schema(kind), Vec::new());
        fields(&document, &document, "", &mut code);
        let section = page.section(&format!("### {}", kind.dir()));
        let own = sorted(names(&section));
        assert_eq!(own, sorted(code.iter().map(|(name, _)| name.clone()).collect()), "{kind}: left: the page; right: the schema");
        for (name, default) in code.iter().filter_map(|(name, default)| Some((name, default.as_ref()?))) {
            let text = default.as_str().map_or_else(|| default.to_string(), ToOwned::to_owned);
            let cells = rows(&section);
            let row = cells.iter().find(|row| row[0].contains(&format!("`{name}`"))).unwrap();
            assert_eq!(row[2], format!("`{text}`"), "{kind}: the default of {name}");
        }
    }
}

#[test]
fn the_configuration_page_names_what_the_schemas_know_and_do_not_serve() {
    let page = Page::read("docs/CONFIGURATION.md");
    for kind in Kind::ALL {
        let section = page.section(&format!("### {}", kind.dir()));
        let unserved = schema(kind)["x-unserved"].as_array().cloned().unwrap_or_default();
        for field in unserved {
            assert!(section.contains(&format!("`{}`", field.as_str().unwrap())), "{kind}: {field}");
        }
        let refused = section.split_once("Not served, and refused:").map_or("", |(_, rest)| rest.split(". ").next().unwrap());
        for field in names(&section) {
            assert!(!refused.contains(&format!("`{field}`")), "{kind}: {field} is served");
        }
    }
}

#[test]
fn both_lists_of_reasons_are_that_of_the_code() {
    let words: Vec<&str> = Reason::ALL.iter().map(|r| r.as_str()).collect();
    let operations = Page::read("docs/OPERATIONS.md").section("## Reasons");
    assert_eq!(names(&operations), words, "docs/OPERATIONS.md");
    for (row, reason) in rows(&operations).iter().zip(Reason::ALL) {
        assert_eq!(row[1], reason.side().as_str(), "docs/OPERATIONS.md: the side of {reason}");
    }
    let metrics = Page::read("docs/METRICS.md").text.replace('\n', " ");
    let list = metrics.split_once("`reason` is one closed list").unwrap().1.split_once(": ").unwrap().1;
    let list: Vec<&str> = list.split_once('.').unwrap().0.split(',').map(|word| word.trim().trim_matches('`')).collect();
    assert_eq!(list, words, "docs/METRICS.md");
}

#[test]
fn the_operations_page_has_the_fields_of_an_access_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let conf = AccessConf { format: AccessFormat::Json, path: Some(path.clone()), sample: 1.0, instance: "docs".into() };
    let log = AccessLog::start(&conf, &Metrics::new().unwrap()).unwrap();
    let addr = SocketAddr::from(([127, 0, 0, 1], 1));
    log.submit(Record {
        ts: SystemTime::UNIX_EPOCH,
        session_id: 1,
        route: None,
        listener: Id::parse("l").unwrap(),
        proto: Protocol::Tcp,
        client: addr,
        peer_addr: None,
        local_addr: addr,
        sni: None,
        tls_version: None,
        tls_cipher: None,
        upstream: None,
        endpoint: None,
        retries: 0,
        connect: None,
        duration: Duration::ZERO,
        rx_bytes: 0,
        tx_bytes: 0,
        datagrams: None,
        reason: Reason::Ok,
        config_revision: 0,
        http: Some(Box::new(HttpRecord {
            method: "GET".into(),
            host: "a.com".into(),
            path: "/".into(),
            version: "HTTP/1.1",
            status: 200,
            user_agent: None,
        })),
    });
    assert!(log.flush(Duration::from_secs(10)));
    let line: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let fields: Vec<&String> = line.as_object().unwrap().keys().collect();
    assert_eq!(names(&Page::read("docs/OPERATIONS.md").section("### Access log")).iter().collect::<Vec<_>>(), fields);
}
