//! What every store provider does alike: the same checks over each of them. What only one of them does is tested beside this.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sluice::base::task;
use sluice::store::{BACKLOG, Change, Entry, Event, Guard, Listing, Op, Revision, Store, StoreError, Subscription, Txn};
use tokio::time::timeout;

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

async fn an_empty_store_is_at_revision_0(store: Arc<dyn Store>) {
    assert_eq!(store.list("").await.unwrap(), Listing { entries: vec![], at: 0 });
    assert_eq!(store.get("/a").await.unwrap(), None);
    assert_eq!(store.commit(Txn::default()).await.unwrap(), 0);
}

async fn every_transaction_makes_one_revision(store: Arc<dyn Store>) {
    assert_eq!(store.commit(ops([put("/a", "1")])).await.unwrap(), 1);
    assert_eq!(store.commit(ops([put("/a", "1")])).await.unwrap(), 2);
    assert_eq!(store.commit(ops([put("/a", "2"), put("/b", "3")])).await.unwrap(), 3);
    assert_eq!(store.commit(ops([delete("/a")])).await.unwrap(), 4);
    assert_eq!(store.list("").await.unwrap(), Listing { entries: vec![entry("/b", "3", 3, 3)], at: 4 });
}

async fn a_key_knows_when_it_came_and_when_it_changed(store: Arc<dyn Store>) {
    store.commit(ops([put("/a", "1")])).await.unwrap();
    store.commit(ops([put("/b", "1")])).await.unwrap();
    store.commit(ops([put("/a", "2")])).await.unwrap();
    assert_eq!(store.get("/a").await.unwrap(), Some(entry("/a", "2", 1, 3)));
    store.commit(ops([delete("/a")])).await.unwrap();
    store.commit(ops([put("/a", "3")])).await.unwrap();
    assert_eq!(store.get("/a").await.unwrap(), Some(entry("/a", "3", 5, 5)));
}

async fn a_transaction_without_effect_makes_no_revision(store: Arc<dyn Store>) {
    store.commit(ops([put("/a", "1")])).await.unwrap();
    let mut subscription = store.subscribe("").await.unwrap();
    assert_eq!(store.commit(ops([delete("/none"), delete("/nor/this")])).await.unwrap(), 1);
    assert_eq!(store.commit(guarded("/a", Some(1), delete("/none"))).await.unwrap(), 1);
    assert_eq!(store.commit(ops([delete("/none"), put("/b", "1")])).await.unwrap(), 2);
    assert_eq!(reset(&mut subscription).await.at, 1);
    assert_eq!(apply(&mut subscription).await, (vec![Change::Put(entry("/b", "1", 2, 2))], 2), "no delete of what was not there");
}

async fn a_guard_holds_or_names_its_key(store: Arc<dyn Store>) {
    assert_eq!(store.commit(guarded("/a", None, put("/a", "1"))).await.unwrap(), 1);
    assert_eq!(conflict(store.commit(guarded("/a", None, put("/a", "2"))).await), "/a");
    assert_eq!(store.commit(guarded("/a", Some(1), put("/a", "2"))).await.unwrap(), 2);
    assert_eq!(conflict(store.commit(guarded("/a", Some(1), put("/a", "3"))).await), "/a");
    assert_eq!(conflict(store.commit(guarded("/none", Some(1), put("/none", "3"))).await), "/none");
    assert_eq!(store.commit(guarded("/a", Some(2), delete("/a"))).await.unwrap(), 3);
    assert_eq!(store.commit(guarded("/a", None, put("/a", "4"))).await.unwrap(), 4);
}

async fn a_failed_guard_stops_the_whole_transaction(store: Arc<dyn Store>) {
    store.commit(ops([put("/a", "1"), put("/b", "1")])).await.unwrap();
    let guard = |key: &str, modified| Guard { key: key.into(), modified };
    let guards = vec![guard("/a", Some(1)), guard("/b", Some(9)), guard("/c", Some(9))];
    let answer = store.commit(Txn { guards, ops: vec![put("/a", "2"), put("/c", "2"), delete("/b")] }).await;
    assert_eq!(conflict(answer), "/b", "the first that failed");
    let before = vec![entry("/a", "1", 1, 1), entry("/b", "1", 1, 1)];
    assert_eq!(store.list("").await.unwrap(), Listing { entries: before, at: 1 });
}

