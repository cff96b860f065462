//! Between etcd's messages and the store's words. Makes no calls.

use std::collections::HashSet;
use std::time::Duration;

use etcd_client::proto::{PbEvent, PbKeyValue, PbResponseHeader, PbTxnOpResponse, PbWatchResponse};
use etcd_client::{Compare, CompareOp, GetOptions, GetResponse, PutOptions, TxnOp, TxnResponse};

use super::fault::Fault;
use crate::store::watch::{Header, Input, Page, Tally};
use crate::store::{Change, Entry, Op, Revision, StoreError, Txn};

/// The number that etcd uses for a revision, and back. There are no negative ones.
pub(super) fn revision(number: i64) -> Revision {
    Revision::try_from(number).unwrap_or(0)
}

/// The reverse of [`revision`].
pub(super) fn number(revision: Revision) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

/// A key as text. Bytes that are none are written as `\xff`, so that such a key is seen and refused by name.
fn text(key: &[u8]) -> String {
    let mut text = String::with_capacity(key.len());
    for chunk in key.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

fn entry(pair: PbKeyValue) -> Entry {
    Entry {
        key: text(&pair.key).into(),
        value: pair.value.into(),
        created: revision(pair.create_revision),
        modified: revision(pair.mod_revision),
    }
}

/// What an answer holds: entries in key order.
pub(super) fn entries(answer: GetResponse) -> Vec<Entry> {
    answer.0.kvs.into_iter().map(entry).collect()
}

/// An answer as a part of a listing. The next part begins right behind its last key.
pub(super) fn page(answer: GetResponse) -> Page {
    let next = answer.0.kvs.last().filter(|_| answer.more()).map(|pair| [pair.key.as_slice(), b"\0"].concat().into());
    Page { next, header: header(answer.0.header.as_ref()), entries: entries(answer) }
}

/// An answer as the tally of all that it was asked about.
pub(super) fn tally(answer: &GetResponse) -> Tally {
    let newest = answer.0.kvs.iter().map(|pair| (revision(pair.mod_revision), text(&pair.key).into()));
    Tally::new(usize::try_from(answer.0.count).unwrap_or(0), newest)
}

/// What an answer tells about the store.
pub(super) fn header(header: Option<&PbResponseHeader>) -> Header {
    header.map_or(Header { at: 0, cluster: 0, term: 0 }, |header| Header {
        at: revision(header.revision),
        cluster: header.cluster_id,
        term: header.raft_term,
    })
}

/// What a message of a watch says; a refused watch is created and cancelled in one.
pub(super) fn inputs(message: PbWatchResponse) -> Vec<Input> {
    let header = header(message.header.as_ref());
    if message.canceled {
        return vec![Input::Cancelled { compacted: message.compact_revision > 0 }];
    }
    let mut inputs = Vec::new();
    if message.created {
        inputs.push(Input::Created);
    }
    if !message.events.is_empty() || message.fragment {
        let changes = message.events.into_iter().filter_map(change).collect();
        inputs.push(Input::Changes { changes, fragment: message.fragment });
    } else if !message.created {
        inputs.push(Input::Progress(header));
    }
    inputs
}

fn change(event: PbEvent) -> Option<Change> {
    let pair = event.kv?;
    Some(if event.r#type == 0 {
        Change::Put(entry(pair))
    } else {
        Change::Delete { key: text(&pair.key).into(), at: revision(pair.mod_revision) }
    })
}

/// Whole seconds, at least one: what a lease is measured in.
pub(super) fn seconds(ttl: Duration) -> i64 {
    let whole = ttl.as_secs().saturating_add(u64::from(ttl.subsec_nanos() > 0));
    i64::try_from(whole.max(1)).unwrap_or(i64::MAX)
}

/// The same transaction in etcd's words. `lease` answers with the lease of a time to live. If a guard does not hold, the keys of all
/// guards are read in its place. Of two ops on a key the last counts.
pub(super) fn transaction(txn: &Txn, lease: impl Fn(Duration) -> i64) -> etcd_client::Txn {
    let compares: Vec<Compare> = txn.guards.iter().map(|guard| compare(&guard.key, guard.modified)).collect();
    let mut seen = HashSet::new();
    let mut ops: Vec<TxnOp> = txn.ops.iter().rev().filter(|op| seen.insert(key(op))).map(|op| operation(op, &lease)).collect();
    ops.reverse();
    let reads: Vec<TxnOp> = txn.guards.iter().map(|guard| read(&guard.key)).collect();
    etcd_client::Txn::new().when(compares).and_then(ops).or_else(reads)
}

