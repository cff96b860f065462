//! Keys, bytes and revisions. Knows nothing of JSON, kinds or routes; what the bytes mean is `control`'s business.

mod clock;
mod disk;
mod embedded;
mod etcd;
mod feed;
mod image;
mod last_good;
mod memory;
mod reasons;
mod sweep;
pub mod watch;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

pub use embedded::Embedded;
pub use etcd::{Etcd, EtcdOptions, EtcdTls};
pub use feed::BACKLOG;
pub use memory::Memory;
pub use reasons::Reasons;

/// A point in the store's history. Every committed transaction makes exactly one; 0 is the empty store.
pub type Revision = u64;

/// One key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The whole key: `/sluice/upstreams/1`.
    pub key: Arc<str>,
    /// The value.
    pub value: Bytes,
    /// The revision at which the key came into being (again, if it was deleted in between).
    pub created: Revision,
    /// The revision of this value.
    pub modified: Revision,
}

/// All entries under a prefix at one revision, in key order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The entries.
    pub entries: Vec<Entry>,
    /// The store's revision when they were read.
    pub at: Revision,
}

/// One key's change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The key has this value now.
    Put(Entry),
    /// The key is gone, by a delete or by the end of its lease.
    Delete {
        /// The key.
        key: Arc<str>,
        /// The revision of the delete.
        at: Revision,
    },
}

/// What a subscriber is told, in order. Whole revisions only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A complete listing: what is absent is deleted.
    Reset(Listing),
    /// All changes of the revisions up to `at` since the last event.
    Apply {
        /// The changes, oldest first.
        changes: Vec<Change>,
        /// The newest revision among them.
        at: Revision,
    },
}

/// One write of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Sets a key.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: Bytes,
        /// The key is deleted by itself after this long; a later put without it makes the key stay.
        ttl: Option<Duration>,
    },
    /// Deletes a key; nothing happens if it is not there.
    Delete {
        /// The key.
        key: String,
    },
}

/// What must hold for a transaction to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The key.
    pub key: String,
    /// The revision its value must have; `None`: the key must not be there.
    pub modified: Option<Revision>,
}

/// Writes that happen together or not at all. All get the same revision. A key appears in at most one op.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// Conditions; all must hold.
    pub guards: Vec<Guard>,
    /// Writes.
    pub ops: Vec<Op>,
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A guard of the transaction did not hold; nothing was written.
    #[error("the value of {key} was changed by somebody else")]
    Conflict {
        /// The key of the first guard that failed.
        key: String,
    },
    /// The store cannot be reached or cannot write now. The write did not happen; where an answer from far away was lost and it may
    /// have, or may still, the reason says so.
    #[error("the store is not available: {reason}")]
    Unavailable {
        /// What is wrong.
        reason: String,
    },
    /// Another process has the store's file.
    #[error("{path} is in use by another process; one gateway may have it at a time")]
    InUse {
        /// The file.
        path: String,
    },
    /// The store's file is not one, or is damaged.
    #[error("{path} cannot be used: {reason}")]
    Unusable {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// How a store is followed by those who have subscribed to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether it answers.
    pub up: bool,
    /// How many deletes are held back because a listing had lost most objects.
    pub held: usize,
    /// It has not answered since the start: this is what subscribers were given in its place.
    pub last_good: Option<LastGoodUse>,
}

impl Default for Standing {
    fn default() -> Self {
        Self { up: true, held: 0, last_good: None }
    }
}

impl Standing {
    /// Whether what serves may not be what the store holds.
    pub fn is_stale(&self) -> bool {
        !self.up || self.held > 0
    }
}

/// A last good set that serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastGoodUse {
    /// The revision that it is of.
    pub revision: Revision,
    /// When it was written.
    pub saved_at: SystemTime,
}

/// Key/value with revisions. Three providers pass one contract suite.
///
/// Every call is cancel safe: a dropped `commit` has either happened whole or not at all.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// One key, as of the newest revision.
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError>;

    /// All keys that start with the prefix, at one revision.
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError>;

    /// Makes a transaction durable, then answers with its revision. A transaction without effect (deleting what is not there)
    /// makes no revision and answers with the newest one.
    async fn commit(&self, txn: Txn) -> Result<Revision, StoreError>;

    /// Everything under the prefix, now (the first event is a `Reset`) and from now on.
    async fn subscribe(&self, prefix: &str) -> Result<Box<dyn Subscription>, StoreError>;

    /// How well it is followed now.
    fn standing(&self) -> Standing {
        Standing::default()
    }

    /// Lets the deletes pass that subscriptions hold back because a listing had lost most objects. Nothing happens if there are none;
    /// a store of this machine never holds any back.
    fn accept(&self) {}

    /// Writes down what is written a while after it was told: the last good set. For the end of the process; how long it may take is
    /// the caller's business. Cancel safe.
    async fn settle(&self) {}
}

/// The events under one prefix.
#[async_trait]
pub trait Subscription: Send {
    /// The next event; `None` when the store is gone for good. Cancel safe: no event is lost.
    async fn next(&mut self) -> Option<Event>;
}
