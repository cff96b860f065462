//! The schemas and their examples, through the same door that stored bytes take. Nothing here knows a single field.
#![cfg(test)]

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use sluice::base::id::{Id, Key, Kind};
use sluice::base::violation::Rejected;
use sluice::control::ingest::{Ingest, Verdict};
use sluice::schema::{Schemas, error_msg, pointer};

static SCHEMAS: LazyLock<Arc<Schemas>> = LazyLock::new(|| Arc::new(Schemas::compile().unwrap()));
static INGEST: LazyLock<Ingest> = LazyLock::new(|| Ingest::new(Arc::clone(&SCHEMAS)));

fn files(folder: &str) -> Vec<(PathBuf, Kind, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/examples").join(folder);
    let mut all: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let singular = name.split('-').next().unwrap();
            let kind = Kind::ALL.into_iter().find(|k| k.singular() == singular).unwrap_or_else(|| panic!("{name} names no kind"));
            let value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap_or_else(|e| panic!("{name}: {e}"));
            (path, kind, value)
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn key(kind: Kind, id: Option<&str>, object: &Value) -> Key {
    let own = match &object["id"] {
        Value::String(text) => Some(text.clone()),
        Value::Number(n) => Some(n.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let standard = if kind == Kind::Setting { "global" } else { "1" };
    let id = id.map(str::to_owned).or(own).and_then(|text| Id::parse(&text).ok()).unwrap_or_else(|| Id::parse(standard).unwrap());
    Key::new(kind, id)
}

fn read(kind: Kind, id: Option<&str>, object: &Value) -> Verdict {
    INGEST.read(&key(kind, id, object), object.to_string().as_bytes(), 1)
}

fn refused(kind: Kind, id: Option<&str>, object: &Value, name: &str) -> Rejected {
    match read(kind, id, object) {
        Verdict::Accepted(resource) => panic!("{name} was accepted: {resource:?}"),
        Verdict::Rejected(rejected) => rejected,
    }
}

#[test]
fn every_valid_example_is_accepted() {
    for (path, kind, object) in files("valid") {
        if let Verdict::Rejected(r) = read(kind, None, &object) {
            panic!("{}: {:?}", path.display(), r.violations);
        }
    }
}

#[test]
fn every_invalid_example_is_refused_for_its_reason() {
    for (path, kind, file) in files("invalid") {
        let name = path.display().to_string();
        let rejected = refused(kind, file["id"].as_str(), &file["object"], &name);
        let first = rejected.violations.first().unwrap();
        let expect = &file["expect"];
        let mut got = json!({"path": first.path, "rule": first.rule});
        for (word, value) in [
            ("stage", rejected.stage.as_str().to_owned()),
            ("message", first.message.clone()),
            ("error_msg", error_msg(&rejected.violations)),
        ] {
            if expect.get(word).is_some() {
                got[word] = value.into();
            }
        }
        assert_eq!(&got, expect, "{name}");
    }
}

#[test]
fn every_kind_has_a_schema_and_examples_of_both_sorts() {
    for kind in Kind::ALL {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("schemas/{}.json", kind.singular()));
        assert!(path.exists(), "{}", path.display());
        for folder in ["valid", "invalid"] {
            let count = files(folder).iter().filter(|(_, k, _)| *k == kind).count();
            assert!(count >= 3, "{folder} examples of {kind}: {count}");
        }
    }
}

#[test]
fn every_document_is_a_schema_of_draft_2020_12() {
    for kind in Kind::ALL {
        let document = SCHEMAS.document(kind);
        assert_eq!(document["$schema"], "https://json-schema.org/draft/2020-12/schema", "{kind}");
        if let Err(e) = jsonschema::draft202012::meta::validate(document) {
            panic!("{kind}: {e}");
        }
    }
}

/// Calls `each` on the schema of every field in a schema, at any depth.
fn fields(schema: &Value, at: &str, each: &mut dyn FnMut(&str, &Value)) {
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        for (name, field) in properties {
            each(&pointer::child(at, name), field);
        }
    }
    match schema {
        // a condition names fields to ask for them, not to describe them
        Value::Object(map) => {
            let meant = map.iter().filter(|(k, _)| !["examples", "if"].contains(&k.as_str()));
            meant.for_each(|(k, v)| fields(v, &pointer::child(at, k), each));
        }
        Value::Array(items) => items.iter().enumerate().for_each(|(i, v)| fields(v, &pointer::child(at, &i.to_string()), each)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_field_says_what_it_is_and_shows_an_example() {
    for kind in Kind::ALL {
        let document = SCHEMAS.document(kind);
        assert!(document["description"].is_string() && document["examples"].is_array(), "{kind}");
        let common = &document["$defs"]["common"]["$defs"];
        fields(document, "", &mut |at, field| {
            let definition = field["$ref"].as_str().and_then(|r| r.strip_prefix("#/$defs/"));
            let has = |word: &str| field.get(word).is_some() || definition.is_some();
            assert!(has("description") && has("examples"), "{kind} {at}: {field}");
        });
        assert!(common.is_object(), "{kind}");
    }
}

#[test]
fn the_examples_of_a_field_obey_its_rules() {
    for kind in Kind::ALL {
        let document = SCHEMAS.document(kind);
        for (name, field) in document["properties"].as_object().unwrap() {
            for example in field["examples"].as_array().unwrap() {
                let mut object = Map::new();
                object.insert(name.clone(), example.clone());
                if kind == Kind::Listener {
                    object.entry("addr").or_insert_with(|| 9100.into());
                }
                if kind == Kind::Ssl {
                    for (needed, example) in document["examples"][0].as_object().unwrap() {
                        object.entry(needed).or_insert_with(|| example.clone());
                    }
                }
                assert_eq!(SCHEMAS.check(kind, &Value::Object(object)), [], "{kind} {name}: {example}");
            }
        }
        for example in document["examples"].as_array().unwrap() {
            // a certificate is shown as a reference, which leads nowhere here
            let environment = |r: &Rejected| r.violations.iter().all(|v| v.rule == "environment");
            let taken = match read(kind, None, example) {
                Verdict::Accepted(_) => true,
                Verdict::Rejected(rejected) => kind == Kind::Ssl && environment(&rejected),
            };
            assert!(taken, "{kind}: {example}");
        }
    }
}

#[test]
fn a_rejection_of_one_kind_has_at_least_one_violation_whatever_the_bytes() {
    for kind in Kind::ALL {
        for bytes in [&b""[..], b"{", b"\xff", b"[]", b"{\"a\":1,\"a\":1}", b"nul", b"\"\\ud800\""] {
            match INGEST.read(&key(kind, None, &Value::Null), bytes, 9) {
                Verdict::Accepted(resource) => panic!("{bytes:?}: {resource:?}"),
                Verdict::Rejected(r) => assert!(!r.violations.is_empty() && r.at == 9, "{bytes:?}"),
            }
        }
    }
}

/// Field names that occur, so that random objects come past the first rule.
fn name() -> impl Strategy<Value = String> {
    let known = [
        "id",
        "name",
        "labels",
        "status",
        "addr",
        "protocol",
        "drain_timeout",
        "remote_addr",
        "server_addr",
        "server_port",
        "order",
        "upstream",
        "upstream_id",
        "timeout",
        "max_duration",
        "nodes",
        "host",
        "port",
        "weight",
        "priority",
        "type",
        "scheme",
        "retries",
        "retry_timeout",
        "connect",
        "send",
        "read",
        "pass_host",
        "tls",
        "checks",
        "default_timeout",
        "match",
        "hosts",
        "paths",
        "methods",
        "statement",
        "transforms",
        "127.0.0.1:80",
        "[::1]:80",
        "::1",
    ];
    prop_oneof![8 => proptest::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => "\\PC{0,8}"]
}

fn scalar() -> impl Strategy<Value = Value> {
    let words = ["tcp", "roundrobin", "1s", "0", "127.0.0.1", "127.0.0.1/8", "::1", "9100", "1-65535", "a:80", "[::1]", "rewrite", "1e400"];
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0_i64..3).prop_map(Value::from),
        proptest::sample::select(words.to_vec()).prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ]
}

fn anything() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(5, 48, 6, |inner| {
        prop_oneof![
            1 => proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            3 => proptest::collection::vec((name(), inner), 0..6).prop_map(|all| Value::Object(all.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: prop::test_runner::RngSeed::Fixed(0x73_63_68_65_6d_61), cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_json_whatever_panics(value in anything()) {
        for kind in Kind::ALL {
            if let Verdict::Rejected(r) = read(kind, None, &value) {
                prop_assert!(!r.violations.is_empty());
                prop_assert!(!error_msg(&r.violations).is_empty());
                // a place is one that the value has, or a member that it lacks
                for violation in &r.violations {
                    let parent = violation.path.rsplit_once('/').map_or("", |(parent, _)| parent);
                    prop_assert!(value.pointer(parent).is_some(), "{violation:?} in {value}");
                }
            }
        }
    }

    #[test]
    fn no_bytes_whatever_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        for kind in Kind::ALL {
            let _ = INGEST.read(&key(kind, None, &Value::Null), &bytes, 0);
        }
    }

    #[test]
    fn json_cut_short_is_refused(value in anything(), cut in 0_usize..64) {
        let text = json!({"x": value}).to_string();
        let end = text.char_indices().map(|(at, _)| at).nth(cut).unwrap_or(text.len() - 1);
        let verdict = INGEST.read(&key(Kind::Upstream, None, &Value::Null), &text.as_bytes()[..end], 0);
        prop_assert!(matches!(verdict, Verdict::Rejected(_)));
    }
}
