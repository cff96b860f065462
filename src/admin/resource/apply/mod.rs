//! `POST apply`: several objects in one transaction. All are written, with one revision, or none is.

mod set;

use hyper::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::super::envelope::{Answer, shown};
use super::super::gate::{Admin, AdminParts};
use super::super::refs;
use super::super::server::Head;
use super::super::validate::failed;
use super::terms::Terms;
use super::write;
use crate::base::id::Key;
use crate::store::{Entry, Guard, Op, Revision, StoreError, Txn};
use set::{Item, MOST, Set, refused};

/// 200 with the revision and what was put and deleted; 400 or 412 with every object that is in the way.
pub(in super::super) async fn apply(admin: &Admin, head: &Head, raw: &[u8], body: Option<Value>) -> Result<Answer, Answer> {
    let terms = Terms::read(&Method::POST, &head.query, &head.headers)?;
    if head.headers.contains_key(header::IF_MATCH) {
        return Err(Answer::bad("If-Match is for one object; here each may have its modifiedIndex"));
    }
    let body = body.ok_or_else(|| Answer::bad("invalid request body: empty request body"))?;
    write::clear(raw)?;
    let set = Set::read(&admin.parts, body)?;
    let unused = !head.query.is_true("force") && set.items.iter().any(|item| item.value.is_none() && refs::is_referred_to(item.key.kind));
    // as a delete of one object: nobody in this process refers to what is about to go
    let (answer, at) = if unused {
        let _alone = admin.references.write().await;
        commit(&admin.parts, &set, &terms, unused).await?
    } else {
        let _shared = admin.references.read().await;
        commit(&admin.parts, &set, &terms, unused).await?
    };
    Ok(match at {
        Some(at) => terms.settle(&admin.parts, at, answer).await,
        None => answer,
    })
}

/// Looks at everything, writes what was looked at, or looks again. No revision: it was a trial.
async fn commit(parts: &AdminParts, set: &Set, terms: &Terms, unused: bool) -> Result<(Answer, Option<Revision>), Answer> {
    let mut lost = None;
    for _ in 0..write::ATTEMPTS {
        let mut plan = Plan::default();
        plan.objects(parts, set, terms).await?;
        if unused {
            plan.users(parts, set).await?;
        }
        let (txn, mut told) = plan.finish()?;
        // without a write there is no revision that could be waited for
        if terms.dry_run || txn.ops.is_empty() {
            return Ok((Answer::ok(&told), None));
        }
        match parts.store.commit(txn).await {
            Ok(at) => {
                if let Value::Object(told) = &mut told {
                    told.insert("revision".into(), at.into());
                }
                return Ok((Answer::ok(&told), Some(at)));
            }
            Err(conflict @ StoreError::Conflict { .. }) => lost = Some(conflict),
            Err(other) => return Err(other.into()),
        }
    }
    Err(lost.map_or_else(Answer::not_found, Answer::from))
}

/// A transaction in the making, and what is told of it.
#[derive(Default)]
struct Plan {
    txn: Txn,
    put: Vec<Value>,
    deleted: Vec<String>,
    /// Objects that are wrong as the store is now.
    wrong: Vec<Value>,
    /// Objects that have another version than they should.
    stale: Vec<Value>,
}

impl Plan {
    async fn objects(&mut self, parts: &AdminParts, set: &Set, terms: &Terms) -> Result<(), Answer> {
        for item in &set.items {
            let path = item.key.path(&parts.prefix);
            let stored = parts.store.get(&path).await?;
            let modified = stored.as_ref().map(|entry| entry.modified);
            if item.version.is_some_and(|wanted| wanted != modified.unwrap_or(0)) {
                self.stale.push(item.report(Answer::bad(other_version(modified))));
                continue;
            }
            if item.value.is_some() || stored.is_some() {
                self.guard(Guard { key: path.clone(), modified });
            }
            self.change(parts, set, terms, item, path, stored.as_ref()).await?;
        }
        Ok(())
    }

    async fn change(
        &mut self,
        parts: &AdminParts,
        set: &Set,
        terms: &Terms,
        item: &Item,
        path: String,
        stored: Option<&Entry>,
    ) -> Result<(), Answer> {
        let Some(value) = &item.value else {
            if stored.is_some() {
                self.deleted.push(path.clone());
                self.txn.ops.push(Op::Delete { key: path });
            }
            return Ok(());
        };
        let mut value = value.clone();
        write::stamp(&mut value, stored);
        let (bytes, value) = match write::sealed(parts, &item.key, value) {
            Ok(sealed) => sealed,
            Err(error) => {
                self.wrong.push(item.report(error));
                return Ok(());
            }
        };
        match refs::guards(parts, item.key.kind, &value, |key| set.fate(key)).await {
            Ok(guards) => guards.into_iter().for_each(|guard| self.guard(guard)),
            // a store that does not answer is nothing that is wrong with the object
            Err(error) if error.status() != StatusCode::BAD_REQUEST => return Err(error),
            Err(error) => self.wrong.push(item.report(error)),
        }
        self.put.push(json!({ "key": path, "value": shown(item.key.kind, value), "created": stored.is_none() }));
        self.txn.ops.push(Op::Put { key: path, value: bytes, ttl: terms.ttl });
        Ok(())
    }

