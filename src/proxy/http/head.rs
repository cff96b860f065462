//! What of a head goes on to the other side.

use hyper::Version;
use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE};
use hyper::http::{request, response};
use hyper::Uri;

use super::serve::Front;
use crate::upstream::http::Lease;

/// The client's head, as the node gets it.
pub(super) fn towards_node(head: &mut request::Parts, lease: &Lease, _front: &Front) {
    drop_hops(&mut head.headers);
    if let Ok(host) = HeaderValue::from_str(lease.node.label()) {
        head.headers.insert(HOST, host);
    }
    if let Some(path) = head.uri.path_and_query().cloned()
        && head.uri.authority().is_some()
    {
        head.uri = Uri::from(path);
    }
    head.version = Version::HTTP_11;
}

/// The node's head, as the client gets it.
pub(super) fn towards_client(head: &mut response::Parts) {
    drop_hops(&mut head.headers);
}

fn drop_hops(headers: &mut HeaderMap) {
    const HOPS: [HeaderName; 4] = [CONNECTION, TE, TRANSFER_ENCODING, UPGRADE];
    for name in HOPS {
        headers.remove(name);
    }
}
