//! A reader of a few words and a store that says what the test tells it to. Never in a build that serves.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::ingest::Verdict;
use super::ledger::Judge;
use crate::base::id::{Key, Kind};
use crate::base::violation::{Rejected, Stage, Violation};
use crate::model::{Global, HttpRoute, Listener, Resource, Ssl, SslUsage, StreamRoute, TlsVersions, UpstreamRef};
use crate::snapshot::fixture;
use crate::store::{Change, Entry, Event, Listing, Revision, Store, StoreError, Subscription, Txn};

/// Reads `{"port": 1}` as an upstream, `{"upstream_id": "u"}` as a route, `{"addr": "80"}` as a listener. A field `bad` is refused.
pub(super) struct Plain;

impl Judge for Plain {
    fn read(&self, key: &Key, value: &[u8], at: u64) -> Verdict {
        match serde_json::from_slice(value) {
            Ok(value) => self.read_value(key, &value, at),
            Err(error) => rejected(key, at, Stage::Json, Violation::new("", "json", error.to_string())),
        }
    }

    fn warnings(&self, _: &Key, _: &Value, _: &Resource, _: i64) -> Vec<String> {
        Vec::new()
    }

    fn read_value(&self, key: &Key, value: &Value, at: u64) -> Verdict {
        if !value["bad"].is_null() {
            return rejected(key, at, Stage::Schema, Violation::new("/bad", "additionalProperties", "it is bad"));
        }
        let id = |field: &str| value[field].as_str().map(fixture::id);
        let (name, enabled) = (key.id.as_str(), value["status"] != 0);
        Verdict::Accepted(match key.kind {
            Kind::Listener => {
                let listener = fixture::listener(name, value["addr"].as_str().unwrap_or_default());
                Resource::Listener(Arc::new(Listener { stream_route_id: id("stream_route_id"), enabled, ..listener }))
            }
            Kind::StreamRoute => {
                let link = id("upstream_id").map_or(UpstreamRef::None, UpstreamRef::Id);
                Resource::StreamRoute(Arc::new(StreamRoute { enabled, ..fixture::route(name, link) }))
            }
            Kind::Route => {
                let link = id("upstream_id").map_or(UpstreamRef::None, UpstreamRef::Id);
                Resource::Route(Arc::new(HttpRoute { enabled, ..fixture::http_route(name, link) }))
            }
            Kind::Upstream => {
                let port = value["port"].as_u64().and_then(|p| u16::try_from(p).ok()).unwrap_or_default();
                Resource::Upstream(Arc::new(fixture::upstream(port)))
            }
            Kind::Ssl => Resource::Ssl(Arc::new(Ssl {
                id: key.id.clone(),
                snis: Vec::new(),
                pairs: Vec::new(),
                usage: SslUsage::Server,
                client: None,
                versions: TlsVersions::default(),
                enabled,
            })),
            Kind::Setting => Resource::Global(Arc::new(Global::default())),
        })
    }
}

fn rejected(key: &Key, at: u64, stage: Stage, violation: Violation) -> Verdict {
    Verdict::Rejected(Rejected { key: key.to_string(), at, stage, violations: vec![violation] })
}

/// An entry under `/sluice/`.
pub(super) fn entry(name: &str, value: &str, created: Revision, modified: Revision) -> Entry {
    Entry { key: format!("/sluice/{name}").into(), value: value.as_bytes().to_vec().into(), created, modified }
}

pub(super) fn reset(at: Revision, entries: Vec<Entry>) -> Event {
    Event::Reset(Listing { entries, at })
}

/// One revision: a put of every name with a value, a delete of every name without.
pub(super) fn apply(at: Revision, changes: &[(&str, Option<&str>)]) -> Event {
    let change = |(name, value): &(&str, Option<&str>)| match value {
        Some(value) => Change::Put(entry(name, value, 1, at)),
        None => Change::Delete { key: format!("/sluice/{name}").into(), at },
    };
    Event::Apply { changes: changes.iter().map(change).collect(), at }
}

/// A store whose subscriptions are given one after another; without one, it is not available.
#[derive(Default)]
pub(super) struct Script(Mutex<VecDeque<UnboundedReceiver<Event>>>);

impl Script {
    /// Lets one more subscription succeed. Dropping the sender ends it.
    pub(super) fn subscription(&self) -> UnboundedSender<Event> {
        let (tx, rx) = unbounded_channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(rx);
        tx
    }
}

#[async_trait]
impl Store for Script {
    async fn get(&self, _: &str) -> Result<Option<Entry>, StoreError> {
        Err(StoreError::Unavailable { reason: "not in the script".into() })
    }

    async fn list(&self, _: &str) -> Result<Listing, StoreError> {
        Err(StoreError::Unavailable { reason: "not in the script".into() })
    }

    async fn commit(&self, _: Txn) -> Result<Revision, StoreError> {
        Err(StoreError::Unavailable { reason: "not in the script".into() })
    }

    async fn subscribe(&self, prefix: &str) -> Result<Box<dyn Subscription>, StoreError> {
        assert_eq!(prefix, "/sluice/");
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front() {
            Some(events) => Ok(Box::new(Events(events))),
            None => Err(StoreError::Unavailable { reason: "down".into() }),
        }
    }
}

struct Events(UnboundedReceiver<Event>);

#[async_trait]
impl Subscription for Events {
    async fn next(&mut self) -> Option<Event> {
        self.0.recv().await
    }
}
