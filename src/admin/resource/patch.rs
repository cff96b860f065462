//! `PATCH <kind>/<id>[/<sub>/<path>]`: merges a body into a stored object, or replaces one place of it.

use serde_json::{Map, Value};

use super::super::envelope::Answer;
use super::Ask;
use super::terms::Terms;
use super::write::{self, Draft, Form};
use crate::base::id::Key;
use crate::control::ingest::id_text;

/// 200 with the whole object, 404, or 400 if the outcome is no object of its kind.
pub(super) async fn patch(ask: &Ask<'_>, terms: Terms) -> Result<Answer, Answer> {
    let id = ask.id.ok_or_else(|| Answer::bad(format!("missing {} id", ask.kind.label())))?;
    let body = ask.body.clone().ok_or_else(|| Answer::bad("missing new configuration"))?;
    let at = ask.sub.iter().map(|segment| decoded(segment)).collect::<Option<Vec<String>>>();
    let at = at.ok_or_else(|| Answer::bad(format!("invalid sub-path: /{}", ask.sub.join("/"))))?;
    if at.is_empty() && !body.is_object() {
        return Err(Answer::bad("invalid configuration"));
    }
    super::not_reserved(&ask.admin.parts, ask.kind, id)?;
    write::clear(ask.raw)?;
    let key = ask.key(id).ok_or_else(Answer::no_key)?;
    Draft { key, form: Form::Change(Patch { at, body }), terms }.write(ask.admin).await
}

/// A change to whatever is stored.
pub(super) struct Patch {
    /// The place that is replaced; empty: the body is merged into the whole.
    at: Vec<String>,
    body: Value,
}

impl Patch {
    /// The object as it is with the change, its times set.
    pub(super) fn over(&self, key: &Key, stored: Value) -> Result<Map<String, Value>, Answer> {
        let mut value = stored;
        let before = value.get("create_time").cloned();
        if self.at.is_empty() {
            merge(&mut value, &self.body);
        } else {
            replace(&mut value, &self.at, self.body.clone())?;
        }
        let Value::Object(mut value) = value else { return Err(Answer::bad("invalid configuration: wrong type: expected object")) };
        if value.get("id").is_some_and(|id| id_text(id).as_deref() != Some(key.id.as_str())) {
            return Err(Answer::bad(format!("wrong {} id", key.kind.label())));
        }
        value.insert("id".into(), Value::String(key.id.as_str().to_owned()));
        let now = write::now();
        if !value.contains_key("create_time") {
            value.insert("create_time".into(), before.unwrap_or_else(|| now.into()));
        }
        let told = self.at.is_empty() && self.body.get("update_time").is_some_and(|time| !time.is_null());
        if !told {
            value.insert("update_time".into(), now.into());
        }
        Ok(value)
    }
}

/// Objects go into objects, null takes away, everything else replaces (RFC 7386).
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(object) = target else { return };
    for (name, value) in fields {
        if value.is_null() {
            // what follows keeps its order
            object.shift_remove(name);
        } else {
            merge(object.entry(name.as_str()).or_insert(Value::Null), value);
        }
    }
}

