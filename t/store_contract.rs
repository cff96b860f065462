//! What every store provider does alike: the same checks over each of them. What only one of them does is tested beside this.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sluice::base::task;
use sluice::store::{self, BACKLOG, Change, Entry, EtcdOptions, Event, Guard, Listing, Op, Revision, Store, StoreError, Subscription, Txn};
use sluice::telemetry::Metrics;
use tokio::time::timeout;

use crate::support::Etcd;

/// Longer than anything here takes, leases included; passes at once where time is paused.
const DEADLINE: Duration = Duration::from_secs(600);

pub(crate) fn put(key: &str, value: &str) -> Op {
    Op::Put { key: key.into(), value: Bytes::copy_from_slice(value.as_bytes()), ttl: None }
}

pub(crate) fn lease(key: &str, seconds: u64) -> Op {
    Op::Put { key: key.into(), value: Bytes::from_static(b"leased"), ttl: Some(Duration::from_secs(seconds)) }
}

pub(crate) fn delete(key: &str) -> Op {
    Op::Delete { key: key.into() }
}

pub(crate) fn ops(ops: impl Into<Vec<Op>>) -> Txn {
    Txn { guards: vec![], ops: ops.into() }
}

fn guarded(key: &str, modified: Option<Revision>, op: Op) -> Txn {
    Txn { guards: vec![Guard { key: key.into(), modified }], ops: vec![op] }
}

fn entry(key: &str, value: &str, created: Revision, modified: Revision) -> Entry {
    Entry { key: key.into(), value: Bytes::copy_from_slice(value.as_bytes()), created, modified }
}

pub(crate) async fn next(subscription: &mut Box<dyn Subscription>) -> Event {
    timeout(DEADLINE, subscription.next()).await.expect("an event in time").expect("the store is there")
}

pub(crate) async fn reset(subscription: &mut Box<dyn Subscription>) -> Listing {
    match next(subscription).await {
        Event::Reset(listing) => listing,
        other @ Event::Apply { .. } => panic!("no listing but {other:?}"),
    }
}

pub(crate) async fn apply(subscription: &mut Box<dyn Subscription>) -> (Vec<Change>, Revision) {
    match next(subscription).await {
        Event::Apply { changes, at } => (changes, at),
        other @ Event::Reset(_) => panic!("no changes but {other:?}"),
    }
}

/// What a check stands on.
pub(crate) struct Ground {
    store: Arc<dyn Store>,
    /// The revision of the store while it is empty.
    base: Revision,
    /// A lease that the provider takes as it is, in seconds.
    short: u64,
    /// How much later than at its time a lease may end.
    late: Duration,
}

impl Ground {
    /// A store of this process.
    pub(crate) fn here(store: impl Store) -> Self {
        Self { store: Arc::new(store), base: 0, short: 10, late: Duration::from_secs(1) }
    }
}

fn conflict(answer: Result<Revision, StoreError>) -> String {
    match answer {
        Err(StoreError::Conflict { key }) => key,
        other => panic!("no conflict but {other:?}"),
    }
}

/// Runs it beside the test, on a thread and a runtime of its own.
fn on_a_thread<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> std::thread::JoinHandle<T> {
    std::thread::spawn(move || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work))
}

async fn an_empty_store_is_at_its_first_revision(Ground { store, base, .. }: Ground) {
    assert_eq!(store.list("").await.unwrap(), Listing { entries: vec![], at: base });
    assert_eq!(store.get("/a").await.unwrap(), None);
    assert_eq!(store.commit(Txn::default()).await.unwrap(), base);
}

async fn every_transaction_makes_one_revision(Ground { store, base, .. }: Ground) {
    assert_eq!(store.commit(ops([put("/a", "1")])).await.unwrap(), base + 1);
    assert_eq!(store.commit(ops([put("/a", "1")])).await.unwrap(), base + 2);
    assert_eq!(store.commit(ops([put("/a", "2"), put("/b", "3")])).await.unwrap(), base + 3);
    assert_eq!(store.commit(ops([delete("/a")])).await.unwrap(), base + 4);
    assert_eq!(store.list("").await.unwrap(), Listing { entries: vec![entry("/b", "3", base + 3, base + 3)], at: base + 4 });
}

