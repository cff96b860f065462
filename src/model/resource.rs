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
    /// The listener that it is.
    pub const fn listener(&self) -> Option<&Arc<Listener>> {
        if let Self::Listener(it) = self { Some(it) } else { None }
    }

    /// The L4 route that it is.
    pub const fn stream_route(&self) -> Option<&Arc<StreamRoute>> {
        if let Self::StreamRoute(it) = self { Some(it) } else { None }
    }

    /// The HTTP route that it is.
    pub const fn route(&self) -> Option<&Arc<HttpRoute>> {
        if let Self::Route(it) = self { Some(it) } else { None }
    }

    /// The upstream that it is.
    pub const fn upstream(&self) -> Option<&Arc<Upstream>> {
        if let Self::Upstream(it) = self { Some(it) } else { None }
    }

    /// The certificates that it is.
    pub const fn ssl(&self) -> Option<&Arc<Ssl>> {
        if let Self::Ssl(it) = self { Some(it) } else { None }
    }

    /// The values for the whole gateway that it is.
    pub const fn global(&self) -> Option<&Arc<Global>> {
        if let Self::Global(it) = self { Some(it) } else { None }
    }

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
