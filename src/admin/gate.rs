//! The Admin API's front door: who is let in, which paths there are, in which order a request is looked at. What is done with
//! an object is in `resource`.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use hyper::body::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::RwLock;

use super::auth::{self, Keys};
use super::envelope::{self, Answer};
use super::server::{self, Head, Site};
use super::throttle::Throttle;
use super::{openapi, resource, schemas, validate};
use crate::base::cidr::Cidr;
use crate::base::drain;
use crate::base::id::{Id, Kind};
use crate::base::secret::{STARS, betrays};
use crate::control::ingest::Ingest;
use crate::live::applied::Applied;
use crate::live::fleet::Fleet;
use crate::schema::Schemas;
use crate::store::Store;
use crate::telemetry::Metrics;

/// What the Admin API works with.
pub struct AdminParts {
    /// Where objects are written.
    pub store: Arc<dyn Store>,
    /// In front of every key, without a slash at its end: `/sluice`.
    pub prefix: String,
    /// What decides whether an object is taken; the same as for values that come from the store.
    pub ingest: Arc<Ingest>,
    /// For the schema endpoints.
    pub schemas: Arc<Schemas>,
    /// Who may ask.
    pub keys: Keys,
    /// From where; empty: from anywhere.
    pub allow: Vec<Cidr>,
    /// Whether this gateway serves streams; if not, stream routes are refused.
    pub stream_enabled: bool,
    /// The ids of listeners that the configuration file owns.
    pub reserved: BTreeSet<Id>,
    /// The applied revision, for writes that wait until they are live.
    pub applied: Applied,
    /// Where refusals are counted.
    pub metrics: Metrics,
    /// The other gateways on the store, for the same.
    pub fleet: Fleet,
}

impl std::fmt::Debug for AdminParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminParts").field("prefix", &self.prefix).field("keys", &self.keys).finish_non_exhaustive()
    }
}

/// Serves the Admin API until the process ends.
pub async fn serve_admin(listener: TcpListener, parts: Arc<AdminParts>, drain: drain::Watch) {
    server::serve(listener, Arc::new(Admin::new(parts)), drain).await;
}

/// The Admin API.
pub(super) struct Admin {
    /// What it works with.
    pub(super) parts: Arc<AdminParts>,
    /// Held shared by writes that may refer to something, and alone by deletes that look for references: otherwise a reference
    /// could be written between the look and the delete. Of another gateway's writes it knows nothing: a reference that slips
    /// through there waits for its object, as any other that dangles.
    pub(super) references: RwLock<()>,
    throttle: Throttle,
    document: Bytes,
}

/// What a path means.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    /// Nothing of the Admin API.
    Elsewhere,
    /// `/apisix/admin` itself.
    Root,
    /// `/openapi.json`
    Document,
    /// `schema/<singular>`
    Schema(&'a str),
    /// `schema/validate/<kind>`
    Validate(&'a str),
    /// `configs/validate`
    ValidateAll,
    /// `apply`
    Apply,
    /// `<kind>[/<id>[/<sub>/<path>]]`
    Objects(Kind, Option<&'a str>, Vec<&'a str>),
    /// A kind that there is not.
    Unknown(&'a str),
}

fn place<'a>(segments: &[&'a str]) -> Place<'a> {
    if segments == ["openapi.json"] {
        return Place::Document;
    }
    let (["apisix", "admin", inside @ ..] | ["admin", inside @ ..]) = segments else { return Place::Elsewhere };
    match inside {
        [] => Place::Root,
        ["schema", "validate", kind] => Place::Validate(kind),
        ["schema", name] => Place::Schema(name),
        ["configs", "validate"] => Place::ValidateAll,
        ["apply"] => Place::Apply,
        ["schema" | "configs" | "apply", ..] => Place::Elsewhere,
        [dir, rest @ ..] => match (Kind::from_dir(dir), rest) {
            (None, _) => Place::Unknown(dir),
            (Some(kind), []) => Place::Objects(kind, None, Vec::new()),
            (Some(kind), [id, sub @ ..]) => Place::Objects(kind, Some(id), sub.to_vec()),
        },
    }
}

