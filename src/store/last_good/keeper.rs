//! Keeps the file as what subscribers were told: soon after the last change, rarely while changes go on, never on a runtime's thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::{Kept, Place};
use crate::base::task;
use crate::store::{Change, Entry, Event, Listing, Revision};
use crate::telemetry::Metrics;

/// The file is written when nothing has changed for this long,
const QUIET: Duration = Duration::from_secs(1);
/// or when a change has waited for this long.
const LONGEST: Duration = Duration::from_secs(10);
/// Between two writes so many times what the last one took: a large set takes no more than a twentieth of a disk's time.
const REST: u32 = 20;
/// After a write that failed.
const RETRY: Duration = Duration::from_secs(30);

/// Takes what subscribers are told. The file follows by itself, and for the last time when this is dropped.
#[derive(Debug)]
pub(in crate::store) struct Keeper(mpsc::UnboundedSender<Message>);

#[derive(Debug)]
enum Message {
    Told(Told),
    /// Write what has not settled; then answer.
    Settle(oneshot::Sender<()>),
}

#[derive(Debug)]
struct Told {
    cluster: u64,
    event: Event,
    /// It is what the file holds.
    is_kept: bool,
}

impl Keeper {
    /// Starts keeping. What is in the file is left alone until subscribers were told a listing.
    pub(in crate::store) fn start(place: Place, metrics: Metrics) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let keeping = Keeping {
            place: Arc::new(place),
            metrics,
            cluster: 0,
            at: None,
            entries: BTreeMap::new(),
            changed: None,
            rest: Instant::now(),
            is_failing: false,
        };
        task::spawn(keeping.run(events));
        Self(sender)
    }

    /// Subscribers were told this of a cluster.
    pub(in crate::store) fn take(&self, cluster: u64, event: &Event) {
        // the other end lives as long as this one
        let _ = self.0.send(Message::Told(Told { cluster, event: event.clone(), is_kept: false }));
    }

    /// Subscribers were told what the file holds.
    pub(in crate::store) fn take_kept(&self, kept: &Kept) {
        let event = Event::Reset(kept.listing.clone());
        let _ = self.0.send(Message::Told(Told { cluster: kept.cluster, event, is_kept: true }));
    }

    /// Returns when the file is as subscribers were told, or could not be written. Cancel safe.
    pub(in crate::store) async fn settle(&self) {
        let (done, told) = oneshot::channel();
        let _ = self.0.send(Message::Settle(done));
        let _ = told.await;
    }
}

type Entries = BTreeMap<Arc<str>, Entry>;

struct Keeping {
    place: Arc<Place>,
    metrics: Metrics,
    cluster: u64,
    /// The revision of the entries; `None` before the first listing.
    at: Option<Revision>,
    entries: Entries,
    /// The first and the last change since the file was written.
    changed: Option<(Instant, Instant)>,
    /// No write before.
    rest: Instant,
    is_failing: bool,
}

impl Keeping {
    async fn run(mut self, mut events: mpsc::UnboundedReceiver<Message>) {
        loop {
            let due = self.due();
            tokio::select! {
                biased;
                event = events.recv() => match event {
                    Some(Message::Told(told)) => self.take(told),
                    Some(Message::Settle(done)) => {
                        self.settle().await;
                        let _ = done.send(());
                    }
                    None => break,
                },
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.write().await,
            }
        }
        self.settle().await;
    }

    async fn settle(&mut self) {
        if self.changed.is_some() {
            self.write().await;
        }
    }

    fn due(&self) -> Option<Instant> {
        self.changed.map(|(first, last)| (first + LONGEST).min(last + QUIET).max(self.rest))
    }

    fn take(&mut self, Told { cluster, event, is_kept }: Told) {
        match event {
            Event::Reset(Listing { entries, at }) => {
                self.entries = entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
                self.at = Some(at);
            }
            // what it changes is not known: half a set is none
            Event::Apply { .. } if self.at.is_none() => return,
            Event::Apply { changes, at } => {
                for change in changes {
                    match change {
                        Change::Put(entry) => self.entries.insert(entry.key.clone(), entry),
                        Change::Delete { key, .. } => self.entries.remove(&key),
                    };
                }
                self.at = Some(at);
            }
        }
        self.cluster = cluster;
        if is_kept {
            return;
        }
        let now = Instant::now();
        self.changed = Some((self.changed.map_or(now, |(first, _)| first), now));
    }

    /// Writes the file on a thread for that. What comes meanwhile waits.
    async fn write(&mut self) {
        let (place, Some(at)) = (self.place.clone(), self.at) else { return };
        let (cluster, entries, began) = (self.cluster, std::mem::take(&mut self.entries), Instant::now());
        let written = tokio::task::spawn_blocking(move || {
            let listing = Listing { entries: entries.values().cloned().collect(), at };
            let written = place.write(&Kept { cluster, saved_at: SystemTime::now(), listing });
            (entries, written)
        });
        match written.await {
            Ok((entries, written)) => {
                self.entries = entries;
                match written {
                    Ok(()) => self.done(at, began.elapsed() * REST),
                    Err(error) => self.failed(&error.to_string()),
                }
            }
            Err(error) => {
                // the entries are gone with the thread: the next listing brings them back
                (self.at, self.changed) = (None, None);
                self.failed(&error.to_string());
            }
        }
    }

