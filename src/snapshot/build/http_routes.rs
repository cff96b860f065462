//! HTTP routes: their compiled forms and their places in the table.

use std::sync::Arc;

use super::links::{Links, of_http_route};
use super::upstreams::same_target;
use super::{Work, compile};
use crate::base::id::Key;
use crate::model::{HttpRoute, Stored};

impl Work<'_> {
    pub(super) fn http_route(&mut self, key: &Key) {
        let (old, new) = self.both(key, http_route);
        let links = |route: Option<&HttpRoute>| route.map_or_else(Links::new, of_http_route);
        self.link(key, &links(old.as_deref()), &links(new.as_deref()));
        match new {
            Some(new) => self.put_http_route(key, old.as_deref(), &new),
            None => self.remove_http_route(key, old.as_deref()),
        }
    }

    fn put_http_route(&mut self, key: &Key, old: Option<&HttpRoute>, new: &HttpRoute) {
        let had = self.next.http_routes.get(&key.id);
        let had_target = had.and_then(|had| had.target.as_ref());
        let target = self.target(key, &new.upstream, old.map(|old| &old.upstream).zip(had_target));
        if old == Some(new) && had.is_some() && same_target(had_target, target.as_ref()) {
            return;
        }
        let rule = had.filter(|_| old.is_some_and(|old| old.matching == new.matching)).map(|had| had.rule.clone());
        let transforms = had.filter(|_| old.is_some_and(|old| old.transforms == new.transforms)).map(|had| had.transforms.clone());
        // whatever does not compile was refused before; should it come this far, it matches nothing rather than more
        let (Some(rule), Some(transforms)) = (rule.or_else(|| compile::rule(new)), transforms.or_else(|| compile::transforms(new))) else {
            return self.remove_http_route(key, old);
        };
        let compiled = Arc::new(compile::http_route(new, rule, transforms, target, self.registries));
        self.compiled += 1;
        if let Some(old) = old.filter(|old| *old != new) {
            self.next.http_table.remove(old);
        }
        self.next.http_table.insert(new, &compiled.rule, &compiled);
        self.next.http_routes.insert_mut(key.id.clone(), compiled);
    }

    fn remove_http_route(&mut self, key: &Key, old: Option<&HttpRoute>) {
        self.next.http_routes.remove_mut(&key.id);
        if let Some(old) = old {
            self.next.http_table.remove(old);
        }
    }
}

fn http_route(stored: &Stored) -> Option<&Arc<HttpRoute>> {
    stored.resource.route()
}
