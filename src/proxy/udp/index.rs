//! Which flow has a key: a table of numbers only. The keys stay with the flows, so that an entry takes eight bytes instead of sixty.
//! Open addressing with linear probing; what is taken out closes the gap behind it, so that no search grows with the past.

use std::hash::{BuildHasher, RandomState};

use super::flow::Key;

/// No flow.
const NONE: u32 = u32::MAX;
/// The smallest table.
const LEAST: usize = 16;

/// The table. It takes memory with the first entry and gives it back with the last.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Its secret: nobody outside can make keys meet.
    state: RandomState,
    /// None, or a power of two of them, of which at most three quarters are taken.
    slots: Vec<Slot>,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Half of the key's hash.
    hash: u32,
    flow: u32,
}

impl Slot {
    const EMPTY: Self = Self { hash: 0, flow: NONE };
}

impl Index {
    /// How many entries there are.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The flow of a key; `has` says whether a flow has it.
    pub(super) fn find(&self, key: &Key, has: impl Fn(u32) -> bool) -> Option<u32> {
        let hash = self.hash(key);
        self.place(hash, has).and_then(|at| self.slots.get(at)).map(|slot| slot.flow)
    }

    /// Adds the flow of a key that has none.
    pub(super) fn put(&mut self, key: &Key, flow: u32) {
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            let grown = vec![Slot::EMPTY; (self.slots.len() * 2).max(LEAST)];
            for slot in std::mem::replace(&mut self.slots, grown) {
                self.lay(slot);
            }
        }
        self.lay(Slot { hash: self.hash(key), flow });
        self.len += 1;
    }

    /// Takes a flow out.
    pub(super) fn take(&mut self, key: &Key, flow: u32) {
        let Some(mut gap) = self.place(self.hash(key), |other| other == flow) else { return };
        self.len -= 1;
        if self.len == 0 {
            // a flood is over: what the table grew to is given back
            self.slots = Vec::new();
            return;
        }
        let mut at = gap;
        loop {
            at = self.after(at);
            let Some(slot) = self.slots.get(at).copied().filter(|slot| slot.flow != NONE) else { break };
            // an entry may move back as far as the place that its hash names
            if self.steps(self.home(slot.hash), at) >= self.steps(gap, at) {
                self.set(gap, slot);
                gap = at;
            }
        }
        self.set(gap, Slot::EMPTY);
    }

    fn place(&self, hash: u32, is: impl Fn(u32) -> bool) -> Option<usize> {
        let mut at = self.home(hash);
        loop {
            let slot = self.slots.get(at).filter(|slot| slot.flow != NONE)?;
            if slot.hash == hash && is(slot.flow) {
                return Some(at);
            }
            at = self.after(at);
        }
    }

    fn lay(&mut self, slot: Slot) {
        if slot.flow == NONE {
            return;
        }
        let mut at = self.home(slot.hash);
        while self.slots.get(at).is_some_and(|taken| taken.flow != NONE) {
            at = self.after(at);
        }
        self.set(at, slot);
    }

    fn set(&mut self, at: usize, slot: Slot) {
        if let Some(place) = self.slots.get_mut(at) {
            *place = slot;
        }
    }

    #[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "half of the hash is meant")]
    fn hash(&self, key: &Key) -> u32 {
        self.state.hash_one(key) as u32
    }

    fn home(&self, hash: u32) -> usize {
        usize::try_from(hash).unwrap_or(0) & self.slots.len().wrapping_sub(1)
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) & self.slots.len().wrapping_sub(1)
    }

    /// Places from one to another, going forward.
    fn steps(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & self.slots.len().wrapping_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, SocketAddr};

    fn key(n: u32) -> Key {
        Key { client: SocketAddr::from((n.to_be_bytes(), 53)), local: Ipv4Addr::LOCALHOST.into() }
    }

    #[test]
    fn every_entry_is_found_until_it_is_taken_out_in_any_order() {
        let mut index = Index::default();
        for round in 0..5 {
            for n in 0..1_000 {
                index.put(&key(n), n);
            }
            let mut left: Vec<u32> = (0..1_000).collect();
            while !left.is_empty() {
                let gone = left.swap_remove((left.len() * (round + 3)) % 7 % left.len());
                index.take(&key(gone), gone);
                if left.len().is_multiple_of(50) {
                    let found: Vec<u32> = (0..1_000).filter(|n| index.find(&key(*n), |flow| flow == *n).is_some()).collect();
                    left.sort_unstable();
                    assert_eq!((&found, index.len()), (&left, left.len()));
                }
            }
            assert_eq!(index.slots.capacity(), 0);
        }
    }
}
