//! The values for the whole gateway.

use super::Work;
use crate::base::id::Key;
use crate::model::{Global, Stored};

impl Work<'_> {
    pub(super) fn setting(&mut self, key: &Key) {
        if key.id.as_str() != "global" {
            return;
        }
        let (_, new) = self.both(key, global);
        self.next.global = new.unwrap_or_default();
        let limits = &self.registries.limits;
        self.next.limiter = self.next.global.limit.as_ref().map(|spec| limits.limiter(&key.to_string(), spec));
        self.compiled += 1;
    }
}

fn global(stored: &Stored) -> Option<&std::sync::Arc<Global>> {
    stored.resource.global()
}
