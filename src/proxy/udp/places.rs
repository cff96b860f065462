//! How many UDP sessions there may be: in all and for one route. One count for all workers. Nobody is evicted: when it is full, the
//! new session is the one that goes without.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;

use crate::base::id::Id;

/// The most sessions, however many descriptors there are.
const MOST: usize = 65_536;

/// The places. Cheap to clone; all clones are one count.
#[derive(Clone, Debug)]
pub struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    per_route: usize,
    taken: AtomicUsize,
    routes: DashMap<Id, usize>,
}

/// One session's place; giving it back is dropping it.
#[derive(Debug)]
#[must_use = "dropping it gives the place back"]
pub struct Place {
    shared: Arc<Shared>,
    route: Id,
}

impl Places {
    /// The smaller of 65,536 and so many places; one route leaves a sixteenth of them to the others.
    pub fn new(most: usize) -> Self {
        let most = most.clamp(1, MOST);
        let per_route = (most - most / 16).max(1);
        Self(Arc::new(Shared { most, per_route, taken: AtomicUsize::new(0), routes: DashMap::new() }))
    }

    /// A place for a session of a route, if there is one.
    pub fn take(&self, route: &Id) -> Option<Place> {
        let shared = &self.0;
        if shared.taken.fetch_add(1, Ordering::Relaxed) >= shared.most {
            shared.taken.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let mut count = shared.routes.entry(route.clone()).or_insert(0);
        if *count >= shared.per_route {
            drop(count);
            shared.taken.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        *count += 1;
        Some(Place { shared: shared.clone(), route: route.clone() })
    }

    /// Places that are taken.
    pub fn taken(&self) -> usize {
        self.0.taken.load(Ordering::Relaxed)
    }

    /// Whether places are short: less than an eighth of them is left.
    pub fn short(&self) -> bool {
        self.taken() > self.0.most - self.0.most / 8
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.taken.fetch_sub(1, Ordering::Relaxed);
        if let dashmap::Entry::Occupied(mut entry) = self.shared.routes.entry(self.route.clone()) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Id {
        Id::parse(text).unwrap()
    }

    #[test]
    fn one_route_cannot_take_the_last_sixteenth() {
        let places = Places::new(16);
        let held: Vec<_> = std::iter::from_fn(|| places.take(&id("a"))).collect();
        assert_eq!((held.len(), places.short()), (15, true));
        let other: Vec<_> = std::iter::from_fn(|| places.take(&id("b"))).collect();
        assert_eq!((other.len(), places.taken()), (1, 16));
        drop(held);
        assert_eq!((places.taken(), places.short()), (1, false));
        drop(other);
        assert!(places.0.routes.is_empty());
    }

    #[test]
    fn there_is_at_least_one_place_and_never_more_than_the_most() {
        assert!(Places::new(0).take(&id("a")).is_some());
        assert_eq!(Places::new(1 << 20).0.most, MOST);
    }
}
