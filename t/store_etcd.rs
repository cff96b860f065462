//! What only etcd does: TLS, large values, many keys, keys that are no text, a member that answers too late.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sluice::store::{Change, Etcd as Client, EtcdOptions, EtcdTls, Guard, Op, Store, StoreError, Txn};
use sluice::telemetry::Metrics;

use crate::store_contract::{apply, delete, ops, put, reset};
use crate::support::Etcd;
use crate::support::authority::Authority;
use crate::support::upstream as servers;

fn options(etcd: &Etcd) -> EtcdOptions {
    EtcdOptions { hosts: etcd.urls(), timeout: Duration::from_secs(10), user: None, tls: None, prefix: "/s".to_owned(), last_good: None }
}

async fn client(etcd: &Etcd) -> Client {
    Client::new(&options(etcd), Metrics::new().unwrap()).await.unwrap()
}

fn large(key: &str, megabytes: usize) -> Op {
    Op::Put { key: key.into(), value: Bytes::from(vec![b'x'; megabytes * 1024 * 1024]), ttl: None }
}

#[tokio::test]
async fn a_listing_and_a_replay_may_be_larger_than_a_message() {
    let etcd = Etcd::with(1, &["--max-request-bytes", "8000000"]);
    let store = client(&etcd).await;
    let mut subscription = store.subscribe("/s/").await.unwrap();
    assert!(reset(&mut subscription).await.entries.is_empty());
    for n in 0..12 {
        store.commit(ops([large(&format!("/s/{n:02}"), 1)])).await.unwrap();
    }
    // more in one revision than in one fragment
    let last = store.commit(ops([large("/s/a", 2), large("/s/b", 2), delete("/s/00"), large("/s/c", 2)])).await.unwrap();
    let mut seen = 0;
    loop {
        let (changes, at) = apply(&mut subscription).await;
        seen += 1;
        if at == last {
            assert_eq!(changes.len(), 4, "a whole revision");
            break;
        }
        assert_eq!(changes.len(), 1);
    }
    assert_eq!(seen, 13);
    let listing = store.list("/s/").await.unwrap();
    assert_eq!(listing.entries.iter().map(|entry| entry.value.len()).sum::<usize>(), 17 * 1024 * 1024);
    assert_eq!(reset(&mut store.subscribe("/s/").await.unwrap()).await, listing);
}

#[tokio::test]
async fn a_listing_of_many_pages_is_of_one_revision() {
    let etcd = Etcd::start();
    let store = client(&etcd).await;
    for first in (0..2_500).step_by(100) {
        let all: Vec<Op> = (first..first + 100).map(|n| put(&format!("/s/{n:04}"), "v")).collect();
        store.commit(ops(all)).await.unwrap();
    }
    store.commit(ops([put("/s/0000", "v"), put("/s/2499", "v"), put("/t", "beyond")])).await.unwrap();
    let changed = async {
        for n in 0..200 {
            store.commit(ops([put("/s/0000", &n.to_string()), put("/s/2499", &n.to_string())])).await.unwrap();
        }
    };
    let listed = async {
        for _ in 0..10 {
            let listing = store.list("/s/").await.unwrap();
            let (first, last) = (&listing.entries[0], &listing.entries[2_499]);
            assert_eq!((listing.entries.len(), &first.value, first.modified), (2_500, &last.value, last.modified));
            assert!(first.modified <= listing.at);
        }
    };
    tokio::join!(changed, listed);
    let listing = store.list("/s/").await.unwrap();
    assert!(listing.entries.windows(2).all(|two| two[0].key < two[1].key), "in order, each once");
}

#[tokio::test]
async fn a_key_that_is_no_text_is_seen_under_a_name_of_its_own() {
    let etcd = Etcd::start();
    // the last key of the first page is one of them
    for n in 0..1_000 {
        etcd_client_put(&etcd, format!("/s/{n:03}").into_bytes()).await;
    }
    etcd_client_put(&etcd, b"/s/999\xff".to_vec()).await;
    etcd_client_put(&etcd, b"/s/999\xfe".to_vec()).await;
    let store = client(&etcd).await;
    let mut subscription = store.subscribe("/s/").await.unwrap();
    let listing = reset(&mut subscription).await;
    let last: Vec<&str> = listing.entries[999..].iter().map(|entry| &*entry.key).collect();
    assert_eq!(last, ["/s/999", "/s/999\\xfe", "/s/999\\xff"]);
    etcd_client_put(&etcd, b"/s/\xf0".to_vec()).await;
    assert!(matches!(&apply(&mut subscription).await.0[..], [Change::Put(entry)] if &*entry.key == "/s/\\xf0"));
}

