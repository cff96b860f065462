//! Where the data path finds the snapshot that counts now, and where old ones wait until nobody reads them any more.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Snapshot;

/// The place of the current snapshot. Cheap to clone; all clones are one place.
#[derive(Clone, Debug)]
pub struct Cell(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    current: ArcSwap<Snapshot>,
    count: watch::Sender<u64>,
    retired: Mutex<Vec<Arc<Snapshot>>>,
}

impl Cell {
    /// A place with a first snapshot.
    pub fn new(snapshot: Snapshot) -> Self {
        let (count, _) = watch::channel(0);
        Self(Arc::new(Inner { current: ArcSwap::from_pointee(snapshot), count, retired: Mutex::default() }))
    }

    /// The snapshot now. Wait-free. Not to be held across a wait: take what is needed out of it.
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.0.current.load()
    }

    /// The snapshot now, to keep.
    pub fn load_full(&self) -> Arc<Snapshot> {
        self.0.current.load_full()
    }

    /// Makes a snapshot the current one and tells the subscribers. `arrived` is when the oldest change in it came from the store.
    ///
    /// The snapshot before it is dropped here, or by a later [`Cell::reap`] if somebody is still reading it: taking a large one
    /// apart is no work for a data worker.
    pub fn publish(&self, mut snapshot: Snapshot, arrived: Instant) {
        snapshot.arrived = Some(arrived);
        let old = self.0.current.swap(Arc::new(snapshot));
        self.lock().push(old);
        self.0.count.send_modify(|n| *n = n.wrapping_add(1));
        self.reap();
    }

    /// The revision of the current snapshot and when the oldest change in it arrived; `None` before the first publication.
    pub fn published(&self) -> Option<(u64, Instant)> {
        let now = self.load();
        now.arrived().map(|arrived| (now.revision(), arrived))
    }

    /// A counter of publications, to wait on. Several publications may be seen as one.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.count.subscribe()
    }

    /// Drops the old snapshots that nobody reads any more, and says how many are left. For the control side, now and then.
    pub fn reap(&self) -> usize {
        let unread: Vec<Arc<Snapshot>> = {
            let mut retired = self.lock();
            let (unread, read) = retired.drain(..).partition(|old| Arc::strong_count(old) == 1);
            *retired = read;
            unread
        };
        // dropped outside the lock
        drop(unread);
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Snapshot>>> {
        self.0.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::fixture::registries;

    fn empty() -> Snapshot {
        Snapshot::empty(&registries())
    }

    #[tokio::test]
    async fn subscribers_hear_of_a_publication_and_find_when_it_arrived() {
        let cell = Cell::new(empty());
        let mut heard = cell.subscribe();
        assert_eq!(cell.published(), None);
        let at = Instant::now();
        cell.publish(empty(), at);
        heard.changed().await.unwrap();
        assert_eq!((*heard.borrow(), cell.published()), (1, Some((0, at))));
    }

    #[tokio::test]
    async fn an_old_snapshot_is_dropped_by_the_publisher_and_not_by_its_last_reader() {
        let cell = Cell::new(empty());
        let reader = cell.load_full();
        let watch = Arc::downgrade(&reader);
        cell.publish(empty(), Instant::now());
        drop(reader);
        assert!(watch.upgrade().is_some(), "the reader did not have to drop it");
        assert_eq!(cell.reap(), 0);
        assert!(watch.upgrade().is_none());
    }
}
