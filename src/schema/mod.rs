//! The rules of `schemas/*.json`, compiled once, and what is said when one is broken. Knows JSON values and words of `base`; it
//! never knows what an object means.

mod embed;
pub mod pointer;
mod sentence;
mod text;

use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::Value;

use crate::base::id::Kind;
use crate::base::violation::Violation;
use embed::Documents;
pub use sentence::error_msg;

/// How many violations of one object are told. A document can break more rules than anybody reads.
pub const MOST_VIOLATIONS: usize = 64;

/// A schema that cannot be used. It can only come from a mistake in the build, never from a user.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The text is not JSON, or not an object.
    #[error("schema {name} is not a JSON object")]
    Text {
        /// The file in `schemas/`.
        name: &'static str,
        /// Why, if it is not JSON.
        source: Option<serde_json::Error>,
    },
    /// It is no schema of draft 2020-12.
    #[error("schema {name} does not compile: {reason}")]
    Compile {
        /// The file in `schemas/`.
        name: &'static str,
        /// What the compiler says.
        reason: String,
    },
}

/// The validators of all kinds.
#[derive(Debug)]
pub struct Schemas {
    documents: Documents,
    listener: Entry,
    stream_route: Entry,
    route: Entry,
    upstream: Entry,
    ssl: Entry,
    setting: Entry,
}

#[derive(Debug)]
struct Entry {
    document: Value,
    validator: Validator,
}

impl Schemas {
    /// Compiles every schema. Takes some 10 ms each; done once, at the start.
    ///
    /// # Errors
    /// Only when the embedded files are broken, which the tests rule out.
    pub fn compile() -> Result<Self, SchemaError> {
        let documents = Documents::read()?;
        Ok(Self {
            listener: Entry::compile(&documents, Kind::Listener)?,
            stream_route: Entry::compile(&documents, Kind::StreamRoute)?,
            route: Entry::compile(&documents, Kind::Route)?,
            upstream: Entry::compile(&documents, Kind::Upstream)?,
            ssl: Entry::compile(&documents, Kind::Ssl)?,
            setting: Entry::compile(&documents, Kind::Setting)?,
            documents,
        })
    }

    /// Every rule that the value breaks, sorted by place, at most [`MOST_VIOLATIONS`]; empty when it is valid.
    pub fn check(&self, kind: Kind, value: &Value) -> Vec<Violation> {
        let validator = &self.entry(kind).validator;
        if validator.is_valid(value) {
            return Vec::new();
        }
        let mut found = Vec::new();
        for error in validator.iter_errors(value) {
            text::explain(&error, &self.documents, &mut found);
        }
        found.sort_by(|a, b| pointer::compare(&a.path, &b.path));
        found.dedup();
        found.truncate(MOST_VIOLATIONS);
        found
    }

    /// The schema of a kind, complete in itself: what it refers to is under its `$defs`.
    pub fn document(&self, kind: Kind) -> &Value {
        &self.entry(kind).document
    }

    const fn entry(&self, kind: Kind) -> &Entry {
        match kind {
            Kind::Listener => &self.listener,
            Kind::StreamRoute => &self.stream_route,
            Kind::Route => &self.route,
            Kind::Upstream => &self.upstream,
            Kind::Ssl => &self.ssl,
            Kind::Setting => &self.setting,
        }
    }
}

