//! `DELETE <kind>/<id>`: unless something stored still names the object; `?force=true` does not look.

use super::super::envelope::Answer;
use super::super::gate::AdminParts;
use super::super::refs::{self, Fate};
use super::Ask;
use super::terms::Terms;
use super::write::ATTEMPTS;
use crate::base::id::Key;
use crate::store::{Guard, Op, Revision, StoreError, Txn};

/// 200 with `deleted`, 404, or 400 while the object is in use.
pub(super) async fn delete(ask: &Ask<'_>, terms: &Terms) -> Result<Answer, Answer> {
    let parts = &ask.admin.parts;
    let id = ask.id.ok_or_else(|| Answer::bad(format!("missing {} id", ask.kind.label())))?;
    super::not_reserved(parts, ask.kind, id)?;
    let key = ask.key(id).ok_or_else(Answer::no_key)?;
    let deleted = if ask.query.is_true("force") || !refs::is_referred_to(ask.kind) {
        remove(parts, &key, terms).await?
    } else {
        let _alone = ask.admin.references.write().await;
        // a name that leads nowhere keeps nothing
        parts.store.get(&key.path(&parts.prefix)).await?.ok_or_else(Answer::no_key)?;
        let used = refs::in_use(parts, std::slice::from_ref(&key), |_| Fate::Untouched).await?;
        if let Some(why) = used.into_values().next() {
            return Err(why);
        }
        remove(parts, &key, terms).await?
    };
    let answer = Answer::deleted(&key.path(&parts.prefix));
    Ok(match deleted {
        Some(at) => terms.settle(parts, at, answer).await,
        None => answer,
    })
}

/// Deletes what was looked at, or looks again. The revision of the delete; `None` for a trial.
async fn remove(parts: &AdminParts, key: &Key, terms: &Terms) -> Result<Option<Revision>, Answer> {
    let path = key.path(&parts.prefix);
    let mut lost = None;
    for _ in 0..ATTEMPTS {
        let entry = parts.store.get(&path).await?.ok_or_else(Answer::no_key)?;
        terms.allow(Some(&entry))?;
        if terms.dry_run {
            return Ok(None);
        }
        let guard = Guard { key: path.clone(), modified: Some(entry.modified) };
        match parts.store.commit(Txn { guards: vec![guard], ops: vec![Op::Delete { key: path.clone() }] }).await {
            Ok(at) => return Ok(Some(at)),
            Err(conflict @ StoreError::Conflict { .. }) => lost = Some(conflict),
            Err(other) => return Err(other.into()),
        }
    }
    Err(lost.map_or_else(Answer::no_key, Answer::from))
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
    async fn an_upstream_of_an_http_route_is_in_use() {
        let fake = Fake::new();
        fake.store.seed("/sluice/upstreams/1", "{}");
        fake.store.seed("/sluice/routes/shop", r#"{"upstream_id":1}"#);
        let (status, body) = fake.ask("DELETE", "/apisix/admin/upstreams/1", "").await;
        assert_eq!((status, body["error_msg"].as_str()), (400, Some("can not delete this upstream, route [shop] is still using it now")));
        assert_eq!(fake.ask("DELETE", "/apisix/admin/routes/shop", "").await.0, 200);
        assert_eq!(fake.ask("DELETE", "/apisix/admin/upstreams/1", "").await.0, 200);
    }

    #[tokio::test]
    async fn what_is_named_but_not_there_is_a_404() {
        let fake = used();
        fake.store.seed("/sluice/stream_routes/2", r#"{"upstream_id":"9"}"#);
        assert_eq!(fake.ask("DELETE", "/apisix/admin/upstreams/9", "").await.0, 404);
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
