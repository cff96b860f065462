//! The one way from bytes to a `model::Resource`: JSON, schema, types, meaning. Knows one object at a time: whether another one
//! that it names exists is never decided here.

mod fields;
pub mod hidden;
mod json;
mod limit;
mod listener;
mod nodes;
mod route;
pub mod secrets;
mod setting;
mod ssl;
mod stream_route;
mod upstream;

use std::sync::Arc;

use serde_json::Value;

use crate::base::id::{Key, Kind};
use crate::base::violation::{Rejected, Stage, Violation};
use crate::model::Resource;
use crate::schema::{MOST_VIOLATIONS, Schemas};
use crate::snapshot::compile;
use fields::{Fields, Found};

use secrets::Secrets;

pub use fields::id_text;
pub use json::{DEEPEST, LARGEST};

/// What became of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is an object of its kind, and this build serves all of it.
    Accepted(Resource),
    /// It is not, and why.
    Rejected(Rejected),
}

/// Reads values. Holds the compiled schemas and nothing that changes.
#[derive(Clone, Debug)]
pub struct Ingest {
    schemas: Arc<Schemas>,
    secrets: Secrets,
}

impl Ingest {
    /// Reads with these schemas, without keys to open what is sealed.
    pub fn new(schemas: Arc<Schemas>) -> Self {
        Self { schemas, secrets: Secrets::default() }
    }

    /// What its writer should know of an accepted value: it serves, but not as it should. `now`: seconds since 1970.
    pub fn warnings(key: &Key, value: &Value, resource: &Resource, now: i64) -> Vec<String> {
        let clear = hidden::clear_keys(key.kind, value).into_iter();
        let clear = clear.map(|at| format!("{at}: the private key is not sealed: whoever reads the store has it"));
        clear.chain(compile::warnings(resource, now)).collect()
    }

    /// Opens what is sealed with these.
    #[must_use]
    pub fn with(self, secrets: Secrets) -> Self {
        Self { secrets, ..self }
    }

    /// Reads the bytes of a key, as they are stored or were sent. `at` is the revision that a rejection shows; 0 if there is none.
    pub fn read(&self, key: &Key, value: &[u8], at: u64) -> Verdict {
        match json::parse(value) {
            Ok(value) => self.read_value(key, &value, at),
            Err(violations) => rejected(key, at, Stage::Json, violations),
        }
    }

    /// Reads a value that is JSON already: everything from the schema on.
    pub fn read_value(&self, key: &Key, value: &Value, at: u64) -> Verdict {
        if key.kind == Kind::Setting && key.id.as_str() != setting::GLOBAL {
            let text = format!("no such setting: {}; the only one is {}", key.id, setting::GLOBAL);
            return rejected(key, at, Stage::Key, vec![Violation::new("", "id", text)]);
        }
        let violations = self.schemas.check(key.kind, value);
        if !violations.is_empty() {
            return rejected(key, at, Stage::Schema, violations);
        }
        let mut found = Found::default();
        match typed(key, value, &self.secrets, &mut found) {
            Some(resource) if found.is_empty() => compiled(key, at, resource),
            _ => rejected(key, at, Stage::Meaning, found.into_vec()),
        }
    }
}

/// What the compiled form allows is part of an object's meaning.
fn compiled(key: &Key, at: u64, resource: Resource) -> Verdict {
    let violations = compile::check(&resource);
    if violations.is_empty() { Verdict::Accepted(resource) } else { rejected(key, at, Stage::Meaning, violations) }
}

/// What is wrong with bytes that should be one JSON value, whatever it means: syntax, depth, a key that is there twice; empty if
/// nothing is. For bodies that are no single object; `largest` is their limit in bytes.
pub fn json_violations(bytes: &[u8], largest: usize) -> Vec<Violation> {
    json::parse_within(bytes, largest).err().unwrap_or_default()
}

fn typed(key: &Key, value: &Value, secrets: &Secrets, found: &mut Found) -> Option<Resource> {
    let Some(object) = value.as_object() else {
        found.add("", "type", "not an object");
        return None;
    };
    let fields = Fields::new(object, "");
    same_id(key, &fields, found);
    let id = key.id.clone();
    Some(match key.kind {
        Kind::Listener => Resource::Listener(Arc::new(listener::read(id, &fields, found))),
        Kind::StreamRoute => Resource::StreamRoute(Arc::new(stream_route::read(id, &fields, secrets, found))),
        Kind::Route => Resource::Route(Arc::new(route::read(id, &fields, secrets, found))),
        Kind::Upstream => Resource::Upstream(Arc::new(upstream::read(&fields, secrets, found))),
        Kind::Ssl => Resource::Ssl(Arc::new(ssl::read(id, &fields, secrets, found))),
        Kind::Setting => Resource::Global(Arc::new(setting::read(&fields, found))),
    })
}

