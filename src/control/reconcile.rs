//! The one loop: what the store says is entered in the ledger, changes are collected for a moment, built and published. Opens no
//! port and serves nobody.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::time::Instant;

use super::ledger::{Judge, Ledger};
use super::pace::Pace;
use super::status::StatusHandle;
use crate::base::id::Key;
use crate::snapshot::cell::Cell;
use crate::snapshot::{Registries, View, build};
use crate::store::{Event, Reasons, Store, Subscription};
use crate::telemetry::Metrics;

/// The waits before the store is asked again, from the shortest to the longest.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// How often an old snapshot that somebody still reads is looked at again.
const REAP: Duration = Duration::from_millis(200);

/// What the loop works with.
#[derive(Clone)]
pub struct ReconcilerParts {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The prefix of configuration keys.
    pub prefix: String,
    /// Reads values into resources: an `Arc<Ingest>`.
    pub ingest: Arc<dyn Judge>,
    /// The objects of conf.
    pub static_objects: Vec<(Key, Value)>,
    /// What compiled objects are linked with.
    pub registries: Registries,
    /// Where snapshots are published.
    pub cell: Cell,
    /// Where it is told what became of objects.
    pub status: StatusHandle,
    /// Metrics.
    pub metrics: Metrics,
}

/// The loop. There is one in the process.
pub struct Reconciler {
    parts: ReconcilerParts,
    ledger: Ledger,
    pace: Pace,
    /// The revision that was published last; `None` before the first listing.
    published: Option<u64>,
    /// Somebody still reads an old snapshot.
    retired: bool,
    /// Why the store does not answer, as far as it was told; empty: it does.
    down: Reasons,
}

impl Reconciler {
    /// A loop that has not begun. Nothing is published before the store's first listing, conf's objects neither: a port without its
    /// routes would turn clients away.
    pub fn new(parts: ReconcilerParts) -> Self {
        let mut ledger = Ledger::new(&parts.prefix, parts.ingest.clone(), parts.metrics.clone());
        // a loop that was started again after a panic has to undo what only the one before it knew
        ledger.touch(parts.cell.load().objects().keys().cloned());
        for (key, value) in &parts.static_objects {
            ledger.enter(key.clone(), value.clone());
        }
        Self { parts, ledger, pace: Pace::default(), published: None, retired: false, down: Reasons::default() }
    }

    /// Runs for ever; subscribes again, with growing waits, whenever a subscription fails or ends. Dropping it stops the
    /// configuration where it is.
    pub async fn run(mut self) {
        let mut wait = Backoff::default();
        loop {
            match self.parts.store.subscribe(self.ledger.prefix()).await {
                Ok(events) => {
                    let began = Instant::now();
                    self.follow(events).await;
                    if began.elapsed() > LONGEST {
                        wait = Backoff::default();
                    }
                    self.lost("the subscription ended");
                }
                Err(error) => self.lost(&error.to_string()),
            }
            tokio::time::sleep(wait.next()).await;
        }
    }

    /// Follows one subscription to its end.
    async fn follow(&mut self, mut events: Box<dyn Subscription>) {
        loop {
            let due = self.pace.due();
            tokio::select! {
                biased;
                () = at(due) => self.apply(),
                event = events.next() => {
                    let Some(event) = event else { break };
                    self.found();
                    self.enter(event).await;
                }
                () = tokio::time::sleep(REAP), if self.retired => self.retired = self.parts.cell.reap() > 0,
            }
        }
        if self.pace.due().is_some() {
            self.apply();
        }
    }

    async fn enter(&mut self, event: Event) {
        let arrived = Instant::now();
        self.ledger.take(event).await;
        if self.ledger.changed() || self.published != Some(self.ledger.revision()) {
            self.pace.came(arrived);
        }
    }

