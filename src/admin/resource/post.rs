//! `POST <kind>`: creates an object whose id is made here: the revision of a write, so it grows and is never given twice.

use bytes::Bytes;
use serde_json::Value;

use super::super::envelope::Answer;
use super::super::gate::AdminParts;
use super::super::refs::{self, Fate};
use super::Ask;
use super::terms::Terms;
use super::write::{self, Draft, Form};
use crate::base::id::{Id, Key};
use crate::store::{Op, Txn};

/// 201 with the object and its id.
pub(super) async fn post(ask: &Ask<'_>, terms: Terms) -> Result<Answer, Answer> {
    let parts = &ask.admin.parts;
    let body = ask.body.clone().ok_or_else(|| Answer::bad("missing configurations"))?;
    if ask.id.is_some() || body.get("id").is_some() {
        return Err(Answer::bad(format!("wrong {} id, do not need it", ask.kind.label())));
    }
    write::no_times(&body)?;
    // a wrong body takes no id: it is judged under one that nobody gets
    write::judge(parts, &Key::new(ask.kind, id(0)?), ask.raw)?;
    refs::guards(parts, ask.kind, &body, |_| Fate::Untouched).await?;
    let Value::Object(mut value) = body else { return Err(Answer::bad("invalid configuration: wrong type: expected object")) };
    // nor does one that is to replace something, or a trial
    terms.allow(None)?;
    let number = if terms.dry_run { 0 } else { next(parts).await? };
    let id = id(number)?;
    value.insert("id".into(), Value::String(id.as_str().to_owned()));
    Draft { key: Key::new(ask.kind, id), form: Form::New(value), terms }.write(ask.admin).await
}

/// A number that this store has never given before.
async fn next(parts: &AdminParts) -> Result<u64, Answer> {
    let put = Op::Put { key: format!("{}/gen_id", parts.prefix), value: Bytes::from_static(b"1"), ttl: None };
    Ok(parts.store.commit(Txn { guards: Vec::new(), ops: vec![put] }).await?)
}

/// Twenty digits, so that text order is the order of creation.
fn id(number: u64) -> Result<Id, Answer> {
    Id::parse(&format!("{number:020}")).map_err(|error| Answer::bad(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::super::super::fake::Fake;
    use serde_json::json;

    #[tokio::test]
    async fn ids_are_revisions_of_twenty_digits_that_grow() {
        let fake = Fake::new();
        let route = r#"{"remote_addr":"127.0.0.1","upstream":{"nodes":{"127.0.0.1:8080":1},"type":"roundrobin"}}"#;
        let (status, body) = fake.ask("POST", "/apisix/admin/stream_routes", route).await;
        assert_eq!((status, &body["key"]), (201, &json!("/sluice/stream_routes/00000000000000000001")));
        assert_eq!(body["value"]["id"], "00000000000000000001");
        let (_, body) = fake.ask("POST", "/apisix/admin/stream_routes/", route).await;
        assert_eq!(body["value"]["id"], "00000000000000000003");
        let mut value = body["value"].clone();
        for field in ["id", "create_time", "update_time"] {
            assert!(value.as_object_mut().unwrap().remove(field).is_some(), "{field}");
        }
        assert_eq!(value, serde_json::from_str::<serde_json::Value>(route).unwrap());
        let (status, _) = fake.ask("DELETE", "/apisix/admin/stream_routes/00000000000000000003", "").await;
        assert_eq!(status, 200);
    }

    #[tokio::test]
    async fn a_wrong_post_says_what_is_wrong_and_takes_no_id() {
        let fake = Fake::new();
        for (uri, body, says) in [
            ("upstreams", "", "missing configurations"),
            ("upstreams", r#"{"id":1,"nodes":{}}"#, "wrong upstream id, do not need it"),
            ("upstreams/1", r#"{"nodes":{}}"#, "wrong upstream id, do not need it"),
            ("stream_routes/1", "{}", "wrong stream route id, do not need it"),
            ("upstreams", r#"{"nodes":{},"create_time":1}"#, "the property is forbidden:  create_time"),
            ("upstreams", r#"{"colour":1,"nodes":{}}"#, "invalid configuration: additional properties forbidden, found colour"),
            ("stream_routes", r#"{"upstream_id":"9"}"#, "failed to fetch upstream info by upstream id [9], response code: 404"),
        ] {
            let told = fake.ask("POST", &format!("/apisix/admin/{uri}"), body).await;
            assert_eq!((told.0, told.1["error_msg"].as_str()), (400, Some(says)), "{uri} {body}");
        }
        assert_eq!(fake.store.len(), 0);
    }

    #[tokio::test]
    async fn an_ailing_store_is_a_503() {
        let fake = Fake::new();
        fake.store.fail("has no healthy endpoint");
        let (status, body) = fake.ask("POST", "/apisix/admin/upstreams", r#"{"nodes":{}}"#).await;
        assert_eq!((status, body["error_msg"].as_str()), (503, Some("the store is not available: has no healthy endpoint")));
    }
}