    /// What is deleted must not be named by what stays.
    async fn users(&mut self, parts: &AdminParts, set: &Set) -> Result<(), Answer> {
        let goes = |item: &Item| item.value.is_none() && self.deleted.contains(&item.key.path(&parts.prefix));
        let going: Vec<&Item> = set.items.iter().filter(|item| goes(item)).collect();
        let keys: Vec<Key> = going.iter().map(|item| item.key.clone()).collect();
        let mut used = refs::in_use(parts, &keys, |key| set.fate(key)).await?;
        for item in going {
            if let Some(why) = used.remove(&item.key) {
                self.wrong.push(item.report(why));
            }
        }
        Ok(())
    }

    /// Two objects may name the same third one.
    fn guard(&mut self, guard: Guard) {
        if !self.txn.guards.contains(&guard) {
            self.txn.guards.push(guard);
        }
    }

    fn finish(self) -> Result<(Txn, Value), Answer> {
        if !self.stale.is_empty() {
            return Err(failed(StatusCode::PRECONDITION_FAILED, "objects have other versions than they should", &self.stale));
        }
        if !self.wrong.is_empty() {
            return Err(refused(&self.wrong));
        }
        let conditions = self.txn.guards.len();
        if conditions > MOST {
            let message = format!(
                "a transaction has at most {MOST} conditions, as in etcd; this one needs {conditions}: one for each object that it writes, \
                 and one for each other object that these name"
            );
            return Err(Answer::bad(message));
        }
        Ok((self.txn, json!({ "put": self.put, "deleted": self.deleted })))
    }
}

fn other_version(modified: Option<Revision>) -> String {
    modified.map_or_else(|| "the object is not there".to_owned(), |now| format!("the object has changed: its version is {now} now"))
}

#[cfg(test)]
mod tests {
    use super::super::super::fake::{Fake, KEY};
    use serde_json::{Value, json};

    const URI: &str = "/apisix/admin/apply";

    fn stack() -> Value {
        json!({ "put": {
            "listeners": [{ "id": "l", "addr": "127.0.0.1:9100", "stream_route_id": "r" }],
            "stream_routes": [{ "id": "r", "upstream_id": 7 }],
            "upstreams": [{ "id": 7, "nodes": {} }]
        } })
    }

    async fn applied(fake: &Fake, body: &Value) -> Value {
        let (status, told) = fake.ask("POST", URI, &body.to_string()).await;
        assert_eq!(status, 200, "{body}: {told}");
        told
    }

    /// Kind, id, place and text of every error.
    async fn wrong(fake: &Fake, status: u16, body: &Value) -> Vec<String> {
        let told = fake.ask("POST", URI, &body.to_string()).await;
        assert_eq!(told.0, status, "{}", told.1);
        let text =
            |e: &Value| format!("{} {} {} {}", e["resource_type"], e["resource_id"], e["index"], e["error"]).replace(['"', '\\'], "");
        told.1["errors"].as_array().unwrap_or_else(|| panic!("{}", told.1)).iter().map(text).collect()
    }

    #[tokio::test]
    async fn objects_that_name_each_other_come_with_one_revision() {
        let fake = Fake::new();
        let told = applied(&fake, &stack()).await;
        assert_eq!((&told["revision"], &told["deleted"]), (&json!(1), &json!([])));
        let put = told["put"].as_array().unwrap();
        assert_eq!(
            put.iter().map(|p| p["key"].as_str().unwrap()).collect::<Vec<_>>(),
            ["/sluice/listeners/l", "/sluice/stream_routes/r", "/sluice/upstreams/7"]
        );
        for one in put {
            assert_eq!(one["created"], true);
            assert_eq!(one["value"], fake.store.value(one["key"].as_str().unwrap()));
            assert!(one["value"]["create_time"].is_u64());
        }
        assert_eq!(fake.ask("GET", "/apisix/admin/upstreams/7", "").await.1["modifiedIndex"], 1);
    }

