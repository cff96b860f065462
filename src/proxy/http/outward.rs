//! The head of a request as its node gets it. Sends nothing.

use hyper::header::{EXPECT, HOST};
use hyper::http::request;
use hyper::http::uri::{self, Authority, PathAndQuery, Scheme};
use hyper::{Uri, Version};

use super::asked;
use super::secured::Secured;
use super::serve::Front;
use crate::base::reason::Reason;
use crate::filter::Facts;
use crate::model::PassHost;
use crate::snapshot::HttpRoute;
use crate::upstream::Target;
use crate::upstream::http::{Lease, Link};

/// The authority that [`transform`] will give a request; `None`: what its node is called.
pub(super) fn authority<'a>(head: &'a request::Parts, route: &'a HttpRoute, target: &'a Target) -> Option<&'a str> {
    // a node in clear is asked for no name
    target.client()?;
    let pass_host = &target.spec().pass_host;
    let host = route.transforms.host(asked::host(head)?, *pass_host == PassHost::Pass);
    host.or(if let PassHost::Rewrite(authority) = pass_host { Some(authority) } else { None })
}

/// Makes of the client's head the one for the node.
pub(super) fn transform(head: &mut request::Parts, front: &Front, route: &HttpRoute, target: &Target, lease: &Lease) -> Result<(), Reason> {
    let host = asked::host(head).ok_or(Reason::BadRequest)?.to_owned();
    let session = &front.session;
    let node = without_usual_port(lease.node.label(), target.client().is_some());
    let (node_authority, original_host) = match &target.spec().pass_host {
        PassHost::Pass => (node, true),
        PassHost::Node => (node, false),
        PassHost::Rewrite(authority) => (&**authority, false),
    };
    let facts = Facts {
        client: session.client().0,
        local: session.local.0,
        secure: front.secure(),
        version: head.version,
        host: &host,
        node_authority,
        original_host,
        client_certificate: front.secured.as_ref().and_then(Secured::certificate),
    };
    route.transforms.request(head, &facts).map_err(|_| Reason::BadRequest)
}

/// A node as the authority of requests to it: the port that its scheme has anyway is not said (RFC 9110, 4.2.3).
fn without_usual_port(label: &str, secure: bool) -> &str {
    label.strip_suffix(if secure { ":443" } else { ":80" }).unwrap_or(label)
}

/// Whether the body waits until the node asks for it. Where one side speaks HTTP/2, the question or its answer is lost: then it does
/// not. Nor where the client speaks HTTP/1.0, from which the question means nothing (RFC 9110, 10.1.1), or asks for something else.
pub(super) fn expects(head: &mut request::Parts, link: &Link) -> bool {
    let Some(expected) = head.headers.get(EXPECT) else { return false };
    let expects = expected.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if link.is_shared() || head.version != Version::HTTP_11 {
        head.headers.remove(EXPECT);
        return false;
    }
    expects
}

/// The form of a request of HTTP/2: no `Host`, but the whole target (RFC 9113, 8.3.1).
pub(super) fn to_h2(head: &mut request::Parts, scheme: Scheme) -> Result<(), Reason> {
    let host = head.headers.remove(HOST).ok_or(Reason::BadRequest)?;
    let authority = Authority::try_from(host.as_bytes()).map_err(|_| Reason::BadRequest)?;
    let target = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let mut parts = uri::Parts::default();
    (parts.scheme, parts.authority, parts.path_and_query) = (Some(scheme), Some(authority), Some(target));
    head.uri = Uri::from_parts(parts).map_err(|_| Reason::BadRequest)?;
    head.version = Version::HTTP_2;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_port_of_a_node_is_not_said() {
        for (label, secure, authority) in [
            ("a.com:80", false, "a.com"),
            ("a.com:443", true, "a.com"),
            ("[::1]:80", false, "[::1]"),
            ("a.com:80", true, "a.com:80"),
            ("a.com:443", false, "a.com:443"),
            ("a.com:8080", false, "a.com:8080"),
        ] {
            assert_eq!(without_usual_port(label, secure), authority, "{label} {secure}");
        }
    }
}
