//! Listeners: who has which port, and the fixed routes and certificates that they name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rpds::RedBlackTreeMapSync;

use super::links::{Links, of_listener};
use super::{Work, object};
use crate::base::addr::Port;
use crate::base::id::Key;
use crate::model::{Listener, Origin, Stored};
use crate::snapshot::{Claim, Claims, Conflict, PortSpec};

impl Work<'_> {
    /// Links a listener with its fixed route and certificate.
    pub(super) fn listener(&mut self, key: &Key) {
        let (old, new) = self.both(key, listener);
        let links = |listener: Option<&Listener>| listener.map_or_else(Links::new, of_listener);
        self.link(key, &links(old.as_deref()), &links(new.as_deref()));
    }

    /// Who has which port, after these listeners changed.
    pub(super) fn claims(&mut self, listeners: &[&Key]) {
        let mut ports = BTreeSet::new();
        for key in listeners {
            self.claim(key, &mut ports);
        }
        if ports.is_empty() {
            return;
        }
        let mut specs: BTreeMap<Port, Arc<PortSpec>> = (*self.next.ports).clone();
        let mut changed = false;
        for port in &ports {
            let had = specs.get(port);
            match self.next.claims.get(port).and_then(|claims| winner(*port, claims)) {
                Some(spec) if had.is_some_and(|had| **had == spec) => {}
                Some(spec) => {
                    specs.insert(*port, Arc::new(spec));
                    changed = true;
                }
                None => changed |= specs.remove(port).is_some(),
            }
        }
        if changed {
            self.next.ports = Arc::new(specs);
        }
        let mut conflicts: Vec<Conflict> = self.next.conflicts.iter().filter(|c| !ports.contains(&c.port)).cloned().collect();
        conflicts.extend(ports.iter().filter_map(|port| Some((port, self.next.claims.get(port)?))).flat_map(losers));
        conflicts.sort();
        if conflicts != *self.next.conflicts {
            self.next.conflicts = Arc::new(conflicts);
        }
    }

    /// Renews what one listener claims; the ports that are concerned are added to `ports`.
    fn claim(&mut self, key: &Key, ports: &mut BTreeSet<Port>) {
        let claimed = |stored: Option<&Arc<Stored>>| Some((claim(stored?), listener(stored?)?.clone()));
        let (old, new) = (claimed(object(self.old, key)), claimed(object(&self.next.objects, key)));
        if old == new {
            return;
        }
        self.compiled += usize::from(new.is_some());
        if let Some((claim, listener)) = &old {
            for port in listener.ports() {
                self.unclaim(port, claim);
                ports.insert(port);
            }
        }
        if let Some((claim, listener)) = &new {
            for port in listener.ports() {
                let claims = self.next.claims.get(&port).cloned().unwrap_or_else(RedBlackTreeMapSync::new_sync);
                self.next.claims.insert_mut(port, claims.insert(claim.clone(), listener.clone()));
                ports.insert(port);
            }
        }
    }

    fn unclaim(&mut self, port: Port, claim: &Claim) {
        let Some(claims) = self.next.claims.get_mut(&port) else { return };
        claims.remove_mut(claim);
        if claims.is_empty() {
            self.next.claims.remove_mut(&port);
        }
    }
}

fn winner(port: Port, claims: &Claims) -> Option<PortSpec> {
    let ((origin, ..), listener) = claims.first()?;
    Some(PortSpec { port, listener: listener.clone(), required: *origin == Origin::Conf })
}

fn losers<'a>((port, claims): (&'a Port, &'a Claims)) -> impl Iterator<Item = Conflict> + 'a {
    let first = claims.first().map(|((_, _, id), _)| id);
    claims.iter().skip(1).zip(std::iter::repeat(first)).filter_map(|(((origin, _, id), listener), winner)| {
        let (winner, protocol, required) = (winner?.clone(), listener.protocol, *origin == Origin::Conf);
        Some(Conflict { listener: id.clone(), port: *port, protocol, winner, required })
    })
}

fn claim(stored: &Stored) -> Claim {
    (stored.origin, stored.created, stored.key.id.clone())
}

fn listener(stored: &Stored) -> Option<&Arc<Listener>> {
    stored.resource.listener()
}
