//! Deadlines by the thousand: a ring of slots, each a list of entries that the flows themselves carry. An entry stands in the slot of
//! a time when it could be due; whether it is, its owner says. Time is milliseconds since any beginning.

/// Milliseconds that one slot covers.
pub(super) const SLOT: u64 = 64;
/// Slots of the ring. What is due later stands in the last one and is looked at again.
const SLOTS: u64 = 1024;
/// No entry.
const NONE: u32 = u32::MAX;

/// Where an entry stands: its neighbours in its slot's list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    slot: u32,
    before: u32,
    after: u32,
}

impl Link {
    /// Of an entry that stands nowhere.
    pub(super) const fn none() -> Self {
        Self { slot: NONE, before: NONE, after: NONE }
    }
}

/// The links of all entries, wherever they are kept.
pub(super) trait Links {
    /// The link of an entry.
    fn link(&mut self, entry: u32) -> Option<&mut Link>;
}

/// The ring. It takes memory with the first entry.
#[derive(Debug, Default)]
pub(super) struct Wheel {
    heads: Vec<u32>,
    /// The first slot that was not looked at yet, counted from the beginning of time.
    turn: u64,
    entries: usize,
    /// No slot before this one has an entry; it may have none itself.
    soonest: u64,
}

impl Wheel {
    /// Puts an entry where it is looked at once `due` has passed.
    pub(super) fn put(&mut self, links: &mut impl Links, entry: u32, due: u64, now: u64) {
        if self.entries == 0 {
            self.heads.resize(usize::try_from(SLOTS).unwrap_or(0), NONE);
            // nothing stands anywhere: the slots up to now need no look
            self.turn = now / SLOT;
            self.soonest = u64::MAX;
        }
        let turn = (due / SLOT + 1).clamp(self.turn, self.turn + SLOTS - 1);
        self.soonest = self.soonest.min(turn);
        let slot = u32::try_from(turn % SLOTS).unwrap_or(0);
        let Some(head) = self.head(slot) else { return };
        let after = std::mem::replace(head, entry);
        if let Some(link) = links.link(entry) {
            *link = Link { slot, before: NONE, after };
        }
        if let Some(link) = links.link(after) {
            link.before = entry;
        }
        self.entries += 1;
    }

    /// Takes an entry from where it stands.
    pub(super) fn take(&mut self, links: &mut impl Links, entry: u32) {
        let Some(link) = links.link(entry) else { return };
        let Link { slot, before, after } = std::mem::replace(link, Link::none());
        if slot == NONE {
            return;
        }
        match links.link(before) {
            Some(link) => link.after = after,
            None => drop(self.head(slot).map(|head| *head = after)),
        }
        if let Some(link) = links.link(after) {
            link.before = before;
        }
        self.entries -= 1;
    }

    /// An entry whose slot has passed, taken from where it stood.
    pub(super) fn next(&mut self, links: &mut impl Links, now: u64) -> Option<u32> {
        while self.entries > 0 && self.turn <= now / SLOT {
            let slot = u32::try_from(self.turn % SLOTS).unwrap_or(0);
            match self.head(slot).map(|head| *head) {
                Some(entry) if entry != NONE => {
                    self.take(links, entry);
                    return Some(entry);
                }
                _ => self.turn += 1,
            }
        }
        if self.soonest < self.turn {
            let taken = |turn: &u64| usize::try_from(turn % SLOTS).ok().and_then(|at| self.heads.get(at)).is_some_and(|head| *head != NONE);
            self.soonest = (self.turn..self.turn + SLOTS).find(taken).unwrap_or(u64::MAX);
        }
        None
    }

    /// When [`Wheel::next`] may have something again. It may turn out to have nothing.
    pub(super) fn due(&self) -> Option<u64> {
        (self.entries > 0).then(|| self.soonest.saturating_mul(SLOT))
    }

    fn head(&mut self, slot: u32) -> Option<&mut u32> {
        self.heads.get_mut(usize::try_from(slot).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Rows(Vec<Link>);

    impl Links for Rows {
        fn link(&mut self, entry: u32) -> Option<&mut Link> {
            self.0.get_mut(usize::try_from(entry).unwrap())
        }
    }

    #[test]
    fn entries_come_when_they_are_due_however_far_that_is() {
        let mut rows = Rows(vec![Link::none(); 5]);
        let mut wheel = Wheel::default();
        for (entry, due) in [(0, 100), (1, 100), (2, 5000), (3, 64_000), (4, 1_000_000)] {
            wheel.put(&mut rows, entry, due, 10);
        }
        wheel.take(&mut rows, 1);
        assert_eq!(wheel.due(), Some(128));
        assert_eq!(wheel.next(&mut rows, 127), None);
        assert_eq!(wheel.next(&mut rows, 128), Some(0));
        assert_eq!(wheel.next(&mut rows, 5000), None);
        assert_eq!(wheel.next(&mut rows, 5100), Some(2));
        let late: Vec<_> = std::iter::from_fn(|| wheel.next(&mut rows, 70_000)).collect();
        assert_eq!(late, [3, 4], "the last one is early: its owner puts it back");
        assert_eq!(wheel.due(), None);
    }
}