async fn a_key_knows_when_it_came_and_when_it_changed(Ground { store, base, .. }: Ground) {
    store.commit(ops([put("/a", "1")])).await.unwrap();
    store.commit(ops([put("/b", "1")])).await.unwrap();
    store.commit(ops([put("/a", "2")])).await.unwrap();
    assert_eq!(store.get("/a").await.unwrap(), Some(entry("/a", "2", base + 1, base + 3)));
    store.commit(ops([delete("/a")])).await.unwrap();
    store.commit(ops([put("/a", "3")])).await.unwrap();
    assert_eq!(store.get("/a").await.unwrap(), Some(entry("/a", "3", base + 5, base + 5)));
}

async fn a_transaction_without_effect_makes_no_revision(Ground { store, base, .. }: Ground) {
    store.commit(ops([put("/a", "1")])).await.unwrap();
    let mut subscription = store.subscribe("").await.unwrap();
    assert_eq!(store.commit(ops([delete("/none"), delete("/nor/this")])).await.unwrap(), base + 1);
    assert_eq!(store.commit(guarded("/a", Some(base + 1), delete("/none"))).await.unwrap(), base + 1);
    assert_eq!(store.commit(ops([delete("/none"), put("/b", "1")])).await.unwrap(), base + 2);
    assert_eq!(reset(&mut subscription).await.at, base + 1);
    assert_eq!(
        apply(&mut subscription).await,
        (vec![Change::Put(entry("/b", "1", base + 2, base + 2))], base + 2),
        "no delete of what was not there"
    );
}

async fn a_guard_holds_or_names_its_key(Ground { store, base, .. }: Ground) {
    assert_eq!(store.commit(guarded("/a", None, put("/a", "1"))).await.unwrap(), base + 1);
    assert_eq!(conflict(store.commit(guarded("/a", None, put("/a", "2"))).await), "/a");
    assert_eq!(store.commit(guarded("/a", Some(base + 1), put("/a", "2"))).await.unwrap(), base + 2);
    assert_eq!(conflict(store.commit(guarded("/a", Some(base + 1), put("/a", "3"))).await), "/a");
    assert_eq!(conflict(store.commit(guarded("/none", Some(base + 1), put("/none", "3"))).await), "/none");
    assert_eq!(store.commit(guarded("/a", Some(base + 2), delete("/a"))).await.unwrap(), base + 3);
    assert_eq!(store.commit(guarded("/a", None, put("/a", "4"))).await.unwrap(), base + 4);
}

async fn a_failed_guard_stops_the_whole_transaction(Ground { store, base, .. }: Ground) {
    store.commit(ops([put("/a", "1"), put("/b", "1")])).await.unwrap();
    let guard = |key: &str, modified| Guard { key: key.into(), modified };
    let guards = vec![guard("/a", Some(base + 1)), guard("/b", Some(base + 9)), guard("/c", Some(base + 9))];
    let answer = store.commit(Txn { guards, ops: vec![put("/a", "2"), put("/c", "2"), delete("/b")] }).await;
    assert_eq!(conflict(answer), "/b", "the first that failed");
    let before = vec![entry("/a", "1", base + 1, base + 1), entry("/b", "1", base + 1, base + 1)];
    assert_eq!(store.list("").await.unwrap(), Listing { entries: before, at: base + 1 });
}

async fn of_writers_with_the_same_guard_one_wins(Ground { store, base, .. }: Ground) {
    let write = |n: u32| {
        let store = store.clone();
        on_a_thread(async move { store.commit(guarded("/a", None, put("/a", &n.to_string()))).await })
    };
    let writers: Vec<_> = (0..8).map(write).collect();
    let answers: Vec<_> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert_eq!(store.list("").await.unwrap().at, base + 1);
}

