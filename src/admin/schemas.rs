//! The schema endpoints: a kind's schema, and whether a body obeys it. Nothing is stored.

use hyper::StatusCode;
use serde_json::Value;

use super::envelope::Answer;
use crate::base::id::Kind;
use crate::schema::{self, Schemas};

/// `GET schema/<singular>`
pub(super) fn show(schemas: &Schemas, name: &str) -> Answer {
    match Kind::ALL.into_iter().find(|kind| kind.singular() == name) {
        Some(kind) => Answer::ok(schemas.document(kind)),
        None => Answer::bad(format!("not found schema: {name}")),
    }
}

/// `POST schema/validate/<kind>`: 200 and nothing, or what the schema says, without any prefix.
pub(super) fn validate(schemas: &Schemas, dir: &str, body: Option<&Value>) -> Answer {
    let Some(kind) = Kind::from_dir(dir) else {
        return Answer::error(StatusCode::NOT_FOUND, format!("Unsupported resource type: {dir}"));
    };
    let Some(value) = body else { return Answer::bad("invalid request body: empty request body") };
    let violations = schemas.check(kind, value);
    if violations.is_empty() {
        return Answer::text(StatusCode::OK, "");
    }
    Answer::invalid(schema::error_msg(&violations), &violations)
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;

    #[tokio::test]
    async fn the_schema_of_every_kind_is_shown() {
        let fake = Fake::new();
        for name in ["listener", "stream_route", "route", "upstream", "setting"] {
            let (status, body) = fake.ask("GET", &format!("/apisix/admin/schema/{name}"), "").await;
            assert!(status == 200 && body.is_object(), "{name}: {status} {body}");
        }
        let (_, body) = fake.ask("GET", "/apisix/admin/schema/stream_route", "").await;
        for time in ["create_time", "update_time"] {
            assert!(body["properties"][time].is_object(), "{time}");
        }
        let told = fake.ask("GET", "/apisix/admin/schema/stream_routes", "").await;
        assert_eq!((told.0, told.1["error_msg"].as_str()), (400, Some("not found schema: stream_routes")));
    }

    #[tokio::test]
    async fn a_body_is_checked_against_a_schema_without_being_stored() {
        let fake = Fake::new();
        let validate = async |kind: &str, body: &str| fake.ask("POST", &format!("/apisix/admin/schema/validate/{kind}"), body).await;
        assert_eq!(validate("upstreams", r#"{"nodes":{"127.0.0.1:1":1}}"#).await, (200, "".into()));
        let (status, body) = validate("upstreams", r#"{"colour":1}"#).await;
        assert_eq!((status, body["error_msg"].as_str()), (400, Some("additional properties forbidden, found colour")));
        assert_eq!(validate("routs", "{}").await.0, 404);
        assert_eq!(validate("upstreams", "").await.0, 400);
        assert_eq!(fake.store.len(), 0);
    }
}
