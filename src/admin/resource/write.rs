//! What `PUT`, `POST` and `PATCH` share: the checks that a body passes, and the transaction that writes it.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::StatusCode;
use serde_json::{Map, Value};

use super::super::envelope::{Answer, value_of};
use super::super::gate::{Admin, AdminParts};
use super::super::refs::{self, Fate};
use super::patch::Patch;
use super::terms::{Terms, tagged};
use crate::base::id::{Id, Key, Kind};
use crate::base::violation::{Rejected, Stage};
use crate::control::ingest::{self, Verdict};
use crate::schema;
use crate::store::{Entry, Guard, Op, Revision, StoreError, Txn};

/// How often a transaction is tried whose guards somebody else broke.
pub(super) const ATTEMPTS: u32 = 10;
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

/// The object with its private keys sealed, and its bytes, if it would be taken.
pub(super) fn sealed(parts: &AdminParts, key: &Key, mut object: Map<String, Value>) -> Result<(Bytes, Value), Answer> {
    let sealed = parts.ingest.seal(key.kind, &mut object);
    let value = Value::Object(object);
    let bytes = Bytes::from(value.to_string());
    // what is wrong with the object is told before what is wrong with the keyring
    judge(parts, key, &bytes)?;
    sealed.map_err(|violation| Answer::invalid(violation.message.clone(), &[violation]))?;
    Ok((bytes, value))
}

/// How those messages begin that stand alone.
const ALONE: [&str; 6] = [
    "invalid remote_addr:",
    "invalid server_addr:",
    "failed to parse ",
    "failed to handle cert-key pair",
    "failed to decrypt ",
    "mismatched number of certs",
];

/// A wrong address or key is told as it is; everything else is an invalid configuration.
fn refusal(rejected: &Rejected) -> Answer {
    let text = schema::error_msg(&rejected.violations);
    let alone = rejected.stage == Stage::Meaning && ALONE.iter().any(|w| text.starts_with(w));
    let message = if alone { text } else { format!("invalid configuration: {text}") };
    Answer::invalid(message, &rejected.violations)
}

/// `400` for a body that two readers could read differently.
pub(in super::super) fn clear(bytes: &[u8]) -> Result<(), Answer> {
    let violations = ingest::json_violations(bytes, bytes.len());
    if violations.is_empty() {
        return Ok(());
    }
    Err(Answer::invalid(format!("invalid configuration: {}", schema::error_msg(&violations)), &violations))
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Sets the times; an object that is replaced keeps its first.
pub(super) fn stamp(value: &mut Map<String, Value>, previous: Option<&Entry>) {
    let created = previous.map(value_of).and_then(|value| value.get("create_time").and_then(Value::as_u64));
    value.insert("create_time".into(), created.unwrap_or_else(now).into());
    value.insert("update_time".into(), now().into());
}

/// What is written.
pub(super) enum Form {
    /// An object that is not there yet.
    New(Map<String, Value>),
    /// An object, over whatever is there.
    Whole(Map<String, Value>),
    /// A change of the object that is there.
    Change(Patch),
}

/// A checked body on its way to the store.
pub(super) struct Draft {
    /// Where it goes.
    pub(super) key: Key,
    /// What goes there, without its times.
    pub(super) form: Form,
    /// On what terms.
    pub(super) terms: Terms,
}

impl Draft {
    /// Writes it, so that whoever deletes what it refers to comes before or after; then waits as long as its terms say.
    pub(super) async fn write(self, admin: &Admin) -> Result<Answer, Answer> {
        let written = {
            let _shared = admin.references.read().await;
            self.commit(&admin.parts).await?
        };
        Ok(match written {
            (answer, Some(at)) => self.terms.settle(&admin.parts, at, answer).await,
            (answer, None) => answer,
        })
    }

    /// What it refers to exists, what it replaces is what was read, or it is all looked at again. No revision: it was a trial.
    async fn commit(&self, parts: &AdminParts) -> Result<(Answer, Option<Revision>), Answer> {
        let path = self.key.path(&parts.prefix);
        let mut lost = None;
        for _ in 0..ATTEMPTS {
            let previous = if matches!(self.form, Form::New(_)) { None } else { parts.store.get(&path).await? };
            if previous.is_none() && matches!(self.form, Form::Change(_)) {
                return Err(Answer::no_key());
            }
            self.terms.allow(previous.as_ref())?;
            let (txn, value) = self.transaction(parts, &path, previous.as_ref()).await?;
            let status = if previous.is_some() { StatusCode::OK } else { StatusCode::CREATED };
            if self.terms.dry_run {
                return Ok((Answer::written(status, self.key.kind, &path, &value), None));
            }
            match parts.store.commit(txn).await {
                Ok(at) => return Ok((tagged(Answer::written(status, self.key.kind, &path, &value), at), Some(at))),
                Err(conflict @ StoreError::Conflict { .. }) => lost = Some(conflict),
                Err(other) => return Err(other.into()),
            }
        }
        Err(lost.map_or_else(Answer::not_found, Answer::from))
    }

    /// The object as it will be, with its times.
    fn value(&self, previous: Option<&Entry>) -> Result<Map<String, Value>, Answer> {
        match (&self.form, previous) {
            (Form::New(value) | Form::Whole(value), _) => {
                let mut value = value.clone();
                stamp(&mut value, previous);
                Ok(value)
            }
            (Form::Change(patch), Some(previous)) => patch.over(&self.key, value_of(previous)),
            (Form::Change(_), None) => Err(Answer::no_key()),
        }
    }

    async fn transaction(&self, parts: &AdminParts, path: &str, previous: Option<&Entry>) -> Result<(Txn, Value), Answer> {
        // with its id and times, and its keys sealed, it must still be what the watcher takes
        let (bytes, value) = sealed(parts, &self.key, self.value(previous)?)?;
        let mut guards = refs::guards(parts, self.key.kind, &value, |_| Fate::Untouched).await?;
        guards.push(Guard { key: path.to_owned(), modified: previous.map(|entry| entry.modified) });
        let put = Op::Put { key: path.to_owned(), value: bytes, ttl: self.terms.ttl };
        Ok((Txn { guards, ops: vec![put] }, value))
    }
}