    fn done(&mut self, at: Revision, rest: Duration) {
        (self.changed, self.rest) = (None, Instant::now() + rest);
        tracing::debug!(revision = at, entries = self.entries.len(), "the last good set is kept");
        if std::mem::take(&mut self.is_failing) {
            tracing::info!(revision = at, "the last good set is kept again");
        }
    }

    fn failed(&mut self, reason: &str) {
        self.rest = Instant::now() + RETRY;
        self.metrics.count_store_error("last_good");
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::error!(reason, "the last good set cannot be written: a start without the store would serve an old one, or none");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;
    use std::path::PathBuf;

    struct Scene {
        dir: tempfile::TempDir,
        keeper: Keeper,
        metrics: Metrics,
    }

    fn scene() -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let metrics = Metrics::new().unwrap();
        let keeper = Keeper::start(Place::take(&dir.path().join("set"), "/s").unwrap(), metrics.clone());
        Scene { dir, keeper, metrics }
    }

    fn entry(key: &str, modified: Revision) -> Entry {
        Entry { key: key.into(), value: "v".into(), created: 1, modified }
    }

    fn listing(at: Revision, keys: &[&str]) -> Event {
        Event::Reset(Listing { entries: keys.iter().map(|key| entry(key, at)).collect(), at })
    }

    fn put(at: Revision, key: &str) -> Event {
        Event::Apply { changes: vec![Change::Put(entry(key, at))], at }
    }

    impl Scene {
        fn path(&self) -> PathBuf {
            self.dir.path().join("set")
        }

        fn kept(&self) -> Option<(Revision, Vec<String>)> {
            let kept = read(&self.path(), "/s").unwrap()?;
            Some((kept.listing.at, kept.listing.entries.iter().map(|entry| entry.key.to_string()).collect()))
        }

        /// Waits, in paused time, for a set of a revision.
        async fn wait(&self, at: Revision) -> Duration {
            let began = Instant::now();
            while self.kept().is_none_or(|(kept, _)| kept != at) {
                assert!(began.elapsed() < Duration::from_secs(100), "never kept");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            began.elapsed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_subscribers_were_told_is_kept_when_it_has_settled() {
        let scene = scene();
        scene.keeper.take(7, &listing(3, &["/s/a", "/s/b"]));
        let took = scene.wait(3).await;
        assert!(took >= QUIET, "{took:?}");
        scene.keeper.take(7, &put(4, "/s/c"));
        let changes = vec![Change::Delete { key: "/s/a".into(), at: 5 }, Change::Put(entry("/s/b", 5))];
        scene.keeper.take(7, &Event::Apply { changes, at: 5 });
        scene.wait(5).await;
        assert_eq!(scene.kept().unwrap().1, ["/s/b", "/s/c"]);
        assert_eq!(read(&scene.path(), "/s").unwrap().unwrap().listing.entries[0], entry("/s/b", 5));
    }

    #[tokio::test(start_paused = true)]
    async fn changes_without_end_are_kept_now_and_then() {
        let scene = scene();
        let mut kept = Vec::new();
        scene.keeper.take(7, &listing(1, &[]));
        for at in 2..302 {
            scene.keeper.take(7, &put(at, "/s/a"));
            tokio::time::sleep(Duration::from_millis(100)).await;
            kept.extend(scene.kept().map(|(at, _)| at));
        }
        kept.dedup();
        assert!((2..=3).contains(&kept.len()), "30 s of changes: {kept:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_refuses_is_counted_and_asked_again() {
        let scene = scene();
        let hindrance = scene.dir.path().join("set.new");
        std::fs::create_dir(&hindrance).unwrap();
        scene.keeper.take(7, &listing(1, &["/s/a"]));
        let failed =
            || String::from_utf8(scene.metrics.encode().unwrap()).unwrap().contains("sluice_store_errors_total{op=\"last_good\"} 1");
        while !failed() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(scene.kept(), None);
        std::fs::remove_dir(&hindrance).unwrap();
        scene.wait(1).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_not_settled_is_kept_at_the_end() {
        let Scene { dir, keeper, metrics: _metrics } = scene();
        keeper.take(7, &listing(9, &["/s/a"]));
        drop(keeper);
        let path = dir.path().join("set");
        while read(&path, "/s").unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_not_settled_is_kept_when_somebody_waits_for_it() {
        let scene = scene();
        scene.keeper.settle().await;
        assert_eq!(scene.kept(), None, "there is nothing");
        scene.keeper.take(7, &listing(9, &["/s/a"]));
        scene.keeper.settle().await;
        assert_eq!(scene.kept().map(|(at, _)| at), Some(9));
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_from_the_file_is_written_when_it_changes() {
        let scene = scene();
        let listing = Listing { entries: vec![entry("/s/a", 2)], at: 2 };
        scene.keeper.take_kept(&Kept { cluster: 7, saved_at: SystemTime::UNIX_EPOCH, listing });
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(scene.kept(), None, "nothing new");
        scene.keeper.take(7, &put(4, "/s/c"));
        scene.wait(4).await;
        assert_eq!(scene.kept().unwrap().1, ["/s/a", "/s/c"]);
    }

    #[tokio::test(start_paused = true)]
    async fn changes_of_an_unknown_set_are_not_kept_as_a_set() {
        let scene = scene();
        scene.keeper.take(7, &put(4, "/s/c"));
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(scene.kept(), None);
    }
}
