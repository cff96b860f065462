//! `/v1/limits`: how every limit stands, and the one that counts for a route.

use std::time::SystemTime;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::envelope::Answer;
use super::query::Query;
use crate::base::id::Kind;
use crate::live::limits::{LimitStatus, Limits, RouteStatus};
use crate::telemetry::stamp::rfc3339;

/// All of them.
pub(super) fn list(limits: &Limits) -> Answer {
    let shown: Vec<Value> = limits.list().iter().map(limit).collect();
    Answer::ok(&json!({ "total": shown.len(), "limits": shown }))
}

/// The one that counts for a route, whose kind must be named where both have one of this id; `?key=` for one client address, header or cookie value of a limit that has keys.
pub(super) fn of_route(limits: &Limits, kind: Option<Kind>, route: &str, query: &Query) -> Result<Answer, Answer> {
    let none = |text: String| Err(Answer::error(StatusCode::NOT_FOUND, text));
    match limits.of_route(kind, route, query.get("key")) {
        RouteStatus::Ambiguous => {
            let text = format!(
                "routes/{route} and stream_routes/{route} exist: ask for /v1/limits/routes/{route} or /v1/limits/stream_routes/{route}"
            );
            Err(Answer::error(StatusCode::CONFLICT, text))
        }
        RouteStatus::Unknown => none(format!("there is no route {route}")),
        RouteStatus::Unlimited => none(format!("no limit counts for route {route}")),
        RouteStatus::Limited(status) => Ok(Answer::ok(&limit(&status))),
    }
}

fn limit(status: &LimitStatus) -> Value {
    json!({
        "limit": status.name,
        "policy": status.policy.as_str(),
        "scope": status.scope.as_str(),
        "by": status.by,
        "permit_limit": status.permit_limit,
        "share": status.share,
        "instances": status.instances,
        "permits_left": status.remaining,
        "reset_seconds": status.reset.map(|reset| reset.as_secs_f64()),
        "reset_at": status.reset.map(|reset| rfc3339(SystemTime::now() + reset)),
        "queue_limit": status.queue_limit,
        "queued": status.queued,
        "keys": status.keys,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::quota::{Policy, Scope};
    use crate::live::limits::Source;
    use std::sync::Arc;
    use std::time::Duration;

    struct One;

    fn status() -> LimitStatus {
        LimitStatus {
            name: "stream_routes/a".into(),
            policy: Policy::FixedWindow,
            scope: Scope::Cluster,
            by: "client".into(),
            permit_limit: 90,
            share: 30,
            instances: 3,
            queue_limit: 5,
            queued: 2,
            keys: Some(7),
            remaining: None,
            reset: None,
        }
    }

    impl Source for One {
        fn list(&self) -> Vec<LimitStatus> {
            vec![status()]
        }

        fn of_route(&self, kind: Option<Kind>, route: &str, key: Option<&str>) -> RouteStatus {
            match route {
                "both" if kind.is_none() => RouteStatus::Ambiguous,
                "a" => RouteStatus::Limited(LimitStatus {
                    remaining: key.map(|_| 3),
                    reset: key.map(|_| Duration::from_millis(1500)),
                    ..status()
                }),
                "both" | "free" => RouteStatus::Unlimited,
                _ => RouteStatus::Unknown,
            }
        }
    }

    #[test]
    fn a_limit_shows_what_is_configured_what_counts_here_and_what_is_left() {
        let limits = Limits::default();
        limits.provide(Arc::new(One));
        let (_, all) = list(&limits).parts();
        let shown = json!({
            "limit": "stream_routes/a", "policy": "fixed_window", "scope": "cluster", "by": "client", "permit_limit": 90, "share": 30,
            "instances": 3, "permits_left": null, "reset_seconds": null, "reset_at": null, "queue_limit": 5, "queued": 2, "keys": 7,
        });
        assert_eq!(all, json!({ "total": 1, "limits": [shown] }));
        let one = |route: &str, query: &str| of_route(&limits, None, route, &Query::parse(query)).unwrap_or_else(|refusal| refusal).parts();
        let (_, key) = one("a", "key=10.0.0.1");
        assert_eq!((&key["permits_left"], &key["reset_seconds"]), (&json!(3), &json!(1.5)));
        assert!(key["reset_at"].is_string());
        assert_eq!(one("free", "").0, 404);
        let (status, both) = one("both", "");
        assert_eq!((status, both["error_msg"].as_str().is_some_and(|text| text.contains("/v1/limits/stream_routes/both"))), (409, true));
        assert_eq!(one("nowhere", "").1["error_msg"], "there is no route nowhere");
    }
}
