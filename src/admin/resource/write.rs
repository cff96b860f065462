//! What `PUT` and `POST` share: the checks that a body passes, and the transaction that writes it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::StatusCode;
use serde_json::{Map, Value};

use super::super::envelope::{Answer, value_of};
use super::super::gate::AdminParts;
use super::super::refs;
use crate::base::id::{Id, Key, Kind};
use crate::base::violation::{Rejected, Stage};
use crate::control::ingest::Verdict;
use crate::schema;
use crate::store::{Entry, Guard, Op, StoreError, Txn};

/// How often a transaction is tried whose guards somebody else broke.
const ATTEMPTS: u32 = 5;
/// Set by the server alone.
const TIMES: [&str; 2] = ["create_time", "update_time"];

/// `400` for a body that sets the server's times, at its top or in an inline upstream.
pub(super) fn no_times(body: &Value) -> Result<(), Answer> {
    let inner = |at: &str| body.get(at).map(|value| (format!("{at}."), value));
    for (prefix, value) in [Some((String::new(), body)), inner("upstream"), inner("plugins")].into_iter().flatten() {
        if let Some(time) = TIMES.iter().find(|time| value.get(time).is_some()) {
            return Err(Answer::bad(format!("the property is forbidden:  {prefix}{time}")));
        }
    }
    Ok(())
}

/// The key of an id that was given as text. An id that no key can have gets the schema's own words.
pub(super) fn key_of(parts: &AdminParts, kind: Kind, id: &str, body: &Value) -> Result<Key, Answer> {
    if let Ok(id) = Id::parse(id) {
        return Ok(Key::new(kind, id));
    }
    let mut own = parts.schemas.check(kind, body);
    own.retain(|violation| violation.path == "/id");
    let text = if own.is_empty() { "the id must be 1 to 64 of A-Za-z0-9._-".to_owned() } else { schema::error_msg(&own) };
    Err(Answer::invalid(format!("invalid configuration: {text}"), &own))
}

/// Whether the object would be taken, by the one judge of that.
pub(super) fn judge(parts: &AdminParts, key: &Key, bytes: &[u8]) -> Result<(), Answer> {
    match parts.ingest.read(key, bytes, 0) {
        Verdict::Accepted(_) => Ok(()),
        Verdict::Rejected(rejected) => Err(refusal(&rejected)),
    }
}

/// A wrong address is told as it is; everything else is an invalid configuration.
fn refusal(rejected: &Rejected) -> Answer {
    let text = schema::error_msg(&rejected.violations);
    let address = rejected.stage == Stage::Meaning && ["invalid remote_addr:", "invalid server_addr:"].iter().any(|w| text.starts_with(w));
    let message = if address { text } else { format!("invalid configuration: {text}") };
    Answer::invalid(message, &rejected.violations)
}

/// A checked object on its way to the store.
pub(super) struct Draft {
    /// Where it goes.
    pub(super) key: Key,
    /// What goes there, without its times.
    pub(super) value: Map<String, Value>,
    /// How long it stays.
    pub(super) ttl: Option<Duration>,
    /// Whether there may be one already.
    pub(super) replaces: bool,
}

impl Draft {
    /// Writes it: what it refers to exists, what it replaces is what was read, or it is all looked at again.
    pub(super) async fn commit(mut self, parts: &AdminParts) -> Result<Answer, Answer> {
        let path = self.key.path(&parts.prefix);
        let mut lost = None;
        for _ in 0..ATTEMPTS {
            let previous = if self.replaces { parts.store.get(&path).await? } else { None };
            let txn = self.transaction(parts, &path, previous.as_ref()).await?;
            match parts.store.commit(txn).await {
                Ok(_) => {
                    let status = if previous.is_some() { StatusCode::OK } else { StatusCode::CREATED };
                    return Ok(Answer::written(status, &path, &Value::Object(self.value)));
                }
                Err(conflict @ StoreError::Conflict { .. }) => lost = Some(conflict),
                Err(other) => return Err(other.into()),
            }
        }
        Err(lost.map_or_else(Answer::not_found, Answer::from))
    }

    async fn transaction(&mut self, parts: &AdminParts, path: &str, previous: Option<&Entry>) -> Result<Txn, Answer> {
        self.stamp(previous);
        let value = Value::Object(std::mem::take(&mut self.value));
        let referred = refs::guards(parts, self.key.kind, &value).await;
        let bytes = Bytes::from(value.to_string());
        if let Value::Object(map) = value {
            self.value = map;
        }
        // with its id and times it must still be what the watcher takes
        judge(parts, &self.key, &bytes)?;
        let mut guards = referred?;
        guards.push(Guard { key: path.to_owned(), modified: previous.map(|entry| entry.modified) });
        let put = Op::Put { key: path.to_owned(), value: bytes, ttl: self.ttl };
        Ok(Txn { guards, ops: vec![put] })
    }

    /// Sets the times; an object that is replaced keeps its first.
    fn stamp(&mut self, previous: Option<&Entry>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let created = previous.map(value_of).and_then(|value| value.get("create_time").and_then(Value::as_u64));
        self.value.insert("create_time".into(), created.unwrap_or(now).into());
        self.value.insert("update_time".into(), now.into());
    }
}
