//! Who refers to whom: the reverse index that finds what a change concerns, and who waits for what is missing.

use rpds::RedBlackTreeSetSync;
use smallvec::SmallVec;

use super::{Work, rank};
use crate::base::id::{Id, Key, Kind};
use crate::model::{ClientIdentity, HttpRoute, Listener, StreamRoute, Upstream, UpstreamRef};

/// The objects that one object refers to.
pub(super) type Links = SmallVec<[Key; 1]>;

impl Work<'_> {
    /// Looks again at everything that refers to an object which came, went or changed.
    pub(super) fn concerns(&mut self, key: &Key) {
        if let Some(users) = self.next.users.get(key) {
            self.due.extend(users.iter().map(|user| (rank(user.kind), user.clone())));
        }
    }

    /// Notes that an object refers to other ones than before, and whether it waits for one of them.
    pub(super) fn link(&mut self, key: &Key, old: &Links, new: &Links) {
        for gone in old.iter().filter(|link| !new.contains(link)) {
            self.unlink(key, gone);
        }
        for came in new.iter().filter(|link| !old.contains(link)) {
            match self.next.users.get_mut(came) {
                Some(users) => users.insert_mut(key.clone()),
                None => self.next.users.insert_mut(came.clone(), RedBlackTreeSetSync::new_sync().insert(key.clone())),
            }
        }
        match new.iter().find(|link| !self.there(key.kind, link)) {
            Some(missing) => self.next.pending.insert_mut(key.clone(), missing.clone()),
            None => drop(self.next.pending.remove_mut(key)),
        }
    }

    fn unlink(&mut self, key: &Key, gone: &Key) {
        let Some(users) = self.next.users.get_mut(gone) else { return };
        users.remove_mut(key);
        if users.is_empty() {
            self.next.users.remove_mut(gone);
        }
    }

    /// Whether an object that another one, of some kind, refers to was compiled.
    fn there(&self, user: Kind, link: &Key) -> bool {
        match link.kind {
            Kind::Upstream => self.next.targets.contains_key(&link.id),
            Kind::StreamRoute => self.next.routes.contains_key(&link.id),
            Kind::Ssl if user == Kind::Listener => self.next.identities.contains_key(&link.id),
            Kind::Ssl => self.own_certificate(&link.id).is_some(),
            // nothing refers to these
            Kind::Listener | Kind::Route | Kind::Setting => true,
        }
    }
}

/// What names its upstream refers to it.
pub(super) fn of_upstream(reference: &UpstreamRef) -> Links {
    match reference {
        UpstreamRef::Id(id) => Links::from_iter([Key::new(Kind::Upstream, id.clone())]),
        UpstreamRef::Inline(upstream) => of_own_certificate(upstream),
        UpstreamRef::None => Links::new(),
    }
}

/// An upstream may refer to the certificate that it shows to its nodes.
pub(super) fn of_own_certificate(upstream: &Upstream) -> Links {
    match upstream.tls.as_ref().and_then(|tls| tls.client.as_ref()) {
        Some(ClientIdentity::ById(id)) => Links::from_iter([Key::new(Kind::Ssl, id.clone())]),
        Some(ClientIdentity::Inline(_)) | None => Links::new(),
    }
}

pub(super) fn of_stream_route(route: &StreamRoute) -> Links {
    of_upstream(&route.upstream)
}

pub(super) fn of_http_route(route: &HttpRoute) -> Links {
    of_upstream(&route.upstream)
}

pub(super) fn of_listener(listener: &Listener) -> Links {
    let route = listener.stream_route_id.iter().map(|id: &Id| Key::new(Kind::StreamRoute, id.clone()));
    route.chain(listener.ssl_id.iter().map(|id| Key::new(Kind::Ssl, id.clone()))).collect()
}