/// Sets one place; objects that are missing on the way are made, an item of a list must be there.
fn replace(target: &mut Value, at: &[String], new: Value) -> Result<(), Answer> {
    let wrong = |depth: usize| Answer::bad(format!("invalid sub-path: /{}", at.get(..depth).unwrap_or(at).join("/")));
    let mut place = target;
    for (depth, name) in at.iter().enumerate() {
        place = match place {
            Value::Object(object) => object.entry(name.as_str()).or_insert_with(|| Value::Object(Map::new())),
            Value::Array(items) => {
                let item = name.parse::<usize>().ok().and_then(|index| items.get_mut(index));
                item.ok_or_else(|| wrong(depth + 1))?
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return Err(wrong(depth)),
        };
    }
    *place = new;
    Ok(())
}

/// A segment of the path without its percent signs; `None` if it is no text.
fn decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |b: Option<u8>| char::from(b?).to_digit(16);
        let (high, low) = (digit(rest.next())?, digit(rest.next())?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::super::super::fake::{Fake, KEY};
    use serde_json::{Value, json};

    const URI: &str = "/apisix/admin/upstreams/1";
    const STORED: &str = "/sluice/upstreams/1";

    fn one() -> Fake {
        let fake = Fake::new();
        let value = json!({
            "id": "1", "nodes": {"127.0.0.1:8080": 1}, "type": "roundrobin", "labels": {"build": "16", "env": "production"},
            "create_time": 5, "update_time": 6
        });
        fake.store.seed(STORED, &value.to_string());
        fake
    }

    async fn patched(fake: &Fake, path: &str, body: &str) -> Value {
        let (status, told) = fake.ask("PATCH", &format!("{URI}{path}"), body).await;
        assert_eq!((status, &told["key"]), (200, &json!(STORED)), "{path} {body}: {told}");
        assert_eq!(told["value"], fake.store.value(STORED));
        told["value"].clone()
    }

    #[tokio::test]
    async fn a_body_is_merged_into_what_is_stored() {
        let fake = one();
        let value = patched(&fake, "/", r#"{"nodes":{"127.0.0.1:8081":3},"labels":{"build":"17","env":null},"desc":"d"}"#).await;
        assert_eq!(value["nodes"], json!({ "127.0.0.1:8080": 1, "127.0.0.1:8081": 3 }));
        assert_eq!((&value["labels"], &value["desc"]), (&json!({ "build": "17" }), &json!("d")));
        assert_eq!(value["create_time"], 5);
        assert!(value["update_time"].as_u64().unwrap() > 6);
        let value = patched(&fake, "", r#"{"nodes":{"127.0.0.1:8080":null},"desc":null}"#).await;
        assert_eq!((&value["nodes"], value.get("desc")), (&json!({ "127.0.0.1:8081": 3 }), None));
    }

    #[tokio::test]
    async fn a_list_replaces_and_is_replaced() {
        let fake = one();
        let list = json!([{ "host": "127.0.0.1", "port": 1, "weight": 1 }]);
        assert_eq!(patched(&fake, "", &json!({ "nodes": list }).to_string()).await["nodes"], list);
        assert_eq!(patched(&fake, "", r#"{"nodes":[]}"#).await["nodes"], json!([]));
        assert_eq!(patched(&fake, "", r#"{"nodes":{"127.0.0.1:1":1}}"#).await["nodes"], json!({ "127.0.0.1:1": 1 }));
    }

    #[tokio::test]
    async fn a_sub_path_replaces_one_place() {
        let fake = one();
        let value = patched(&fake, "/nodes", r#"{"127.0.0.1:8081":0}"#).await;
        assert_eq!(value["nodes"], json!({ "127.0.0.1:8081": 0 }));
        assert_eq!(patched(&fake, "/nodes/127.0.0.1%3A8081", "7").await["nodes"]["127.0.0.1:8081"], 7);
        assert_eq!(patched(&fake, "/desc", r#""text""#).await["desc"], "text");
        assert_eq!(patched(&fake, "/timeout", r#"{"connect":1,"send":1,"read":1}"#).await["timeout"]["send"], 1);
        assert_eq!(patched(&fake, "/nodes", r#"[{"host":"a","port":1,"weight":1}]"#).await["nodes"][0]["host"], "a");
        assert_eq!(patched(&fake, "/nodes/0/weight", "9").await["nodes"][0]["weight"], 9);
        let value = patched(&fake, "/labels/team/", r#""x""#).await;
        assert_eq!(value["labels"], json!({ "build": "16", "env": "production", "team": "x" }));
    }

    #[tokio::test]
    async fn objects_on_the_way_are_made_and_scalars_are_in_the_way() {
        let fake = one();
        fake.store.seed("/sluice/stream_routes/1", r#"{"id":"1","server_port":1,"metadata":{"list":[1]}}"#);
        let ask = async |path: &str| fake.ask("PATCH", &format!("/apisix/admin/stream_routes/1/{path}"), r#""b""#).await;
        assert_eq!(ask("metadata/x/y").await.1["value"]["metadata"]["x"], json!({ "y": "b" }));
        for (path, says) in [
            ("server_port/x", "/server_port"),
            ("server_port/x/y", "/server_port"),
            ("metadata/list/1", "/metadata/list/1"),
            ("metadata/list/x/y", "/metadata/list/x"),
            ("metadata/%f", "/metadata/%f"),
            ("metadata/%ff", "/metadata/%ff"),
        ] {
            let (status, told) = ask(path).await;
            assert_eq!((status, told["error_msg"].as_str()), (400, Some(format!("invalid sub-path: {says}").as_str())), "{path}");
        }
    }

    #[tokio::test]
    async fn every_wrong_patch_says_what_is_wrong_with_it() {
        let fake = one();
        for (uri, body, status, says) in [
            ("upstreams", "{}", 400, "missing upstream id"),
            ("stream_routes", "{}", 400, "missing stream route id"),
            ("upstreams/1", "", 400, "missing new configuration"),
            ("upstreams/1", "5", 400, "invalid configuration"),
            ("upstreams/1", "[]", 400, "invalid configuration"),
            ("upstreams/1", "null", 400, "invalid configuration"),
            ("upstreams/1", r#"{"id":"2"}"#, 400, "wrong upstream id"),
            ("upstreams/1/id", "2", 400, "wrong upstream id"),
            ("upstreams/1", r#"{"a":1,"a":1}"#, 400, "invalid configuration: the same key is there twice"),
            ("upstreams/1", r#"{"colour":1}"#, 400, "invalid configuration: additional properties forbidden, found colour"),
            ("listeners/conf-tcp-0", "{}", 400, "listener [conf-tcp-0] comes from the configuration file; it can only be changed there"),
        ] {
            let told = fake.ask("PATCH", &format!("/apisix/admin/{uri}"), body).await;
            assert_eq!((told.0, told.1["error_msg"].as_str()), (status, Some(says)), "{uri} {body}");
        }
        for uri in ["upstreams/2", "upstreams/*x", "upstreams/2/nodes"] {
            let told = fake.ask("PATCH", &format!("/apisix/admin/{uri}"), "{}").await;
            assert_eq!(told, (404, json!({ "message": "Key not found" })), "{uri}");
        }
        // null is a value like any other below the top, and no weight
        assert_eq!(fake.ask("PATCH", &format!("{URI}/retries"), "null").await.0, 400);
        let (_, told) = fake.ask("PATCH", URI, r#"{"retries":-1}"#).await;
        assert_eq!(told["violations"][0]["path"], "/retries");
        assert_eq!(fake.ask("PATCH", "/apisix/admin/upstreams/1/nodes?dry_run=true", "{}").await.0, 200);
        assert_eq!(fake.store.value(STORED)["update_time"], 6, "nothing was written");
    }

    #[tokio::test]
    async fn times_may_be_patched() {
        let fake = one();
        let value = patched(&fake, "", r#"{"create_time":1705252779,"update_time":1705252780}"#).await;
        assert_eq!((&value["create_time"], &value["update_time"]), (&json!(1_705_252_779), &json!(1_705_252_780)));
        let value = patched(&fake, "", r#"{"create_time":null,"update_time":null}"#).await;
        assert_eq!(value["create_time"], 1_705_252_779);
        assert!(value["update_time"].as_u64().unwrap() > 1_705_252_780);
    }

    #[tokio::test]
    async fn every_kind_has_it_and_references_are_looked_for() {
        let fake = one();
        for (key, value, uri, body) in [
            ("stream_routes/1", r#"{"id":1}"#, "stream_routes/1", r#"{"upstream_id":1}"#),
            ("listeners/l", r#"{"addr":1}"#, "listeners/l", r#"{"stream_route_id":"1"}"#),
            ("settings/global", "{}", "settings/global", r#"{"connect_timeout":4}"#),
        ] {
            fake.store.seed(&format!("/sluice/{key}"), value);
            let told = fake.ask("PATCH", &format!("/apisix/admin/{uri}"), body).await;
            assert_eq!(told.0, 200, "{}", told.1);
        }
        let (status, told) = fake.ask("PATCH", "/apisix/admin/stream_routes/1/upstream_id", "9").await;
        let says = "failed to fetch upstream info by upstream id [9], response code: 404";
        assert_eq!((status, told["error_msg"].as_str()), (400, Some(says)));
    }

    #[tokio::test]
    async fn a_lost_race_is_merged_again_unless_a_version_was_named() {
        let fake = one();
        fake.store.before_next_commit(STORED, Some(r#"{"id":"1","nodes":{},"desc":"winner"}"#));
        let value = patched(&fake, "", r#"{"name":"n"}"#).await;
        assert_eq!((&value["desc"], &value["name"]), (&json!("winner"), &json!("n")));

        let tag = fake.answer("GET", URI, &[("x-api-key", KEY)], "").await.into_response().headers()["etag"].clone();
        let headers = [("x-api-key", KEY), ("if-match", tag.to_str().unwrap())];
        fake.store.before_next_commit(STORED, Some(r#"{"id":"1","nodes":{},"desc":"second"}"#));
        for path in ["", "/name"] {
            let body = if path.is_empty() { "{}" } else { r#""x""# };
            assert_eq!(fake.ask_with("PATCH", &format!("{URI}{path}"), &headers, body).await.0, 412);
        }
        fake.store.before_next_commit(STORED, None);
        assert_eq!(fake.ask("PATCH", URI, "{}").await.0, 404);

        let fake = one();
        fake.store.conflict_always();
        let (status, told) = fake.ask("PATCH", URI, "{}").await;
        assert_eq!((status, told["error_msg"].as_str()), (503, Some("the value of /sluice/upstreams/1 was changed by somebody else")));
    }

    #[tokio::test]
    async fn a_time_to_live_counts_from_the_patch_and_ends_with_one_that_has_none() {
        let fake = one();
        assert_eq!(fake.ask("PATCH", &format!("{URI}?ttl=2"), "{}").await.0, 200);
        assert_eq!(fake.store.ttl(STORED), Some(std::time::Duration::from_secs(2)));
        patched(&fake, "", "{}").await;
        assert_eq!(fake.store.ttl(STORED), None);
    }
}
