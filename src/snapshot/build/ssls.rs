//! Certificates: those for clients in the index by name, those for nodes with the upstreams that name them; when they expire, for
//! whoever watches that.

use std::sync::Arc;

use super::{Work, object};
use crate::base::id::{Id, Key, Kind};
use crate::model::{Ssl, SslUsage, Stored};
use crate::tls::Rank;
use crate::tls::inspect::Facts;

impl Work<'_> {
    pub(super) fn ssl(&mut self, key: &Key) {
        let shown = |stored: Option<&Arc<Stored>>| stored.and_then(|stored| Some((rank(stored), ssl(stored)?.clone())));
        let (old, new) = (shown(object(self.old, key)), shown(object(&self.next.objects, key)));
        if old == new {
            return;
        }
        self.registries.metrics.set_certificate(&key.id, new.as_ref().and_then(|(_, ssl)| expires(ssl)));
        self.compiled += usize::from(new.is_some());
        for (rank, old) in old.iter().filter(|(_, ssl)| ssl.usage == SslUsage::Server) {
            self.next.identities.remove_mut(&old.id);
            for name in &old.snis {
                self.next.certificates.remove(name, rank);
            }
        }
        for (rank, new) in new.iter().filter(|(_, ssl)| ssl.usage == SslUsage::Server) {
            self.show(rank, new);
        }
        self.concerns(key);
    }

    fn show(&mut self, rank: &Rank, ssl: &Ssl) {
        match self.registries.identities.identity(ssl) {
            Ok(identity) => {
                for name in &ssl.snis {
                    self.next.certificates.insert(name, rank.clone(), identity.clone());
                }
                self.next.identities.insert_mut(ssl.id.clone(), identity);
            }
            // the object was checked: nothing but a lack of randomness can lead here
            Err(error) => tracing::error!(ssl = %ssl.id, %error, "a certificate cannot be used"),
        }
    }

    /// The object whose certificate is shown to nodes; `None` if it is missing, disabled, or one for clients.
    pub(super) fn own_certificate(&self, id: &Id) -> Option<&Ssl> {
        let stored = object(&self.next.objects, &Key::new(Kind::Ssl, id.clone()))?;
        ssl(stored).map(AsRef::as_ref).filter(|ssl| ssl.usage == SslUsage::Client)
    }
}

fn rank(stored: &Stored) -> Rank {
    (stored.created, stored.key.id.clone())
}

/// When the first of its certificates expires.
fn expires(ssl: &Ssl) -> Option<i64> {
    ssl.pairs.iter().filter_map(|pair| Some(Facts::of(&pair.cert).ok()?.not_after)).min()
}

fn ssl(stored: &Stored) -> Option<&Arc<Ssl>> {
    stored.resource.ssl()
}
