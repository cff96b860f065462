//! What this instance tells the others: its status at `<prefix>-status/instances/<id>`, for as long as it lives. Reads no status of
//! others (`follow` does), and no configuration.

mod claim;
mod document;
mod follow;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::status::StatusHandle;
use crate::base::drain::{Phase, Watch};
use crate::live::applied::Applied;
use crate::live::listeners::Ports;
use crate::store::{Store, StoreError};
use crate::telemetry::Metrics;
use claim::Claim;
use document::Document;

pub use follow::{Follower, FollowerParts};

/// A status that is not written again for so long is gone, and with it the instance.
pub const TTL: Duration = Duration::from_secs(10);
/// A status that has not changed is written again after so long: two writes may fail before it is gone.
const RENEW: Duration = Duration::from_secs(3);
/// Between two writes, whether they succeed or not.
const SPACING: Duration = Duration::from_secs(1);
/// The least time for the store to take one status.
const PATIENCE: Duration = Duration::from_secs(3);
/// The most answers that a write waits for as a rule: who has the name that is wanted, a lease, the status under it.
const ANSWERS: u32 = 3;

/// How long the store may take for one status if it may take so long for one answer. After [`TTL`] the lease that a write began with
/// is over. The next write knows what one that was given up had found out.
fn patience(answer: Duration) -> Duration {
    answer.saturating_mul(ANSWERS).clamp(PATIENCE, TTL)
}

/// Where instances tell of themselves, with a slash at its end: beside the configuration, so that nobody who reads that sees it.
pub fn folder(prefix: &str) -> String {
    format!("{}-status/instances/", prefix.trim_end_matches('/'))
}

/// What tells this process from any other of the same name: 16 random digits.
pub fn run_id() -> String {
    // without random numbers, the time is as good as nobody else's
    let fallback = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |t| u64::try_from(t.as_nanos()).unwrap_or(0));
    format!("{:016x}", getrandom::u64().unwrap_or_else(|_| fallback()))
}

/// What the loop works with.
#[derive(Clone)]
pub struct PublisherParts {
    /// The store of the configuration, or another one where nobody else could read that one's status.
    pub store: Arc<dyn Store>,
    /// The prefix of configuration keys.
    pub prefix: String,
    /// What this instance wants to be called.
    pub instance: String,
    /// What tells this process from others of that name; see [`run_id`].
    pub run: String,
    /// When it started.
    pub started: SystemTime,
    /// What became of the objects.
    pub status: StatusHandle,
    /// The ports.
    pub ports: Ports,
    /// The revision in use.
    pub applied: Applied,
    /// Metrics.
    pub metrics: Metrics,
    /// The end of the process.
    pub drain: Watch,
    /// How long the store may take for one answer.
    pub answer: Duration,
}

/// The loop. There is one in the process.
pub struct Publisher {
    parts: PublisherParts,
    claim: Claim,
    document: Document,
    /// The status that is in the store, and since when.
    written: Option<(String, Instant)>,
    /// When a write was tried last.
    tried: Option<Instant>,
    failing: bool,
}

impl Publisher {
    /// A loop that has not begun.
    pub fn new(parts: PublisherParts) -> Self {
        let claim = Claim::new(parts.store.clone(), folder(&parts.prefix), parts.instance.clone(), parts.run.clone());
        let document = Document::new(&parts.run, parts.started);
        Self { parts, claim, document, written: None, tried: None, failing: false }
    }

    /// Runs until the process begins to drain, and takes the status back then. Nothing else depends on whether the store takes it.
    pub async fn run(mut self) {
        let mut drain = self.parts.drain.clone();
        loop {
            tokio::select! {
                () = drain.reached(Phase::Draining) => break,
                () = self.round() => {}
            }
        }
        if let Err(error) = within(patience(self.parts.answer), self.claim.withdraw()).await {
            tracing::warn!(%error, "this instance's status stays until its time is over");
        }
    }

    /// Writes the status if there is a reason to, and waits for the next one. May be dropped at any wait.
    async fn round(&mut self) {
        if let Some(tried) = self.tried {
            sleep_until(tried + SPACING).await;
        }
        let seen = self.parts.applied.revision();
        let text = self.document.text(&self.parts.status.told(), &self.parts.ports.list(), seen);
        let now = Instant::now();
        let fresh = self.written.as_ref().is_some_and(|(had, at)| *had == text && now.saturating_duration_since(*at) < RENEW);
        if !fresh {
            self.tried = Some(now);
            let done = within(patience(self.parts.answer), self.claim.put(text.clone().into())).await;
            return self.note(done, text, now);
        }
        let mut applied = self.parts.applied.clone();
        tokio::select! {
            () = sleep(SPACING) => {}
            () = applied.reached(seen.map_or(0, |seen| seen.saturating_add(1))) => {}
        }
    }

