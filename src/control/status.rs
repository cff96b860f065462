//! What became of every object, for those who ask: Admin, the control API, status in the store. Written by the reconcile loop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rpds::RedBlackTreeMapSync;

use crate::base::id::Kind;
use crate::base::violation::{Stage, Violation};
use crate::model::Origin;

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectState {
    /// It serves.
    Active,
    /// It refers to something that is missing or disabled, and goes live by itself when that arrives.
    Pending,
    /// Another listener has at least one of its ports; it takes over by itself when that one goes.
    Conflict,
    /// Its newest value was refused; an earlier one may still serve.
    Rejected,
    /// It is switched off.
    Disabled,
}

impl ObjectState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Active, Self::Pending, Self::Conflict, Self::Rejected, Self::Disabled];

    /// The word in answers and in `sluice_config_objects{state}`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Conflict => "conflict",
            Self::Rejected => "rejected",
            Self::Disabled => "disabled",
        }
    }
}

/// One object and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectStatus {
    /// Its key without the prefix: `upstreams/1`. As written, even if that is no legal key.
    pub key: String,
    /// Its kind; `None` if the key names none.
    pub kind: Option<Kind>,
    /// Where it was written.
    pub origin: Origin,
    /// What became of it.
    pub state: ObjectState,
    /// Why it is not active, for people; `None` if it is.
    pub reason: Option<String>,
    /// What is wrong with the newest value; empty unless it was refused.
    pub violations: Vec<Violation>,
    /// How far the newest value came; `None` unless it was refused.
    pub stage: Option<Stage>,
    /// The store revision of the newest value, refused or not; 0 for conf.
    pub revision: u64,
    /// The store revision of the value in use; `None` if none is, or it is switched off.
    pub serving_revision: Option<u64>,
    /// When the value in use was published; `None` if none is.
    pub applied_at: Option<SystemTime>,
    /// What its writer should know of the value in use.
    pub warnings: Arc<[String]>,
    /// The last good value as written, without private keys; null if there is none.
    pub value: Arc<serde_json::Value>,
}

/// Everything that is told, at one moment. A copy shares everything with its original.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    pub(super) objects: RedBlackTreeMapSync<Arc<str>, Arc<ObjectStatus>>,
    pub(super) revision: u64,
    /// How many objects there are of a kind in a state; those without any may be left out.
    pub(super) tally: BTreeMap<(Kind, ObjectState), i64>,
}

/// What became of the objects, as of the newest publication. Cheap to clone; all clones tell the same.
#[derive(Clone, Debug, Default)]
pub struct StatusHandle(Arc<ArcSwap<Told>>);

impl StatusHandle {
    /// A handle that knows of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every object, by key.
    pub fn objects(&self) -> Vec<ObjectStatus> {
        self.0.load().objects.values().map(|status| (**status).clone()).collect()
    }

    /// The objects whose newest value was refused, by key.
    pub fn rejections(&self) -> Vec<ObjectStatus> {
        let rejected = |status: &&Arc<ObjectStatus>| status.state == ObjectState::Rejected;
        self.0.load().objects.values().filter(rejected).map(|status| (**status).clone()).collect()
    }

    /// One object by its key without the prefix.
    pub fn get(&self, key: &str) -> Option<Arc<ObjectStatus>> {
        self.0.load().objects.get(key).cloned()
    }

    /// The store revision that all this is of; 0 before the first listing.
    pub fn revision(&self) -> u64 {
        self.0.load().revision
    }

    /// Everything at one moment.
    pub(super) fn told(&self) -> Arc<Told> {
        self.0.load_full()
    }

    pub(super) fn publish(&self, told: Told) {
        self.0.store(Arc::new(told));
    }
}
