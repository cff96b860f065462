//! The book of every key: its last good value, its newest refused one, and what became of it. Decides what the accepted objects
//! are; compiles and publishes nothing.

use std::collections::btree_map::Entry as Place;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::Value;

use super::ingest::{Ingest, Verdict, hidden};
use super::outcome::Outcomes;
use super::status::Told;
use super::strangers::Strangers;
use crate::base::id::{Id, Key, Kind};
use crate::base::violation::{Rejected, Stage, Violation};
use crate::model::{Origin, Resource, Stored};
use crate::snapshot::{Conflict, Objects, Pending};
use crate::store::{Change, Entry, Event, Listing, Revision};
use crate::telemetry::Metrics;

/// Who reads values into resources.
pub trait Judge: Send + Sync {
    /// Reads the bytes of a key.
    fn read(&self, key: &Key, value: &[u8], at: u64) -> Verdict;
    /// Reads a value that is JSON already.
    fn read_value(&self, key: &Key, value: &Value, at: u64) -> Verdict;
    /// What the writer of an accepted value should know. `now`: seconds since 1970.
    fn warnings(&self, key: &Key, value: &Value, resource: &Resource, now: i64) -> Vec<String>;
}

impl Judge for Ingest {
    fn read(&self, key: &Key, value: &[u8], at: u64) -> Verdict {
        Self::read(self, key, value, at)
    }

    fn read_value(&self, key: &Key, value: &Value, at: u64) -> Verdict {
        Self::read_value(self, key, value, at)
    }

    fn warnings(&self, key: &Key, value: &Value, resource: &Resource, now: i64) -> Vec<String> {
        Self::warnings(key, value, resource, now)
    }
}

/// After so many values other tasks get a turn.
const TURN: usize = 256;

/// What a provider's own tools leave as the value of a directory: no object.
const MARKER: &[u8] = b"init_dir";

/// The book.
pub struct Ledger {
    /// With a slash at its end.
    prefix: String,
    judge: Arc<dyn Judge>,
    metrics: Metrics,
    strangers: Strangers,
    records: Records,
    objects: Objects,
    /// Accepted objects that changed since they were last taken.
    touched: BTreeSet<Key>,
    /// Keys whose status may have changed.
    stale: BTreeSet<Arc<str>>,
    counts: Counts,
    outcomes: Outcomes,
    revision: Revision,
    /// How many of the newest values in the store are of a revision.
    revisions: BTreeMap<Revision, usize>,
}

/// What happened to the book since its changes were last taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Values accepted.
    pub put: usize,
    /// Objects deleted.
    pub deleted: usize,
    /// Values refused.
    pub refused: usize,
}

/// Every key, by its name without the prefix.
pub(super) type Records = BTreeMap<Arc<str>, Record>;

/// One key. At least one of `good` and `bad` is there.
pub(super) struct Record {
    pub(super) kind: Kind,
    /// The newest value in the store; `None` for an object of conf that has none there.
    pub(super) seen: Option<Seen>,
    pub(super) good: Option<Good>,
    pub(super) bad: Option<Rejected>,
}

/// The newest value of a key, as far as it takes to see that it is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    created: Revision,
    pub(super) modified: Revision,
    /// A store that was restored from a backup may come to the same revision with another value.
    digest: u64,
}

/// An accepted value.
pub(super) struct Good {
    pub(super) stored: Arc<Stored>,
    /// As written, without private keys.
    pub(super) value: Arc<Value>,
    pub(super) warnings: Arc<[String]>,
    pub(super) applied_at: Option<SystemTime>,
}

impl Ledger {
    /// An empty book of the keys under a prefix, with or without a slash at its end.
    pub fn new(prefix: &str, judge: Arc<dyn Judge>, metrics: Metrics) -> Self {
        Self {
            prefix: format!("{}/", prefix.trim_end_matches('/')),
            judge,
            metrics,
            strangers: Strangers::default(),
            records: BTreeMap::new(),
            objects: Objects::new_sync(),
            touched: BTreeSet::new(),
            stale: BTreeSet::new(),
            counts: Counts::default(),
            outcomes: Outcomes::default(),
            revision: 0,
            revisions: BTreeMap::new(),
        }
    }

