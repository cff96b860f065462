//! What was emitted: every key with the revision of its value, the position, and the deletes that are held back. Decides what a
//! listing or a change is to a subscriber; knows nothing of calls and time.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::words::{Header, Tally};
use crate::store::{Change, Entry, Event, Listing, Revision};

/// A listing may delete this many objects without being asked.
const FEW: usize = 10;

/// What a subscriber has.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    /// The keys of the store.
    keys: HashMap<Arc<str>, Revision>,
    /// Keys that the subscriber has and the store has not.
    held: BTreeSet<Arc<str>>,
    /// The header of the newest answer that the content came from, with the revision of the content.
    seen: Option<Header>,
    /// All deletes pass.
    is_unguarded: bool,
}

impl Memory {
    /// An empty one from which nothing is ever held back.
    pub(super) fn unguarded() -> Self {
        Self { is_unguarded: true, ..Self::default() }
    }

    /// The revision of the content: of the last listing, or of the last change if that is newer.
    pub(super) fn position(&self) -> Revision {
        self.seen.map_or(0, |seen| seen.at)
    }

    /// How many deletes are held back.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// What the store should hold.
    pub(super) fn tally(&self) -> Tally {
        let mut all: Vec<(Revision, &Arc<str>)> = self.keys.iter().map(|(key, revision)| (*revision, key)).collect();
        if all.len() > Tally::RECENT {
            all.select_nth_unstable_by(Tally::RECENT, |a, b| b.cmp(a));
            all.truncate(Tally::RECENT);
        }
        Tally::new(self.keys.len(), all.into_iter().map(|(revision, key)| (revision, key.clone())))
    }

    /// Whether an answer hints that the store is not the one that the content came from, or an older state of it.
    pub(super) fn doubts(&self, header: Header) -> bool {
        self.seen.is_some_and(|seen| header.is_before(seen))
    }

    /// The subscriber was given this by somebody else: the first listing is held against it.
    pub(super) fn remember(&mut self, entries: &[Entry]) {
        self.keys = entries.iter().map(|entry| (entry.key.clone(), entry.modified)).collect();
    }

    /// Takes a listing: as it is, or without its deletes if they are too many.
    pub(super) fn adopt(&mut self, entries: Vec<Entry>, header: Header) -> Event {
        let keys: HashMap<Arc<str>, Revision> = entries.iter().map(|entry| (entry.key.clone(), entry.modified)).collect();
        let before = self.keys.len() + self.held.len();
        let gone = |key: &&Arc<str>| !keys.contains_key(*key);
        let removed: BTreeSet<Arc<str>> = self.keys.keys().chain(&self.held).filter(gone).cloned().collect();
        self.keys = keys;
        self.seen = Some(header);
        if !self.is_unguarded && removed.len() > FEW && removed.len() > before / 2 {
            self.held = removed;
            let mut entries = entries;
            entries.sort_by_key(|entry| entry.modified);
            return Event::Apply { changes: entries.into_iter().map(Change::Put).collect(), at: header.at };
        }
        self.held.clear();
        Event::Reset(Listing { entries, at: header.at })
    }

    /// Takes changes, oldest first: an event for every revision that is new.
    pub(super) fn apply(&mut self, changes: Vec<Change>) -> Vec<Event> {
        let mut events = Vec::new();
        let mut rest = changes.into_iter().peekable();
        while let Some(first) = rest.next() {
            let at = revision(&first);
            let mut one = vec![first];
            while let Some(next) = rest.next_if(|next| revision(next) == at) {
                one.push(next);
            }
            if at > self.position() {
                for change in &one {
                    self.note(change);
                }
                if let Some(seen) = &mut self.seen {
                    seen.at = at;
                }
                events.push(Event::Apply { changes: one, at });
            }
        }
        events
    }

    /// A newer answer of the same store.
    pub(super) fn renew(&mut self, header: Header) {
        if let Some(seen) = &mut self.seen {
            seen.term = seen.term.max(header.term);
        }
    }

    /// Lets the deletes pass.
    pub(super) fn accept(&mut self) -> Option<Event> {
        let at = self.position();
        let changes: Vec<Change> = std::mem::take(&mut self.held).into_iter().map(|key| Change::Delete { key, at }).collect();
        (!changes.is_empty()).then_some(Event::Apply { changes, at })
    }

    fn note(&mut self, change: &Change) {
        match change {
            Change::Put(entry) => {
                self.keys.insert(entry.key.clone(), entry.modified);
                self.held.remove(&entry.key);
            }
            Change::Delete { key, .. } => {
                self.keys.remove(key);
                self.held.remove(key);
            }
        }
    }
}

