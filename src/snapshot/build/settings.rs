//! The values for the whole gateway.

use super::Work;
use crate::base::id::Key;
use crate::model::{Global, Resource, Stored};

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
    match &stored.resource {
        Resource::Global(global) => Some(global),
        Resource::Listener(_) | Resource::Route(_) | Resource::StreamRoute(_) | Resource::Upstream(_) | Resource::Ssl(_) => None,
    }
}
