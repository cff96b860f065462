//! The body of `POST apply`: which objects are put, which are deleted, and whether each is well formed by itself. Never asks the store.

use std::collections::BTreeMap;

use hyper::StatusCode;
use serde_json::{Map, Value};

use super::super::super::envelope::Answer;
use super::super::super::gate::AdminParts;
use super::super::super::refs::Fate;
use super::super::super::validate::{failed, report, twin};
use super::super::{judge_item, not_reserved, write};
use crate::base::id::{Id, Key, Kind};
use crate::control::ingest::id_text;
use crate::store::Revision;

/// The most operations of one transaction, and the most conditions: what etcd takes unless it is told otherwise.
pub(super) const MOST: usize = 128;

/// One object of a set.
#[derive(Debug)]
pub(super) struct Item {
    /// Where it is, or goes.
    pub(super) key: Key,
    /// Its place in the list that it came in.
    pub(super) index: usize,
    /// What it becomes; `None`: it is deleted.
    pub(super) value: Option<Map<String, Value>>,
    /// The version that it must have now; 0: it must not be there.
    pub(super) version: Option<Revision>,
}

impl Item {
    /// What is wrong with it, for the list of errors.
    pub(super) fn report(&self, error: Answer) -> Value {
        report(self.key.kind.dir(), Some(self.key.id.as_str()), self.index, error)
    }
}

/// Objects that are written together.
#[derive(Debug, Default)]
pub(super) struct Set {
    /// All of them; those that are put first.
    pub(super) items: Vec<Item>,
    fates: BTreeMap<Key, Fate>,
    errors: Vec<Value>,
}

impl Set {
    /// Reads a body; `400` with every object that is wrong.
    pub(super) fn read(parts: &AdminParts, body: Value) -> Result<Self, Answer> {
        let wrong = || Answer::bad("invalid request body: expected {\"put\": {<kind>: [<object>…]…}, \"delete\": [\"<kind>/<id>\"…]}");
        let Value::Object(mut body) = body else { return Err(wrong()) };
        let puts = body.shift_remove("put").unwrap_or_else(|| Value::Object(Map::new()));
        let deletes = body.shift_remove("delete").unwrap_or_else(|| Value::Array(Vec::new()));
        let (Value::Object(puts), Value::Array(deletes), true) = (puts, deletes, body.is_empty()) else { return Err(wrong()) };
        let count = puts.values().map(|list| list.as_array().map_or(0, Vec::len)).sum::<usize>() + deletes.len();
        if count > MOST {
            return Err(Answer::bad(format!("a transaction has at most {MOST} operations, as in etcd; this one has {count}")));
        }
        let mut set = Self::default();
        for (dir, list) in puts {
            set.put_all(parts, &dir, list);
        }
        for (index, item) in deletes.into_iter().enumerate() {
            set.delete(parts, index, &item);
        }
        if set.errors.is_empty() { Ok(set) } else { Err(refused(&set.errors)) }
    }

    /// What becomes of a key.
    pub(super) fn fate(&self, key: &Key) -> Fate {
        self.fates.get(key).copied().unwrap_or(Fate::Untouched)
    }

    fn put_all(&mut self, parts: &AdminParts, dir: &str, list: Value) {
        let error = match (Kind::from_dir(dir), list) {
            (None, _) => format!("Unsupported resource type: {dir}"),
            (Some(kind), Value::Array(items)) => {
                for (index, item) in items.into_iter().enumerate() {
                    let id = item.get("id").and_then(id_text);
                    match put(parts, kind, index, id.as_deref(), item) {
                        Ok(item) => self.add(item),
                        Err(error) => self.errors.push(report(dir, id.as_deref(), index, error)),
                    }
                }
                return;
            }
            (Some(_), _) => format!("{dir} should be a list"),
        };
        self.errors.push(serde_json::json!({ "resource_type": dir, "error": error }));
    }

    fn delete(&mut self, parts: &AdminParts, index: usize, item: &Value) {
        let name = item.as_str().or_else(|| item.get("key").and_then(Value::as_str)).unwrap_or_default();
        match delete(parts, index, name, item) {
            Ok(item) => self.add(item),
            Err(error) => {
                let (dir, id) = name.split_once('/').unwrap_or((name, ""));
                self.errors.push(report(dir, Some(id), index, error));
            }
        }
    }

    fn add(&mut self, item: Item) {
        let fate = if item.value.is_some() { Fate::Put } else { Fate::Deleted };
        if self.fates.insert(item.key.clone(), fate).is_some() {
            self.errors.push(item.report(twin(item.key.kind.dir(), Some(item.key.id.as_str()))));
        }
        self.items.push(item);
    }
}

/// `400` with every object that is wrong.
pub(super) fn refused(errors: &[Value]) -> Answer {
    failed(StatusCode::BAD_REQUEST, "Configuration validation failed", errors)
}

fn put(parts: &AdminParts, kind: Kind, index: usize, id: Option<&str>, mut item: Value) -> Result<Item, Answer> {
    streams(parts, kind)?;
    let version = item.as_object_mut().and_then(|item| item.shift_remove("modifiedIndex")).as_ref().map(version).transpose()?;
    write::no_times(&item)?;
    judge_item(parts, kind, id, &item)?;
    let id = id.ok_or_else(|| Answer::bad(format!("missing {} id", kind.label())))?;
    not_reserved(parts, kind, id)?;
    let key = write::key_of(parts, kind, id, &item)?;
    let Value::Object(value) = item else { return Err(Answer::bad("invalid configuration: wrong type: expected object")) };
    Ok(Item { key, index, value: Some(value), version })
}

fn delete(parts: &AdminParts, index: usize, name: &str, item: &Value) -> Result<Item, Answer> {
    let known = item.as_object().is_none_or(|fields| fields.keys().all(|name| ["key", "modifiedIndex"].contains(&name.as_str())));
    let (dir, id) = name
        .split_once('/')
        .filter(|_| known)
        .ok_or_else(|| Answer::bad("expected \"<kind>/<id>\" or {\"key\": \"<kind>/<id>\", \"modifiedIndex\": <number>}"))?;
    let kind = Kind::from_dir(dir).ok_or_else(|| Answer::bad(format!("Unsupported resource type: {dir}")))?;
    streams(parts, kind)?;
    not_reserved(parts, kind, id)?;
    let id = Id::parse(id).map_err(|error| Answer::bad(error.to_string()))?;
    let version = item.get("modifiedIndex").map(version).transpose()?;
    Ok(Item { key: Key::new(kind, id), index, value: None, version })
}

fn version(value: &Value) -> Result<Revision, Answer> {
    value.as_u64().ok_or_else(|| Answer::bad("modifiedIndex should be a whole number; 0 for what must not be there"))
}

fn streams(parts: &AdminParts, kind: Kind) -> Result<(), Answer> {
    if kind == Kind::StreamRoute && !parts.stream_enabled {
        return Err(Answer::bad("stream mode is disabled, can not add stream routes"));
    }
    Ok(())
}
