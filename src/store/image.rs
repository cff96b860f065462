//! All keys in memory, in order, with their revision and leases. Pure: time comes in, changes go out; no disk, no tasks.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::clock::Wall;
use super::{Change, Entry, Guard, Listing, Op, Revision, StoreError, Txn};

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// The value.
    pub(super) value: Bytes,
    /// The revision at which the key came into being.
    pub(super) created: Revision,
    /// The revision of the value.
    pub(super) modified: Revision,
    /// When the key is deleted by itself.
    pub(super) expires: Option<Wall>,
}

/// A transaction that has passed its guards: what every key of it will hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The revision that it makes.
    pub(super) at: Revision,
    /// Keys with their new content, `None` for a delete. Every key once.
    pub(super) writes: Vec<(Arc<str>, Option<Slot>)>,
}

/// The keys at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Image {
    slots: BTreeMap<Arc<str>, Slot>,
    leases: BTreeSet<(Wall, Arc<str>)>,
    revision: Revision,
}

impl Image {
    /// An image of what was stored.
    pub(super) fn restore(revision: Revision, stored: impl IntoIterator<Item = (Arc<str>, Slot)>) -> Self {
        let mut image = Self { revision, ..Self::default() };
        for (key, slot) in stored {
            image.set(key, Some(slot));
        }
        image
    }

    /// The newest revision.
    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    /// When the next key is due to be deleted by itself.
    pub(super) fn next_due(&self) -> Option<Wall> {
        self.leases.first().map(|(at, _)| *at)
    }

    /// Every key with its content, in order.
    pub(super) fn slots(&self) -> impl Iterator<Item = (&Arc<str>, &Slot)> {
        self.slots.iter()
    }

    /// What a key holds.
    pub(super) fn slot(&self, key: &str) -> Option<&Slot> {
        self.slots.get(key)
    }

    /// One key.
    pub(super) fn get(&self, key: &str) -> Option<Entry> {
        self.slots.get_key_value(key).map(|(key, slot)| entry(key, slot))
    }

    /// All keys that start with the prefix.
    pub(super) fn list(&self, prefix: &str) -> Listing {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let inside = self.slots.range::<str, _>(from).take_while(|(key, _)| key.starts_with(prefix));
        Listing { entries: inside.map(|(key, slot)| entry(key, slot)).collect(), at: self.revision }
    }

    /// What the transaction would do now; `None` if nothing. Of several ops on one key the last one counts.
    pub(super) fn plan(&self, txn: Txn, now: Wall) -> Result<Option<Step>, StoreError> {
        if let Some(failed) = txn.guards.into_iter().find(|guard| !self.holds(guard)) {
            return Err(StoreError::Conflict { key: failed.key });
        }
        let last: HashMap<String, usize> = txn.ops.iter().enumerate().map(|(n, op)| (key_of(op).to_owned(), n)).collect();
        let at = self.revision + 1;
        let counting = txn.ops.into_iter().enumerate().filter(|(n, op)| last.get(key_of(op)) == Some(n));
        let writes = counting.filter_map(|(_, op)| self.write(op, at, now)).collect();
        Ok(step(at, writes))
    }

    /// The deletes of all keys whose time has come; `None` if there are none.
    pub(super) fn plan_expiry(&self, now: Wall) -> Option<Step> {
        let due = self.leases.iter().take_while(|(at, _)| *at <= now);
        step(self.revision + 1, due.map(|(_, key)| (key.clone(), None)).collect())
    }

    /// Takes a planned step, which must be the next one, and tells what it changed.
    pub(super) fn apply(&mut self, step: Step) -> Vec<Change> {
        debug_assert_eq!(step.at, self.revision + 1, "steps are taken in order");
        self.revision = step.at;
        let changed = |(key, slot): (Arc<str>, Option<Slot>)| {
            let change = match &slot {
                Some(slot) => Change::Put(entry(&key, slot)),
                None => Change::Delete { key: key.clone(), at: step.at },
            };
            self.set(key, slot);
            change
        };
        step.writes.into_iter().map(changed).collect()
    }

