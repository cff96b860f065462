//! How many sessions, requests or datagrams may pass: on a route, or for all in `settings/global`.

use std::sync::Arc;
use std::time::Duration;

use crate::base::quota::{Policy, Scope};

/// One limit. Defaults are filled in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    /// How it counts.
    pub pace: Pace,
    /// Whether there is one count, or one for each key.
    pub by: By,
    /// At once, in a window, or the size of the bucket; at least 1.
    pub permits: u32,
    /// How many may wait; 0: none.
    pub queue: u32,
    /// What the numbers are meant for.
    pub scope: Scope,
}

/// A policy with the numbers that only it has. Durations are longer than zero, counts at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pace {
    /// So many at once.
    Concurrency,
    /// So many in each window.
    FixedWindow {
        /// Its length.
        window: Duration,
    },
    /// So many in any window that begins with a segment.
    SlidingWindow {
        /// Its length.
        window: Duration,
        /// How many segments it has.
        segments: u16,
    },
    /// As many as there are tokens.
    TokenBucket {
        /// The time from one supply of tokens to the next.
        period: Duration,
        /// How many come with each.
        tokens: u32,
    },
}

/// What is counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum By {
    /// Everything.
    Total,
    /// What has the same value of something.
    Key(KeySource),
}

/// Where the key is found. The client's address where the request has none, and everywhere below HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeySource {
    /// The client's address.
    Client,
    /// A request header, by its name in lower case.
    Header(Arc<str>),
    /// A cookie, by its name.
    Cookie(Arc<str>),
}

/// What a route says of limits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub enum RouteLimit {
    /// Nothing: the global limit counts, if there is one.
    #[default]
    Global,
    /// `policy: none`: no limit at all.
    Exempt,
    /// Its own, in place of the global one.
    Own(Arc<Limit>),
}

impl Limit {
    /// The policy's word.
    pub const fn policy(&self) -> Policy {
        match self.pace {
            Pace::Concurrency => Policy::Concurrency,
            Pace::FixedWindow { .. } => Policy::FixedWindow,
            Pace::SlidingWindow { .. } => Policy::SlidingWindow,
            Pace::TokenBucket { .. } => Policy::TokenBucket,
        }
    }
}