    /// The prefix of its keys, with a slash at its end.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Enters an object of conf. The store cannot change or delete it.
    pub fn enter(&mut self, key: Key, value: Value) {
        let name: Arc<str> = key.to_string().into();
        let mut record = Record { kind: key.kind, seen: None, good: None, bad: None };
        match self.judge.read_value(&key, &value, 0) {
            Verdict::Accepted(resource) => {
                self.accept(&mut record, Stored { key, origin: Origin::Conf, created: 0, modified: 0, resource }, value);
            }
            Verdict::Rejected(rejected) => self.refuse(&name, &mut record, rejected),
        }
        self.records.insert(name.clone(), record);
        self.stale.insert(name);
    }

    /// Enters an event of the store; a listing of many values lets other tasks have turns. Not cancel safe: an event that was
    /// entered half is entered again from its start by the next listing only.
    pub async fn take(&mut self, event: Event) {
        match event {
            Event::Reset(listing) => {
                self.delete_absent(&listing);
                for (n, entry) in listing.entries.iter().enumerate() {
                    self.put(entry);
                    if n % TURN == TURN - 1 {
                        tokio::task::yield_now().await;
                    }
                }
                self.revision = listing.at;
            }
            Event::Apply { changes, at } => {
                for change in &changes {
                    match change {
                        Change::Put(entry) => self.put(entry),
                        Change::Delete { key, .. } => self.delete(key),
                    }
                }
                self.revision = at;
            }
        }
        self.metrics.set_store_revision(self.revision);
        self.metrics.set_newest_revision(self.newest());
        self.sweep();
    }

    /// All accepted objects.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// The newest store revision that was entered.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The revision of the newest value in the store: the same in every gateway that has seen the same, however it came to see it.
    fn newest(&self) -> Revision {
        self.revisions.last_key_value().map_or(0, |(newest, _)| *newest)
    }

    /// Notes which revision a value of the store was of, and which its successor is of.
    fn recount(&mut self, had: Option<Seen>, has: Option<Seen>) {
        if let Some(has) = has {
            *self.revisions.entry(has.modified).or_default() += 1;
        }
        if let Some(Place::Occupied(mut place)) = had.map(|had| self.revisions.entry(had.modified)) {
            *place.get_mut() -= 1;
            if *place.get() == 0 {
                place.remove();
            }
        }
    }

    /// Whether anything was entered that `settle` has not told yet.
    pub fn changed(&self) -> bool {
        !self.touched.is_empty() || !self.stale.is_empty()
    }

    /// Takes the keys of the accepted objects that changed since the last time, and the counts.
    pub fn take_touched(&mut self) -> (BTreeSet<Key>, Counts) {
        (std::mem::take(&mut self.touched), std::mem::take(&mut self.counts))
    }

    /// Marks keys as changed: those of a snapshot that was built from another book.
    pub fn touch(&mut self, keys: impl IntoIterator<Item = Key>) {
        self.touched.extend(keys);
    }

    fn delete_absent(&mut self, listing: &Listing) {
        let names = listing.entries.iter().filter_map(|entry| named(&self.prefix, &entry.key));
        let present: BTreeSet<&str> = names.map(|(_, name)| name).collect();
        let absent = self.records.iter().filter(|(name, record)| record.seen.is_some() && !present.contains(&***name));
        let gone: Vec<Arc<str>> = absent.map(|(name, _)| name.clone()).collect();
        for name in gone {
            self.remove(&name);
        }
    }

    fn delete(&mut self, key: &str) {
        if let Some((_, name)) = named(&self.prefix, key) {
            self.remove(name);
        }
    }