impl Admin {
    /// Joins the parts.
    pub(super) fn new(parts: Arc<AdminParts>) -> Self {
        let document = openapi::text(&parts.schemas);
        Self { parts, references: RwLock::new(()), throttle: Throttle::default(), document }
    }

    /// Why a request is not even read, in APISIX's order: address, key, stream mode, kind, verb.
    fn refuse(&self, head: &Head) -> Result<(), Answer> {
        let segments = head.segments();
        let place = place(&segments);
        auth::address(&self.parts.allow, head.peer)?;
        match (&head.method, &place) {
            (&Method::OPTIONS, _) => return Err(Answer::text(StatusCode::OK, "")),
            (&Method::HEAD, Place::Root) => return Err(Answer::ok(&Value::Null)),
            (&Method::GET, Place::Document) => return Err(Answer::raw(StatusCode::OK, envelope::JSON, self.document.clone())),
            _ => {}
        }
        self.authenticate(head)?;
        match place {
            Place::Elsewhere | Place::Root | Place::Document => Err(Answer::not_found()),
            Place::Unknown(dir) => Err(Answer::error(StatusCode::NOT_FOUND, format!("Unsupported resource type: {dir}"))),
            Place::Objects(Kind::StreamRoute, ..) if !self.parts.stream_enabled => {
                Err(Answer::bad("stream mode is disabled, can not add stream routes"))
            }
            Place::Objects(..) if !resource::is_verb(&head.method) => Err(Answer::not_found()),
            Place::Objects(_, _, sub) if !sub.is_empty() && head.method != Method::PATCH => Err(Answer::not_found()),
            Place::Schema(_) if head.method != Method::GET => Err(Answer::not_found()),
            Place::Validate(_) | Place::ValidateAll | Place::Apply if head.method != Method::POST => Err(Answer::not_found()),
            Place::Objects(..) | Place::Schema(_) | Place::Validate(_) | Place::ValidateAll | Place::Apply => Ok(()),
        }
    }
}

impl Admin {
    /// `401` without a right key, and `429` after too many wrong ones, be the next one right or wrong: else it could be guessed on.
    fn authenticate(&self, head: &Head) -> Result<(), Answer> {
        let parts = &self.parts;
        if parts.keys.required
            && let Some(rest) = self.throttle.closed(head.peer)
        {
            parts.metrics.count_admin_auth_failure("throttled");
            return Err(auth::slow_down(rest));
        }
        let failure = match parts.keys.check(head) {
            Ok(()) => {
                self.throttle.succeeded(head.peer);
                return Ok(());
            }
            Err(failure) => failure,
        };
        parts.metrics.count_admin_auth_failure(failure.as_str());
        // to have no key is no guess
        if failure == auth::Failure::Wrong && self.throttle.failed(head.peer) {
            tracing::warn!(peer = %head.peer, "too many wrong keys: its requests are refused for the rest of a minute");
        }
        Err(failure.answer())
    }
}

#[async_trait]
impl Site for Admin {
    const BODY: usize = 1536 * 1024;

    fn gate(&self, head: &Head) -> Option<Answer> {
        self.refuse(head).err()
    }

    async fn answer(&self, head: &Head, body: Bytes) -> Answer {
        let parsed = match parse(&body) {
            Ok(parsed) => parsed,
            Err(refusal) => return refusal,
        };
        let segments = head.segments();
        match place(&segments) {
            Place::Objects(kind, id, sub) => {
                let ask = resource::Ask {
                    admin: self,
                    kind,
                    id,
                    sub: &sub,
                    query: &head.query,
                    headers: &head.headers,
                    raw: &body,
                    body: parsed,
                };
                resource::answer(&head.method, ask).await.unwrap_or_else(|refusal| refusal)
            }
            Place::Schema(name) => schemas::show(&self.parts.schemas, name),
            Place::Validate(dir) => schemas::validate(&self.parts.schemas, dir, parsed.as_ref()),
            Place::ValidateAll => validate::answer(&self.parts, &body, parsed.as_ref()),
            Place::Apply => resource::apply(self, head, &body, parsed).await.unwrap_or_else(|refusal| refusal),
            Place::Elsewhere | Place::Root | Place::Document | Place::Unknown(_) => Answer::not_found(),
        }
    }

