//! For the room's tests: a store in memory that can be told to fail, and a request without a socket.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use serde_json::Value;

use super::auth::{AdminKey, Keys, Role};
use super::envelope::Answer;
use super::gate::{Admin, AdminParts};
use super::query::Query;
use super::server::{Head, Site};
use crate::base::id::Id;
use crate::base::secret::Secret;
use crate::control::ingest::Ingest;
use crate::live::applied::{Applied, AppliedWriter, applied};
use crate::live::fleet::{Fleet, FleetWriter, fleet};
use crate::schema::Schemas;
use crate::store::{Entry, Guard, Listing, Op, Revision, Store, StoreError, Subscription, Txn};

/// The key of the role admin.
pub(super) const KEY: &str = "key-of-admin";

/// An Admin API on a store in memory.
pub(super) struct Fake {
    pub(super) store: Arc<Memory>,
    pub(super) parts: Parts,
    pub(super) applied: AppliedWriter,
    pub(super) fleet: FleetWriter,
    reads: Applied,
    others: Fleet,
}

/// What a test may change before it asks.
pub(super) struct Parts {
    pub(super) stream_enabled: bool,
    pub(super) allow: Vec<crate::base::cidr::Cidr>,
    schemas: Arc<Schemas>,
}

impl Fake {
    pub(super) fn new() -> Self {
        let schemas = Arc::new(Schemas::compile().unwrap());
        let (applied, reads) = applied();
        let (fleet, others) = fleet("fake");
        Self { applied, fleet, reads, others, store: Arc::default(), parts: Parts { stream_enabled: true, allow: Vec::new(), schemas } }
    }

    /// The API; what it remembers of its clients ends with it.
    pub(super) fn admin(&self) -> Admin {
        self.admin_on(self.store.clone())
    }

    /// One more Admin API, on a store that others may write to as well.
    pub(super) fn admin_on(&self, store: Arc<dyn Store>) -> Admin {
        let key = |secret: &str, role| AdminKey { name: "k".into(), secret: Secret::new(secret.into()), role };
        Admin::new(Arc::new(AdminParts {
            store,
            prefix: "/sluice".into(),
            ingest: Arc::new(Ingest::new(self.parts.schemas.clone())),
            schemas: self.parts.schemas.clone(),
            keys: Keys { required: true, list: vec![key(KEY, Role::Admin), key("key-of-viewer", Role::Viewer)] },
            allow: self.parts.allow.clone(),
            stream_enabled: self.parts.stream_enabled,
            reserved: BTreeSet::from([Id::parse("conf-tcp-0").unwrap()]),
            applied: self.reads.clone(),
            metrics: crate::telemetry::Metrics::new().unwrap(),
            fleet: self.others.clone(),
        }))
    }

    /// Asks with the key of the role admin.
    pub(super) async fn ask(&self, method: &str, uri: &str, body: &str) -> (u16, Value) {
        self.ask_with(method, uri, &[("x-api-key", KEY)], body).await
    }

