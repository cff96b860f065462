//! Certificates: when they expire, for whoever watches that.

use std::sync::Arc;

use super::Work;
use crate::base::id::Key;
use crate::model::{Ssl, Stored};
use crate::tls::inspect::Facts;

impl Work<'_> {
    pub(super) fn ssl(&mut self, key: &Key) {
        let (old, new) = self.both(key, ssl);
        if old == new {
            return;
        }
        self.registries.metrics.set_certificate(&key.id, new.as_deref().and_then(expires));
        self.compiled += usize::from(new.is_some());
    }
}

/// When the first of its certificates expires.
fn expires(ssl: &Ssl) -> Option<i64> {
    ssl.pairs.iter().filter_map(|pair| Some(Facts::of(&pair.cert).ok()?.not_after)).min()
}

fn ssl(stored: &Stored) -> Option<&Arc<Ssl>> {
    stored.resource.ssl()
}
