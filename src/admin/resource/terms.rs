//! On what terms an object is written: as a trial only, only over a certain version, for a time, answered once it is live.

use std::time::Duration;

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};

use super::super::envelope::Answer;
use super::super::gate::AdminParts;
use super::super::query::Query;
use super::super::wait;
use crate::base::duration;
use crate::store::{Entry, Revision};

/// How long a write waits to be live if nobody says.
const WAIT: Duration = Duration::from_secs(5);
/// The longest that it may wait; less than the server gives any answer.
const LONGEST_WAIT: Duration = Duration::from_secs(25);

/// The terms of one write.
#[derive(Clone, Debug, Default)]
pub(super) struct Terms {
    /// The object is deleted by itself after this long.
    pub(super) ttl: Option<Duration>,
    /// Everything is checked and nothing written.
    pub(super) dry_run: bool,
    /// The versions that may be written over, as `If-Match` has them.
    tags: Option<String>,
    /// The answer waits this long for the write to be applied.
    wait: Option<Duration>,
}

impl Terms {
    /// Reads `?ttl=`, `?dry_run=`, `?wait=applied&timeout=` and `If-Match` (RFC 9110, 13.1.1). For a read only the first is looked at.
    pub(super) fn read(method: &Method, query: &Query, headers: &HeaderMap) -> Result<Self, Answer> {
        let ttl = query.ttl()?;
        if method == Method::GET {
            return Ok(Self { ttl, ..Self::default() });
        }
        let tags = headers.get(header::IF_MATCH).map(|tags| tags.to_str().unwrap_or_default().to_owned());
        Ok(Self { ttl, dry_run: query.is_true("dry_run"), tags, wait: waiting(query)? })
    }

    /// `412` unless what would be written over is one of the versions that may be.
    pub(super) fn allow(&self, previous: Option<&Entry>) -> Result<(), Answer> {
        let Some(tags) = &self.tags else { return Ok(()) };
        let now = previous.map(|entry| tag(entry.modified));
        let fits = |wanted: &str| now.as_ref().is_some_and(|now| wanted == "*" || wanted == now);
        if tags.split(',').any(|wanted| fits(wanted.trim())) {
            return Ok(());
        }
        let message = match now {
            Some(now) => format!("the object has changed: its version is {now} now, not {tags}"),
            None => "the object is not there".to_owned(),
        };
        Err(Answer::error(StatusCode::PRECONDITION_FAILED, message))
    }

    /// Gives the answer to a write of this revision; if the terms say so, once it is live.
    pub(super) async fn settle(&self, parts: &AdminParts, at: Revision, answer: Answer) -> Answer {
        match self.wait {
            None => answer,
            Some(limit) => wait::applied(parts, at, limit, answer).await,
        }
    }
}

fn waiting(query: &Query) -> Result<Option<Duration>, Answer> {
    match query.get("wait") {
        None => Ok(None),
        Some("applied") => {
            let limit = query.get("timeout").map(duration::parse).transpose();
            let limit = limit.map_err(|error| Answer::bad(format!("invalid argument timeout: {error}")))?;
            if limit.is_some_and(|limit| limit.is_zero()) {
                return Err(Answer::bad("invalid argument timeout: should be more than 0"));
            }
            Ok(Some(limit.unwrap_or(WAIT).min(LONGEST_WAIT)))
        }
        Some(_) => Err(Answer::bad("invalid argument wait: the only one is applied")),
    }
}

fn tag(modified: Revision) -> String {
    format!("\"{modified}\"")
}