fn revision(change: &Change) -> Revision {
    match change {
        Change::Put(entry) => entry.modified,
        Change::Delete { at, .. } => *at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: usize, modified: Revision) -> Entry {
        Entry { key: format!("/{key:02}").into(), value: bytes::Bytes::new(), created: 1, modified }
    }

    fn header(at: Revision) -> Header {
        Header { at, cluster: 1, term: 2 }
    }

    fn with(n: usize) -> Memory {
        let mut memory = Memory::default();
        let all = (0..n).map(|key| entry(key, 1)).collect();
        assert!(matches!(memory.adopt(all, header(9)), Event::Reset(_)), "a first listing is never held back");
        memory
    }

    #[test]
    fn a_listing_without_most_objects_deletes_none_of_them() {
        let mut memory = with(30);
        let Event::Apply { changes, at } = memory.adopt(vec![entry(1, 12), entry(0, 14), entry(90, 11)], header(15)) else { panic!() };
        assert_eq!((at, memory.held(), memory.position()), (15, 28, 15));
        assert_eq!(changes.iter().map(revision).collect::<Vec<_>>(), [11, 12, 14]);
        assert_eq!(memory.tally(), Tally::new(3, [(11, "/90".into()), (14, "/00".into()), (12, "/01".into())]));
        memory.apply(vec![Change::Put(entry(7, 16)), Change::Delete { key: "/00".into(), at: 17 }]);
        assert_eq!((memory.held(), memory.tally()), (27, Tally::new(3, [(12, "/01".into()), (16, "/07".into()), (11, "/90".into())])));
        let Some(Event::Apply { changes, at: 17 }) = memory.accept() else { panic!() };
        assert_eq!(changes.len(), 27);
        assert_eq!((memory.held(), memory.accept()), (0, None));
    }

    #[test]
    fn a_tally_looks_at_the_newest_values_and_at_whole_revisions() {
        let memory = |revisions: &[Revision]| {
            let mut memory = Memory::default();
            memory.adopt(revisions.iter().enumerate().map(|(key, revision)| entry(key, *revision)).collect(), header(99));
            memory.tally()
        };
        let many = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
        assert_eq!(memory(&many), Tally::new(10, (3..10).map(|key| (key + 1, format!("/{key:02}").into()))));
        assert_ne!(memory(&many), memory(&[1, 2, 3, 5, 4, 6, 7, 8, 9, 10]));
        // a store may give any eight of these
        let same = |keys: std::ops::Range<u64>| Tally::new(10, keys.map(|key| (7, format!("/{key:02}").into())));
        assert_eq!(memory(&[7; 10]), same(0..8));
        assert_eq!(memory(&[7; 10]), same(2..10));
        assert_ne!(memory(&[7; 9]), same(0..8));
        assert_ne!(memory(&[8; 10]), same(0..8));
    }

    #[test]
    fn few_deletes_and_those_of_less_than_half_pass() {
        assert!(matches!(with(10).adopt(vec![], header(10)), Event::Reset(_)));
        assert!(matches!(with(22).adopt((0..11).map(|key| entry(key, 1)).collect(), header(10)), Event::Reset(_)));
        assert!(matches!(with(21).adopt((0..10).map(|key| entry(key, 1)).collect(), header(10)), Event::Apply { .. }));
    }

    #[test]
    fn without_a_guard_every_delete_passes() {
        let mut memory = Memory::unguarded();
        memory.adopt((0..30).map(|key| entry(key, 1)).collect(), header(9));
        assert!(matches!(memory.adopt(vec![], header(10)), Event::Reset(_)));
        assert_eq!(memory.held(), 0);
    }

    #[test]
    fn a_first_listing_is_held_against_what_the_subscriber_has_from_elsewhere() {
        let all: Vec<Entry> = (0..30).map(|key| entry(key, 1)).collect();
        let remembering = || {
            let mut memory = Memory::default();
            memory.remember(&all);
            assert!(!memory.doubts(header(1)), "any store may be the first");
            memory
        };
        assert!(matches!(remembering().adopt(all[..20].to_vec(), header(5)), Event::Reset(_)));
        let mut memory = remembering();
        assert!(matches!(memory.adopt(all[..2].to_vec(), header(5)), Event::Apply { .. }));
        assert_eq!((memory.held(), memory.position()), (28, 5));
    }

    #[test]
    fn what_comes_back_is_held_no_more() {
        let mut memory = with(30);
        memory.adopt(vec![], header(10));
        assert!(matches!(memory.adopt((0..30).map(|key| entry(key, 1)).collect(), header(11)), Event::Reset(_)));
        assert_eq!(memory.held(), 0);
    }

    #[test]
    fn revisions_are_told_one_by_one_and_once() {
        let mut memory = with(1);
        let changes = vec![Change::Put(entry(0, 9)), Change::Put(entry(0, 10)), Change::Put(entry(1, 10)), Change::Put(entry(0, 12))];
        let events = memory.apply(changes);
        let told: Vec<_> =
            events.iter().map(|e| if let Event::Apply { changes, at } = e { (changes.len(), *at) } else { (0, 0) }).collect();
        assert_eq!(told, [(2, 10), (1, 12)]);
    }

    #[test]
    fn another_cluster_a_lower_revision_and_a_lower_term_are_doubted() {
        let memory = with(1);
        assert!(!memory.doubts(header(9)) && !memory.doubts(Header { term: 3, ..header(10) }));
        for bad in [header(8), Header { cluster: 2, ..header(10) }, Header { term: 1, ..header(10) }] {
            assert!(memory.doubts(bad), "{bad:?}");
        }
    }
}