async fn a_listing_is_ordered_and_exact_about_its_prefix(Ground { store, base, .. }: Ground) {
    let keys = ["/s/b", "/s/a/2", "/s/a/10", "/s/a", "/sa", "/s/", "/t", "/s/ä"];
    store.commit(ops(keys.map(|key| put(key, "v")))).await.unwrap();
    let under = async |prefix: &str| {
        let listing = store.list(prefix).await.unwrap();
        assert_eq!(listing.at, base + 1);
        listing.entries.iter().map(|entry| entry.key.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(under("/s/").await, ["/s/", "/s/a", "/s/a/10", "/s/a/2", "/s/b", "/s/ä"]);
    assert_eq!(under("/s/a").await, ["/s/a", "/s/a/10", "/s/a/2"]);
    assert_eq!(under("/s/a/").await, ["/s/a/10", "/s/a/2"]);
    assert_eq!(under("/sa").await, ["/sa"]);
    assert_eq!(under("/x").await, [""; 0]);
    assert_eq!(under("").await.len(), keys.len());
}

async fn values_are_bytes(Ground { store, .. }: Ground) {
    let values = [Bytes::new(), Bytes::from_static(&[0, 255, 254, 0]), Bytes::from(vec![7; 1024 * 1024])];
    for value in values {
        store.commit(ops([Op::Put { key: "/a".into(), value: value.clone(), ttl: None }])).await.unwrap();
        assert!(store.get("/a").await.unwrap().unwrap().value == value, "a value of {} bytes", value.len());
    }
}

async fn all_ops_of_a_transaction_arrive_together(Ground { store, base, .. }: Ground) {
    store.commit(ops([put("/a", "1"), put("/b", "1")])).await.unwrap();
    let mut subscription = store.subscribe("/").await.unwrap();
    assert_eq!(store.commit(ops([put("/c", "2"), delete("/a"), put("/b", "2")])).await.unwrap(), base + 2);
    assert_eq!(
        reset(&mut subscription).await,
        Listing { entries: vec![entry("/a", "1", base + 1, base + 1), entry("/b", "1", base + 1, base + 1)], at: base + 1 }
    );
    let changes = vec![
        Change::Put(entry("/c", "2", base + 2, base + 2)),
        Change::Delete { key: "/a".into(), at: base + 2 },
        Change::Put(entry("/b", "2", base + 1, base + 2)),
    ];
    assert_eq!(apply(&mut subscription).await, (changes, base + 2));
}

async fn a_subscription_hears_of_its_prefix_only(Ground { store, base, .. }: Ground) {
    let mut subscription = store.subscribe("/a/").await.unwrap();
    store.commit(ops([put("/b/1", "x")])).await.unwrap();
    store.commit(ops([put("/a/1", "x"), put("/b/2", "x")])).await.unwrap();
    store.commit(ops([put("/a", "x"), delete("/b/1")])).await.unwrap();
    store.commit(ops([delete("/a/1")])).await.unwrap();
    assert_eq!(reset(&mut subscription).await, Listing { entries: vec![], at: base });
    assert_eq!(apply(&mut subscription).await, (vec![Change::Put(entry("/a/1", "x", base + 2, base + 2))], base + 2));
    assert_eq!(apply(&mut subscription).await, (vec![Change::Delete { key: "/a/1".into(), at: base + 4 }], base + 4));
}

async fn what_was_answered_can_be_read_and_was_published(Ground { store, .. }: Ground) {
    let mut subscription = store.subscribe("").await.unwrap();
    reset(&mut subscription).await;
    for n in 1..=20 {
        let at = store.commit(ops([put("/a", &n.to_string())])).await.unwrap();
        assert_eq!(store.get("/a").await.unwrap().unwrap().modified, at);
        let event = tokio::select! {
            biased;
            event = subscription.next() => event,
            () = std::future::ready(()) => None,
        };
        assert!(matches!(event, Some(Event::Apply { at: seen, .. }) if seen == at), "published before the answer");
    }
}

async fn what_was_answered_can_be_read_and_is_told(Ground { store, .. }: Ground) {
    let mut subscription = store.subscribe("").await.unwrap();
    reset(&mut subscription).await;
    for n in 1..=20 {
        let at = store.commit(ops([put("/a", &n.to_string())])).await.unwrap();
        assert_eq!(store.get("/a").await.unwrap().unwrap().modified, at);
        assert_eq!(apply(&mut subscription).await.1, at);
    }
}

async fn a_subscriber_that_is_too_slow_starts_again(Ground { store, .. }: Ground) {
    let mut subscription = store.subscribe("").await.unwrap();
    reset(&mut subscription).await;
    store.commit(ops([put("/gone", "x")])).await.unwrap();
    store.commit(ops([delete("/gone")])).await.unwrap();
    for _ in 0..BACKLOG {
        store.commit(ops([put("/a", "x")])).await.unwrap();
    }
    let newest = store.list("").await.unwrap();
    assert_eq!(reset(&mut subscription).await, newest);
    let at = store.commit(ops([put("/b", "x")])).await.unwrap();
    assert_eq!(apply(&mut subscription).await.1, at);
}

/// Follows until `writes` revisions are seen, and checks that each event continues the one before.
async fn follow(mut subscription: Box<dyn Subscription>, until: Revision) -> Vec<Entry> {
    let listing = reset(&mut subscription).await;
    let mut at = listing.at;
    let mut keys: std::collections::BTreeMap<Arc<str>, Entry> = listing.entries.into_iter().map(|e| (e.key.clone(), e)).collect();
    while at < until {
        match next(&mut subscription).await {
            Event::Reset(listing) => {
                assert!(listing.at > at, "a listing never goes back");
                at = listing.at;
                keys = listing.entries.into_iter().map(|e| (e.key.clone(), e)).collect();
            }
            Event::Apply { changes, at: next } => {
                assert_eq!(next, at + 1, "every revision, in order");
                assert_eq!(changes.len(), 2, "whole revisions");
                at = next;
                for change in changes {
                    match change {
                        Change::Put(entry) => keys.insert(entry.key.clone(), entry),
                        Change::Delete { key, .. } => keys.remove(&key),
                    };
                }
            }
        }
    }
    keys.into_values().collect()
}

async fn a_listing_and_what_follows_it_have_no_gap(Ground { store, base, .. }: Ground) {
    const WRITERS: u64 = 4;
    const WRITES: u64 = 50;
    let writers: Vec<_> = (0..WRITERS)
        .map(|w| {
            let store = store.clone();
            on_a_thread(async move {
                for n in 0..WRITES {
                    // always two changes: the counter, and a key that comes and goes
                    let second = if n % 2 == 0 { put(&format!("/{w}/odd"), "x") } else { delete(&format!("/{w}/odd")) };
                    store.commit(ops([put(&format!("/{w}/count"), &n.to_string()), second])).await.unwrap();
                }
            })
        })
        .collect();
    let mut followers = Vec::new();
    for _ in 0..20 {
        followers.push(task::spawn(follow(store.subscribe("/").await.unwrap(), base + WRITERS * WRITES)));
        tokio::task::yield_now().await;
    }
    let mut ends = Vec::new();
    for follower in followers {
        ends.push(follower.await.unwrap());
    }
    for writer in writers {
        writer.join().unwrap();
    }
    let end = store.list("/").await.unwrap();
    assert_eq!(end.at, base + WRITERS * WRITES);
    assert!(ends.iter().all(|seen| *seen == end.entries));
}

async fn a_dropped_commit_is_whole_or_not_at_all(Ground { store, .. }: Ground) {
    for n in 0..20 {
        let both = store.commit(ops([put("/a", &n.to_string()), put("/b", &n.to_string())]));
        tokio::select! {
            biased;
            _ = both => {}
            () = tokio::task::yield_now() => {}
        }
        let entries = store.list("").await.unwrap().entries;
        assert!(entries.is_empty() || entries.len() == 2 && entries[0].value == entries[1].value, "{entries:?}");
    }
    // those that were dropped are behind this one or before it, but never in the middle
    store.commit(ops([put("/a", "end"), put("/b", "end")])).await.unwrap();
    let listing = store.list("").await.unwrap();
    assert_eq!(listing.entries[0].modified, listing.entries[1].modified);
}

async fn a_lease_ends_at_its_time_in_a_revision_of_its_own(Ground { store, base, short, late }: Ground) {
    let mut subscription = store.subscribe("").await.unwrap();
    reset(&mut subscription).await;
    let began = tokio::time::Instant::now();
    store.commit(ops([lease("/l", short), lease("/m", 3 * short), put("/p", "x")])).await.unwrap();
    apply(&mut subscription).await;
    assert_eq!(apply(&mut subscription).await, (vec![Change::Delete { key: "/l".into(), at: base + 2 }], base + 2));
    let (passed, time) = (began.elapsed(), Duration::from_secs(short));
    assert!(passed >= time && passed < time + late, "{passed:?}");
    assert_eq!(apply(&mut subscription).await, (vec![Change::Delete { key: "/m".into(), at: base + 3 }], base + 3));
    assert_eq!(store.list("").await.unwrap(), Listing { entries: vec![entry("/p", "x", base + 1, base + 1)], at: base + 3 });
}

async fn a_later_put_decides_about_the_lease(Ground { store, base, short, late }: Ground) {
    store.commit(ops([lease("/stays", short), lease("/longer", short), lease("/sooner", 100 * short)])).await.unwrap();
    store.commit(ops([put("/stays", "x"), lease("/longer", 4 * short), lease("/sooner", short)])).await.unwrap();
    let mut subscription = store.subscribe("").await.unwrap();
    reset(&mut subscription).await;
    let began = tokio::time::Instant::now();
    let ends = |times: u64| Duration::from_secs(times * short).saturating_sub(late)..Duration::from_secs(times * short) + late;
    assert_eq!(apply(&mut subscription).await.0, [Change::Delete { key: "/sooner".into(), at: base + 3 }]);
    assert!(ends(1).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert_eq!(apply(&mut subscription).await.0, [Change::Delete { key: "/longer".into(), at: base + 4 }]);
    assert!(ends(4).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert!(timeout(Duration::from_secs(2 * short), subscription.next()).await.is_err(), "nothing else ends");
    assert!(store.get("/stays").await.unwrap().is_some());
}

async fn leases_that_end_together_make_one_revision(Ground { store, base, short, .. }: Ground) {
    let mut subscription = store.subscribe("").await.unwrap();
    reset(&mut subscription).await;
    store.commit(ops([lease("/a", short), lease("/b", short)])).await.unwrap();
    apply(&mut subscription).await;
    assert_eq!(apply(&mut subscription).await.0.len(), 2);
    assert_eq!(store.list("").await.unwrap(), Listing { entries: vec![], at: base + 2 });
}

async fn a_subscription_ends_with_the_store(Ground { store, .. }: Ground) {
    let mut subscription = store.subscribe("").await.unwrap();
    store.commit(ops([put("/a", "x")])).await.unwrap();
    drop(store);
    reset(&mut subscription).await;
    apply(&mut subscription).await;
    assert_eq!(timeout(DEADLINE, subscription.next()).await.expect("the end in time"), None);
}

/// A test of every check over each provider: those of this process first.
macro_rules! contract {
    (here { $($(#[$how:meta])* $check:ident;)* } etcd { $($etcd:ident)* }) => {
        mod memory {
            $($(#[$how])* async fn $check() {
                super::$check(super::Ground::here(sluice::store::Memory::new())).await;
            })*
        }
        mod embedded {
            $($(#[$how])* async fn $check() {
                let dir = tempfile::tempdir().unwrap();
                let metrics = sluice::telemetry::Metrics::new().unwrap();
                let store = sluice::store::Embedded::open(&dir.path().join("store.redb"), metrics).await.unwrap();
                super::$check(super::Ground::here(store)).await;
            })*
        }
        mod etcd {
            $(#[test] fn $etcd() {
                super::on_etcd(super::$etcd);
            })*
        }
    };
}

/// Runs a check on an etcd of its own. The clients' connections need a thread beside the one that a check may block.
fn on_etcd<F: Future<Output = ()> + Send + 'static>(check: impl FnOnce(Ground) -> F) {
    let etcd = Etcd::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let options =
        EtcdOptions { hosts: etcd.urls(), timeout: Duration::from_secs(30), user: None, tls: None, prefix: String::new(), last_good: None };
    let store = runtime.block_on(store::Etcd::new(&options, Metrics::new().unwrap())).unwrap();
    // etcd looks for leases that ended twice a second, and takes none shorter than two elections
    let ground = Ground { store: Arc::new(store), base: etcd.revision(), short: 3, late: Duration::from_secs(3) };
    runtime.block_on(runtime.spawn(check(ground))).unwrap();
}

contract! { here {
    #[tokio::test(start_paused = true)] an_empty_store_is_at_its_first_revision;
    #[tokio::test(start_paused = true)] every_transaction_makes_one_revision;
    #[tokio::test(start_paused = true)] a_key_knows_when_it_came_and_when_it_changed;
    #[tokio::test(start_paused = true)] a_transaction_without_effect_makes_no_revision;
    #[tokio::test(start_paused = true)] a_guard_holds_or_names_its_key;
    #[tokio::test(start_paused = true)] a_failed_guard_stops_the_whole_transaction;
    #[tokio::test] of_writers_with_the_same_guard_one_wins;
    #[tokio::test(start_paused = true)] a_listing_is_ordered_and_exact_about_its_prefix;
    #[tokio::test(start_paused = true)] values_are_bytes;
    #[tokio::test(start_paused = true)] all_ops_of_a_transaction_arrive_together;
    #[tokio::test(start_paused = true)] a_subscription_hears_of_its_prefix_only;
    #[tokio::test(start_paused = true)] what_was_answered_can_be_read_and_was_published;
    #[tokio::test(start_paused = true)] what_was_answered_can_be_read_and_is_told;
    #[tokio::test(start_paused = true)] a_subscriber_that_is_too_slow_starts_again;
    #[tokio::test] a_listing_and_what_follows_it_have_no_gap;
    #[tokio::test] a_dropped_commit_is_whole_or_not_at_all;
    #[tokio::test(start_paused = true)] a_lease_ends_at_its_time_in_a_revision_of_its_own;
    #[tokio::test(start_paused = true)] a_later_put_decides_about_the_lease;
    #[tokio::test(start_paused = true)] leases_that_end_together_make_one_revision;
    #[tokio::test(start_paused = true)] a_subscription_ends_with_the_store;
    }
    // what is published within the process of the store, and ends with it, is nothing that a cluster can promise
    etcd {
    an_empty_store_is_at_its_first_revision
    every_transaction_makes_one_revision
    a_key_knows_when_it_came_and_when_it_changed
    a_transaction_without_effect_makes_no_revision
    a_guard_holds_or_names_its_key
    a_failed_guard_stops_the_whole_transaction
    of_writers_with_the_same_guard_one_wins
    a_listing_is_ordered_and_exact_about_its_prefix
    values_are_bytes
    all_ops_of_a_transaction_arrive_together
    a_subscription_hears_of_its_prefix_only
    what_was_answered_can_be_read_and_is_told
    a_listing_and_what_follows_it_have_no_gap
    a_dropped_commit_is_whole_or_not_at_all
    a_lease_ends_at_its_time_in_a_revision_of_its_own
    a_later_put_decides_about_the_lease
    leases_that_end_together_make_one_revision
}}