    #[tokio::test]
    async fn what_is_named_by_the_deleted_goes_with_it() {
        let fake = Fake::new();
        applied(&fake, &stack()).await;
        fake.store.seed("/sluice/stream_routes/dangling", r#"{"upstream_id":"9"}"#);
        let in_use = wrong(&fake, 400, &json!({ "delete": ["upstreams/7", "stream_routes/r"] })).await;
        assert_eq!(in_use, ["stream_routes r 1 can not delete this stream route, listener [l] is still using it now"]);
        let body =
            json!({ "put": { "listeners": [{ "id": "l", "addr": 9100 }] }, "delete": ["upstreams/7", "stream_routes/r", "upstreams/9"] });
        let told = applied(&fake, &body).await;
        assert_eq!((&told["revision"], &told["deleted"]), (&json!(3), &json!(["/sluice/upstreams/7", "/sluice/stream_routes/r"])));
        assert_eq!((&told["put"][0]["created"], fake.store.len()), (&json!(false), 2));
        fake.store.seed("/sluice/stream_routes/s", r#"{"upstream_id":"u"}"#);
        fake.store.seed("/sluice/upstreams/u", "{}");
        assert_eq!(fake.ask("POST", &format!("{URI}?force=true"), r#"{"delete":["upstreams/u"]}"#).await.0, 200);
    }

    #[tokio::test]
    async fn one_wrong_object_and_nothing_is_written() {
        let fake = Fake::new();
        fake.store.seed("/sluice/upstreams/gone", r#"{"id":"gone"}"#);
        let body = json!({
            "put": {
                "upstreams": [{ "id": "1", "nodes": {} }, { "id": "2", "retries": -1 }, { "nodes": {} }, { "id": "1" }, { "id": "3", "create_time": 1 }],
                "listeners": [{ "id": "conf-tcp-0", "addr": 1 }],
                "settings": [{ "id": "other" }],
                "colours": [], "stream_routes": {}
            },
            "delete": ["upstreams/1", "colours/1", "upstreams/*", "upstreams", 5, { "key": "upstreams/4", "modifiedIndex": "x" }, { "key": "upstreams/5", "x": 1 }]
        });
        let form = "expected <kind>/<id> or {key: <kind>/<id>, modifiedIndex: <number>}";
        let expected = [
            "upstreams 2 1 invalid configuration: property retries validation failed: expected -1 to be at least 0".to_owned(),
            "upstreams null 2 missing upstream id".into(),
            "upstreams 1 3 found duplicate id 1 in upstreams".into(),
            "upstreams 3 4 the property is forbidden:  create_time".into(),
            "listeners conf-tcp-0 0 listener [conf-tcp-0] comes from the configuration file; it can only be changed there".into(),
            "settings other 0 invalid configuration: no such setting: other; the only one is global".into(),
            "colours null null Unsupported resource type: colours".into(),
            "stream_routes null null stream_routes should be a list".into(),
            "upstreams 1 0 found duplicate id 1 in upstreams".into(),
            "colours 1 1 Unsupported resource type: colours".into(),
            "upstreams * 2 not an id: 1 to 64 characters of A-Z a-z 0-9 . _ -".into(),
            format!("upstreams  3 {form}"),
            format!("  4 {form}"),
            "upstreams 4 5 modifiedIndex should be a whole number; 0 for what must not be there".into(),
            format!("upstreams 5 6 {form}"),
        ];
        assert_eq!(wrong(&fake, 400, &body).await, expected);
        let dangling = json!({
            "put": { "stream_routes": [{ "id": "a", "upstream_id": "9" }, { "id": "b", "upstream_id": "gone" }] },
            "delete": ["upstreams/gone"]
        });
        assert_eq!(
            wrong(&fake, 400, &dangling).await,
            [
                "stream_routes a 0 failed to fetch upstream info by upstream id [9], response code: 404",
                "stream_routes b 1 failed to fetch upstream info by upstream id [gone], response code: 404"
            ]
        );
        assert_eq!(fake.store.len(), 1);
    }

    #[tokio::test]
    async fn a_body_of_another_form_is_refused() {
        let fake = Fake::new();
        for body in ["", "[]", r#"{"put":[]}"#, r#"{"delete":{}}"#, r#"{"upstreams":[]}"#, r#"{"put":{},"put":{}}"#] {
            assert_eq!(fake.ask("POST", URI, body).await.0, 400, "{body}");
        }
        assert_eq!(fake.ask("GET", URI, "").await.0, 404);
        assert_eq!(fake.ask("POST", "/apisix/admin/apply/x", "{}").await.0, 404);
        assert_eq!(fake.ask_with("POST", URI, &[("x-api-key", KEY), ("if-match", "*")], "{}").await.0, 400);
        assert_eq!(fake.ask("POST", URI, "{}").await.0, 200);
        let mut off = Fake::new();
        off.parts.stream_enabled = false;
        assert_eq!(wrong(&off, 400, &json!({ "delete": ["stream_routes/1"] })).await.len(), 1);
    }

    #[tokio::test]
    async fn more_than_a_transaction_holds_is_refused() {
        let fake = Fake::new();
        let upstreams = |n: usize| (0..n).map(|n| json!({ "id": n.to_string(), "nodes": {} })).collect::<Vec<_>>();
        let told =
            fake.ask("POST", URI, &json!({ "put": { "upstreams": upstreams(100) }, "delete": vec!["upstreams/x"; 29] }).to_string()).await;
        let says = "a transaction has at most 128 operations, as in etcd; this one has 129";
        assert_eq!((told.0, told.1["error_msg"].as_str()), (400, Some(says)));
        let told = applied(&fake, &json!({ "put": { "upstreams": upstreams(128) } })).await;
        assert_eq!((&told["revision"], fake.store.len()), (&json!(1), 128));
        let routes: Vec<Value> = (0..65).map(|n| json!({ "id": n.to_string(), "upstream_id": n.to_string() })).collect();
        let (status, told) = fake.ask("POST", URI, &json!({ "put": { "stream_routes": routes[..65] } }).to_string()).await;
        assert!(status == 400 && told["error_msg"].as_str().unwrap().contains("at most 128 conditions"), "{told}");
        applied(&fake, &json!({ "put": { "stream_routes": routes[..64] } })).await;
    }

    #[tokio::test]
    async fn versions_may_be_named() {
        let fake = Fake::new();
        fake.store.seed("/sluice/upstreams/1", r#"{"id":"1","create_time":5}"#);
        let put = |version: u64| json!({ "put": { "upstreams": [{ "id": "1", "nodes": {}, "modifiedIndex": version }] } });
        assert_eq!(wrong(&fake, 412, &put(0)).await, ["upstreams 1 0 the object has changed: its version is 1 now"]);
        let delete = json!({ "delete": [{ "key": "upstreams/2", "modifiedIndex": 1 }] });
        assert_eq!(wrong(&fake, 412, &delete).await, ["upstreams 2 0 the object is not there"]);
        let told = applied(&fake, &put(1)).await;
        assert_eq!((&told["put"][0]["value"]["create_time"], told["put"][0]["value"].get("modifiedIndex")), (&json!(5), None));
        fake.store.before_next_commit("/sluice/upstreams/1", Some("{}"));
        assert_eq!(wrong(&fake, 412, &put(2)).await, ["upstreams 1 0 the object has changed: its version is 3 now"]);
        applied(&fake, &json!({ "delete": [{ "key": "upstreams/1", "modifiedIndex": 3 }, { "key": "upstreams/2", "modifiedIndex": 0 }] }))
            .await;
        assert_eq!(fake.store.len(), 0);
    }

    #[tokio::test]
    async fn a_lost_race_is_looked_at_again() {
        let fake = Fake::new();
        fake.store.seed("/sluice/upstreams/1", r#"{"id":"1"}"#);
        let body = json!({ "put": { "stream_routes": [{ "id": "1", "upstream_id": "1" }, { "id": "2", "upstream_id": "1" }] } });
        fake.store.before_next_commit("/sluice/upstreams/1", Some(r#"{"id":"1","desc":"x"}"#));
        assert_eq!(applied(&fake, &body).await["revision"], 3);
        fake.store.before_next_commit("/sluice/upstreams/1", None);
        assert_eq!(wrong(&fake, 400, &body).await.len(), 2);
        fake.store.conflict_always();
        assert_eq!(fake.ask("POST", URI, &stack().to_string()).await.0, 503);
        fake.store.fail("down");
        assert_eq!(fake.ask("POST", URI, &body.to_string()).await.0, 503);
    }

    #[tokio::test(start_paused = true)]
    async fn the_terms_of_one_write_hold_for_all() {
        let fake = Fake::new();
        let (status, told) = fake.ask("POST", &format!("{URI}?dry_run=true"), &stack().to_string()).await;
        assert_eq!((status, told.get("revision"), told["put"].as_array().unwrap().len(), fake.store.len()), (200, None, 3, 0));
        let (status, told) = fake.ask("POST", &format!("{URI}?wait=applied&timeout=1s&ttl=9"), &stack().to_string()).await;
        assert_eq!((status, &told["revision"]), (504, &json!(1)));
        assert_eq!(fake.store.ttl("/sluice/upstreams/7"), Some(std::time::Duration::from_secs(9)));
        let nothing = r#"{"delete":["upstreams/absent"]}"#;
        let told = fake.ask("POST", &format!("{URI}?wait=applied"), nothing).await;
        assert_eq!(told, (200, json!({ "put": [], "deleted": [] })));
    }
}