    /// The store has no value of this name any more.
    fn remove(&mut self, name: &str) {
        let Some((name, mut record)) = self.records.remove_entry(name) else { return };
        self.stale.insert(name.clone());
        self.recount(record.seen, None);
        match record.good {
            Some(good) if good.stored.origin == Origin::Conf => {
                record.good = Some(good);
                (record.seen, record.bad) = (None, None);
                self.records.insert(name, record);
            }
            Some(good) => {
                self.objects.remove_mut(&good.stored.key);
                self.touched.insert(good.stored.key.clone());
                self.counts.deleted += 1;
            }
            None => {}
        }
    }

    fn put(&mut self, entry: &Entry) {
        let Some((kind, name)) = named(&self.prefix, &entry.key) else {
            return self.strangers.see(entry.key.strip_prefix(&self.prefix).unwrap_or_default());
        };
        if entry.value.trim_ascii() == MARKER {
            return self.remove(name);
        }
        let seen = Seen { created: entry.created, modified: entry.modified, digest: digest(&entry.value) };
        let had = self.records.get(name).and_then(|record| record.seen);
        if had == Some(seen) {
            return;
        }
        if had.is_some_and(|had| had.created != seen.created) {
            // it was deleted in between: what the old object served ends, even if the new value is refused
            self.remove(name);
        }
        let (name, mut record) =
            self.records.remove_entry(name).unwrap_or_else(|| (name.into(), Record { kind, seen: None, good: None, bad: None }));
        self.recount(record.seen, Some(seen));
        record.seen = Some(seen);
        self.judge(&name, &mut record, entry);
        self.records.insert(name.clone(), record);
        self.stale.insert(name);
    }

    fn judge(&mut self, name: &str, record: &mut Record, entry: &Entry) {
        let at = entry.modified;
        let text = name.split_once('/').map_or("", |(_, id)| id);
        let rejected = |rule: &str, message: String| {
            let violations = vec![Violation::new("", rule, message)];
            Rejected { key: name.to_string(), at, stage: Stage::Key, violations }
        };
        let Ok(id) = Id::parse(text) else {
            let rejected = rejected("id", format!("{text:?} is not an id: 1 to 64 characters of A-Z a-z 0-9 . _ -"));
            return self.refuse(name, record, rejected);
        };
        if record.good.as_ref().is_some_and(|good| good.stored.origin == Origin::Conf) {
            let rejected = rejected("reserved", "the configuration file has an object of this name: choose another id".to_owned());
            return self.refuse(name, record, rejected);
        }
        let key = Key::new(record.kind, id);
        match self.judge.read(&key, &entry.value, at) {
            Verdict::Accepted(resource) => {
                let stored = Stored { key, origin: Origin::Store, created: entry.created, modified: at, resource };
                self.accept(record, stored, serde_json::from_slice(&entry.value).unwrap_or_default());
            }
            Verdict::Rejected(rejected) => self.refuse(name, record, rejected),
        }
    }

    fn accept(&mut self, record: &mut Record, stored: Stored, mut value: Value) {
        let stored = Arc::new(stored);
        let warnings = self.judge.warnings(&stored.key, &value, &stored.resource, now());
        for warning in &warnings {
            tracing::warn!(key = %stored.key, warning, revision = stored.modified, "object accepted with a warning");
        }
        hidden::hide(stored.key.kind, &mut value);
        self.objects.insert_mut(stored.key.clone(), stored.clone());
        self.touched.insert(stored.key.clone());
        self.counts.put += 1;
        record.good = Some(Good { stored, value: Arc::new(value), warnings: warnings.into(), applied_at: None });
        record.bad = None;
    }

    /// Notes a refusal; what the key had before goes on serving.
    fn refuse(&mut self, name: &str, record: &mut Record, rejected: Rejected) {
        self.counts.refused += 1;
        self.metrics.count_rejection(record.kind, rejected.stage);
        let first = rejected.violations.first();
        tracing::warn!(
            key = name,
            stage = rejected.stage.as_str(),
            pointer = first.map_or("", |v| v.path.as_str()),
            reason = first.map_or("", |v| v.message.as_str()),
            revision = rejected.at,
            serving_revision = record.good.as_ref().map(|good| good.stored.modified),
            "object refused"
        );
        record.bad = Some(rejected);
    }