    /// Asks with these headers.
    pub(super) async fn ask_with(&self, method: &str, uri: &str, headers: &[(&'static str, &str)], body: &str) -> (u16, Value) {
        self.answer(method, uri, headers, body).await.parts()
    }

    /// The whole answer.
    pub(super) async fn answer(&self, method: &str, uri: &str, headers: &[(&'static str, &str)], body: &str) -> Answer {
        ask(&self.admin(), method, uri, headers, body).await
    }
}

/// What a site answers.
pub(super) async fn ask<S: Site>(site: &S, method: &str, uri: &str, headers: &[(&'static str, &str)], body: &str) -> Answer {
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let headers: HeaderMap =
        headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())).collect();
    let head =
        Head { method: method.parse().unwrap(), path: path.into(), query: Query::parse(query), headers, peer: [127, 0, 0, 1].into() };
    let answer = match site.gate(&head) {
        Some(refusal) => refusal,
        None => site.answer(&head, Bytes::copy_from_slice(body.as_bytes())).await,
    };
    site.finish(answer)
}

#[derive(Default)]
struct Inside {
    entries: BTreeMap<String, (Entry, Option<Duration>)>,
    at: Revision,
    fails: Option<String>,
    conflicts: bool,
    before_commit: Option<(String, Option<String>)>,
}

/// A store in memory.
#[derive(Default)]
pub(super) struct Memory(Mutex<Inside>);

impl Inside {
    fn apply(&mut self, ops: Vec<Op>) -> Revision {
        self.at += 1;
        for op in ops {
            match op {
                Op::Put { key, value, ttl } => {
                    let created = self.entries.get(&key).map_or(self.at, |(entry, _)| entry.created);
                    let entry = Entry { key: key.as_str().into(), value, created, modified: self.at };
                    self.entries.insert(key, (entry, ttl));
                }
                Op::Delete { key } => {
                    self.entries.remove(&key);
                }
            }
        }
        self.at
    }

    fn up(&self) -> Result<(), StoreError> {
        self.fails.clone().map_or(Ok(()), |reason| Err(StoreError::Unavailable { reason }))
    }

    fn holds(&self, guard: &Guard) -> bool {
        !self.conflicts && self.entries.get(&guard.key).map(|(entry, _)| entry.modified) == guard.modified
    }
}

impl Memory {
    /// Writes a value as somebody else would.
    pub(super) fn seed(&self, key: &str, value: &str) {
        let put = Op::Put { key: key.into(), value: Bytes::copy_from_slice(value.as_bytes()), ttl: None };
        self.0.lock().unwrap().apply(vec![put]);
    }

    /// From now on every call fails.
    pub(super) fn fail(&self, reason: &str) {
        self.0.lock().unwrap().fails = Some(reason.into());
    }

    /// From now on no guard holds.
    pub(super) fn conflict_always(&self) {
        self.0.lock().unwrap().conflicts = true;
    }

    /// Somebody else writes, or deletes, just before the next transaction.
    pub(super) fn before_next_commit(&self, key: &str, value: Option<&str>) {
        self.0.lock().unwrap().before_commit = Some((key.into(), value.map(Into::into)));
    }

    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap().entries.len()
    }

    pub(super) fn value(&self, key: &str) -> Value {
        serde_json::from_slice(&self.0.lock().unwrap().entries[key].0.value).unwrap()
    }

    pub(super) fn ttl(&self, key: &str) -> Option<Duration> {
        self.0.lock().unwrap().entries[key].1
    }
}

#[async_trait]
impl Store for Memory {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let inside = self.0.lock().unwrap();
        inside.up()?;
        Ok(inside.entries.get(key).map(|(entry, _)| entry.clone()))
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        let inside = self.0.lock().unwrap();
        inside.up()?;
        let entries = inside.entries.iter().filter(|(key, _)| key.starts_with(prefix)).map(|(_, (entry, _))| entry.clone());
        Ok(Listing { entries: entries.collect(), at: inside.at })
    }

    async fn commit(&self, txn: Txn) -> Result<Revision, StoreError> {
        let mut inside = self.0.lock().unwrap();
        inside.up()?;
        match inside.before_commit.take() {
            Some((key, Some(value))) => inside.apply(vec![Op::Put { key, value: value.into(), ttl: None }]),
            Some((key, None)) => inside.apply(vec![Op::Delete { key }]),
            None => inside.at,
        };
        if let Some(broken) = txn.guards.iter().find(|guard| !inside.holds(guard)) {
            return Err(StoreError::Conflict { key: broken.key.clone() });
        }
        Ok(inside.apply(txn.ops))
    }

    async fn subscribe(&self, _prefix: &str) -> Result<Box<dyn Subscription>, StoreError> {
        Err(StoreError::Unavailable { reason: "nobody subscribes here".into() })
    }
}