async fn of_writers_with_the_same_guard_one_wins(store: Arc<dyn Store>) {
    let write = |n: u32| {
        let store = store.clone();
        on_a_thread(async move { store.commit(guarded("/a", None, put("/a", &n.to_string()))).await })
    };
    let writers: Vec<_> = (0..8).map(write).collect();
    let answers: Vec<_> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert_eq!(store.list("").await.unwrap().at, 1);
}

async fn a_listing_is_ordered_and_exact_about_its_prefix(store: Arc<dyn Store>) {
    let keys = ["/s/b", "/s/a/2", "/s/a/10", "/s/a", "/sa", "/s/", "/t", "/s/ä"];
    store.commit(ops(keys.map(|key| put(key, "v")))).await.unwrap();
    let under = async |prefix: &str| {
        let listing = store.list(prefix).await.unwrap();
        assert_eq!(listing.at, 1);
        listing.entries.iter().map(|entry| entry.key.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(under("/s/").await, ["/s/", "/s/a", "/s/a/10", "/s/a/2", "/s/b", "/s/ä"]);
    assert_eq!(under("/s/a").await, ["/s/a", "/s/a/10", "/s/a/2"]);
    assert_eq!(under("/s/a/").await, ["/s/a/10", "/s/a/2"]);
    assert_eq!(under("/sa").await, ["/sa"]);
    assert_eq!(under("/x").await, [""; 0]);
    assert_eq!(under("").await.len(), keys.len());
}

async fn values_are_bytes(store: Arc<dyn Store>) {
    let values = [Bytes::new(), Bytes::from_static(&[0, 255, 254, 0]), Bytes::from(vec![7; 1024 * 1024])];
    for value in values {
        store.commit(ops([Op::Put { key: "/a".into(), value: value.clone(), ttl: None }])).await.unwrap();
        assert!(store.get("/a").await.unwrap().unwrap().value == value, "a value of {} bytes", value.len());
    }
}

async fn all_ops_of_a_transaction_arrive_together(store: Arc<dyn Store>) {
    store.commit(ops([put("/a", "1"), put("/b", "1")])).await.unwrap();
    let mut subscription = store.subscribe("/").await.unwrap();
    assert_eq!(store.commit(ops([put("/c", "2"), delete("/a"), put("/b", "2")])).await.unwrap(), 2);
    assert_eq!(reset(&mut subscription).await, Listing { entries: vec![entry("/a", "1", 1, 1), entry("/b", "1", 1, 1)], at: 1 });
    let changes =
        vec![Change::Put(entry("/c", "2", 2, 2)), Change::Delete { key: "/a".into(), at: 2 }, Change::Put(entry("/b", "2", 1, 2))];
    assert_eq!(apply(&mut subscription).await, (changes, 2));
}

async fn a_subscription_hears_of_its_prefix_only(store: Arc<dyn Store>) {
    let mut subscription = store.subscribe("/a/").await.unwrap();
    store.commit(ops([put("/b/1", "x")])).await.unwrap();
    store.commit(ops([put("/a/1", "x"), put("/b/2", "x")])).await.unwrap();
    store.commit(ops([put("/a", "x"), delete("/b/1")])).await.unwrap();
    store.commit(ops([delete("/a/1")])).await.unwrap();
    assert_eq!(reset(&mut subscription).await, Listing { entries: vec![], at: 0 });
    assert_eq!(apply(&mut subscription).await, (vec![Change::Put(entry("/a/1", "x", 2, 2))], 2));
    assert_eq!(apply(&mut subscription).await, (vec![Change::Delete { key: "/a/1".into(), at: 4 }], 4));
}

async fn what_was_answered_can_be_read_and_was_published(store: Arc<dyn Store>) {
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

async fn a_subscriber_that_is_too_slow_starts_again(store: Arc<dyn Store>) {
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

async fn a_listing_and_what_follows_it_have_no_gap(store: Arc<dyn Store>) {
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
        followers.push(task::spawn(follow(store.subscribe("/").await.unwrap(), WRITERS * WRITES)));
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
    assert_eq!(end.at, WRITERS * WRITES);
    assert!(ends.iter().all(|seen| *seen == end.entries));
}

async fn a_dropped_commit_is_whole_or_not_at_all(store: Arc<dyn Store>) {
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

async fn a_lease_ends_at_its_time_in_a_revision_of_its_own(store: Arc<dyn Store>) {
    let mut subscription = store.subscribe("").await.unwrap();
    reset(&mut subscription).await;
    let began = tokio::time::Instant::now();
    store.commit(ops([lease("/l", 10), lease("/m", 30), put("/p", "x")])).await.unwrap();
    apply(&mut subscription).await;
    assert_eq!(apply(&mut subscription).await, (vec![Change::Delete { key: "/l".into(), at: 2 }], 2));
    let passed = began.elapsed();
    assert!(passed >= Duration::from_secs(10) && passed < Duration::from_secs(11), "{passed:?}");
    assert_eq!(apply(&mut subscription).await, (vec![Change::Delete { key: "/m".into(), at: 3 }], 3));
    assert_eq!(store.list("").await.unwrap(), Listing { entries: vec![entry("/p", "x", 1, 1)], at: 3 });
}

async fn a_later_put_decides_about_the_lease(store: Arc<dyn Store>) {
    store.commit(ops([lease("/stays", 10), lease("/longer", 10), lease("/sooner", 100)])).await.unwrap();
    store.commit(ops([put("/stays", "x"), lease("/longer", 20), lease("/sooner", 5)])).await.unwrap();
    let mut subscription = store.subscribe("").await.unwrap();
    reset(&mut subscription).await;
    let began = tokio::time::Instant::now();
    assert_eq!(apply(&mut subscription).await.0, [Change::Delete { key: "/sooner".into(), at: 3 }]);
    assert_eq!(began.elapsed().as_secs(), 5);
    assert_eq!(apply(&mut subscription).await.0, [Change::Delete { key: "/longer".into(), at: 4 }]);
    assert_eq!(began.elapsed().as_secs(), 20);
    assert!(timeout(Duration::from_secs(1000), subscription.next()).await.is_err(), "nothing else ends");
    assert!(store.get("/stays").await.unwrap().is_some());
}

async fn leases_that_end_together_make_one_revision(store: Arc<dyn Store>) {
    let mut subscription = store.subscribe("").await.unwrap();
    reset(&mut subscription).await;
    store.commit(ops([lease("/a", 10), lease("/b", 10)])).await.unwrap();
    apply(&mut subscription).await;
    assert_eq!(apply(&mut subscription).await.0.len(), 2);
    assert_eq!(store.list("").await.unwrap(), Listing { entries: vec![], at: 2 });
}

async fn a_subscription_ends_with_the_store(store: Arc<dyn Store>) {
    let mut subscription = store.subscribe("").await.unwrap();
    store.commit(ops([put("/a", "x")])).await.unwrap();
    drop(store);
    reset(&mut subscription).await;
    apply(&mut subscription).await;
    assert_eq!(timeout(DEADLINE, subscription.next()).await.expect("the end in time"), None);
}

/// A test of every check over every provider.
macro_rules! contract {
    ($($(#[$how:meta])* $check:ident;)*) => {
        mod memory {
            $($(#[$how])* async fn $check() {
                super::$check(std::sync::Arc::new(sluice::store::Memory::new())).await;
            })*
        }
        mod embedded {
            $($(#[$how])* async fn $check() {
                let dir = tempfile::tempdir().unwrap();
                let metrics = sluice::telemetry::Metrics::new().unwrap();
                let store = sluice::store::Embedded::open(&dir.path().join("store.redb"), metrics).await.unwrap();
                super::$check(std::sync::Arc::new(store)).await;
            })*
        }
    };
}

contract! {
    #[tokio::test(start_paused = true)] an_empty_store_is_at_revision_0;
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
    #[tokio::test(start_paused = true)] a_subscriber_that_is_too_slow_starts_again;
    #[tokio::test] a_listing_and_what_follows_it_have_no_gap;
    #[tokio::test] a_dropped_commit_is_whole_or_not_at_all;
    #[tokio::test(start_paused = true)] a_lease_ends_at_its_time_in_a_revision_of_its_own;
    #[tokio::test(start_paused = true)] a_later_put_decides_about_the_lease;
    #[tokio::test(start_paused = true)] leases_that_end_together_make_one_revision;
    #[tokio::test(start_paused = true)] a_subscription_ends_with_the_store;
}
