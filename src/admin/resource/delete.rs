//! `DELETE <kind>/<id>`: unless something stored still names the object; `?force=true` does not look.

use super::super::envelope::Answer;
use super::super::refs;
use super::Ask;
use crate::base::id::Key;
use crate::store::{Op, Txn};

/// 200 with `deleted`, 404, or 400 while the object is in use.
pub(super) async fn delete(ask: &Ask<'_>) -> Result<Answer, Answer> {
    let id = ask.id.ok_or_else(|| Answer::bad(format!("missing {} id", ask.kind.label())))?;
    ask.not_reserved(id)?;
    let key = ask.key(id).ok_or_else(Answer::no_key)?;
    if ask.query.is_true("force") || !refs::is_referred_to(ask.kind) {
        return remove(ask, &key).await;
    }
    let _alone = ask.admin.references.write().await;
    refs::unused(&ask.admin.parts, &key).await?;
    remove(ask, &key).await
}

/// Between the look and the delete somebody else may delete it too: then both are told that it is gone.
async fn remove(ask: &Ask<'_>, key: &Key) -> Result<Answer, Answer> {
    let parts = &ask.admin.parts;
    let path = key.path(&parts.prefix);
    if parts.store.get(&path).await?.is_none() {
        return Err(Answer::no_key());
    }
    parts.store.commit(Txn { guards: Vec::new(), ops: vec![Op::Delete { key: path.clone() }] }).await?;
    Ok(Answer::deleted(&path))
}

#[cfg(test)]
mod tests {
    use super::super::super::fake::Fake;
    use serde_json::json;

    fn used() -> Fake {
        let fake = Fake::new();
        fake.store.seed("/sluice/upstreams/1", r#"{"id":"1"}"#);
        fake.store.seed("/sluice/stream_routes/1", r#"{"id":"1","upstream_id":1}"#);
        fake.store.seed("/sluice/listeners/l", r#"{"id":"l","stream_route_id":"1"}"#);
        fake
    }

    #[tokio::test]
    async fn a_delete_says_what_it_deleted_and_is_a_404_the_second_time() {
        let fake = Fake::new();
        fake.store.seed("/sluice/upstreams/1", "{}");
        let told = fake.ask("DELETE", "/apisix/admin/upstreams/1", "").await;
        assert_eq!(told, (200, json!({ "deleted": "1", "key": "/sluice/upstreams/1" })));
        let told = fake.ask("DELETE", "/apisix/admin/upstreams/1", "").await;
        assert_eq!(told, (404, json!({ "message": "Key not found" })));
        assert_eq!(fake.ask("DELETE", "/apisix/admin/upstreams/*x", "").await.0, 404);
        let (status, body) = fake.ask("DELETE", "/apisix/admin/upstreams", "").await;
        assert_eq!((status, body["error_msg"].as_str()), (400, Some("missing upstream id")));
    }

    #[tokio::test]
    async fn what_is_in_use_is_deleted_only_by_force() {
        for (uri, says) in [
            ("upstreams/1", "can not delete this upstream, stream_route [1] is still using it now"),
            ("stream_routes/1", "can not delete this stream route, listener [l] is still using it now"),
        ] {
            let fake = used();
            for (query, status) in [("", 400), ("?force=anyvalue", 400), ("?force=true", 200)] {
                let told = fake.ask("DELETE", &format!("/apisix/admin/{uri}{query}"), "").await;
                assert_eq!(told.0, status, "{uri}{query}");
                assert!(status == 200 || told.1["error_msg"] == says, "{}", told.1);
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_longer_in_use_is_deleted() {
        let fake = used();
        for uri in ["listeners/l", "stream_routes/1", "upstreams/1"] {
            assert_eq!(fake.ask("DELETE", &format!("/apisix/admin/{uri}"), "").await.0, 200, "{uri}");
        }
    }

    #[tokio::test]
    async fn the_file_s_listeners_and_a_store_that_is_down_are_refused() {
        let fake = Fake::new();
        assert_eq!(fake.ask("DELETE", "/apisix/admin/listeners/conf-tcp-0", "").await.0, 400);
        fake.store.fail("down");
        assert_eq!(fake.ask("DELETE", "/apisix/admin/upstreams/1", "").await.0, 503);
    }
}
