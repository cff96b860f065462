//! What goes into the watcher and what comes out of it. Data only.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::store::{Change, Entry, Event, Revision};

/// What the header of an answer tells about the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The store's newest revision.
    pub at: Revision,
    /// Which cluster it is.
    pub cluster: u64,
    /// How often its members have elected; never falls while it is the same store.
    pub term: u64,
}

impl Header {
    /// Whether a store that has said `other` cannot say this: it is another one, or an older state of it.
    pub(super) fn is_before(self, other: Self) -> bool {
        self.at < other.at || self.cluster != other.cluster || self.term < other.term
    }
}

/// A part of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The entries, in key order.
    pub entries: Vec<Entry>,
    /// Where the next page begins, if there are more.
    pub next: Option<Bytes>,
    /// The header.
    pub header: Header,
}

/// What a store holds under a prefix, in a few words: equal ones make a difference unlikely.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    count: usize,
    /// The newest revision of any value; 0 without keys.
    newest: Revision,
    /// The newest values, by revision and key.
    recent: Vec<(Revision, Arc<str>)>,
}

impl Tally {
    /// How many of the newest values are looked at.
    pub const RECENT: usize = 8;

    /// So many keys, of which at least the [`Tally::RECENT`] newest are given, or all if there are fewer.
    pub fn new(count: usize, newest: impl IntoIterator<Item = (Revision, Arc<str>)>) -> Self {
        let mut recent: Vec<_> = newest.into_iter().collect();
        recent.sort_unstable_by(|a, b| b.cmp(a));
        let top = recent.first().map_or(0, |(revision, _)| *revision);
        if count > Self::RECENT {
            // values of one revision are in no order: of those of the last revision here, others may be left out
            let last = recent.get(Self::RECENT - 1).map_or(0, |(revision, _)| *revision);
            recent.retain(|(revision, _)| *revision > last);
        }
        Self { count, newest: top, recent }
    }
}

/// Why a call was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The revision that was asked for is compacted.
    Compacted,
    /// The revision that was asked for is still to come.
    Future,
    /// The store does not let us.
    Denied,
    /// Anything else.
    Unavailable,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Begin.
    Begin,
    /// An answer to [`Output::List`].
    Page(Page),
    /// The call that was made last was not answered.
    Failed(Failure),
    /// The watch stands.
    Created,
    /// Changes, oldest first. `fragment`: the next ones belong to these, perhaps to the same revision.
    Changes {
        /// The changes.
        changes: Vec<Change>,
        /// Whether the last revision may be incomplete.
        fragment: bool,
    },
    /// The watch is alive and has nothing to tell.
    Progress(Header),
    /// The store ended the watch, on a stream that may stay open for ever.
    Cancelled {
        /// Whether it was because the revision is compacted.
        compacted: bool,
    },
    /// The stream failed or ended.
    Ended,
    /// An answer to [`Output::Audit`].
    Audited {
        /// What the store holds.
        tally: Tally,
        /// The header.
        header: Header,
    },
    /// Time has passed: at least until [`Watcher::due`](super::Watcher::due).
    Tick,
    /// Somebody lets the deletes that are held back pass.
    Accept,
}

/// Why everything was listed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The history between our revision and the store's is gone.
    Compacted,
    /// The store is another one than before, or an older state of it.
    Rewound,
    /// The store ended the watch for a reason of its own.
    Cancelled,
    /// What the store holds is not what we hold.
    Audit,
}

impl Reason {
    /// The word for metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Compacted => "compacted",
            Self::Rewound => "rewound",
            Self::Cancelled => "cancelled",
            Self::Audit => "audit",
        }
    }
}

/// How the watcher stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Whether the store answers.
    pub up: bool,
    /// How many objects are kept that the store has no more, until their deletion is accepted. Above 0 the watcher is guarded.
    pub held: usize,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Ask for a page. Replaces the call that is under way, if any; so do the other calls.
    List {
        /// From this key on; `None`: from the start.
        from: Option<Bytes>,
        /// As of this revision; `None`: the newest one.
        at: Option<Revision>,
    },
    /// Open a watch on everything from this revision on.
    OpenWatch {
        /// The first revision.
        from: Revision,
    },
    /// Close the watch, and drop the call that is under way, if any.
    CloseWatch,
    /// Ask all members together what the store holds.
    Audit {
        /// As of this revision; `None`: the newest one.
        at: Option<Revision>,
    },
    /// Ask the watch whether it is alive.
    AskProgress,
    /// Tell the subscriber.
    Emit(Event),
    /// Everything is going to be listed again.
    Resync(Reason),
    /// The state has changed.
    Health(Health),
}

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// A quiet watch is asked for a sign of life this long after the last one.
    pub ask: Duration,
    /// A watch without a sign of life for this long is dead.
    pub silence: Duration,
    /// Between two audits.
    pub audit: Duration,
    /// How long what the store holds may differ before that counts: changes may be under way.
    pub settle: Duration,
    /// A watch that lives this long ends the run of failures.
    pub stable: Duration,
    /// The shortest wait after a failure.
    pub shortest: Duration,
    /// The longest wait after a failure.
    pub longest: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            ask: Duration::from_secs(5),
            silence: Duration::from_secs(15),
            audit: Duration::from_secs(60),
            settle: Duration::from_secs(2),
            stable: Duration::from_secs(5),
            shortest: Duration::from_millis(100),
            longest: Duration::from_secs(5),
        }
    }
}
