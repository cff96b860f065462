//! Answers: the one place that knows their envelopes and headers. Which answer is given is decided elsewhere.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::base::id::Kind;
use crate::base::violation::Violation;
use crate::control::ingest::hidden;
use crate::store::{Entry, StoreError};

/// What the `Server` header says.
const SERVER: HeaderValue = HeaderValue::from_static(concat!("Sluice/", env!("CARGO_PKG_VERSION")));
/// The type of nearly every answer.
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    body: Bytes,
    content: HeaderValue,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Answer {
    /// A JSON body.
    pub(super) fn json(status: StatusCode, body: &Value) -> Self {
        Self { status, body: body.to_string().into(), content: JSON, headers: Vec::new() }
    }

    /// `200` with a JSON body.
    pub(super) fn ok(body: &Value) -> Self {
        Self::json(StatusCode::OK, body)
    }

    /// A body of some other type.
    pub(super) fn raw(status: StatusCode, content: HeaderValue, body: impl Into<Bytes>) -> Self {
        Self { status, body: body.into(), content, headers: Vec::new() }
    }

    /// A plain text, or nothing at all.
    pub(super) fn text(status: StatusCode, body: &'static str) -> Self {
        Self::raw(status, TEXT, body)
    }

    /// `{"error_msg": …}`.
    pub(super) fn error(status: StatusCode, message: impl Into<String>) -> Self {
        Self::json(status, &json!({ "error_msg": message.into() }))
    }

    /// `400 {"error_msg": …}`.
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::error(StatusCode::BAD_REQUEST, message)
    }

    /// `400` with every violation beside the text of the first.
    pub(super) fn invalid(message: impl Into<String>, violations: &[Violation]) -> Self {
        Self::json(StatusCode::BAD_REQUEST, &json!({ "error_msg": message.into(), "violations": violations }))
    }

    /// `404` for a path or a verb that nothing here serves.
    pub(super) fn not_found() -> Self {
        Self::error(StatusCode::NOT_FOUND, "not found")
    }

    /// `404` for an object that is not there.
    pub(super) fn no_key() -> Self {
        Self::json(StatusCode::NOT_FOUND, &json!({ "message": "Key not found" }))
    }

    /// `405`, naming what is allowed.
    pub(super) fn not_allowed(message: impl Into<String>, allowed: &'static str) -> Self {
        Self::error(StatusCode::METHOD_NOT_ALLOWED, message).with(header::ALLOW, HeaderValue::from_static(allowed))
    }

    /// The answer to a write: what was written, without its private keys.
    pub(super) fn written(status: StatusCode, kind: Kind, key: &str, value: &Value) -> Self {
        Self::json(status, &json!({ "key": key, "value": shown(kind, value.clone()) }))
    }

    /// The answer to a delete.
    pub(super) fn deleted(key: &str) -> Self {
        Self::ok(&json!({ "deleted": "1", "key": key }))
    }

    /// With one more header.
    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The status.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// The body, read again; null if it is no JSON.
    pub(super) fn into_json(self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The message for the wire.
    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, self.content);
        headers.insert(header::SERVER, SERVER);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        response
    }
}

impl From<StoreError> for Answer {
    fn from(error: StoreError) -> Self {
        Self::error(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

/// A stored value as JSON; what is none is shown as the text that it is.
pub(super) fn value_of(entry: &Entry) -> Value {
    serde_json::from_slice(&entry.value).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&entry.value).into_owned()))
}

/// A value as it may be shown: without private keys.
pub(super) fn shown(kind: Kind, mut value: Value) -> Value {
    hidden::hide(kind, &mut value);
    value
}

/// One object with its place in the store's history.
pub(super) fn item(entry: &Entry, value: Value) -> Value {
    let mut item = Map::new();
    item.insert("key".into(), Value::String(entry.key.to_string()));
    item.insert("value".into(), value);
    item.insert("createdIndex".into(), entry.created.into());
    item.insert("modifiedIndex".into(), entry.modified.into());
    Value::Object(item)
}

#[cfg(test)]
impl Answer {
    /// Status and body, for tests.
    pub(super) fn parts(&self) -> (u16, Value) {
        let body = serde_json::from_slice(&self.body);
        (self.status.as_u16(), body.unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&self.body).into_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_names_its_server_and_its_type() {
        let response = Answer::bad("no").with(header::ALLOW, HeaderValue::from_static("GET")).into_response();
        assert_eq!(response.status(), 400);
        assert_eq!(response.headers()["server"], concat!("Sluice/", env!("CARGO_PKG_VERSION")));
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(response.headers()["allow"], "GET");
    }

    #[test]
    fn a_stored_value_that_is_no_json_is_shown_as_text() {
        let entry = Entry { key: "/sluice/upstreams/".into(), value: Bytes::from_static(b"init_dir"), created: 1, modified: 2 };
        assert_eq!(item(&entry, value_of(&entry))["value"], "init_dir");
    }
}
