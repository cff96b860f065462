//! How many sessions the process takes at once, so that its descriptors never run out under them: some stay for Admin, metrics
//! and the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Descriptors that are never given to sessions.
const RESERVE: usize = 64;
/// Descriptors that a session needs: the client's and the node's.
const PER_SESSION: usize = 2;

/// The places for sessions. Cheap to clone; all clones are one budget.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    taken: AtomicUsize,
    freed: Notify,
}

/// A session's place; giving it back is dropping it.
#[derive(Debug)]
#[must_use = "dropping it gives the place back"]
pub struct Place(Arc<Shared>);

impl Budget {
    /// Places for a process that may have so many descriptors, an eighth of which is left to pipes.
    pub fn new(descriptors: usize) -> Self {
        let most = (descriptors.saturating_sub(descriptors / 8).saturating_sub(RESERVE) / PER_SESSION).max(1);
        Self(Arc::new(Shared { most, taken: AtomicUsize::new(0), freed: Notify::new() }))
    }

    /// A place, if one is free.
    pub fn take(&self) -> Option<Place> {
        if self.0.taken.fetch_add(1, Ordering::Relaxed) < self.0.most {
            return Some(Place(self.0.clone()));
        }
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
        None
    }

    /// Waits until a place may be free. Cancel safe.
    pub async fn freed(&self) {
        let freed = self.0.freed.notified();
        if self.0.taken.load(Ordering::Relaxed) >= self.0.most {
            freed.await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.0.taken.fetch_sub(1, Ordering::Relaxed) >= self.0.most {
            self.0.freed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn places_are_bounded_and_a_freed_one_is_heard_of() {
        let budget = Budget::new(78);
        let places: Vec<_> = std::iter::from_fn(|| budget.take()).collect();
        assert_eq!(places.len(), 2, "78 less an eighth less the reserve, halved");
        let waiting = tokio::join!(budget.freed(), async { drop(places) });
        assert_eq!(waiting, ((), ()));
        assert!(budget.take().is_some());
    }
}
