//! The one key of this instance: taken, renewed, given back; never that of another process. Does not know what its value says.
//!
//! Of two processes with one name the first has it; the second is `<name>~2`, and takes the name as soon as it is free. A process that
//! was started again after a sudden death meets its own former status, and does the same.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::TTL;
use crate::store::{Entry, Guard, Op, Revision, Store, StoreError, Txn};

/// How many processes may want the same name; also how often a lost race is run again.
const MOST: u32 = 100;

/// A key under the folder of instances.
pub(super) struct Claim {
    store: Arc<dyn Store>,
    folder: String,
    wanted: String,
    /// Which process of that name this is, from 1.
    number: u32,
    run: String,
    /// The revision of what this process wrote last; `None`: nothing that it knows of.
    modified: Option<Revision>,
}

impl Claim {
    pub(super) fn new(store: Arc<dyn Store>, folder: String, wanted: String, run: String) -> Self {
        Self { store, folder, wanted, number: 1, run, modified: None }
    }

    /// Writes the value for another [`TTL`].
    pub(super) async fn put(&mut self, value: Bytes) -> Result<(), StoreError> {
        if self.number > 1 && self.come_home(&value).await? {
            return Ok(());
        }
        let mut lost = None;
        for _ in 0..MOST {
            let txn = Txn { guards: vec![self.guard()], ops: vec![put(self.key(), value.clone())] };
            match self.store.commit(txn).await {
                Ok(at) => {
                    self.modified = Some(at);
                    return Ok(());
                }
                Err(conflict @ StoreError::Conflict { .. }) => lost = Some(conflict),
                Err(other) => return Err(other),
            }
            self.look().await?;
        }
        Err(lost.unwrap_or_else(|| StoreError::Conflict { key: self.key() }))
    }

    /// Deletes the value, if it is this process's.
    pub(super) async fn withdraw(&mut self) -> Result<(), StoreError> {
        let Some(entry) = self.store.get(&self.key()).await?.filter(|entry| self.is_own(entry)) else { return Ok(()) };
        let guard = Guard { key: self.key(), modified: Some(entry.modified) };
        self.store.commit(Txn { guards: vec![guard], ops: vec![Op::Delete { key: self.key() }] }).await?;
        self.modified = None;
        Ok(())
    }

    /// Moves to the wanted name if nobody has it. True: the value is written already.
    async fn come_home(&mut self, value: &Bytes) -> Result<bool, StoreError> {
        let home = format!("{}{}", self.folder, self.wanted);
        if self.store.get(&home).await?.is_some() {
            return Ok(false);
        }
        if self.modified.is_none() {
            self.number = 1;
            return Ok(false);
        }
        let guards = vec![Guard { key: home.clone(), modified: None }, self.guard()];
        let ops = vec![put(home, value.clone()), Op::Delete { key: self.key() }];
        match self.store.commit(Txn { guards, ops }).await {
            Ok(at) => {
                tracing::info!(instance = self.wanted, "this instance has its name");
                (self.number, self.modified) = (1, Some(at));
                Ok(true)
            }
            Err(StoreError::Conflict { .. }) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// Finds out why the guard does not hold: the value is gone, is this process's own after all, or another's.
    async fn look(&mut self) -> Result<(), StoreError> {
        self.modified = match self.store.get(&self.key()).await? {
            Some(entry) if self.is_own(&entry) => Some(entry.modified),
            Some(_) => {
                let taken = self.name();
                self.number = self.number.saturating_add(1);
                tracing::warn!(taken, instance = self.name(), "another process has this instance's name, or had it until a moment ago");
                None
            }
            None => None,
        };
        Ok(())
    }

    fn guard(&self) -> Guard {
        Guard { key: self.key(), modified: self.modified }
    }

    fn key(&self) -> String {
        format!("{}{}", self.folder, self.name())
    }

    fn name(&self) -> String {
        if self.number == 1 { self.wanted.clone() } else { format!("{}~{}", self.wanted, self.number) }
    }

    fn is_own(&self, entry: &Entry) -> bool {
        run_of(&entry.value).is_some_and(|run| run == self.run)
    }
}

fn put(key: String, value: Bytes) -> Op {
    Op::Put { key, value, ttl: Some(TTL) }
}

/// Which process wrote a status.
fn run_of(value: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(value).ok()?;
    value.get("run")?.as_str().map(ToOwned::to_owned)
}
