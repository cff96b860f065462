//! `PUT <kind>/<id>`: creates or replaces an object whose id the client chose.

use serde_json::Value;

use super::super::envelope::Answer;
use super::Ask;
use super::terms::Terms;
use super::write::{self, Draft, Form};
use crate::base::id::Kind;
use crate::control::ingest::id_text;

/// 201 for a new object, 200 for a replaced one.
pub(super) async fn put(ask: &Ask<'_>, terms: Terms) -> Result<Answer, Answer> {
    let parts = &ask.admin.parts;
    let mut body = ask.body.clone().ok_or_else(|| Answer::bad("missing configurations"))?;
    let id = id(ask.kind, ask.id, body.get("id"))?;
    write::no_times(&body)?;
    if let (Some(map), Some(_)) = (body.as_object_mut(), ask.id) {
        map.insert("id".into(), Value::String(id.clone()));
    }
    let key = write::key_of(parts, ask.kind, &id, &body)?;
    super::not_reserved(parts, ask.kind, &id)?;
    write::judge(parts, &key, ask.raw)?;
    let Value::Object(value) = body else { return Err(Answer::bad("invalid configuration: wrong type: expected object")) };
    Draft { key, form: Form::Whole(value), terms }.write(ask.admin).await
}

/// The id: from the path, else from the body; if both say one, the same.
fn id(kind: Kind, in_path: Option<&str>, in_body: Option<&Value>) -> Result<String, Answer> {
    let in_body = in_body.map(|id| id_text(id).unwrap_or_else(|| id.to_string()));
    match (in_path, in_body) {
        (Some(path), Some(body)) if path != body => Err(Answer::bad(format!("wrong {} id", kind.label()))),
        (Some(path), _) => Ok(path.to_owned()),
        (None, Some(body)) => Ok(body),
        (None, None) => Err(Answer::bad(format!("missing {} id", kind.label()))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::fake::Fake;
    use serde_json::{Value, json};

    const UPSTREAM: &str = r#"{"nodes":{"127.0.0.1:8080":1},"type":"roundrobin"}"#;

    fn without_times(mut body: Value) -> Value {
        let value = body["value"].as_object_mut().unwrap();
        for time in ["create_time", "update_time"] {
            assert!(value.remove(time).unwrap().is_u64(), "{time}");
        }
        body
    }

    #[tokio::test]
    async fn an_object_is_created_then_replaced_and_gets_no_defaults() {
        let fake = Fake::new();
        let route = r#"{"remote_addr":"127.0.0.1","desc":"d","upstream":{"nodes":{"127.0.0.1:8080":1},"type":"roundrobin"}}"#;
        let (status, body) = fake.ask("PUT", "/apisix/admin/stream_routes/1", route).await;
        assert_eq!(status, 201, "{body}");
        let mut value: Value = serde_json::from_str(route).unwrap();
        value["id"] = "1".into();
        assert_eq!(without_times(body), json!({ "key": "/sluice/stream_routes/1", "value": value }));
        assert_eq!(fake.ask("PUT", "/apisix/admin/stream_routes/1", route).await.0, 200);
        let stored = fake.store.value("/sluice/stream_routes/1");
        assert!(stored["create_time"].is_u64() && stored["update_time"].is_u64());
    }

    #[tokio::test]
    async fn a_replaced_object_keeps_its_create_time() {
        let fake = Fake::new();
        fake.store.seed("/sluice/upstreams/1", r#"{"id":"1","create_time":5,"update_time":6}"#);
        let (_, body) = fake.ask("PUT", "/apisix/admin/upstreams/1", UPSTREAM).await;
        assert_eq!(body["value"]["create_time"], 5);
        assert!(body["value"]["update_time"].as_u64().unwrap() > 6);
        assert_eq!(fake.store.value("/sluice/upstreams/1"), body["value"]);
    }

    #[tokio::test]
    async fn the_id_of_the_path_is_text_and_the_id_of_the_body_keeps_its_type() {
        let fake = Fake::new();
        let (_, body) = fake.ask("PUT", "/apisix/admin/upstreams/7", r#"{"id":7,"nodes":{}}"#).await;
        assert_eq!(body["value"]["id"], json!("7"));
        let (status, body) = fake.ask("PUT", "/apisix/admin/upstreams", r#"{"id":8,"nodes":{}}"#).await;
        assert_eq!((status, &body["key"], &body["value"]["id"]), (201, &json!("/sluice/upstreams/8"), &json!(8)));
        let (status, body) = fake.ask("PUT", "/apisix/admin/upstreams", r#"{"id":9.0,"nodes":{}}"#).await;
        assert_eq!((status, &body["key"]), (201, &json!("/sluice/upstreams/9")), "a whole number with a point is that number");
        assert_eq!(fake.ask("PUT", "/apisix/admin/upstreams/9", r#"{"id":9.0,"nodes":{}}"#).await.0, 200);
        let (status, _) = fake.ask("PUT", "/apisix/admin/upstreams/a-b-c-ABC_0123", UPSTREAM).await;
        assert_eq!(status, 201);
    }

    #[tokio::test]
    async fn every_wrong_put_says_what_is_wrong_with_it() {
        let fake = Fake::new();
        let bad_id = r#"invalid configuration: property "id" validation failed: object matches none of the required"#;
        let long = format!(r#"{{"name":"{}","nodes":{{}}}}"#, "x".repeat(2 << 19));
        for (uri, body, says) in [
            ("upstreams/1", "", "missing configurations"),
            ("upstreams", UPSTREAM, "missing upstream id"),
            ("stream_routes", "{}", "missing stream route id"),
            ("upstreams/1", r#"{"id":3,"nodes":{}}"#, "wrong upstream id"),
            ("upstreams/*invalid", UPSTREAM, bad_id),
            ("upstreams", r#"{"id":-100,"nodes":{}}"#, bad_id),
            ("upstreams", r#"{"id":{},"nodes":{}}"#, bad_id),
            ("upstreams/1", r#"{"nodes":{},"create_time":1}"#, "the property is forbidden:  create_time"),
            ("upstreams/1", r#"{"nodes":{},"update_time":1}"#, "the property is forbidden:  update_time"),
            ("stream_routes/1", r#"{"upstream":{"create_time":1}}"#, "the property is forbidden:  upstream.create_time"),
            ("upstreams/1", r#"{"nodes":{},"colour":1}"#, "invalid configuration: additional properties forbidden, found colour"),
            (
                "upstreams/1",
                r#"{"nodes":{},"retries":-1}"#,
                r#"invalid configuration: property "retries" validation failed: expected -1 to be at least 0"#,
            ),
            (
                "stream_routes/1",
                r#"{"upstream_id":9999999999}"#,
                "failed to fetch upstream info by upstream id [9999999999], response code: 404",
            ),
            (
                "listeners/1",
                r#"{"protocol":"tcp","addr":"127.0.0.1:9100","stream_route_id":"r"}"#,
                "failed to fetch stream route info by stream route id [r], response code: 404",
            ),
            (
                "listeners/conf-tcp-0",
                r#"{"protocol":"tcp","addr":"127.0.0.1:9100"}"#,
                "listener [conf-tcp-0] comes from the configuration file; it can only be changed there",
            ),
        ] {
            let told = fake.ask("PUT", &format!("/apisix/admin/{uri}"), body).await;
            assert_eq!((told.0, told.1["error_msg"].as_str()), (400, Some(says)), "{uri} {body}");
        }
        let (status, told) = fake.ask("PUT", "/apisix/admin/upstreams/1", &long).await;
        assert!(status == 400 && told["error_msg"].as_str().unwrap().starts_with("invalid configuration: "), "{told}");
        assert_eq!(fake.store.len(), 0);
    }

    #[tokio::test]
    async fn violations_stand_beside_the_text() {
        let fake = Fake::new();
        let (_, body) = fake.ask("PUT", "/apisix/admin/upstreams/1", r#"{"nodes":{},"retries":-1}"#).await;
        let violation = &body["violations"][0];
        assert_eq!((&violation["path"], &violation["rule"]), (&json!("/retries"), &json!("minimum")));
        let (_, body) = fake.ask("PUT", "/apisix/admin/stream_routes/1", r#"{"upstream_id":"9"}"#).await;
        assert_eq!(body["violations"][0]["path"], "/upstream_id");
    }

    #[tokio::test]
    async fn a_reference_may_be_text_or_a_number() {
        let fake = Fake::new();
        assert_eq!(fake.ask("PUT", "/apisix/admin/upstreams/1", UPSTREAM).await.0, 201);
        assert_eq!(fake.ask("PUT", "/apisix/admin/stream_routes/1", r#"{"upstream_id":1}"#).await.0, 201);
        assert_eq!(fake.ask("PUT", "/apisix/admin/stream_routes/2", r#"{"upstream_id":"1"}"#).await.0, 201);
        assert_eq!(fake.ask("PUT", "/apisix/admin/stream_routes/3", r#"{"upstream_id":1.0}"#).await.0, 201);
        let listener = r#"{"protocol":"tcp","addr":"127.0.0.1:9100","stream_route_id":"2"}"#;
        assert_eq!(fake.ask("PUT", "/apisix/admin/listeners/1", listener).await.0, 201);
    }

    #[tokio::test]
    async fn a_lost_race_is_run_again_with_what_the_winner_wrote() {
        let fake = Fake::new();
        fake.store.before_next_commit("/sluice/upstreams/1", Some(r#"{"id":"1","create_time":5}"#));
        let (status, body) = fake.ask("PUT", "/apisix/admin/upstreams/1", UPSTREAM).await;
        assert_eq!((status, &body["value"]["create_time"]), (200, &json!(5)));
    }

    #[tokio::test]
    async fn what_is_deleted_while_it_is_referred_to_is_missed() {
        let fake = Fake::new();
        fake.ask("PUT", "/apisix/admin/upstreams/1", UPSTREAM).await;
        fake.store.before_next_commit("/sluice/upstreams/1", None);
        let (status, body) = fake.ask("PUT", "/apisix/admin/stream_routes/1", r#"{"upstream_id":"1"}"#).await;
        let says = "failed to fetch upstream info by upstream id [1], response code: 404";
        assert_eq!((status, body["error_msg"].as_str()), (400, Some(says)));
    }

    #[tokio::test]
    async fn a_race_that_is_lost_every_time_is_a_503() {
        let fake = Fake::new();
        fake.store.conflict_always();
        let (status, body) = fake.ask("PUT", "/apisix/admin/upstreams/1", UPSTREAM).await;
        assert_eq!((status, body["error_msg"].as_str()), (503, Some("the value of /sluice/upstreams/1 was changed by somebody else")));
    }

    #[tokio::test]
    async fn a_time_to_live_goes_to_the_store() {
        let fake = Fake::new();
        fake.ask("PUT", "/apisix/admin/upstreams/1?ttl=2", UPSTREAM).await;
        assert_eq!(fake.store.ttl("/sluice/upstreams/1"), Some(std::time::Duration::from_secs(2)));
        fake.ask("PUT", "/apisix/admin/upstreams/1", UPSTREAM).await;
        assert_eq!(fake.store.ttl("/sluice/upstreams/1"), None);
    }
}
