//! Any stored object: the one exhaustive list of what can be one.

use std::sync::Arc;

use super::{Global, HttpRoute, Listener, Ssl, StreamRoute, Upstream};
use crate::base::id::{Key, Kind};

/// A typed object of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// `listeners/<id>`
    Listener(Arc<Listener>),
    /// `stream_routes/<id>`
    StreamRoute(Arc<StreamRoute>),
    /// `routes/<id>`
    Route(Arc<HttpRoute>),
    /// `upstreams/<id>`
    Upstream(Arc<Upstream>),
    /// `ssls/<id>`
    Ssl(Arc<Ssl>),
    /// `settings/global`
    Global(Arc<Global>),
}

impl Resource {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Listener(_) => Kind::Listener,
            Self::StreamRoute(_) => Kind::StreamRoute,
            Self::Route(_) => Kind::Route,
            Self::Upstream(_) => Kind::Upstream,
            Self::Ssl(_) => Kind::Ssl,
            Self::Global(_) => Kind::Setting,
        }
    }
}

/// Where an object was written. `Conf` wins over `Store` where both claim one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// `conf/config.yaml`: read-only.
    Conf,
    /// The store.
    Store,
}

/// An accepted object with its place in the history of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub key: Key,
    /// Where it was written.
    pub origin: Origin,
    /// The store revision at which the key was created; 0 for conf.
    pub created: u64,
    /// The store revision of this value; 0 for conf.
    pub modified: u64,
    /// The object.
    pub resource: Resource,
}
