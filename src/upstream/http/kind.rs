//! What connections to one node differ in: whether TLS is spoken, as whom and whom it trusts, and for which name. A request goes out only
//! on a connection of its own kind.

use std::sync::Arc;

use crate::base::addr::without_port;
use crate::tls::Client;
use crate::upstream::node::Node;
use crate::upstream::target::Target;

/// The kind of a connection.
#[derive(Clone, Debug, Default)]
pub struct Kind(Option<Box<Secure>>);

#[derive(Clone, Debug)]
struct Secure {
    client: Arc<Client>,
    name: Box<str>,
}

/// The kind that a request needs.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a>(Option<(&'a Arc<Client>, &'a str)>);

impl Kind {
    /// The same, as what a request needs.
    pub fn wanted(&self) -> Wanted<'_> {
        Wanted(self.0.as_ref().map(|secure| (&secure.client, &*secure.name)))
    }
}

impl<'a> Wanted<'a> {
    /// What a request to a node of a target needs: over TLS the name is the one in the request's authority, unless the upstream
    /// says another. Without an authority it is the node's.
    pub fn of(target: &'a Target, node: &'a Node, authority: Option<&'a str>) -> Self {
        Self(target.client().map(|client| {
            let name = if client.profile().sni.is_some() { "" } else { bare(authority.unwrap_or(node.label())) };
            (client, name)
        }))
    }

    /// How TLS is spoken, and the name to ask for; `None`: it is not.
    pub const fn secure(&self) -> Option<(&'a Arc<Client>, &'a str)> {
        self.0
    }

    /// Whether a connection is of this kind. Clients are compared as what they are, not by what they were made of: an upstream whose
    /// TLS is edited has another one.
    pub fn is(&self, kind: &Kind) -> bool {
        match (self.0, &kind.0) {
            (None, None) => true,
            (Some((client, name)), Some(secure)) => Arc::ptr_eq(client, &secure.client) && *name == *secure.name,
            (None, Some(_)) | (Some(_), None) => false,
        }
    }

    /// The kind of a connection that is made for it.
    pub fn kind(&self) -> Kind {
        Kind(self.0.map(|(client, name)| Box::new(Secure { client: client.clone(), name: name.into() })))
    }
}

/// An authority without its port, and without the brackets of an IPv6 address.
pub(super) fn bare(authority: &str) -> &str {
    without_port(authority).trim_matches(['[', ']'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{self, Host, Scheme, Upstream};
    use crate::tls::Profile;
    use crate::upstream::Registry;

    fn target(registry: &Registry, profile: Option<Profile>) -> Arc<Target> {
        let node = model::Node { host: Host::Name("node.test".into()), port: 443, weight: 1, priority: 0 };
        let spec = Upstream { nodes: vec![node], scheme: Scheme::Https, ..Upstream::default() };
        registry.target("u", &Arc::new(spec), profile).unwrap()
    }

    #[test]
    fn the_name_is_the_one_of_the_request_unless_the_upstream_says_another() {
        let (registry, _resolver) = Registry::new();
        let verified = |sni: Option<&str>| Some(Profile { sni: sni.map(Into::into), ..Profile::default() });
        for (authority, sni, name) in
            [(Some("a.test:443"), None, "a.test"), (None, None, "node.test"), (Some("a.test"), Some("c.test"), "")]
        {
            let target = target(&registry, verified(sni));
            let wanted = Wanted::of(&target, &target.nodes()[0], authority);
            assert_eq!(wanted.secure().map(|(_, name)| name), Some(name), "{authority:?} {sni:?}");
        }
        assert_eq!(bare("[::1]:443"), "::1");
    }

    #[test]
    fn connections_of_other_trust_identity_or_name_are_of_another_kind() {
        let (registry, _resolver) = Registry::new();
        let profile = |verify| Some(Profile { verify, ca: None, ..Profile::default() });
        let plain = target(&registry, None);
        let trusting = target(&registry, profile(false));
        let kind = Wanted::of(&trusting, &trusting.nodes()[0], Some("a.test")).kind();
        assert!(kind.wanted().is(&kind) && Wanted::of(&trusting, &trusting.nodes()[0], Some("a.test:443")).is(&kind));
        assert!(!Wanted::of(&trusting, &trusting.nodes()[0], Some("b.test")).is(&kind), "another name");
        assert!(!Wanted::of(&plain, &plain.nodes()[0], Some("a.test")).is(&kind), "in clear");
        assert!(!kind.wanted().is(&Kind::default()), "in clear");
        let edited = target(&registry, Some(Profile { sni: Some("c.test".into()), ..Profile::default() }));
        assert!(!Wanted::of(&edited, &edited.nodes()[0], Some("a.test")).is(&kind), "another client");
    }
}