impl Entry {
    fn compile(documents: &Documents, kind: Kind) -> Result<Self, SchemaError> {
        let name = embed::file_of(kind);
        let document = documents.bundle(kind);
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .with_pattern_options(PatternOptions::regex())
            .offline()
            .build(&document)
            .map_err(|e: ValidationError<'_>| SchemaError::Compile { name, reason: e.to_string() })?;
        Ok(Self { document, validator })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schemas() -> Schemas {
        Schemas::compile().unwrap()
    }

    fn first(kind: Kind, value: &Value) -> (String, String, String) {
        let found = schemas().check(kind, value);
        let v = found.first().unwrap();
        (v.path.clone(), v.rule.clone(), error_msg(&found))
    }

    #[test]
    fn an_object_of_each_kind_is_valid() {
        let s = schemas();
        assert_eq!(s.check(Kind::Listener, &json!({"addr": 9100})), []);
        assert_eq!(s.check(Kind::StreamRoute, &json!({})), []);
        assert_eq!(s.check(Kind::Route, &json!({"match": {"hosts": ["a.com"]}})), []);
        assert_eq!(s.check(Kind::Upstream, &json!({"nodes": {"127.0.0.1:8080": 1}, "type": "roundrobin"})), []);
        assert_eq!(s.check(Kind::Setting, &json!({"default_timeout": "5m"})), []);
    }

    #[test]
    fn an_id_that_is_neither_text_nor_number_has_the_text_of_apisix() {
        let (path, rule, text) = first(Kind::Upstream, &json!({"id": -100}));
        assert_eq!((path.as_str(), rule.as_str()), ("/id", "anyOf"));
        assert_eq!(text, "property \"id\" validation failed: object matches none of the required");
    }

    #[test]
    fn an_unknown_field_is_named_and_a_near_one_offered() {
        let (path, rule, text) = first(Kind::Upstream, &json!({"nodse": {}}));
        assert_eq!((path.as_str(), rule.as_str()), ("/nodse", "additionalProperties"));
        assert_eq!(text, "additional properties forbidden, found nodse (did you mean nodes?)");
        assert_eq!(
            first(Kind::StreamRoute, &json!({"plugins": {}})).2,
            "additional properties forbidden, found plugins (write limit in place of limit-conn, remote_addr in place of a whitelist)"
        );
        let (path, _, text) = first(Kind::StreamRoute, &json!({"upstream": {"timeout": {"connect": 1, "send": 1, "read": 1, "raed": 2}}}));
        assert_eq!(path, "/upstream/timeout/raed");
        assert_eq!(
            text,
            "property \"upstream\" validation failed: property \"timeout\" validation failed: \
             additional properties forbidden, found raed (did you mean read?)"
        );
    }

    #[test]
    fn a_field_that_is_not_served_yet_says_so() {
        let (path, rule, text) = first(Kind::StreamRoute, &json!({"upstream": {"checks": {}}}));
        assert_eq!((path.as_str(), rule.as_str()), ("/upstream/checks", "unsupported"));
        assert_eq!(text, "upstream.checks is not served by this build yet");
        assert_eq!(first(Kind::StreamRoute, &json!({"service_id": 1})).2, "service_id is not served by this build yet");
    }

    #[test]
    fn a_field_with_another_name_here_says_which() {
        let (path, rule, text) = first(Kind::Route, &json!({"uri": "/a"}));
        assert_eq!((path.as_str(), rule.as_str()), ("/uri", "additionalProperties"));
        assert_eq!(text, "additional properties forbidden, found uri (write match.paths, a list)");
    }

    #[test]
    fn an_unknown_balancer_or_scheme_names_the_known_ones() {
        let (path, rule, text) = first(Kind::Upstream, &json!({"type": "unknown"}));
        assert_eq!((path.as_str(), rule.as_str()), ("/type", "enum"));
        assert_eq!(
            text,
            "property \"type\" validation failed: matches none of the enum values (known: roundrobin; this build has no other balancer)"
        );
        let (_, rule, text) = first(Kind::Upstream, &json!({"type": "chash"}));
        assert_eq!(rule, "unsupported");
        assert_eq!(text, "type chash is not served by this build yet (known: roundrobin; this build has no other balancer)");
        let (path, rule, _) = first(Kind::StreamRoute, &json!({"upstream": {"scheme": "dubbo"}}));
        assert_eq!((path.as_str(), rule.as_str()), ("/upstream/scheme", "enum"));
    }

    #[test]
    fn wrong_nodes_collapse_into_one_and_the_exact_places_follow() {
        let found = schemas().check(Kind::Upstream, &json!({"nodes": [{"host": "127.0.0.1", "port": 0, "weight": "1"}]}));
        let places: Vec<_> = found.iter().map(|v| (v.path.as_str(), v.rule.as_str())).collect();
        assert_eq!(places, [("/nodes", "anyOf"), ("/nodes/0/port", "minimum"), ("/nodes/0/weight", "type")]);
        assert_eq!(error_msg(&found), "property \"nodes\" validation failed: object matches none of the required");
        let found = schemas().check(Kind::Upstream, &json!({"nodes": {"127.0.0.1:8080": -100}}));
        assert_eq!(error_msg(&found), "property \"nodes\" validation failed: object matches none of the required");
        assert_eq!(found[1].path, "/nodes/127.0.0.1:8080");
        assert_eq!(found[1].message, "expected -100 to be at least 0");
        assert_eq!(schemas().check(Kind::Upstream, &json!({"nodes": 1})).len(), 1);
        let found = schemas().check(Kind::Upstream, &json!({"nodes": [{"host": "a", "weight": 1, "prot": 1}]}));
        assert_eq!(found[1].message, "additional properties forbidden, found prot (did you mean port?)");
    }

    #[test]
    fn places_have_an_order_of_their_own() {
        let value = json!({"z": 1, "a": 1, "retries": -1, "nodes": {"x y": 1}});
        let once = schemas().check(Kind::Upstream, &value);
        assert_eq!(once, schemas().check(Kind::Upstream, &value));
        let paths: Vec<_> = once.iter().map(|v| v.path.as_str()).collect();
        assert_eq!(paths, ["/a", "/nodes", "/nodes/x y", "/retries", "/z"]);
    }

    #[test]
    fn a_document_stands_by_itself_and_shows_the_times_as_integers() {
        let s = schemas();
        let doc = s.document(Kind::StreamRoute);
        assert_eq!(doc["properties"]["create_time"]["type"], "integer");
        assert_eq!(doc["properties"]["update_time"]["type"], "integer");
        assert_eq!(doc["$defs"]["upstream"]["title"], "Upstream");
        assert!(jsonschema::options().offline().build(doc).is_ok());
    }
}