fn same_id(key: &Key, fields: &Fields<'_>, found: &mut Found) {
    if let Some(text) = fields.get("id").and_then(id_text)
        && text != key.id.as_str()
    {
        found.add("/id", "id_mismatch", format!("the id {text} is not that of the key, {}", key.id));
    }
}

fn rejected(key: &Key, at: u64, stage: Stage, mut violations: Vec<Violation>) -> Verdict {
    violations.truncate(MOST_VIOLATIONS);
    Verdict::Rejected(Rejected { key: key.to_string(), at, stage, violations })
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;
    use crate::base::id::Id;

    pub(crate) fn verdict(kind: Kind, id: &str, value: &Value) -> Verdict {
        let ingest = Ingest::new(Arc::new(Schemas::compile().unwrap()));
        ingest.read(&Key::new(kind, Id::parse(id).unwrap()), value.to_string().as_bytes(), 7)
    }

    /// The resource of a value that must be accepted.
    pub(crate) fn accepted(kind: Kind, value: &Value) -> Resource {
        let id = if kind == Kind::Setting { "global" } else { "1" };
        match verdict(kind, id, value) {
            Verdict::Accepted(resource) => resource,
            Verdict::Rejected(r) => panic!("{value} was rejected: {r:?}"),
        }
    }

    /// Place, rule and message of the first violation of a value that must have a form but no meaning.
    pub(crate) fn meaningless(kind: Kind, value: &Value) -> (String, String, String) {
        let id = if kind == Kind::Setting { "global" } else { "1" };
        match verdict(kind, id, value) {
            Verdict::Accepted(resource) => panic!("{value} was accepted: {resource:?}"),
            Verdict::Rejected(r) => {
                assert_eq!(r.stage, Stage::Meaning, "{value}: {r:?}");
                let v = r.violations.first().unwrap();
                (v.path.clone(), v.rule.clone(), v.message.clone())
            }
        }
    }

    fn refused(kind: Kind, id: &str, value: &Value) -> Rejected {
        match verdict(kind, id, value) {
            Verdict::Accepted(resource) => panic!("{value} was accepted: {resource:?}"),
            Verdict::Rejected(r) => r,
        }
    }

    #[test]
    fn a_rejection_tells_key_revision_and_stage() {
        let r = refused(Kind::Upstream, "1", &json!({"nodse": {}}));
        assert_eq!((r.key.as_str(), r.at, r.stage), ("upstreams/1", 7, Stage::Schema));
        assert_eq!(r.violations[0].path, "/nodse");
    }

    #[test]
    fn the_id_in_the_value_is_that_of_the_key() {
        accepted(Kind::Upstream, &json!({"id": 1}));
        accepted(Kind::Upstream, &json!({"id": "1"}));
        accepted(Kind::Upstream, &json!({"id": 1.0}));
        let (path, rule, _) = meaningless(Kind::Upstream, &json!({"id": 2}));
        assert_eq!((path.as_str(), rule.as_str()), ("/id", "id_mismatch"));
    }

    #[test]
    fn the_only_setting_is_global() {
        let r = refused(Kind::Setting, "local", &json!({}));
        assert_eq!(r.stage, Stage::Key);
        assert_eq!(r.violations[0].message, "no such setting: local; the only one is global");
    }

    #[test]
    fn what_is_no_object_is_refused_by_the_schema() {
        for value in [json!(null), json!([]), json!(1), json!("x")] {
            assert_eq!(refused(Kind::StreamRoute, "1", &value).stage, Stage::Schema);
        }
    }

    #[test]
    fn times_are_legal_in_a_stored_value() {
        for kind in [Kind::StreamRoute, Kind::Upstream, Kind::Setting] {
            accepted(kind, &json!({"create_time": 1_705_252_779, "update_time": 1_705_252_780}));
        }
    }

    #[test]
    fn many_wrongs_are_told_in_bounds() {
        let addr: Vec<_> = (0..1000).map(|n| format!("x{n}")).collect();
        assert_eq!(refused(Kind::StreamRoute, "1", &json!({"remote_addr": addr})).violations.len(), MOST_VIOLATIONS);
    }
}
