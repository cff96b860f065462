//! A count for each key: sharded, bounded, swept. Made at first use, because most limits of a large configuration are never asked.
//! Where there is no room for a new key, all new ones share one count, so that nobody is ever unlimited.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::bucket::Bucket;
use super::key::{AsItIs, Key, Keys, LimitKey};
use super::policy::Rule;
use super::queue::{Wakes, wake};

/// Locks of one table. A power of two.
const SHARDS: usize = 32;
/// The most bytes that the keys of one table may take.
const BYTES: usize = 256 * 1024 * 1024;
/// The most keys of one table.
pub(super) const KEYS: usize = 1 << 20;
/// A full shard is not searched for idle keys more often than this, in nanoseconds.
const SEARCH: u64 = 1_000_000_000;

type Map = HashMap<Key, Bucket, BuildHasherDefault<AsItIs>>;

/// Where a count is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The only one.
    Total,
    /// The one of a key.
    Key(Key),
    /// The one of all keys that found no room.
    Rest,
}

#[derive(Debug)]
pub(super) struct Table {
    keys: Keys,
    shards: Box<[Mutex<Shard>]>,
    rest: Mutex<Single>,
    /// Keys of one shard.
    most: usize,
}

/// One count and the numbers that it counts by.
#[derive(Debug)]
pub(super) struct Single {
    pub(super) rule: Rule,
    pub(super) bucket: Bucket,
}

#[derive(Debug)]
struct Shard {
    rule: Rule,
    map: Map,
    searched: u64,
}

/// Nothing in a bucket is left half done by a panic: its fields change one after the other, each complete.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Single {
    pub(super) fn new(rule: Rule, now: u64) -> Self {
        Self { rule, bucket: Bucket::new(&rule, now) }
    }

    pub(super) fn amend(&mut self, rule: Rule, now: u64, wakes: &mut Wakes) {
        self.rule = rule;
        self.bucket.amend(&rule, now, wakes);
    }
}

impl Table {
    pub(super) fn new(rule: Rule, now: u64) -> Self {
        Self::of(rule, now, KEYS.min(BYTES / bytes(&rule)))
    }

    fn of(rule: Rule, now: u64, keys: usize) -> Self {
        let shard = |_| Mutex::new(Shard { rule, map: Map::default(), searched: now });
        Self {
            keys: Keys::default(),
            shards: (0..SHARDS).map(shard).collect(),
            rest: Mutex::new(Single::new(rule, now)),
            most: keys.div_ceil(SHARDS).max(1),
        }
    }

    /// Does something with the count of a key, which is made if there is none.
    pub(super) fn open<R>(&self, key: &LimitKey<'_>, now: u64, act: impl FnOnce(&mut Bucket, &Rule) -> R) -> (R, Place) {
        let key = self.keys.key(key);
        let mut shard = lock(self.shard(key));
        let rule = shard.rule;
        if let Some(bucket) = shard.map.get_mut(&key) {
            return (act(bucket, &rule), Place::Key(key));
        }
        if shard.map.len() >= self.most && !shard.make_room(self.most, now) {
            drop(shard);
            let mut rest = lock(&self.rest);
            let rule = rest.rule;
            return (act(&mut rest.bucket, &rule), Place::Rest);
        }
        let bucket = shard.map.entry(key).or_insert_with(|| Bucket::new(&rule, now));
        (act(bucket, &rule), Place::Key(key))
    }

    /// Does something with the count of a place, if it is still there.
    pub(super) fn at<R>(&self, place: Place, act: impl FnOnce(&mut Bucket, &Rule) -> R) -> Option<R> {
        match place {
            Place::Key(key) => {
                let mut shard = lock(self.shard(key));
                let rule = shard.rule;
                shard.map.get_mut(&key).map(|bucket| act(bucket, &rule))
            }
            Place::Rest => {
                let mut rest = lock(&self.rest);
                let rule = rest.rule;
                Some(act(&mut rest.bucket, &rule))
            }
            Place::Total => None,
        }
    }

    pub(super) fn place(&self, key: &LimitKey<'_>) -> Place {
        Place::Key(self.keys.key(key))
    }

    /// The numbers have changed.
    pub(super) fn amend(&self, rule: Rule, now: u64) {
        let mut wakes = Wakes::new();
        lock(&self.rest).amend(rule, now, &mut wakes);
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.rule = rule;
            shard.map.values_mut().for_each(|bucket| bucket.amend(&rule, now, &mut wakes));
        }
        wake(&wakes);
    }

    /// Forgets idle keys and gives their memory back.
    pub(super) fn sweep(&self, now: u64) {
        for shard in &self.shards {
            lock(shard).sweep(now);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).map.len()).sum()
    }

    #[expect(
        clippy::indexing_slicing,
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        reason = "the low bits are wanted, and are smaller than the number of shards"
    )]
    fn shard(&self, key: Key) -> &Mutex<Shard> {
        // other bits than the map inside uses
        &self.shards[key.check as usize % SHARDS]
    }
}

impl Shard {
    fn make_room(&mut self, most: usize, now: u64) -> bool {
        if now.saturating_sub(self.searched) >= SEARCH {
            self.sweep(now);
        }
        self.map.len() < most
    }

