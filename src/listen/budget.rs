//! How many sessions the process takes at once, so that its descriptors never run out under them: some stay for Admin, metrics
//! and the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::proxy::udp::places::Places;

/// Descriptors that are never given to sessions.
const RESERVE: usize = 64;
/// Descriptors that a TCP session needs: the client's and the node's. One of UDP needs the node's only.
const PER_SESSION: usize = 2;

/// The places for sessions. Cheap to clone; all clones are one budget.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Descriptors that sessions may have.
    most: usize,
    places: Places,
    taken: AtomicUsize,
    freed: Notify,
}

/// A session's place; giving it back is dropping it.
#[derive(Debug)]
#[must_use = "dropping it gives the place back"]
pub struct Place(Arc<Shared>, usize);

impl Budget {
    /// Places for a process that may have so many descriptors, an eighth of which is left to pipes.
    pub fn new(descriptors: usize) -> Self {
        let most = descriptors.saturating_sub(descriptors / 8).saturating_sub(RESERVE).max(PER_SESSION);
        let places = Places::new(most - most / 4);
        Self(Arc::new(Shared { most, places, taken: AtomicUsize::new(0), freed: Notify::new() }))
    }

    /// A place of a TCP session, if one is free.
    pub fn take(&self) -> Option<Place> {
        self.take_some(PER_SESSION)
    }

    /// A place of a UDP session, if one is free.
    pub fn take_one(&self) -> Option<Place> {
        self.take_some(1)
    }

    /// Whether [`Budget::take_one`] would find one now.
    pub fn has_one(&self) -> bool {
        self.0.taken.load(Ordering::Relaxed) < self.0.most
    }

    /// The places of UDP sessions: at most three quarters of the descriptors, so that a flood leaves TCP the rest.
    pub fn places(&self) -> &Places {
        &self.0.places
    }

    fn take_some(&self, descriptors: usize) -> Option<Place> {
        if self.0.taken.fetch_add(descriptors, Ordering::Relaxed).saturating_add(descriptors) <= self.0.most {
            return Some(Place(self.0.clone(), descriptors));
        }
        self.0.taken.fetch_sub(descriptors, Ordering::Relaxed);
        None
    }

    /// Waits until a place may be free. Cancel safe.
    pub async fn freed(&self) {
        let freed = self.0.freed.notified();
        if self.0.taken.load(Ordering::Relaxed).saturating_add(PER_SESSION) > self.0.most {
            freed.await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.0.taken.fetch_sub(self.1, Ordering::Relaxed).saturating_add(PER_SESSION) > self.0.most {
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
        assert_eq!(places.len(), 2, "78 less an eighth less the reserve, two each");
        let waiting = tokio::join!(budget.freed(), async { drop(places) });
        assert_eq!(waiting, ((), ()));
        assert!(budget.take().is_some());
    }
}
