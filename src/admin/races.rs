//! For the room's tests: two Admin APIs on one store, writing the same object at the same time. Nothing in the process joins them, as
//! if they ran on two machines.

use std::sync::{Arc, Barrier};

use serde_json::{Value, json};

use super::fake::{Fake, KEY, ask};
use super::gate::Admin;
use crate::store::{self, Store};

const ROUNDS: usize = 1000;
const URI: &str = "/apisix/admin/upstreams/1";

/// Two writers, each on a thread of its own, that make one request a round at the same moment. Their answers, by round.
fn race(request: impl Fn(usize, usize, &Value, &str) -> (&'static str, String, bool) + Send + Sync + 'static) -> (Vec<[u16; 2]>, Value) {
    let fake = Fake::new();
    let store: Arc<dyn Store> = Arc::new(store::Memory::new());
    let (request, barrier) = (Arc::new(request), Arc::new(Barrier::new(2)));
    let admins: Vec<Arc<Admin>> = (0..2).map(|_| Arc::new(fake.admin_on(store.clone()))).collect();
    let put = json!({ "nodes": {}, "labels": { "count": "0" } }).to_string();
    assert_eq!(block(call(&admins[0], "PUT", None, &put)).0, 201);
    let threads = admins.iter().cloned().enumerate().map(|(writer, admin)| {
        let (request, barrier) = (request.clone(), barrier.clone());
        std::thread::spawn(move || block(async { rounds(writer, &admin, &*request, &barrier).await }))
    });
    let told: Vec<Vec<u16>> = threads.collect::<Vec<_>>().into_iter().map(|thread| thread.join().unwrap()).collect();
    let answers = told[0].iter().zip(&told[1]).map(|(a, b)| [*a, *b]).collect();
    (answers, block(call(&admins[1], "GET", None, "")).1["value"].clone())
}

async fn rounds<R>(writer: usize, admin: &Admin, request: &R, barrier: &Barrier) -> Vec<u16>
where
    R: Fn(usize, usize, &Value, &str) -> (&'static str, String, bool),
{
    let mut answers = Vec::new();
    for round in 0..ROUNDS {
        barrier.wait();
        let (_, now) = call(admin, "GET", None, "").await;
        let tag = format!("\"{}\"", now["modifiedIndex"]);
        let (method, body, guarded) = request(writer, round, &now["value"], &tag);
        // both have read before either writes
        barrier.wait();
        answers.push(call(admin, method, guarded.then_some(tag.as_str()), &body).await.0);
    }
    answers
}

async fn call(admin: &Admin, method: &str, tag: Option<&str>, body: &str) -> (u16, Value) {
    let mut headers = vec![("x-api-key", KEY)];
    headers.extend(tag.map(|tag| ("if-match", tag)));
    ask(admin, method, URI, &headers, body).await.parts()
}

fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn counted(value: &Value) -> usize {
    value["labels"]["count"].as_str().unwrap().parse().unwrap()
}

fn one_more(method: &'static str, value: &Value) -> (&'static str, String, bool) {
    let labels = json!({ "count": (counted(value) + 1).to_string() });
    let body = if method == "PUT" { json!({ "nodes": {}, "labels": labels }) } else { json!({ "labels": labels }) };
    (method, body.to_string(), true)
}

#[test]
fn of_two_writers_with_one_version_exactly_one_writes() {
    for method in ["PUT", "PATCH"] {
        let (answers, value) = race(move |_, _, now, _| one_more(method, now));
        for (round, mut pair) in answers.into_iter().enumerate() {
            pair.sort_unstable();
            assert_eq!(pair, [200, 412], "{method} {round}");
        }
        assert_eq!(counted(&value), ROUNDS, "{method}: every 200 counts, no 412 does");
    }
}

#[test]
fn two_merges_of_different_fields_both_last() {
    let (answers, value) = race(|writer, round, _, _| {
        let labels = json!({ format!("w{writer}"): round.to_string() });
        ("PATCH", json!({ "labels": labels }).to_string(), false)
    });
    assert!(answers.iter().all(|pair| *pair == [200, 200]), "{answers:?}");
    let last = (ROUNDS - 1).to_string();
    assert_eq!(value["labels"], json!({ "count": "0", "w0": last, "w1": last }));
}
