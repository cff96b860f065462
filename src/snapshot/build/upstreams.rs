//! Upstreams, and the target of what names one or has one written into it.

use std::sync::Arc;

use super::Work;
use super::links::{Links, of_own_certificate};
use crate::base::id::Key;
use crate::model::{ClientIdentity, Stored, Upstream, UpstreamRef};
use crate::tls::Profile;
use crate::upstream::Target;

impl Work<'_> {
    pub(super) fn upstream(&mut self, key: &Key) {
        let (old, spec) = self.both(key, upstream);
        let links = |spec: Option<&Upstream>| spec.map_or_else(Links::new, of_own_certificate);
        self.link(key, &links(old.as_deref()), &links(spec.as_deref()));
        let had = self.next.targets.get(&key.id);
        let target = spec.and_then(|spec| self.compiled_target(key.id.as_str(), &spec, had));
        match (target, had) {
            (None, None) => return,
            (Some(target), Some(had)) if Arc::ptr_eq(&target, had) => return,
            (None, Some(_)) => drop(self.next.targets.remove_mut(&key.id)),
            (Some(target), _) => {
                self.next.targets.insert_mut(key.id.clone(), target);
                self.compiled += 1;
            }
        }
        self.concerns(key);
    }

    /// What an upstream becomes: what it was, if nothing of it changed. `None`: the certificate that it names is not there.
    fn compiled_target(&self, name: &str, spec: &Arc<Upstream>, had: Option<&Arc<Target>>) -> Option<Arc<Target>> {
        let profile = self.profile(spec).ok()?;
        if let Some(same) = had.filter(|had| had.spec() == spec && had.profile() == profile.as_ref()) {
            return Some(same.clone());
        }
        let target = self.registries.upstreams.target(name, spec, profile);
        // the object was checked: without TLS it would be another one, so it is none
        target.inspect_err(|error| tracing::error!(upstream = name, %error, "TLS with nodes cannot be set up")).ok()
    }

    /// How TLS is spoken to the nodes of an upstream, if it is.
    fn profile(&self, upstream: &Upstream) -> Result<Option<Profile>, Missing> {
        if !upstream.scheme.is_secure() {
            return Ok(None);
        }
        let tls = upstream.tls.clone().unwrap_or_default();
        let identity = match tls.client {
            None => None,
            Some(ClientIdentity::Inline(pair)) => Some(pair),
            Some(ClientIdentity::ById(id)) => {
                self.own_certificate(&id).and_then(|ssl| ssl.pairs.first()).cloned().map(Some).ok_or(Missing)?
            }
        };
        Ok(Some(Profile { identity, verify: tls.verify, ca: tls.ca, sni: tls.sni }))
    }

    /// The target of an object. `had` is what its earlier form was compiled to, and what that form named: an upstream that is
    /// written into it and did not change keeps its target.
    pub(super) fn target(&self, key: &Key, names: &UpstreamRef, had: Option<(&UpstreamRef, &Arc<Target>)>) -> Option<Arc<Target>> {
        match names {
            UpstreamRef::None => None,
            UpstreamRef::Id(id) => self.next.targets.get(id).cloned(),
            UpstreamRef::Inline(spec) => {
                let had = had.filter(|(named, _)| *named == names).map(|(_, target)| target);
                self.compiled_target(&key.to_string(), spec, had)
            }
        }
    }
}

/// The certificate that an upstream names is not there.
struct Missing;

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
