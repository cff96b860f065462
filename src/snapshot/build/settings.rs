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
        self.compiled += 1;
    }
}

fn global(stored: &Stored) -> Option<&std::sync::Arc<Global>> {
    stored.resource.global()
}