    /// Works out what became of every object that was entered or is linked anew, after a build was published at `now`.
    pub(super) fn settle(&mut self, pending: Vec<Pending>, conflicts: Vec<Conflict>, now: SystemTime) -> Told {
        let mut stale = std::mem::take(&mut self.stale);
        stale.extend(self.outcomes.link(pending, conflicts));
        for name in stale {
            if let Some(good) = self.records.get_mut(&name).and_then(|record| record.good.as_mut()) {
                good.applied_at.get_or_insert(now);
            }
            self.outcomes.renew(&name, &self.records);
        }
        self.outcomes.count(&self.metrics);
        self.outcomes.told(self.revision)
    }

    /// What always holds, checked after every event in debug builds.
    fn sweep(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        let good = || self.records.iter().filter_map(|(name, record)| Some((name, record, record.good.as_ref()?)));
        debug_assert_eq!(good().count(), self.objects.size(), "an accepted object for every good record and no other");
        for (name, record, good) in good() {
            let held = self.objects.get(&good.stored.key);
            debug_assert!(held.is_some_and(|held| Arc::ptr_eq(held, &good.stored)), "{name} is the object that the builds see");
            debug_assert_eq!(good.stored.key.to_string(), **name, "a record has its object's name");
            debug_assert_eq!(good.stored.resource.kind(), record.kind, "{name} is of the kind of its key");
        }
        let newest = self.records.values().filter_map(|record| record.seen).map(|seen| seen.modified).max();
        debug_assert_eq!(newest.unwrap_or(0), self.newest(), "the newest revision is counted");
        for (name, record) in &self.records {
            debug_assert!(record.good.is_some() || record.bad.is_some(), "{name} has a value");
        }
    }
}

/// The kind that a store key names, and the key without the prefix. `None`: not one of ours, and nobody's mistake.
fn named<'a>(prefix: &str, key: &'a str) -> Option<(Kind, &'a str)> {
    let name = key.strip_prefix(prefix)?;
    let (dir, _) = name.split_once('/')?;
    Some((Kind::from_dir(dir)?, name))
}

