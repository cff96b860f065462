//! What is known of a client that came over TLS: under which certificate it was let in, and which one it proved to have. Knows nothing of
//! records.

use std::borrow::Cow;
use std::sync::Arc;

use crate::base::addr::without_port;
use crate::snapshot::Snapshot;
use crate::tls::{Channel, Identity};

/// A client's TLS, as far as its requests are concerned.
#[derive(Debug)]
pub struct Secured {
    identity: Arc<Identity>,
    /// The listener has this one certificate for all names.
    fixed: bool,
    certificate: Option<Box<[u8]>>,
}

impl Secured {
    /// After a handshake under an identity; `fixed`: whatever name the client asks for.
    pub fn new(identity: Arc<Identity>, fixed: bool, channel: &Channel) -> Self {
        Self { identity, fixed, certificate: channel.peer_certificate().map(Into::into) }
    }

    /// The certificate that the client proved to have, as DER.
    pub(super) fn certificate(&self) -> Option<&[u8]> {
        self.certificate.as_deref()
    }

    /// Whether the connection is good for requests to a host. It is not where that host's certificate asks clients for one that this
    /// client was not asked for: then the answer is 421 (RFC 9110, 7.4 and 15.5.20).
    pub(super) fn may_ask(&self, host: &str, snapshot: &Snapshot) -> bool {
        let owner = if self.fixed { None } else { snapshot.certificate(&name(host)) };
        owner.is_none_or(|owner| Arc::ptr_eq(owner, &self.identity) || self.identity.vouches_for(owner))
    }
}

/// A host as names in a ClientHello are compared: in lower case, without a port and a trailing dot.
fn name(host: &str) -> Cow<'_, str> {
    let name = without_port(host);
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) { name.to_ascii_lowercase().into() } else { name.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_compared_as_a_name() {
        for (host, compared) in [("a.com", "a.com"), ("A.com:8443", "a.com"), ("a.COM.", "a.com"), ("[::1]:443", "[::1]"), ("", "")] {
            assert_eq!(name(host), compared, "{host}");
        }
    }
}