    fn note(&mut self, done: Result<(), StoreError>, text: String, at: Instant) {
        match done {
            Ok(()) => {
                self.written = Some((text, at));
                if std::mem::take(&mut self.failing) {
                    tracing::info!("this instance's status is in the store again");
                }
            }
            Err(error) => {
                self.parts.metrics.status_publish_failed();
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, "this instance's status cannot be written; it serves on, unseen by the others");
                }
            }
        }
    }
}

async fn within<T>(limit: Duration, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let late = || StoreError::Unavailable { reason: format!("no answer within {limit:?}") };
    timeout(limit, call).await.unwrap_or_else(|_| Err(late()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::drain::{Trigger, drain};
    use crate::base::task;
    use crate::live::applied::{AppliedWriter, applied};
    use crate::live::fleet::{Fleet, fleet};
    use crate::store::{Entry, Listing, Memory, Op, Revision, Subscription, Txn};
    use async_trait::async_trait;
    use std::sync::Mutex;
    use tokio::task::JoinHandle;

    /// How a store fails.
    #[derive(Clone, Copy, Default, PartialEq)]
    enum Mood {
        #[default]
        Well,
        Refuses,
        Hangs,
        /// Does what it is asked and says that it did not.
        Lies,
        /// Takes two seconds for an answer, and two of them for a write.
        Slow,
    }

    /// A store in memory with moods. Notes when it was asked to write.
    #[derive(Default)]
    struct Moody {
        inner: Memory,
        mood: Mutex<Mood>,
        commits: Mutex<Vec<Instant>>,
    }

    impl Moody {
        fn is(&self, mood: Mood) {
            *self.mood.lock().unwrap() = mood;
        }

        /// The keys below the folder, without it.
        async fn names(&self) -> Vec<String> {
            let listing = self.inner.list("/sluice-status/instances/").await.unwrap();
            listing.entries.iter().map(|e| e.key.rsplit('/').next().unwrap().to_owned()).collect()
        }

        fn commits(&self) -> Vec<Instant> {
            std::mem::take(&mut *self.commits.lock().unwrap())
        }

        async fn put(&self, name: &str, value: &'static str) {
            let key = format!("/sluice-status/instances/{name}");
            let ops = vec![Op::Put { key, value: value.into(), ttl: None }];
            self.inner.commit(Txn { guards: vec![], ops }).await.unwrap();
        }
    }

    #[async_trait]
    impl Store for Moody {
        async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
            if *self.mood.lock().unwrap() == Mood::Slow {
                pass(2000).await;
            }
            self.inner.get(key).await
        }

        async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
            self.inner.list(prefix).await
        }

        async fn commit(&self, txn: Txn) -> Result<Revision, StoreError> {
            self.commits.lock().unwrap().push(Instant::now());
            let mood = *self.mood.lock().unwrap();
            match mood {
                Mood::Well => self.inner.commit(txn).await,
                Mood::Slow => {
                    pass(4000).await;
                    self.inner.commit(txn).await
                }
                Mood::Hangs => std::future::pending().await,
                Mood::Refuses => Err(StoreError::Unavailable { reason: "permission denied".into() }),
                Mood::Lies => {
                    self.inner.commit(txn).await?;
                    Err(StoreError::Unavailable { reason: "no answer".into() })
                }
            }
        }

        async fn subscribe(&self, prefix: &str) -> Result<Box<dyn Subscription>, StoreError> {
            self.inner.subscribe(prefix).await
        }
    }

    struct Instance {
        applied: AppliedWriter,
        trigger: Trigger,
        metrics: Metrics,
        fleet: Fleet,
        publishing: JoinHandle<()>,
        following: JoinHandle<()>,
    }

    fn start(store: &Arc<Moody>, name: &str) -> Instance {
        start_patient(store, name, Duration::from_secs(1))
    }

    fn start_patient(store: &Arc<Moody>, name: &str, answer: Duration) -> Instance {
        let (trigger, watch) = drain();
        let (writer, reads) = applied();
        let (fleet_writer, fleet) = fleet(name);
        let metrics = Metrics::new().unwrap();
        let (store, prefix, run): (Arc<dyn Store>, _, _) = (store.clone(), "/sluice".to_owned(), run_id());
        let publisher = Publisher::new(PublisherParts {
            store: store.clone(),
            prefix: prefix.clone(),
            instance: name.into(),
            run: run.clone(),
            started: SystemTime::UNIX_EPOCH,
            status: StatusHandle::new(),
            ports: Ports::default(),
            applied: reads,
            metrics: metrics.clone(),
            drain: watch,
            answer,
        });
        let follower = Follower::new(FollowerParts { store, prefix, run, fleet: Arc::new(fleet_writer) });
        let (publishing, following) = (task::spawn(publisher.run()), task::spawn(follower.run()));
        Instance { applied: writer, trigger, metrics, fleet, publishing, following }
    }

    impl Instance {
        /// The end without a word.
        fn die(self) {
            self.publishing.abort();
            self.following.abort();
        }

        fn failures(&self) -> u64 {
            let text = String::from_utf8(self.metrics.encode().unwrap()).unwrap();
            let line = text.lines().find_map(|l| l.strip_prefix("sluice_status_publish_errors_total ")).unwrap();
            line.parse().unwrap()
        }

        fn knows(&self) -> Vec<(String, bool, Option<u64>)> {
            self.fleet.members().iter().map(|m| (m.id.to_string(), m.own, m.applied)).collect()
        }
    }

    async fn pass(millis: u64) {
        sleep(Duration::from_millis(millis)).await;
    }

    #[test]
    fn status_lies_beside_the_configuration() {
        assert_eq!(folder("/sluice"), "/sluice-status/instances/");
        assert_eq!(folder("/a/b/"), "/a/b-status/instances/");
    }

    #[tokio::test(start_paused = true)]
    async fn instances_see_each_other_until_ten_seconds_after_the_death_of_one() {
        let store = Arc::new(Moody::default());
        let (a, b) = (start(&store, "a"), start(&store, "b"));
        b.applied.set(4);
        pass(1100).await;
        assert_eq!(a.knows(), [("a".into(), true, None), ("b".into(), false, Some(4))]);
        assert_eq!(b.knows(), [("a".into(), false, None), ("b".into(), true, Some(4))]);
        assert_eq!((a.fleet.count(), a.fleet.rank(), b.fleet.count(), b.fleet.rank()), (2, 0, 2, 1));
        pass(60_000).await;
        assert_eq!(store.names().await, ["a", "b"]);
        a.die();
        pass(6_000).await;
        assert_eq!(store.names().await, ["a", "b"], "as far as anybody can know, it lives");
        pass(4_100).await;
        assert_eq!(b.knows(), [("b".into(), true, Some(4))]);
        assert_eq!((b.fleet.count(), b.fleet.rank()), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn an_applied_revision_is_told_at_once_and_a_burst_once_a_second() {
        let store = Arc::new(Moody::default());
        let (a, b) = (start(&store, "a"), start(&store, "b"));
        pass(1500).await;
        b.applied.set(1);
        pass(1).await;
        assert_eq!(a.knows()[1].2, Some(1));
        store.commits();
        a.die();
        let began = Instant::now();
        for n in 2..=300 {
            b.applied.set(n);
            pass(10).await;
        }
        pass(1000).await;
        let times = store.commits();
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= SPACING), "{times:?}");
        assert!((3..=4).contains(&times.len()), "{} writes in {:?}", times.len(), began.elapsed());
        assert_eq!(b.knows()[1].2, Some(300));
    }

    #[tokio::test(start_paused = true)]
    async fn a_status_that_stays_the_same_is_only_renewed() {
        let store = Arc::new(Moody::default());
        let _a = start(&store, "a");
        pass(30_500).await;
        let times = store.commits();
        assert_eq!(times.len(), 11, "{times:?}");
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= RENEW));
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_with_one_name_the_second_takes_another_until_it_is_free() {
        let store = Arc::new(Moody::default());
        let first = start(&store, "a");
        pass(1).await;
        let second = start(&store, "a");
        pass(1).await;
        assert_eq!(store.names().await, ["a", "a~2"]);
        assert_eq!((first.fleet.count(), first.fleet.rank(), first.fleet.name()), (2, 0, "a".into()));
        assert_eq!((second.fleet.count(), second.fleet.rank(), second.fleet.name()), (2, 1, "a~2".into()));
        let third = start(&store, "a");
        pass(20_000).await;
        assert_eq!(store.names().await, ["a", "a~2", "a~3"]);
        first.die();
        pass(14_000).await;
        assert_eq!(second.fleet.count(), 2);
        let mut names = [second.fleet.name(), third.fleet.name()];
        names.sort();
        assert!(names[0] == "a" && names[1] != "a", "{names:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_drains_is_gone_at_once() {
        let store = Arc::new(Moody::default());
        let (a, b) = (start(&store, "a"), start(&store, "b"));
        pass(1).await;
        a.trigger.advance(Phase::Draining);
        a.publishing.await.unwrap();
        assert_eq!(store.names().await, ["b"]);
        pass(1).await;
        assert_eq!(b.fleet.count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_does_not_take_the_status_is_asked_once_a_second_and_counted() {
        let store = Arc::new(Moody::default());
        store.is(Mood::Refuses);
        let a = start(&store, "a");
        pass(10_500).await;
        assert_eq!((a.failures(), store.commits().len()), (11, 11));
        assert_eq!((a.fleet.count(), a.fleet.rank(), a.fleet.name()), (1, 0, "a".into()));
        store.is(Mood::Hangs);
        pass(8_000).await;
        assert!((12..=14).contains(&a.failures()), "{}", a.failures());
        store.is(Mood::Well);
        pass(4_000).await;
        assert_eq!(store.names().await, ["a"]);
    }

    #[test]
    fn patience_follows_the_store_until_a_lease_is_over() {
        let millis = |answer| patience(Duration::from_millis(answer)).as_millis();
        assert_eq!([100, 1000, 2500, 5000, 60_000].map(millis), [3000, 3000, 7500, 10_000, 10_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn instances_of_a_slow_store_see_each_other_all_the_time() {
        let store = Arc::new(Moody::default());
        store.is(Mood::Slow);
        let answer = Duration::from_secs(5);
        let (a, b) = (start_patient(&store, "a", answer), start_patient(&store, "b", answer));
        // a second one of a name reads before it writes
        let namesake = start_patient(&store, "a", answer);
        pass(30_000).await;
        for _ in 0..300 {
            pass(100).await;
            assert_eq!(store.names().await, ["a", "a~2", "b"]);
            assert_eq!([&a, &b, &namesake].map(|instance| instance.fleet.count()), [3; 3]);
        }
        assert_eq!((b.failures(), b.knows().len()), (0, 3));
    }

    #[test]
    fn a_failure_is_logged_once_and_so_is_its_end() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (log, _level) = crate::telemetry::log::subscriber("info", crate::telemetry::LogFormat::Text, Sink(lines.clone())).unwrap();
        let _guard = tracing::subscriber::set_default(log);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let store = Arc::new(Moody::default());
            store.is(Mood::Refuses);
            let _a = start(&store, "a");
            pass(10_000).await;
            store.is(Mood::Well);
            pass(10_000).await;
        });
        let said = String::from_utf8(lines.lock().unwrap().clone()).unwrap();
        assert_eq!(said.lines().filter(|l| l.contains("cannot be written")).count(), 1, "{said}");
        assert_eq!(said.lines().filter(|l| l.contains("in the store again")).count(), 1, "{said}");
    }

    #[derive(Clone)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl tracing_subscriber::fmt::MakeWriter<'_> for Sink {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_whose_answer_was_lost_is_recognised_as_ones_own() {
        let store = Arc::new(Moody::default());
        store.is(Mood::Lies);
        let a = start(&store, "a");
        pass(1500).await;
        store.is(Mood::Well);
        pass(5_000).await;
        assert_eq!((store.names().await, a.fleet.name()), (vec!["a".to_owned()], "a".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_status_that_was_lost_meanwhile_is_written_again() {
        let store = Arc::new(Moody::default());
        let a = start(&store, "a");
        pass(1).await;
        store.is(Mood::Refuses);
        pass(30_000).await;
        assert_eq!((store.names().await.len(), a.knows().len(), a.fleet.count()), (0, 0, 1));
        store.is(Mood::Well);
        pass(1_100).await;
        assert_eq!(store.names().await, ["a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_status_is_nobody() {
        let store = Arc::new(Moody::default());
        for (name, value) in [("x", "init_dir"), ("y", "{}"), ("z", r#"{"run":7}"#)] {
            store.put(name, value).await;
        }
        let a = start(&store, "a");
        pass(1).await;
        assert_eq!(a.knows(), [("a".into(), true, None)]);
        store.put("x", r#"{"run":"1"}"#).await;
        pass(1).await;
        assert_eq!((a.fleet.count(), a.fleet.behind(0)), (2, vec!["x".into()]));
        store.put("x", "gone mad").await;
        pass(1).await;
        assert_eq!(a.fleet.count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_is_applied_when_all_that_live_have_applied_it() {
        let store = Arc::new(Moody::default());
        let (a, b, c) = (start(&store, "a"), start(&store, "b"), start(&store, "c"));
        for instance in [&a, &b, &c] {
            instance.applied.set(1);
        }
        pass(2_000).await;
        let mut waiting = task::spawn({
            let mut fleet = a.fleet.clone();
            async move { fleet.reached(2).await }
        });
        b.applied.set(2);
        assert!(timeout(Duration::from_secs(5), &mut waiting).await.is_err());
        assert_eq!(a.fleet.behind(2), ["c".into()]);
        c.applied.set(3);
        timeout(Duration::from_millis(1_100), waiting).await.unwrap().unwrap();
    }
}
