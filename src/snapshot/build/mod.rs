//! From the accepted objects to a snapshot: only what was touched is compiled, the rest is the previous snapshot's. Refuses
//! nothing; what cannot be linked is pending.

mod http_routes;
mod links;
mod listeners;
mod settings;
mod ssls;
mod stream_routes;
mod upstreams;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Built, Objects, Pending, Registries, Snapshot, View, compile};
use crate::base::id::{Key, Kind};
use crate::model::Stored;

/// Builds the next snapshot. Objects that are not touched, and do not refer to one that is, keep their compiled forms by pointer.
pub fn build(view: View<'_>, registries: &Registries, previous: &Snapshot) -> Built {
    let next = Snapshot { revision: view.revision, arrived: None, objects: view.objects.clone(), ..previous.clone() };
    let mut work = Work { next, old: &previous.objects, registries, compiled: 0, due: BTreeSet::new() };
    work.due.extend(view.touched.iter().map(|key| (rank(key.kind), key.clone())));
    work.claims(&view.touched.iter().filter(|key| key.kind == Kind::Listener).collect::<Vec<_>>());
    while let Some((_, key)) = work.due.pop_first() {
        match key.kind {
            Kind::Setting => work.setting(&key),
            Kind::Ssl => work.ssl(&key),
            Kind::Upstream => work.upstream(&key),
            Kind::StreamRoute => work.stream_route(&key),
            Kind::Route => work.http_route(&key),
            Kind::Listener => work.listener(&key),
        }
    }
    let pending = work.next.pending.iter().map(|(key, missing)| Pending { key: key.clone(), missing: missing.clone() }).collect();
    let conflicts = work.next.conflicts.to_vec();
    Built { snapshot: work.next, pending, conflicts, compiled: work.compiled }
}

/// The order in which kinds are linked: an object refers only to objects of a smaller rank.
const fn rank(kind: Kind) -> u8 {
    match kind {
        Kind::Setting => 0,
        Kind::Ssl => 1,
        Kind::Upstream => 2,
        Kind::StreamRoute | Kind::Route => 3,
        Kind::Listener => 4,
    }
}

/// A build under way.
struct Work<'a> {
    next: Snapshot,
    old: &'a Objects,
    registries: &'a Registries,
    compiled: usize,
    /// Objects to look at, by rank: touched, or linked with something that changed.
    due: BTreeSet<(u8, Key)>,
}

impl Work<'_> {
    /// What takes part under a key before and after, as the one kind that the key can hold.
    fn both<T>(&self, key: &Key, kind: impl Fn(&Stored) -> Option<&Arc<T>>) -> (Option<Arc<T>>, Option<Arc<T>>) {
        let of = |objects| object(objects, key).and_then(|stored| kind(stored)).cloned();
        (of(self.old), of(&self.next.objects))
    }
}

/// An object that takes part.
fn object<'a>(objects: &'a Objects, key: &Key) -> Option<&'a Arc<Stored>> {
    objects.get(key).filter(|stored| compile::enabled(&stored.resource))
}