    fn holds(&self, guard: &Guard) -> bool {
        self.slots.get(guard.key.as_str()).map(|slot| slot.modified) == guard.modified
    }

    fn write(&self, op: Op, at: Revision, now: Wall) -> Option<(Arc<str>, Option<Slot>)> {
        match op {
            Op::Delete { key } => self.slots.get_key_value(key.as_str()).map(|(key, _)| (key.clone(), None)),
            Op::Put { key, value, ttl } => {
                let (key, created) = match self.slots.get_key_value(key.as_str()) {
                    Some((key, slot)) => (key.clone(), slot.created),
                    None => (Arc::from(key), at),
                };
                let expires = ttl.map(|ttl| now.after(ttl));
                Some((key, Some(Slot { value, created, modified: at, expires })))
            }
        }
    }

    fn set(&mut self, key: Arc<str>, slot: Option<Slot>) {
        let lease = slot.as_ref().and_then(|slot| slot.expires);
        let before = match slot {
            Some(slot) => self.slots.insert(key.clone(), slot),
            None => self.slots.remove(&key),
        };
        if let Some(ended) = before.and_then(|slot| slot.expires) {
            self.leases.remove(&(ended, key.clone()));
        }
        if let Some(at) = lease {
            self.leases.insert((at, key));
        }
    }
}

fn step(at: Revision, writes: Vec<(Arc<str>, Option<Slot>)>) -> Option<Step> {
    if writes.is_empty() { None } else { Some(Step { at, writes }) }
}

fn key_of(op: &Op) -> &str {
    match op {
        Op::Put { key, .. } | Op::Delete { key } => key,
    }
}

fn entry(key: &Arc<str>, slot: &Slot) -> Entry {
    Entry { key: key.clone(), value: slot.value.clone(), created: slot.created, modified: slot.modified }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn put(key: &str, ttl: Option<u64>) -> Op {
        Op::Put { key: key.into(), value: Bytes::from_static(b"v"), ttl: ttl.map(Duration::from_nanos) }
    }

    fn take(image: &mut Image, ops: Vec<Op>, now: u64) -> Vec<Change> {
        let step = image.plan(Txn { guards: vec![], ops }, Wall(now)).unwrap();
        step.map(|step| image.apply(step)).unwrap_or_default()
    }

    #[test]
    fn a_plan_changes_nothing_until_it_is_applied() {
        let image = Image::default();
        let step = image.plan(Txn { guards: vec![], ops: vec![put("a", None)] }, Wall(0)).unwrap().unwrap();
        assert_eq!((image.revision(), image.get("a"), step.at), (0, None, 1));
    }

    #[test]
    fn of_two_ops_on_a_key_the_last_counts() {
        let mut image = Image::default();
        let changes = take(&mut image, vec![put("a", None), put("b", None), Op::Delete { key: "b".into() }, put("a", Some(5))], 0);
        assert_eq!(changes.len(), 1);
        assert_eq!((image.list("").entries.len(), image.next_due()), (1, Some(Wall(5))));
    }

    #[test]
    fn a_lease_ends_with_its_key_and_moves_with_its_newest_put() {
        let mut image = Image::default();
        take(&mut image, vec![put("a", Some(5)), put("b", Some(5)), put("c", Some(5))], 0);
        take(&mut image, vec![put("a", None), put("b", Some(7)), Op::Delete { key: "c".into() }], 1);
        assert_eq!(image.next_due(), Some(Wall(8)));
        assert_eq!(image.plan_expiry(Wall(7)), None);
        let step = image.plan_expiry(Wall(8)).unwrap();
        assert_eq!(image.apply(step), [Change::Delete { key: "b".into(), at: 3 }]);
        assert_eq!((image.next_due(), image.slots().count()), (None, 1));
    }

    #[test]
    fn a_restored_image_equals_the_one_that_was_stored() {
        let mut image = Image::default();
        take(&mut image, vec![put("a", Some(5)), put("b", None)], 0);
        let stored: Vec<_> = image.slots().map(|(key, slot)| (key.clone(), slot.clone())).collect();
        assert_eq!(Image::restore(image.revision(), stored), image);
    }
}
