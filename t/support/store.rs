//! The embedded store's file behind the gateway's back.

use std::path::Path;

use bytes::Bytes;
use sluice::store::{Embedded, Op, Store, Txn};
use sluice::telemetry::Metrics;

/// Writes raw bytes into the store of a gateway that does not run.
pub fn put_raw(store: &Path, entries: &[(String, Vec<u8>)]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Embedded::open(store, Metrics::new().unwrap()).await.unwrap();
        let put = |(key, value): &(String, Vec<u8>)| Op::Put { key: key.clone(), value: Bytes::from(value.clone()), ttl: None };
        let txn = Txn { guards: Vec::new(), ops: entries.iter().map(put).collect() };
        store.commit(txn).await.unwrap();
        store.close().await;
    });
}