fn compare(key: &str, modified: Option<Revision>) -> Compare {
    match modified {
        Some(modified) => Compare::mod_revision(key, CompareOp::Equal, number(modified)),
        None => Compare::create_revision(key, CompareOp::Equal, 0),
    }
}

fn operation(op: &Op, lease: impl Fn(Duration) -> i64) -> TxnOp {
    match op {
        Op::Put { key, value, ttl } => {
            let options = ttl.map(|ttl| PutOptions::new().with_lease(lease(ttl)));
            TxnOp::put(key.as_str(), value.to_vec(), options)
        }
        Op::Delete { key } => TxnOp::delete(key.as_str(), None),
    }
}

fn read(key: &str) -> TxnOp {
    TxnOp::get(key, Some(GetOptions::new()))
}

fn key(op: &Op) -> &str {
    match op {
        Op::Put { key, .. } | Op::Delete { key } => key,
    }
}

/// A transaction that reads all keys of another one's ops.
pub(super) fn reading(txn: &Txn) -> etcd_client::Txn {
    etcd_client::Txn::new().and_then(txn.ops.iter().map(|op| read(key(op))).collect::<Vec<_>>())
}

/// What became of a transaction that was answered.
pub(super) fn outcome(txn: &Txn, answer: TxnResponse) -> Result<Revision, StoreError> {
    if answer.succeeded() {
        return Ok(header(answer.0.header.as_ref()).at);
    }
    let found = found(answer);
    let failed = txn.guards.iter().enumerate().find(|(n, guard)| {
        let modified = found.get(*n).and_then(|entry| entry.as_ref()).map(|entry| entry.modified);
        modified != guard.modified
    });
    let key = failed.map(|(_, guard)| guard).or(txn.guards.first()).map(|guard| guard.key.clone());
    Err(StoreError::Conflict { key: key.unwrap_or_default() })
}

/// Whether the keys are as a transaction wanted them: the revision of its puts, or of the answer if it only deletes.
pub(super) fn as_wanted(txn: &Txn, answer: TxnResponse) -> Option<Revision> {
    let newest = header(answer.0.header.as_ref()).at;
    let found = found(answer);
    let mut at = None;
    for (op, entry) in txn.ops.iter().zip(&found) {
        match (op, entry) {
            (Op::Delete { .. }, None) => {}
            (Op::Put { value, .. }, Some(entry)) if entry.value == *value && at.is_none_or(|at| at == entry.modified) => {
                at = Some(entry.modified);
            }
            (Op::Delete { .. }, Some(_)) | (Op::Put { .. }, _) => return None,
        }
    }
    // a value from before is not this transaction's, even if it is the same
    let guarded = txn.guards.iter().any(|guard| guard.modified.is_some() && guard.modified == at);
    (found.len() == txn.ops.len() && !guarded).then(|| at.unwrap_or(newest))
}

/// The entry of each read, in order.
fn found(answer: TxnResponse) -> Vec<Option<Entry>> {
    let of = |response: Option<PbTxnOpResponse>| match response {
        Some(PbTxnOpResponse::ResponseRange(range)) => range.kvs.into_iter().next().map(entry),
        Some(PbTxnOpResponse::ResponsePut(_) | PbTxnOpResponse::ResponseDeleteRange(_) | PbTxnOpResponse::ResponseTxn(_)) | None => None,
    };
    answer.0.responses.into_iter().map(|response| of(response.response)).collect()
}