    /// The version and, where a key protects the API, the leave for pages of other sites to use it.
    fn finish(&self, answer: Answer) -> Answer {
        let mut answer = answer;
        if answer.status() != StatusCode::UNAUTHORIZED {
            answer = answer.with(HeaderName::from_static("x-api-version"), HeaderValue::from_static("v3"));
        }
        if self.parts.keys.required {
            for (name, value) in CORS {
                answer = answer.with(name, HeaderValue::from_static(value));
            }
        }
        answer
    }
}

const CORS: [(HeaderName, &str); 5] = [
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (header::ACCESS_CONTROL_ALLOW_METHODS, "POST, GET, PUT, OPTIONS, DELETE, PATCH"),
    (header::ACCESS_CONTROL_ALLOW_HEADERS, "*, X-API-KEY, Content-Type"),
    (header::ACCESS_CONTROL_EXPOSE_HEADERS, "*"),
    (header::ACCESS_CONTROL_MAX_AGE, "3600"),
];

/// A body that cannot be read, for who sent it; never one that may hold a private key.
fn repeated(body: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(body);
    if betrays(&text) { Cow::Borrowed(STARS) } else { text }
}

/// A body, if there is one, must be JSON, whatever the verb.
fn parse(body: &[u8]) -> Result<Option<Value>, Answer> {
    if body.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(body).map(Some).map_err(|error| {
        let told = json!({ "error_msg": format!("invalid request body: {error}"), "req_body": repeated(body) });
        Answer::json(StatusCode::BAD_REQUEST, &told)
    })
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, KEY, ask};
    use super::*;

    #[tokio::test]
    async fn requests_are_looked_at_in_order() {
        let mut fake = Fake::new();
        fake.parts.stream_enabled = false;
        fake.parts.allow = vec!["127.0.0.0/24".parse().unwrap()];
        for (method, uri, key, body, status, says) in [
            ("PUT", "/apisix/admin/stream_routes/1", "", "{", 401, "failed to check token"),
            ("PUT", "/apisix/admin/stream_routes/1", "wrong", "{", 401, "failed to check token"),
            ("PUT", "/apisix/admin/stream_routes/1", KEY, "{", 400, "stream mode is disabled, can not add stream routes"),
            ("GET", "/apisix/admin/stream_routes", KEY, "", 400, "stream mode is disabled, can not add stream routes"),
            ("PUT", "/apisix/admin/routs/1", "", "{", 401, "failed to check token"),
            ("PUT", "/apisix/admin/routs/1", KEY, "{", 404, "Unsupported resource type: routs"),
            ("PUT", "/apisix/admin/schema/upstream", KEY, "{", 404, "not found"),
            ("POST", "/apisix/admin/schema/upstream", KEY, "", 404, "not found"),
            ("HEAD", "/apisix/admin/upstreams", KEY, "", 404, "not found"),
            ("GET", "/apisix/admin", KEY, "", 404, "not found"),
            ("GET", "/apisix/admin/upstreams/1/nodes", KEY, "", 404, "not found"),
            ("GET", "/other", KEY, "", 404, "not found"),
            ("GET", "/apisix/admin/upstreams?ttl=x", KEY, "", 400, "invalid argument ttl: should be a number"),
        ] {
            let told = fake.ask_with(method, uri, &[("x-api-key", key)], body).await;
            assert_eq!((told.0, told.1["error_msg"].as_str()), (status, Some(says)), "{method} {uri} {key}");
        }
        fake.parts.allow = vec!["10.0.0.0/8".parse().unwrap()];
        assert_eq!(fake.ask("GET", "/apisix/admin/upstreams", "").await.0, 403);
    }

    #[tokio::test]
    async fn a_head_on_the_root_needs_no_key() {
        let fake = Fake::new();
        assert_eq!(fake.ask_with("HEAD", "/apisix/admin", &[], "").await.0, 200);
        assert_eq!(fake.ask_with("OPTIONS", "/apisix/admin/upstreams", &[], "").await.0, 200);
    }

    #[tokio::test]
    async fn a_key_works_as_argument_header_and_cookie() {
        let fake = Fake::new();
        for (uri, headers, status) in [
            ("/apisix/admin/upstreams", vec![], 401),
            ("/apisix/admin/upstreams", vec![("x-api-key", KEY)], 200),
            ("/apisix/admin/upstreams?api_key=key-of-admin", vec![], 200),
            ("/apisix/admin/upstreams??api_key=key-of-viewer", vec![], 401),
            ("/apisix/admin/upstreams?api_key=key-of-viewer", vec![], 200),
            ("/apisix/admin/upstreams", vec![("cookie", "x_api_key=key-of-admin")], 200),
            ("/admin/upstreams", vec![("x-api-key", KEY)], 200),
            ("/apisix/admin/upstreams/", vec![("x-api-key", KEY)], 200),
        ] {
            assert_eq!(fake.ask_with("GET", uri, &headers, "").await.0, status, "{uri} {headers:?}");
        }
        let told = fake.ask_with("PUT", "/apisix/admin/upstreams/1?api_key=key-of-viewer", &[], "{}").await;
        assert_eq!((told.0, told.1["description"].as_str()), (401, Some("invalid method for role viewer")));
    }

    #[tokio::test(start_paused = true)]
    async fn after_ten_wrong_keys_a_client_waits_for_the_rest_of_the_minute() {
        let fake = Fake::new();
        let admin = fake.admin();
        let get = async |key: &str| ask(&admin, "GET", "/apisix/admin/upstreams", &[("x-api-key", key)], "").await.into_response();
        let status = async |key: &str| get(key).await.status().as_u16();
        for _ in 0..9 {
            assert_eq!(status("wrong").await, 401);
        }
        assert_eq!((status(KEY).await, status("wrong").await), (200, 401), "a right key forgives");
        for _ in 0..20 {
            assert_eq!(ask(&admin, "GET", "/apisix/admin/upstreams", &[], "").await.parts().0, 401, "no key is no guess");
        }
        for _ in 0..9 {
            assert_eq!(status("wrong").await, 401);
        }
        let refused = get(KEY).await;
        assert_eq!(refused.status(), 429);
        assert_eq!(refused.headers()["retry-after"], "60");
        tokio::time::advance(std::time::Duration::from_millis(9_500)).await;
        assert_eq!(get("wrong").await.headers()["retry-after"], "51");
        tokio::time::advance(std::time::Duration::from_millis(50_500)).await;
        assert_eq!(status(KEY).await, 200);
        let text = String::from_utf8(admin.parts.metrics.encode().unwrap()).unwrap();
        for line in [r#"{reason="wrong"} 19"#, r#"{reason="throttled"} 2"#, r#"{reason="missing"} 20"#] {
            assert!(text.contains(&format!("sluice_admin_auth_failures_total{line}")), "{line}: {text}");
        }
    }

    #[tokio::test]
    async fn every_answer_but_a_401_shows_the_api_version() {
        let fake = Fake::new();
        let version = |answer: Answer| answer.into_response().headers().get("x-api-version").cloned();
        assert_eq!(version(fake.answer("GET", "/apisix/admin/upstreams", &[("x-api-key", KEY)], "").await).unwrap(), "v3");
        assert_eq!(version(fake.answer("GET", "/apisix/admin/routs", &[("x-api-key", KEY)], "").await).unwrap(), "v3");
        assert_eq!(version(fake.answer("GET", "/apisix/admin/upstreams", &[], "").await), None);
    }

    #[tokio::test]
    async fn a_body_that_is_no_json_is_refused_for_every_verb() {
        let fake = Fake::new();
        for method in ["GET", "PUT", "POST", "DELETE", "PATCH"] {
            let (status, body) = fake.ask(method, "/apisix/admin/upstreams/1", "{\"a\"").await;
            assert_eq!((status, &body["req_body"]), (400, &"{\"a\"".into()), "{method}");
            assert!(body["error_msg"].as_str().unwrap().starts_with("invalid request body: "), "{method}");
        }
    }
}