/// The answer with the version that it shows.
pub(super) fn tagged(answer: Answer, modified: Revision) -> Answer {
    match HeaderValue::try_from(tag(modified)) {
        Ok(value) => answer.with(header::ETAG, value),
        Err(_) => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::fake::{Fake, KEY};
    use serde_json::json;

    const UPSTREAM: &str = r#"{"nodes":{},"type":"roundrobin"}"#;
    const URI: &str = "/apisix/admin/upstreams/1";

    fn etag(answer: super::Answer) -> String {
        answer.into_response().headers()["etag"].to_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn a_version_that_is_gone_is_not_written_over() {
        let fake = Fake::new();
        let key = ("x-api-key", KEY);
        let first = etag(fake.answer("PUT", URI, &[key], UPSTREAM).await);
        let second = etag(fake.answer("PUT", URI, &[key], UPSTREAM).await);
        assert_eq!(etag(fake.answer("GET", URI, &[key], "").await), second);
        for method in ["PUT", "PATCH", "DELETE"] {
            for tag in [first.as_str(), "", "\"x\""] {
                let told = fake.ask_with(method, URI, &[key, ("if-match", tag)], UPSTREAM).await;
                assert_eq!(told.0, 412, "{method} {tag}: {}", told.1);
            }
        }
        let both = format!("{first}, {second}");
        assert_eq!(fake.ask_with("PUT", URI, &[key, ("if-match", &both)], UPSTREAM).await.0, 200);
        assert_eq!(fake.ask_with("DELETE", URI, &[key, ("if-match", "*")], "").await.0, 200);
        assert_eq!(fake.ask_with("PUT", URI, &[key, ("if-match", "*")], UPSTREAM).await.0, 412);
        let told = fake.ask_with("POST", "/apisix/admin/upstreams", &[key, ("if-match", "*")], UPSTREAM).await;
        assert_eq!((told.0, fake.store.len()), (412, 0), "what is new has no version, and takes no id");
    }

    #[tokio::test]
    async fn a_version_that_goes_at_the_last_moment_is_not_written_over_either() {
        let fake = Fake::new();
        let key = ("x-api-key", KEY);
        let tag = etag(fake.answer("PUT", URI, &[key], UPSTREAM).await);
        for method in ["PUT", "PATCH", "DELETE"] {
            fake.store.before_next_commit("/sluice/upstreams/1", Some("{}"));
            assert_eq!(fake.ask_with(method, URI, &[key, ("if-match", &tag)], UPSTREAM).await.0, 412, "{method}");
        }
    }

    #[tokio::test]
    async fn a_dry_run_checks_everything_and_writes_nothing() {
        let fake = Fake::new();
        fake.store.seed("/sluice/upstreams/2", "{}");
        for (method, uri, body, status) in [
            ("PUT", "upstreams/1", UPSTREAM, 201),
            ("PUT", "upstreams/2", UPSTREAM, 200),
            ("PUT", "upstreams/1", r#"{"nodes":5}"#, 400),
            ("PUT", "stream_routes/1", r#"{"upstream_id":"9"}"#, 400),
            ("POST", "upstreams", UPSTREAM, 201),
            ("POST", "upstreams", r#"{"nodes":5}"#, 400),
            ("PATCH", "upstreams/2", UPSTREAM, 200),
            ("PATCH", "upstreams/2", r#"{"nodes":5}"#, 400),
            ("PATCH", "upstreams/9", UPSTREAM, 404),
            ("DELETE", "upstreams/2", "", 200),
            ("DELETE", "upstreams/9", "", 404),
        ] {
            let told = fake.ask(method, &format!("/apisix/admin/{uri}?dry_run=true"), body).await;
            assert_eq!(told.0, status, "{method} {uri}: {}", told.1);
        }
        assert_eq!((fake.store.len(), fake.store.value("/sluice/upstreams/2")), (1, json!({})));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_waits_until_the_write_is_applied_or_time_is_up() {
        let fake = Fake::new();
        let uri = format!("{URI}?wait=applied&timeout=2s");
        let (status, body) = fake.ask("PUT", &uri, UPSTREAM).await;
        assert_eq!((status, &body["revision"], &body["applied"]), (504, &json!(1), &json!(null)));
        assert_eq!(body["error_msg"], "written, but not applied within 2000 ms");
        for (method, uri, status) in
            [("PATCH", URI, 504), ("POST", "/apisix/admin/upstreams", 504), ("DELETE", URI, 504), ("DELETE", URI, 404)]
        {
            let (told, body) = fake.ask(method, &format!("{uri}?wait=applied&timeout=2s"), UPSTREAM).await;
            assert_eq!(told, status, "{method}: {body}");
        }
        fake.applied.set(9);
        assert_eq!(fake.ask("PUT", &uri, UPSTREAM).await.0, 201);
        for bad in ["wait=seen", "wait=applied&timeout=0s", "wait=applied&timeout=soon"] {
            assert_eq!(fake.ask("PUT", &format!("{URI}?{bad}"), UPSTREAM).await.0, 400, "{bad}");
        }
    }
}
