//! L4 routes: their compiled forms and their places in the table.

use std::sync::Arc;

use super::links::{Links, of_stream_route};
use super::upstreams::same_target;
use super::{Work, compile};
use crate::base::addr::Transport;
use crate::base::id::Key;
use crate::model::{Stored, StreamRoute};

impl Work<'_> {
    pub(super) fn stream_route(&mut self, key: &Key) {
        let (old, new) = self.both(key, stream_route);
        let links = |route: Option<&StreamRoute>| route.map_or_else(Links::new, of_stream_route);
        self.link(key, &links(old.as_deref()), &links(new.as_deref()));
        if old.is_some() != new.is_some() {
            self.concerns(key);
        }
        match new {
            Some(new) => self.put_stream_route(key, old.as_deref(), &new),
            None => self.remove_stream_route(key, old.as_deref()),
        }
    }

    fn put_stream_route(&mut self, key: &Key, old: Option<&StreamRoute>, new: &StreamRoute) {
        let had = self.next.routes.get(&key.id);
        let had_target = had.and_then(|had| had.target.as_ref());
        let target = self.target(key, &new.upstream, old.map(|old| &old.upstream).zip(had_target));
        if old == Some(new) && had.is_some() && same_target(had_target, target.as_ref()) {
            return;
        }
        if new.tls_passthrough && target.as_ref().is_some_and(|target| target.tunnel().is_some()) {
            tracing::warn!(key = %key, "tls_passthrough to an upstream of scheme tls: its sessions are closed with the reason no_upstream");
        }
        let compiled = Arc::new(compile::route(new, target, self.registries));
        self.compiled += 1;
        if let Some(old) = old.filter(|old| *old != new) {
            self.next.table.remove(old);
            self.next.datagrams.remove(old);
        }
        if compile::takes(new, Transport::Tcp) {
            self.next.table.insert(new, compiled.clone());
        }
        if compile::takes(new, Transport::Udp) {
            self.next.datagrams.insert(new, compiled.clone());
        }
        self.next.routes.insert_mut(key.id.clone(), compiled);
    }

    fn remove_stream_route(&mut self, key: &Key, old: Option<&StreamRoute>) {
        self.next.routes.remove_mut(&key.id);
        if let Some(old) = old {
            self.next.table.remove(old);
            self.next.datagrams.remove(old);
        }
    }
}

fn stream_route(stored: &Stored) -> Option<&Arc<StreamRoute>> {
    stored.resource.stream_route()
}
