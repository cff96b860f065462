//! Objects by the Admin API: one file a verb. The table of verbs is here.

mod delete;
mod get;
mod list;
mod post;
mod put;
mod write;

use hyper::Method;
use hyper::body::Bytes;
use serde_json::Value;

use super::envelope::Answer;
use super::gate::Admin;
use super::query::Query;
use crate::base::id::{Id, Key, Kind};

/// One request for objects of a kind.
pub(super) struct Ask<'a> {
    /// The API.
    pub(super) admin: &'a Admin,
    /// The kind.
    pub(super) kind: Kind,
    /// The id in the path, as written.
    pub(super) id: Option<&'a str>,
    /// The arguments.
    pub(super) query: &'a Query,
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

    /// `400` for an object that the configuration file owns.
    fn not_reserved(&self, id: &str) -> Result<(), Answer> {
        let reserved = self.kind == Kind::Listener && self.admin.parts.reserved.iter().any(|own| own.as_str() == id);
        if reserved {
            let message = format!("listener [{id}] comes from the configuration file; it can only be changed there");
            return Err(Answer::bad(message));
        }
        Ok(())
    }
}

const PATCH_LESS: &str = "GET, PUT, POST, DELETE";
const FIXED_ID: &str = "GET, PUT, DELETE";

/// Whether objects know the verb, be it to refuse it.
pub(super) fn is_verb(method: &Method) -> bool {
    [Method::GET, Method::PUT, Method::POST, Method::DELETE, Method::PATCH].contains(method)
}

/// The answer to a request, a refusal being the error.
pub(super) async fn answer(method: &Method, ask: Ask<'_>) -> Result<Answer, Answer> {
    let ttl = ask.query.ttl()?;
    match (method, ask.kind) {
        (&Method::GET, _) if ask.id.is_none() => list::list(&ask).await,
        (&Method::GET, _) => get::get(&ask).await,
        (&Method::PUT, _) => put::put(&ask, ttl).await,
        (&Method::POST, Kind::Setting) => Err(unsupported(method, ask.kind, FIXED_ID)),
        (&Method::POST, _) => post::post(&ask, ttl).await,
        (&Method::DELETE, _) => delete::delete(&ask).await,
        (_, kind) => Err(unsupported(method, kind, if kind == Kind::Setting { FIXED_ID } else { PATCH_LESS })),
    }
}

fn unsupported(method: &Method, kind: Kind, allowed: &'static str) -> Answer {
    Answer::not_allowed(format!("not supported `{method}` method for {}", kind.label()), allowed)
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;

    #[tokio::test]
    async fn a_patch_is_not_served_and_says_so() {
        let fake = Fake::new();
        for (uri, says) in [
            ("/apisix/admin/stream_routes/1", "not supported `PATCH` method for stream route"),
            ("/apisix/admin/upstreams/1", "not supported `PATCH` method for upstream"),
        ] {
            let answer = fake.answer("PATCH", uri, &[("x-api-key", super::super::fake::KEY)], "{}").await;
            assert_eq!(answer.parts(), (405, serde_json::json!({ "error_msg": says })));
            assert_eq!(answer.into_response().headers()["allow"], "GET, PUT, POST, DELETE");
        }
        assert_eq!(fake.ask("POST", "/apisix/admin/settings", "{}").await.0, 405);
    }
}
