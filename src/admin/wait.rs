//! Waiting until a write is live everywhere: in this gateway, and in every other that the store shows to be alive.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::json;
use tokio::time::timeout;

use super::envelope::Answer;
use super::gate::AdminParts;
use crate::store::Revision;

/// Gives the answer to a write of this revision once all use it; when time is up, `504` with who does not.
pub(super) async fn applied(parts: &AdminParts, at: Revision, limit: Duration, answer: Answer) -> Answer {
    let (mut own, mut others) = (parts.applied.clone(), parts.fleet.clone());
    let all = async {
        own.reached(at).await;
        others.reached(at).await;
    };
    if timeout(limit, all).await.is_ok() {
        return answer;
    }
    late(parts, at, limit)
}

fn late(parts: &AdminParts, at: Revision, limit: Duration) -> Answer {
    let applied = parts.applied.revision();
    let mut behind: Vec<String> = parts.fleet.behind(at).iter().map(ToString::to_string).collect();
    if applied.is_none_or(|applied| applied < at) {
        behind.insert(0, parts.fleet.name());
    }
    let message = format!("written, but not applied within {} ms", limit.as_millis());
    let body = json!({ "error_msg": message, "revision": at, "applied": applied, "behind": behind });
    Answer::json(StatusCode::GATEWAY_TIMEOUT, &body)
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;
    use crate::live::fleet::Member;
    use serde_json::{Value, json};
    use std::sync::Arc;

    const URI: &str = "/apisix/admin/upstreams/1?wait=applied&timeout=2s";
    const UPSTREAM: &str = r#"{"nodes":{},"type":"roundrobin"}"#;

    fn member(id: &str, own: bool, applied: Option<u64>) -> Member {
        Member { id: id.into(), own, applied, document: Arc::new(Value::Null) }
    }

    #[tokio::test(start_paused = true)]
    async fn every_living_instance_is_waited_for_and_named_when_it_is_late() {
        let fake = Fake::new();
        fake.fleet.set(vec![member("a", true, None), member("b", false, Some(0)), member("c", false, None)]);
        let (status, body) = fake.ask("PUT", URI, UPSTREAM).await;
        assert_eq!((status, &body["revision"], &body["behind"]), (504, &json!(1), &json!(["a", "b", "c"])));
        fake.applied.set(9);
        assert_eq!(fake.ask("PUT", URI, UPSTREAM).await.1["behind"], json!(["b", "c"]));
        let catch_up = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            // one applies it, the other dies
            fake.fleet.set(vec![member("a", true, None), member("b", false, Some(9))]);
        };
        let (answered, ()) = tokio::join!(fake.ask("PUT", URI, UPSTREAM), catch_up);
        assert_eq!(answered.0, 200, "{}", answered.1);
    }
}
