//! Upstreams, and the target of what names one or has one written into it.

use std::sync::Arc;

use super::Work;
use crate::base::id::Key;
use crate::model::{Stored, Upstream, UpstreamRef};
use crate::upstream::Target;

impl Work<'_> {
    pub(super) fn upstream(&mut self, key: &Key) {
        let (_, spec) = self.both(key, upstream);
        let had = self.next.targets.get(&key.id);
        match (spec, had) {
            (None, None) => return,
            (Some(spec), Some(had)) if *had.spec() == spec => return,
            (None, Some(_)) => drop(self.next.targets.remove_mut(&key.id)),
            (Some(spec), _) => {
                let target = self.registries.upstreams.target(key.id.as_str(), &spec);
                self.next.targets.insert_mut(key.id.clone(), target);
                self.compiled += 1;
            }
        }
        self.concerns(key);
    }

    /// The target of an object. `had` is what its earlier form was compiled to, and what that form named: an upstream that is
    /// written into it and did not change keeps its target.
    pub(super) fn target(&self, key: &Key, names: &UpstreamRef, had: Option<(&UpstreamRef, &Arc<Target>)>) -> Option<Arc<Target>> {
        match names {
            UpstreamRef::None => None,
            UpstreamRef::Id(id) => self.next.targets.get(id).cloned(),
            UpstreamRef::Inline(spec) => {
                let kept = had.filter(|(named, _)| *named == names).map(|(_, target)| target.clone());
                Some(kept.unwrap_or_else(|| self.registries.upstreams.target(&key.to_string(), spec)))
            }
        }
    }
}

/// Whether two objects lead to the same target, state included.
pub(super) fn same_target(a: Option<&Arc<Target>>, b: Option<&Arc<Target>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn upstream(stored: &Stored) -> Option<&Arc<Upstream>> {
    stored.resource.upstream()
}