/// What a fault is to those who asked for a read or a write.
pub(super) fn refusal(fault: &Fault) -> StoreError {
    StoreError::Unavailable { reason: fault.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Guard;
    use bytes::Bytes;
    use etcd_client::proto::{PbRangeResponse, PbResponseOp, PbTxnResponse};

    fn pair(key: &[u8], value: &str, modified: i64) -> PbKeyValue {
        PbKeyValue { key: key.to_vec(), value: value.into(), create_revision: 1, mod_revision: modified, ..Default::default() }
    }

    fn message() -> PbWatchResponse {
        let header = PbResponseHeader { cluster_id: 7, revision: 9, raft_term: 2, ..Default::default() };
        PbWatchResponse { header: Some(header), ..Default::default() }
    }

    #[test]
    fn a_message_of_a_watch_is_what_it_says() {
        let header = Header { at: 9, cluster: 7, term: 2 };
        assert_eq!(inputs(PbWatchResponse { created: true, ..message() }), [Input::Created]);
        assert_eq!(inputs(message()), [Input::Progress(header)]);
        let refused = PbWatchResponse { created: true, canceled: true, watch_id: -1, ..message() };
        assert_eq!(inputs(refused), [Input::Cancelled { compacted: false }]);
        let compacted = PbWatchResponse { canceled: true, compact_revision: 19, ..message() };
        assert_eq!(inputs(compacted), [Input::Cancelled { compacted: true }]);
        let put = PbEvent { r#type: 0, kv: Some(pair(b"/a", "x", 8)), prev_kv: None };
        let delete = PbEvent { r#type: 1, kv: Some(pair(b"/a", "", 9)), prev_kv: None };
        let changes = vec![
            Change::Put(Entry { key: "/a".into(), value: Bytes::from_static(b"x"), created: 1, modified: 8 }),
            Change::Delete { key: "/a".into(), at: 9 },
        ];
        let told = inputs(PbWatchResponse { events: vec![put, delete], fragment: true, ..message() });
        assert_eq!(told, [Input::Changes { changes, fragment: true }]);
    }

    #[test]
    fn a_key_that_is_no_text_has_a_name_of_its_own() {
        assert_eq!(text(b"/a/\xff\xc3\xa4\xfe"), "/a/\\xff\u{e4}\\xfe");
    }

    #[test]
    fn a_lease_lasts_at_least_as_long_as_asked() {
        let asked = [0, 1, 1_000, 1_001, 60_000].map(|ms| seconds(Duration::from_millis(ms)));
        assert_eq!(asked, [1, 1, 1, 2, 60]);
        assert_eq!(seconds(Duration::MAX), i64::MAX);
    }

    fn answer(succeeded: bool, found: &[Option<(&str, i64)>]) -> TxnResponse {
        let read = |found: &Option<(&str, i64)>| {
            let kvs = found.iter().map(|(value, modified)| pair(b"/k", value, *modified)).collect();
            let range = PbRangeResponse { kvs, ..Default::default() };
            PbResponseOp { response: Some(PbTxnOpResponse::ResponseRange(range)) }
        };
        TxnResponse(PbTxnResponse { header: message().header, succeeded, responses: found.iter().map(read).collect() })
    }

    #[test]
    fn the_first_guard_that_does_not_hold_is_the_conflict() {
        let guard = |key: &str, modified| Guard { key: key.into(), modified };
        let txn = Txn { guards: vec![guard("/a", Some(3)), guard("/b", None), guard("/c", Some(4))], ops: vec![] };
        let conflict = |found: &[Option<(&str, i64)>]| match outcome(&txn, answer(false, found)) {
            Err(StoreError::Conflict { key }) => key,
            other => panic!("{other:?}"),
        };
        assert_eq!(conflict(&[Some(("", 3)), Some(("", 9)), None]), "/b");
        assert_eq!(conflict(&[Some(("", 3)), None, None]), "/c");
        assert_eq!(conflict(&[None, None, Some(("", 4))]), "/a");
        assert_eq!(outcome(&txn, answer(true, &[])).unwrap(), 9);
    }

    #[test]
    fn a_lost_answer_is_found_again_only_if_all_is_as_wanted() {
        let put = |value: &'static str| Op::Put { key: "/p".into(), value: Bytes::from_static(value.as_bytes()), ttl: None };
        let delete = || Op::Delete { key: "/d".into() };
        let txn = Txn { guards: vec![], ops: vec![put("x"), delete(), put("y")] };
        assert_eq!(as_wanted(&txn, answer(true, &[Some(("x", 8)), None, Some(("y", 8))])), Some(8));
        for other in [
            [Some(("x", 7)), None, Some(("y", 8))],
            [Some(("x", 8)), Some(("z", 5)), Some(("y", 8))],
            [Some(("other", 8)), None, Some(("y", 8))],
            [None, None, Some(("y", 8))],
        ] {
            assert_eq!(as_wanted(&txn, answer(true, &other)), None, "{other:?}");
        }
        assert_eq!(as_wanted(&Txn { guards: vec![], ops: vec![delete()] }, answer(true, &[None])), Some(9));
        let same = Txn { guards: vec![Guard { key: "/p".into(), modified: Some(8) }], ops: vec![put("x")] };
        assert_eq!(as_wanted(&same, answer(true, &[Some(("x", 8))])), None, "that is the value from before");
    }
}
