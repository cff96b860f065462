//! What stored objects are called: `Kind`, `Id`, `Key`. Parsing is total; an illegal name cannot be held.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The kinds of object that the store holds. The one list: everything that differs by kind matches on it exhaustively.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A port that the gateway opens.
    Listener,
    /// An L4 route.
    StreamRoute,
    /// An HTTP route.
    Route,
    /// A set of nodes to connect to.
    Upstream,
    /// Certificates and their keys.
    Ssl,
    /// Values for the whole gateway; the only id is `global`.
    Setting,
}

impl Kind {
    /// Every kind, in the order in which they are listed to people.
    pub const ALL: [Self; 6] = [Self::Listener, Self::StreamRoute, Self::Route, Self::Upstream, Self::Ssl, Self::Setting];

    /// The name in store keys and Admin paths: `<prefix>/<dir>/<id>`.
    pub const fn dir(self) -> &'static str {
        match self {
            Self::Listener => "listeners",
            Self::StreamRoute => "stream_routes",
            Self::Route => "routes",
            Self::Upstream => "upstreams",
            Self::Ssl => "ssls",
            Self::Setting => "settings",
        }
    }

    /// The name in messages to people (`missing stream route id`).
    pub const fn label(self) -> &'static str {
        match self {
            Self::Listener => "listener",
            Self::StreamRoute => "stream route",
            Self::Route => "route",
            Self::Upstream => "upstream",
            Self::Ssl => "ssl",
            Self::Setting => "setting",
        }
    }

    /// The name of the schema (`schemas/<singular>.json`) and of the schema endpoint.
    pub const fn singular(self) -> &'static str {
        match self {
            Self::Listener => "listener",
            Self::StreamRoute => "stream_route",
            Self::Route => "route",
            Self::Upstream => "upstream",
            Self::Ssl => "ssl",
            Self::Setting => "setting",
        }
    }

    /// The kind whose [`Kind::dir`] this is.
    pub fn from_dir(dir: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.dir() == dir)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.dir())
    }
}

/// An object's id: 1–64 characters of `A-Za-z0-9._-` (an integer id is its decimal text).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(Arc<str>);

/// Text that is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id: 1 to 64 characters of A-Z a-z 0-9 . _ -")]
pub struct BadId;

impl Id {
    /// The longest id, in characters.
    pub const MAX: usize = 64;

    /// Reads an id.
    pub fn parse(text: &str) -> Result<Self, BadId> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if text.is_empty() || text.len() > Self::MAX || !text.bytes().all(legal) {
            return Err(BadId);
        }
        Ok(Self(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Number(u64),
            Text(String),
        }
        let text = match Raw::deserialize(d)? {
            Raw::Number(n) => n.to_string(),
            Raw::Text(t) => t,
        };
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// An object's name in the whole store, without the configured prefix.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The kind.
    pub kind: Kind,
    /// The id within the kind.
    pub id: Id,
}

impl Key {
    /// Joins a kind and an id.
    pub fn new(kind: Kind, id: Id) -> Self {
        Self { kind, id }
    }

    /// The store key under a prefix: `/sluice/upstreams/1`.
    pub fn path(&self, prefix: &str) -> String {
        format!("{prefix}/{}/{}", self.kind.dir(), self.id)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.dir(), self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_one_to_sixty_four_plain_characters() {
        assert_eq!(Id::parse("a-b-c-ABC_0.123").unwrap().as_str(), "a-b-c-ABC_0.123");
        for bad in ["", "a/b", "*invalid", "ü", "a b", &"x".repeat(65)] {
            assert_eq!(Id::parse(bad), Err(BadId), "{bad}");
        }
    }

    #[test]
    fn an_integer_id_is_its_decimal_text() {
        let id: Id = serde_json::from_str("17").unwrap();
        assert_eq!(id.as_str(), "17");
    }

    #[test]
    fn every_kind_is_found_by_its_directory() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_dir(kind.dir()), Some(kind));
        }
        assert_eq!(Kind::from_dir("routs"), None);
    }
}