fn digest(value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::fixture::{Plain, apply, entry, reset};
    use crate::control::status::{ObjectState, ObjectStatus};
    use crate::snapshot::fixture::key;
    use proptest::prelude::*;

    const GOOD: &str = r#"{"port":1}"#;
    const BAD: &str = r#"{"bad":1}"#;

    fn ledger() -> Ledger {
        Ledger::new("/sluice/", Arc::new(Plain), Metrics::new().unwrap())
    }

    fn status(ledger: &mut Ledger, name: &str) -> Option<ObjectStatus> {
        let told = ledger.settle(Vec::new(), Vec::new(), SystemTime::UNIX_EPOCH);
        told.objects.get(name).map(|status| (**status).clone())
    }

    fn names(ledger: &Ledger) -> Vec<String> {
        let mut names: Vec<String> = ledger.objects().keys().map(ToString::to_string).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_refused_value_keeps_the_last_good_one_and_says_so() {
        let mut ledger = ledger();
        ledger.take(reset(3, vec![entry("upstreams/u", GOOD, 1, 3)])).await;
        ledger.take(apply(4, &[("upstreams/u", Some(BAD))])).await;
        let told = status(&mut ledger, "upstreams/u").unwrap();
        assert_eq!(
            (told.state, told.stage, told.revision, told.serving_revision),
            (ObjectState::Rejected, Some(Stage::Schema), 4, Some(3))
        );
        assert_eq!((told.reason.as_deref(), told.value.to_string()), (Some("/bad: it is bad"), GOOD.to_owned()));
        assert_eq!(names(&ledger), ["upstreams/u"]);
        ledger.take(apply(5, &[("upstreams/u", Some(GOOD))])).await;
        assert_eq!(status(&mut ledger, "upstreams/u").unwrap().state, ObjectState::Active);
    }

    #[tokio::test]
    async fn a_delete_takes_the_good_and_the_refused_value_away() {
        let mut ledger = ledger();
        ledger.take(apply(2, &[("upstreams/u", Some(GOOD)), ("upstreams/v", Some(BAD))])).await;
        ledger.take(apply(3, &[("upstreams/u", Some(BAD))])).await;
        ledger.take(apply(4, &[("upstreams/u", None), ("upstreams/v", None)])).await;
        assert!(names(&ledger).is_empty());
        assert_eq!((status(&mut ledger, "upstreams/u"), status(&mut ledger, "upstreams/v")), (None, None));
    }

    #[tokio::test]
    async fn a_listing_is_a_difference() {
        let mut ledger = ledger();
        ledger
            .take(reset(3, vec![entry("upstreams/a", GOOD, 1, 1), entry("upstreams/b", GOOD, 2, 2), entry("upstreams/c", BAD, 3, 3)]))
            .await;
        ledger.take_touched();
        ledger
            .take(reset(9, vec![entry("upstreams/b", GOOD, 2, 2), entry("upstreams/c", BAD, 3, 3), entry("upstreams/d", GOOD, 9, 9)]))
            .await;
        let (touched, counts) = ledger.take_touched();
        assert_eq!(touched, BTreeSet::from([key(Kind::Upstream, "a"), key(Kind::Upstream, "d")]));
        assert_eq!(counts, Counts { put: 1, deleted: 1, refused: 0 });
        assert_eq!(ledger.revision(), 9);
    }

    #[tokio::test]
    async fn another_value_at_the_same_revision_is_noticed() {
        let mut ledger = ledger();
        ledger.take(reset(3, vec![entry("upstreams/a", GOOD, 1, 3)])).await;
        ledger.take_touched();
        ledger.take(reset(3, vec![entry("upstreams/a", r#"{"port":2}"#, 1, 3)])).await;
        assert_eq!(ledger.take_touched().0.len(), 1);
    }

    #[tokio::test]
    async fn a_bad_value_of_a_key_that_was_made_anew_inherits_nothing() {
        let mut ledger = ledger();
        ledger.take(reset(3, vec![entry("upstreams/a", GOOD, 1, 3)])).await;
        ledger.take(reset(8, vec![entry("upstreams/a", BAD, 7, 8)])).await;
        assert!(names(&ledger).is_empty());
        assert_eq!(status(&mut ledger, "upstreams/a").unwrap().serving_revision, None);
    }

    #[tokio::test]
    async fn markers_and_unknown_kinds_are_skipped_and_illegal_ids_refused() {
        let mut ledger = ledger();
        let changes = [
            ("upstreams/", Some("init_dir")),
            ("gen_id", Some("7")),
            ("routs/1", Some(GOOD)),
            ("upstreams/a b", Some(GOOD)),
            ("upstreams/a/b", Some(GOOD)),
            ("upstreams/", Some("init_dir")),
        ];
        ledger.take(apply(2, &changes)).await;
        let told = ledger.settle(Vec::new(), Vec::new(), SystemTime::UNIX_EPOCH);
        let keys: Vec<_> = told.objects.values().map(|s| (s.key.as_str(), s.state, s.stage)).collect();
        let refused = |key| (key, ObjectState::Rejected, Some(Stage::Key));
        assert_eq!(keys, [refused("upstreams/a b"), refused("upstreams/a/b")]);
    }

    #[tokio::test]
    async fn the_store_cannot_change_or_delete_an_object_of_conf() {
        let mut ledger = ledger();
        ledger.enter(key(Kind::Listener, "conf-tcp-1"), serde_json::json!({"addr": "80"}));
        ledger.take(reset(2, vec![entry("listeners/conf-tcp-1", r#"{"addr":"81"}"#, 2, 2)])).await;
        let told = status(&mut ledger, "listeners/conf-tcp-1").unwrap();
        assert_eq!((told.origin, told.state, told.stage), (Origin::Conf, ObjectState::Rejected, Some(Stage::Key)));
        assert_eq!(told.value["addr"], "80");
        for event in [apply(3, &[("listeners/conf-tcp-1", None)]), reset(4, Vec::new())] {
            ledger.take(event).await;
            assert_eq!(status(&mut ledger, "listeners/conf-tcp-1").unwrap().state, ObjectState::Active);
        }
    }

    #[tokio::test]
    async fn what_is_not_active_says_why_and_is_counted() {
        let mut ledger = ledger();
        let changes = [
            ("upstreams/x", Some(BAD)),
            ("stream_routes/r", Some(r#"{"upstream_id":"x"}"#)),
            ("stream_routes/off", Some(r#"{"status":0}"#)),
            ("listeners/l", Some(r#"{"addr":"80"}"#)),
        ];
        ledger.take(apply(2, &changes)).await;
        let pending = Pending { key: key(Kind::StreamRoute, "r"), missing: key(Kind::Upstream, "x") };
        let listener = crate::snapshot::fixture::listener("l", "80");
        let conflict = Conflict {
            listener: listener.id.clone(),
            port: listener.ports().next().unwrap(),
            protocol: listener.protocol,
            winner: Id::parse("first").unwrap(),
            required: false,
        };
        let told = ledger.settle(vec![pending], vec![conflict], SystemTime::UNIX_EPOCH);
        let reason = |name: &str| told.objects.get(name).and_then(|s| s.reason.clone()).unwrap();
        assert_eq!(reason("stream_routes/r"), "waits for upstreams/x, which was refused");
        assert_eq!(reason("stream_routes/off"), "its status is 0");
        assert_eq!(reason("listeners/l"), "listeners/first has tcp://0.0.0.0:80");
        let text = String::from_utf8(ledger.metrics.encode().unwrap()).unwrap();
        for (kind, state) in
            [("upstreams", "rejected"), ("stream_routes", "pending"), ("stream_routes", "disabled"), ("listeners", "conflict")]
        {
            assert!(text.contains(&format!(r#"sluice_config_objects{{kind="{kind}",state="{state}"}} 1"#)), "{kind} {state}");
        }
        assert!(text.contains(r#"sluice_config_rejections_total{kind="upstreams",stage="schema"} 1"#));
        let healed = ledger.settle(Vec::new(), Vec::new(), SystemTime::UNIX_EPOCH);
        assert!(healed.objects.get("listeners/l").is_some_and(|s| s.state == ObjectState::Active));
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: prop::test_runner::RngSeed::Fixed(1000), ..ProptestConfig::with_cases(1000) })]
        #[test]
        fn every_key_has_its_last_good_value_since_it_was_made(
            edits in prop::collection::vec((0u8..4, prop::option::of(prop::option::of(1u16..4)), any::<bool>()), 1..30)
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let mut ledger = ledger();
            let mut stored: BTreeMap<String, Entry> = BTreeMap::new();
            let mut good: BTreeMap<String, u64> = BTreeMap::new();
            for (at, (name, value, listed)) in (1u64..).zip(edits) {
                let name = format!("upstreams/u{name}");
                let change = if let Some(value) = value {
                    let created = stored.get(&name).map_or(at, |had| had.created);
                    let text = value.map_or(BAD.to_owned(), |port| format!(r#"{{"port":{port}}}"#));
                    value.map(|_| good.insert(name.clone(), at));
                    let put = entry(&name, &text, created, at);
                    stored.insert(name, put.clone());
                    Change::Put(put)
                } else {
                    good.remove(&name);
                    stored.remove(&name);
                    Change::Delete { key: format!("/sluice/{name}").into(), at }
                };
                let event = if listed { reset(at, stored.values().cloned().collect()) } else { Event::Apply { changes: vec![change], at } };
                runtime.block_on(ledger.take(event));
            }
            let have: BTreeMap<String, u64> = ledger.objects().values().map(|s| (s.key.to_string(), s.modified)).collect();
            prop_assert_eq!(have, good);
            let told = ledger.settle(Vec::new(), Vec::new(), SystemTime::UNIX_EPOCH);
            prop_assert_eq!(told.objects.size(), stored.len());
        }
    }
}
