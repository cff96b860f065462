//! Who lives: follows the status of all instances and tells `live::fleet`. Writes nothing to the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::super::reconcile::Backoff;
use super::{SPACING, folder};
use crate::live::fleet::{FleetWriter, Member};
use crate::store::{Change, Entry, Event, Store, Subscription};

/// What the loop works with.
#[derive(Clone)]
pub struct FollowerParts {
    /// The store that instances tell of themselves in.
    pub store: Arc<dyn Store>,
    /// The prefix of configuration keys.
    pub prefix: String,
    /// The run of this process.
    pub run: String,
    /// Where it is told who lives.
    pub fleet: Arc<FleetWriter>,
}

/// The loop. There is one in the process.
pub struct Follower {
    parts: FollowerParts,
    folder: String,
    members: BTreeMap<String, Member>,
    failing: bool,
}

impl Follower {
    /// A loop that has not begun.
    pub fn new(parts: FollowerParts) -> Self {
        let folder = folder(&parts.prefix);
        Self { parts, folder, members: BTreeMap::new(), failing: false }
    }

    /// Runs for ever. While the store is away the fleet stays as it was.
    pub async fn run(mut self) {
        let mut wait = Backoff::default();
        loop {
            let began = Instant::now();
            match self.parts.store.subscribe(&self.folder).await {
                Ok(events) => self.follow(events).await,
                Err(error) => {
                    if !std::mem::replace(&mut self.failing, true) {
                        tracing::warn!(%error, "the status of other instances cannot be read");
                    }
                }
            }
            if began.elapsed() > SPACING {
                wait = Backoff::default();
            }
            sleep(wait.next()).await;
        }
    }

    async fn follow(&mut self, mut events: Box<dyn Subscription>) {
        while let Some(event) = events.next().await {
            self.take(event);
            self.parts.fleet.set(self.members.values().cloned().collect());
            if std::mem::take(&mut self.failing) {
                tracing::info!(instances = self.members.len(), "the status of other instances is read again");
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Reset(listing) => {
                self.members.clear();
                for entry in &listing.entries {
                    self.put(entry);
                }
            }
            Event::Apply { changes, .. } => {
                for change in &changes {
                    match change {
                        Change::Put(entry) => self.put(entry),
                        Change::Delete { key, .. } => self.remove(key),
                    }
                }
            }
        }
    }

    /// What is no status of an instance is none of ours: nobody may be waited for because of it.
    fn put(&mut self, entry: &Entry) {
        let Some(id) = entry.key.strip_prefix(&self.folder) else { return };
        match member(id, &entry.value, &self.parts.run) {
            Some(member) => {
                if self.members.insert(id.to_owned(), member).is_none() {
                    tracing::debug!(instance = id, "an instance is there");
                }
            }
            None => self.remove(&entry.key),
        }
    }

    fn remove(&mut self, key: &str) {
        if let Some(id) = key.strip_prefix(&self.folder)
            && self.members.remove(id).is_some()
        {
            tracing::debug!(instance = id, "an instance is gone");
        }
    }
}

fn member(id: &str, value: &[u8], own: &str) -> Option<Member> {
    let document: Value = serde_json::from_slice(value).ok()?;
    let own = document.get("run")?.as_str()? == own;
    let applied = document.get("applied_revision").and_then(Value::as_u64);
    Some(Member { id: id.into(), own, applied, document: Arc::new(document) })
}
