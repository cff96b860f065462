//! `GET <kind>/<id>`: one object as it is stored, without private keys, with its place in the store's history.

use super::super::envelope::{Answer, item, shown, value_of};
use super::Ask;
use super::terms::tagged;

/// The object, or 404.
pub(super) async fn get(ask: &Ask<'_>) -> Result<Answer, Answer> {
    let parts = &ask.admin.parts;
    let key = ask.id.and_then(|id| ask.key(id)).ok_or_else(Answer::no_key)?;
    let entry = parts.store.get(&key.path(&parts.prefix)).await?.ok_or_else(Answer::no_key)?;
    Ok(tagged(Answer::ok(&item(&entry, shown(key.kind, value_of(&entry)))), entry.modified))
}

#[cfg(test)]
mod tests {
    use super::super::super::fake::Fake;
    use serde_json::json;

    #[tokio::test]
    async fn an_object_is_shown_as_it_was_written() {
        let fake = Fake::new();
        fake.store.seed("/sluice/upstreams/1", r#"{"id":"1","nodes":{}}"#);
        fake.store.seed("/sluice/upstreams/1", r#"{"id":"1","nodes":{"127.0.0.1:80":1}}"#);
        let (status, body) = fake.ask("GET", "/apisix/admin/upstreams/1", "").await;
        let shown = json!({
            "key": "/sluice/upstreams/1", "value": {"id": "1", "nodes": {"127.0.0.1:80": 1}}, "createdIndex": 1, "modifiedIndex": 2
        });
        assert_eq!((status, body), (200, shown));
    }

    #[tokio::test]
    async fn what_is_not_there_is_a_404_and_an_ailing_store_a_503() {
        let fake = Fake::new();
        for id in ["1", "*invalid", "conf-tcp-0"] {
            let told = fake.ask("GET", &format!("/apisix/admin/listeners/{id}"), "").await;
            assert_eq!(told, (404, json!({ "message": "Key not found" })), "{id}");
        }
        fake.store.fail("connection refused");
        let told = fake.ask("GET", "/apisix/admin/upstreams/1", "").await;
        assert_eq!(told, (503, json!({ "error_msg": "the store is not available: connection refused" })));
    }
}
