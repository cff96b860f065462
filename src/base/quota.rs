//! The words of limits: which policy, counted where. The same in stored objects, metrics, log and answers.

use std::fmt;

/// How a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Policy {
    /// So many at once.
    Concurrency,
    /// So many in each window of a fixed grid.
    FixedWindow,
    /// So many in any window, which moves on in segments.
    SlidingWindow,
    /// As many as there are tokens, of which some come with each period.
    TokenBucket,
}

/// What a limit's numbers are meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Scope {
    /// For each instance alone.
    #[default]
    Instance,
    /// For all instances together.
    Cluster,
}

impl Policy {
    /// Every policy.
    pub const ALL: [Self; 4] = [Self::Concurrency, Self::FixedWindow, Self::SlidingWindow, Self::TokenBucket];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Concurrency => "concurrency",
            Self::FixedWindow => "fixed_window",
            Self::SlidingWindow => "sliding_window",
            Self::TokenBucket => "token_bucket",
        }
    }
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 2] = [Self::Instance, Self::Cluster];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Cluster => "cluster",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