    /// Builds and publishes everything that was entered.
    fn apply(&mut self) {
        let Some(arrived) = self.pace.applied() else { return };
        let (touched, counts) = self.ledger.take_touched();
        let revision = self.ledger.revision();
        let view = View { objects: self.ledger.objects(), touched: &touched, revision };
        let built = build(view, &self.parts.registries, &self.parts.cell.load());
        tracing::info!(
            revision,
            put = counts.put,
            deleted = counts.deleted,
            refused = counts.refused,
            compiled = built.compiled,
            pending = built.pending.len(),
            conflicts = built.conflicts.len(),
            objects = self.ledger.objects().size(),
            "configuration applied"
        );
        self.parts.cell.publish(built.snapshot, arrived);
        self.retired = self.parts.cell.reap() > 0;
        self.published = Some(revision);
        self.parts.status.publish(self.ledger.settle(built.pending, built.conflicts, SystemTime::now()));
    }

    fn found(&mut self) {
        // an event need not come from the store: it may be the last good set
        self.parts.metrics.set_store_up(self.parts.store.standing().up);
        if !self.down.is_empty() {
            self.down.clear();
            tracing::info!("store answers again");
        }
    }

    /// Tells each new reason: the first one (a refused connection) need not be the one that lasts (a wrong password).
    fn lost(&mut self, reason: &str) {
        self.parts.metrics.set_store_up(false);
        self.parts.metrics.count_store_error("subscribe");
        let is_first = self.down.is_empty();
        if !self.down.is_news(reason) {
            return;
        }
        if self.published.is_none() {
            tracing::warn!(reason, "the store does not answer; nothing is served until it does");
        } else if is_first {
            tracing::warn!(reason, "store lost; what was applied goes on serving");
        } else {
            tracing::warn!(reason, "store stays lost");
        }
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Waits that double, each shortened by up to a half so that a fleet does not ask in step.
#[derive(Debug, Default)]
pub(super) struct Backoff(Option<Duration>);

impl Backoff {
    pub(super) fn next(&mut self) -> Duration {
        let full = self.0.map_or(SHORTEST, |last| (last * 2).min(LONGEST));
        self.0 = Some(full);
        let share = getrandom::u32().map_or(1.0, |n| f64::from(n) / f64::from(u32::MAX));
        full.mul_f64(share.mul_add(0.5, 0.5))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Kind;
    use crate::base::task;
    use crate::control::fixture::{Plain, Script, apply, entry, reset};
    use crate::control::status::ObjectState;
    use crate::snapshot::Snapshot;
    use crate::snapshot::fixture::{self, leads_to};
    use tokio::sync::mpsc::UnboundedSender;
    use tokio::sync::watch;
    use tokio::task::JoinHandle;

    const LISTENER: &str = r#"{"addr":"80","stream_route_id":"r"}"#;
    const ROUTE: &str = r#"{"upstream_id":"u"}"#;

    struct Loop {
        store: Arc<Script>,
        parts: ReconcilerParts,
        heard: watch::Receiver<u64>,
        task: JoinHandle<()>,
    }

    impl Loop {
        fn start(static_objects: Vec<(Key, Value)>) -> (Self, UnboundedSender<Event>) {
            let store = Arc::new(Script::default());
            let events = store.subscription();
            let registries = fixture::registries();
            let cell = Cell::new(Snapshot::empty(&registries));
            let parts = ReconcilerParts {
                store: store.clone(),
                prefix: "/sluice".to_owned(),
                ingest: Arc::new(Plain),
                static_objects,
                metrics: registries.metrics.clone(),
                registries,
                cell: cell.clone(),
                status: StatusHandle::new(),
            };
            let task = task::spawn(Reconciler::new(parts.clone()).run());
            (Self { store, parts, heard: cell.subscribe(), task }, events)
        }

        async fn published(&mut self) -> Arc<Snapshot> {
            self.heard.changed().await.unwrap();
            // the status follows the snapshot within the same turn of the loop
            tokio::task::yield_now().await;
            self.parts.cell.load_full()
        }

        fn state(&self, name: &str) -> Option<(ObjectState, Option<u64>)> {
            self.parts.status.get(name).map(|s| (s.state, s.serving_revision))
        }

        fn up(&self) -> bool {
            String::from_utf8(self.parts.metrics.encode().unwrap()).unwrap().contains("\nsluice_store_up 1")
        }
    }

    fn upstream(port: u16) -> String {
        format!(r#"{{"port":{port}}}"#)
    }

    fn all(at: u64) -> Vec<crate::store::Entry> {
        vec![entry("listeners/l", LISTENER, 1, at), entry("stream_routes/r", ROUTE, 1, at), entry("upstreams/u", &upstream(1), 1, at)]
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_update_of_an_upstream_leaves_its_route_serving() {
        let (mut it, events) = Loop::start(Vec::new());
        events.send(reset(2, all(2))).unwrap();
        assert_eq!(leads_to(&*it.published().await), Some(1));
        events.send(apply(3, &[("upstreams/u", Some(r#"{"bad":1}"#))])).unwrap();
        let now = it.published().await;
        assert_eq!((now.revision(), leads_to(&now)), (3, Some(1)));
        assert_eq!(it.state("upstreams/u"), Some((ObjectState::Rejected, Some(2))));
        assert_eq!(it.parts.status.rejections().len(), 1);
        assert_eq!(it.parts.status.revision(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_changes_of_one_revision_are_published_together() {
        let (mut it, events) = Loop::start(Vec::new());
        events.send(reset(1, Vec::new())).unwrap();
        it.published().await;
        let one = upstream(1);
        let changes = [("listeners/l", Some(LISTENER)), ("stream_routes/r", Some(ROUTE)), ("upstreams/u", Some(one.as_str()))];
        events.send(apply(2, &changes)).unwrap();
        let now = it.published().await;
        assert_eq!((now.revision(), leads_to(&now), *it.heard.borrow()), (2, Some(1), 2));
        let two = upstream(2);
        tokio::time::advance(Duration::from_secs(1)).await;
        events.send(apply(3, &[("listeners/l", None), ("upstreams/u", Some(&two)), ("listeners/m", Some(LISTENER))])).unwrap();
        let now = it.published().await;
        assert_eq!((now.revision(), leads_to(&now), *it.heard.borrow()), (3, Some(2), 3));
        assert_eq!(now.ports().values().next().unwrap().listener.id.as_str(), "m");
        assert!(now.conflicts().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_dangling_reference_heals_in_any_order_of_arrival() {
        let one = upstream(1);
        let parts = [("listeners/l", Some(LISTENER)), ("stream_routes/r", Some(ROUTE)), ("upstreams/u", Some(one.as_str()))];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let (mut it, events) = Loop::start(Vec::new());
            events.send(reset(1, Vec::new())).unwrap();
            it.published().await;
            for (at, part) in (2..).zip(order) {
                events.send(apply(at, &[parts[part]])).unwrap();
                it.published().await;
            }
            assert_eq!(leads_to(&it.parts.cell.load()), Some(1), "{order:?}");
            assert!(it.parts.status.objects().iter().all(|s| s.state == ObjectState::Active));
            events.send(apply(9, &[("upstreams/u", None)])).unwrap();
            let now = it.published().await;
            assert_eq!(leads_to(&now), None);
            assert_eq!(it.state("stream_routes/r").unwrap().0, ObjectState::Pending);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn conf_wins_a_port_and_the_store_takes_over_from_its_own() {
        let conf = vec![(fixture::key(Kind::Listener, "conf-tcp-1"), serde_json::json!({"addr": "80"}))];
        let (mut it, events) = Loop::start(conf);
        let two = r#"{"addr":"80-81"}"#;
        events.send(reset(3, vec![entry("listeners/a", two, 2, 2), entry("listeners/b", r#"{"addr":"81"}"#, 3, 3)])).unwrap();
        let holders = |now: &Snapshot| now.ports().values().map(|s| s.listener.id.to_string()).collect::<Vec<_>>();
        assert_eq!(holders(&*it.published().await), ["conf-tcp-1", "a"]);
        assert_eq!(it.state("listeners/a").unwrap().0, ObjectState::Conflict);
        assert_eq!(it.state("listeners/b").unwrap().0, ObjectState::Conflict);
        events.send(apply(4, &[("listeners/a", None)])).unwrap();
        assert_eq!(holders(&*it.published().await), ["conf-tcp-1", "b"]);
        assert_eq!(it.state("listeners/b").unwrap().0, ObjectState::Active);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_change_is_applied_at_once_and_a_burst_together() {
        let (mut it, events) = Loop::start(Vec::new());
        events.send(reset(1, Vec::new())).unwrap();
        it.published().await;
        tokio::time::advance(Duration::from_secs(1)).await;
        let start = Instant::now();
        let send = |at: u64| events.send(apply(at, &[("upstreams/u", Some(&upstream(1)))])).unwrap();
        send(2);
        assert_eq!(it.published().await.revision(), 2);
        assert_eq!(start.elapsed(), Duration::ZERO);
        for at in 3..=6 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            send(at);
        }
        let now = it.published().await;
        assert_eq!((now.revision(), *it.heard.borrow()), (6, 3));
        assert!(start.elapsed() < Duration::from_millis(60), "{:?}", start.elapsed());
        assert_eq!(now.arrived(), Some(start + Duration::from_millis(5)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_without_end_is_published_at_least_every_200_ms() {
        let (mut it, events) = Loop::start(Vec::new());
        let writer = task::spawn(async move {
            events.send(reset(1, Vec::new())).unwrap();
            for at in 2..202 {
                tokio::time::sleep(Duration::from_millis(10)).await;
                events.send(apply(at, &[("upstreams/u", Some(&upstream(1)))])).unwrap();
            }
            std::future::pending::<()>().await;
        });
        let mut publications = 0;
        while it.published().await.revision() < 201 {
            publications += 1;
            let (_, arrived) = it.parts.cell.published().unwrap();
            assert!(arrived.elapsed() <= Duration::from_millis(205), "{:?}", arrived.elapsed());
        }
        assert!((9..=13).contains(&publications), "{publications}");
        writer.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_store_changes_nothing_and_its_return_applies_the_difference() {
        let (mut it, events) = Loop::start(Vec::new());
        events.send(reset(2, all(2))).unwrap();
        let before = it.published().await;
        assert!(it.up());
        drop(events);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!it.up());
        let same = it.store.subscription();
        same.send(reset(2, all(2))).unwrap();
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert!(it.up());
        assert!(Arc::ptr_eq(&before, &it.parts.cell.load_full()), "the same listing publishes nothing");
        drop(same);
        let mut less = all(2);
        less.pop();
        it.store.subscription().send(reset(7, less)).unwrap();
        let now = it.published().await;
        assert_eq!((now.revision(), leads_to(&now)), (7, None));
        assert_eq!(it.state("upstreams/u"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_is_started_again_forgets_what_was_deleted_meanwhile() {
        let (mut it, events) = Loop::start(Vec::new());
        events.send(reset(2, all(2))).unwrap();
        it.published().await;
        it.task.abort();
        let mut less = all(2);
        less.retain(|e| &*e.key != "/sluice/listeners/l");
        it.store.subscription().send(reset(3, less)).unwrap();
        it.task = task::spawn(Reconciler::new(it.parts.clone()).run());
        let now = it.published().await;
        assert!(now.ports().is_empty());
        assert_eq!(now.objects().size(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_published_before_the_first_listing() {
        let conf = vec![(fixture::key(Kind::Listener, "conf-tcp-1"), serde_json::json!({"addr": "80"}))];
        let (it, _events) = Loop::start(conf);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!((it.parts.cell.published(), *it.heard.borrow()), (None, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn one_edit_among_many_compiles_one_and_leaves_no_old_snapshot_behind() {
        let (mut it, events) = Loop::start(Vec::new());
        let mut entries = all(2);
        entries.extend((0..2_000).map(|n| entry(&format!("stream_routes/x{n}"), ROUTE, 2, 2)));
        events.send(reset(2, entries)).unwrap();
        let before = it.published().await;
        let kept = Arc::downgrade(&before);
        events.send(apply(3, &[("stream_routes/x7", Some(r"{}"))])).unwrap();
        let now = it.published().await;
        assert!(Arc::ptr_eq(before.ports(), now.ports()));
        drop(before);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(kept.upgrade().is_none(), "reaped by the loop");
    }
}
