//! Objects by the Admin API: one file a verb. The table of verbs is here.

mod apply;
mod delete;
mod get;
mod list;
mod patch;
mod post;
mod put;
mod terms;
mod write;

use hyper::body::Bytes;
use hyper::{HeaderMap, Method};
use serde_json::Value;

use super::envelope::Answer;
use super::gate::{Admin, AdminParts};
use super::query::Query;
use crate::base::id::{Id, Key, Kind};
use terms::Terms;

pub(super) use apply::apply;
pub(super) use write::clear;

/// One request for objects of a kind.
pub(super) struct Ask<'a> {
    /// The API.
    pub(super) admin: &'a Admin,
    /// The kind.
    pub(super) kind: Kind,
    /// The id in the path, as written.
    pub(super) id: Option<&'a str>,
    /// What stands behind the id; only a patch has that.
    pub(super) sub: &'a [&'a str],
    /// The arguments.
    pub(super) query: &'a Query,
    /// The headers.
    pub(super) headers: &'a HeaderMap,
    /// The body as sent.
    pub(super) raw: &'a Bytes,
    /// The body as read; `None` if there was none.
    pub(super) body: Option<Value>,
}

impl Ask<'_> {
    /// The key in the path; `None` for an id that no object can have.
    fn key(&self, id: &str) -> Option<Key> {
        Id::parse(id).ok().map(|id| Key::new(self.kind, id))
    }
}

/// `400` for an object that the configuration file owns.
fn not_reserved(parts: &AdminParts, kind: Kind, id: &str) -> Result<(), Answer> {
    if kind == Kind::Listener && parts.reserved.iter().any(|own| own.as_str() == id) {
        let message = format!("listener [{id}] comes from the configuration file; it can only be changed there");
        return Err(Answer::bad(message));
    }
    Ok(())
}

/// Whether objects know the verb, be it to refuse it.
pub(super) fn is_verb(method: &Method) -> bool {
    [Method::GET, Method::PUT, Method::POST, Method::DELETE, Method::PATCH].contains(method)
}

/// The answer to a request, a refusal being the error.
pub(super) async fn answer(method: &Method, ask: Ask<'_>) -> Result<Answer, Answer> {
    let terms = Terms::read(method, ask.query, ask.headers)?;
    match (method, ask.kind) {
        (&Method::GET, _) if ask.id.is_none() => list::list(&ask).await,
        (&Method::GET, _) => get::get(&ask).await,
        (&Method::PUT, _) => put::put(&ask, terms).await,
        (&Method::POST, Kind::Setting) => Err(unsupported(method, ask.kind, "GET, PUT, PATCH, DELETE")),
        (&Method::POST, _) => post::post(&ask, terms).await,
        (&Method::DELETE, _) => delete::delete(&ask, &terms).await,
        (&Method::PATCH, _) => patch::patch(&ask, terms).await,
        _ => Err(Answer::not_found()),
    }
}

/// Whether an object that nobody writes would be taken; one without an id is judged under one that nobody gets.
pub(super) fn judge_item(parts: &AdminParts, kind: Kind, id: Option<&str>, value: &Value) -> Result<(), Answer> {
    let unnamed = if kind == Kind::Setting { "global" } else { "0" };
    let key = write::key_of(parts, kind, id.unwrap_or(unnamed), value)?;
    write::judge(parts, &key, value.to_string().as_bytes())
}

fn unsupported(method: &Method, kind: Kind, allowed: &'static str) -> Answer {
    Answer::not_allowed(format!("not supported `{method}` method for {}", kind.label()), allowed)
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;

    #[tokio::test]
    async fn a_setting_is_not_posted() {
        let fake = Fake::new();
        let answer = fake.answer("POST", "/apisix/admin/settings", &[("x-api-key", super::super::fake::KEY)], "{}").await;
        assert_eq!(answer.parts(), (405, serde_json::json!({ "error_msg": "not supported `POST` method for setting" })));
        assert_eq!(answer.into_response().headers()["allow"], "GET, PUT, PATCH, DELETE");
    }
}