    fn sweep(&mut self, now: u64) {
        let Self { rule, map, searched } = self;
        *searched = now;
        map.retain(|_, bucket| !bucket.idle(rule, now));
        // does nothing unless it more than halves the slots: a table in use is not moved to and fro
        map.shrink_to(map.len() * 2);
    }
}

/// What a key takes where the map is at its emptiest, just after it has doubled: one slot in 7/16 is used, and each has a byte of
/// its own beside the entry.
fn bytes(rule: &Rule) -> usize {
    (size_of::<(Key, Bucket)>() + 1) * 16 / 7 + rule.ring_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::policy::tests::{limit, secs};
    use super::super::share::Share;
    use super::*;
    use crate::model::Pace;
    use std::net::{IpAddr, Ipv4Addr};

    const SECOND: u64 = 1_000_000_000;

    fn rule(pace: Pace) -> Rule {
        Rule::new(&limit(pace, 1, 0), Share::default())
    }

    fn client(n: u32) -> LimitKey<'static> {
        LimitKey::Client(IpAddr::V4(Ipv4Addr::from_bits(n)))
    }

    fn granted(table: &Table, key: &LimitKey<'_>, now: u64) -> (bool, Place) {
        let (answer, place) = table.open(key, now, |bucket, rule| bucket.ask(rule, now, &mut Wakes::new()));
        (answer.is_ok(), place)
    }

    #[test]
    fn hostile_keys_cost_bounded_memory_and_none_of_them_is_unlimited() {
        let table = Table::of(rule(Pace::FixedWindow { window: secs(10) }), 0, 1024);
        let mut passed = 0;
        for n in 0..100_000 {
            passed += usize::from(granted(&table, &client(n), 1).0);
        }
        assert!(table.len() <= 1024);
        assert_eq!(passed, table.len() + 1, "those without room share one count");
        assert!(!granted(&table, &client(200_000), 9 * SECOND).0);
        // when they have been idle for a window there is room again
        assert!(matches!(granted(&table, &client(200_000), 21 * SECOND), (true, Place::Key(_))));
        table.sweep(50 * SECOND);
        assert_eq!(table.len(), 0);
        assert!(table.shards.iter().all(|s| lock(s).map.capacity() == 0), "their memory is given back");
    }

    #[test]
    fn a_full_table_keeps_within_its_bytes_whatever_the_limit() {
        let window = secs(10);
        let windows = (1..=100).map(|segments| Pace::SlidingWindow { window, segments });
        for pace in windows.chain([Pace::Concurrency, Pace::FixedWindow { window }, Pace::TokenBucket { period: window, tokens: 1 }]) {
            let rule = rule(pace);
            let most = Table::new(rule, 0).most;
            assert!(most * SHARDS <= KEYS, "{pace:?}: {most} in a shard");
            // hashbrown: slots are a power of two, seven in eight of them usable
            let slots = Map::with_capacity_and_hasher(most, BuildHasherDefault::default()).capacity().div_ceil(7) * 8;
            let bytes = SHARDS * (slots * (size_of::<(Key, Bucket)>() + 1) + most * rule.ring_bytes());
            // the division among shards rounds up
            assert!(bytes <= BYTES + BYTES / 100, "{pace:?}: {bytes} bytes");
            assert!(most * SHARDS >= 200_000, "{pace:?}: room for few");
        }
    }

    #[test]
    fn a_key_in_use_is_never_forgotten() {
        let table = Table::of(rule(Pace::Concurrency), 0, 1024);
        let (held, place) = granted(&table, &client(1), 0);
        assert!(held);
        table.sweep(u64::MAX);
        assert!(!granted(&table, &client(1), u64::MAX).0);
        table.at(place, |bucket, rule| bucket.give_back(rule, &mut Wakes::new()));
        table.sweep(u64::MAX);
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn a_million_keys_take_at_most_200_bytes_each() {
        let most = |pace: Pace| {
            let table = Table::new(rule(pace), 0);
            for n in 0..1_000_000 {
                assert!(matches!(granted(&table, &client(n), 1), (true, Place::Key(_))), "{n} has its own count");
            }
            assert_eq!(table.len(), 1_000_000);
            // hashbrown: slots are a power of two, seven in eight of them usable, a control byte for each and one group more
            let slots = |shard: &Mutex<Shard>| lock(shard).map.capacity().div_ceil(7) * 8;
            let maps: usize = table.shards.iter().map(|s| slots(s) * (size_of::<(Key, Bucket)>() + 1) + 16).sum();
            maps + 1_000_000 * rule(pace).ring_bytes() + size_of::<Table>() + SHARDS * size_of::<Mutex<Shard>>()
        };
        let window = secs(600);
        for (pace, bound) in [
            (Pace::Concurrency, 140),
            (Pace::FixedWindow { window }, 140),
            (Pace::TokenBucket { period: window, tokens: 1 }, 140),
            (Pace::SlidingWindow { window, segments: 2 }, 150),
            (Pace::SlidingWindow { window, segments: 12 }, 200),
        ] {
            let each = most(pace).div_ceil(1_000_000);
            assert!(each <= bound, "{pace:?}: {each} bytes");
        }
    }
}