async fn etcd_client_put(etcd: &Etcd, key: Vec<u8>) {
    let mut client = etcd_client::Client::connect(etcd.urls(), None).await.unwrap();
    client.put(key, "v", None).await.unwrap();
}

#[tokio::test]
async fn a_write_that_is_not_answered_in_time_is_told_so_and_never_half() {
    let mut etcd = Etcd::start();
    let store = Client::new(&EtcdOptions { timeout: Duration::from_millis(500), ..options(&etcd) }, Metrics::new().unwrap()).await.unwrap();
    store.commit(ops([put("/s/a", "1")])).await.unwrap();
    etcd.freeze(0);
    let answer = store.commit(ops([put("/s/a", "2"), put("/s/b", "2")])).await;
    assert!(matches!(&answer, Err(StoreError::Unavailable { reason }) if reason.contains("may still be made")), "{answer:?}");
    assert!(matches!(store.get("/s/a").await, Err(StoreError::Unavailable { .. })));
    etcd.thaw(0);
    etcd.wait_ready();
    let entries = store.list("/s/").await.unwrap().entries;
    let values: Vec<&[u8]> = entries.iter().map(|entry| &entry.value[..]).collect();
    assert!(values == [b"1"] || values == [b"2", b"2"], "{entries:?}");
}

#[tokio::test]
async fn a_write_passes_members_that_refuse_and_members_that_are_silent() {
    let etcd = Etcd::start();
    let (refusing, blackhole) = (servers::refusing(), servers::blackhole());
    let hosts = vec![format!("http://{}", refusing.addr), format!("http://{}", blackhole.addr), etcd.url(0)];
    let store = Client::new(&EtcdOptions { hosts, ..options(&etcd) }, Metrics::new().unwrap()).await.unwrap();
    let began = Instant::now();
    store.commit(ops([put("/s/a", "1")])).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(10), "one connect that is not answered: {:?}", began.elapsed());
    let began = Instant::now();
    for _ in 0..20 {
        store.commit(ops([put("/s/a", "1")])).await.unwrap();
    }
    assert!(began.elapsed() < Duration::from_secs(2), "the one that answers is asked first now: {:?}", began.elapsed());
}

#[tokio::test]
async fn what_etcd_never_does_is_told_with_its_reason() {
    let etcd = Etcd::start();
    let store = client(&etcd).await;
    let many: Vec<Op> = (0..200).map(|n| put(&format!("/s/{n}"), "v")).collect();
    let answer = store.commit(ops(many)).await;
    assert!(matches!(&answer, Err(StoreError::Unavailable { reason }) if reason.contains("too many operations")), "{answer:?}");
    let answer = store.commit(ops([large("/s/large", 4)])).await;
    assert!(matches!(&answer, Err(StoreError::Unavailable { reason }) if reason.contains("larger than max")), "{answer:?}");
    assert!(store.list("/s/").await.unwrap().entries.is_empty());
    // of two ops on a key the last counts, as in the other stores
    let guards = vec![Guard { key: "/s/a".into(), modified: None }];
    store.commit(Txn { guards, ops: vec![put("/s/a", "1"), delete("/s/b"), put("/s/a", "2")] }).await.unwrap();
    assert_eq!(store.get("/s/a").await.unwrap().unwrap().value, "2");
}

#[tokio::test]
async fn tls_shows_our_certificate_and_verifies_theirs() {
    let authority = Authority::new();
    let server = authority.issue("server", "DNS:etcd.internal");
    let ours = authority.issue("client", "DNS:gateway");
    let etcd = Etcd::start_tls(&authority.cert(), &server, &ours);
    let store = async |tls: EtcdTls| {
        let options = EtcdOptions { tls: Some(tls), timeout: Duration::from_secs(2), ..options(&etcd) };
        Client::new(&options, Metrics::new().unwrap()).await
    };
    let good = EtcdTls { identity: Some(ours), ca: Some(authority.cert()), sni: Some("etcd.internal".to_owned()), unverified: false };
    let trusted = store(good.clone()).await.unwrap();
    let mut subscription = trusted.subscribe("/s/").await.unwrap();
    reset(&mut subscription).await;
    let at = trusted.commit(ops([put("/s/a", "1")])).await.unwrap();
    assert_eq!(apply(&mut subscription).await.1, at);

    let other = Authority::new();
    for (tls, why) in [
        (EtcdTls { identity: None, ..good.clone() }, "they ask for our certificate"),
        (EtcdTls { identity: Some(other.issue("client", "DNS:gateway")), ..good.clone() }, "ours is of another authority"),
        (EtcdTls { ca: Some(other.cert()), ..good.clone() }, "theirs is of another authority"),
        (EtcdTls { ca: None, ..good.clone() }, "the system does not know their authority"),
        (EtcdTls { sni: None, ..good.clone() }, "theirs has another name"),
    ] {
        let answer = store(tls).await.unwrap().get("/s/a").await;
        assert!(matches!(answer, Err(StoreError::Unavailable { .. })), "{why}: {answer:?}");
    }
    let anybody = store(EtcdTls { ca: None, sni: None, unverified: true, ..good.clone() }).await.unwrap();
    assert_eq!(anybody.get("/s/a").await.unwrap().unwrap().modified, at, "unverified, and our certificate is shown all the same");

    // certificates are replaced while the store is in use
    let (old, new) = (other.issue("replaced", "DNS:gateway"), good.identity.clone().unwrap());
    let renewing = store(EtcdTls { identity: Some(old.clone()), ..good.clone() }).await.unwrap();
    assert!(renewing.get("/s/a").await.is_err(), "of another authority");
    std::fs::copy(&new.0, &old.0).unwrap();
    std::fs::copy(&new.1, &old.1).unwrap();
    assert_eq!(renewing.get("/s/a").await.unwrap().unwrap().modified, at, "the next call reads the files");
    let absent = EtcdTls { ca: Some(PathBuf::from("/nowhere/ca.crt")), ..good };
    assert!(matches!(store(absent).await, Err(StoreError::Unusable { path, .. }) if path == "/nowhere/ca.crt"));
}

#[tokio::test]
async fn a_file_of_tls_that_cannot_be_used_is_named_with_its_fault() {
    let authority = Authority::new();
    let (ours, others) = (authority.issue("ours", "DNS:gateway"), authority.issue("others", "DNS:gateway"));
    let tls = EtcdTls { identity: Some(ours.clone()), ca: Some(authority.cert()), sni: None, unverified: false };
    let refused = async |tls: EtcdTls| {
        let hosts = vec!["https://127.0.0.1:1".to_owned()];
        let timeout = Duration::from_secs(1);
        let options = EtcdOptions { hosts, timeout, user: None, tls: Some(tls), prefix: "/s".to_owned(), last_good: None };
        Client::new(&options, Metrics::new().unwrap()).await.err().map(|error| error.to_string())
    };
    assert_eq!(refused(tls.clone()).await, None);
    let (cert, key) = (ours.0.display(), ours.1.display());
    for (tls, expected) in [
        (EtcdTls { ca: Some(ours.1.clone()), ..tls.clone() }, format!("{key} cannot be used: there is no certificate in PEM in it")),
        (
            EtcdTls { identity: Some((ours.1.clone(), ours.1.clone())), ..tls.clone() },
            format!("{key} cannot be used: there is no certificate in PEM in it"),
        ),
        (
            EtcdTls { identity: Some((ours.0.clone(), ours.0.clone())), ..tls.clone() },
            format!("{cert} cannot be used: there is no private key in PEM in it"),
        ),
        (
            EtcdTls { identity: Some((ours.0.clone(), others.1.clone())), ..tls.clone() },
            format!("{} cannot be used: it is not the key of {cert}", others.1.display()),
        ),
    ] {
        assert_eq!(refused(tls).await, Some(expected));
    }
}
