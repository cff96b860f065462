//! What of a head goes on to the other side.

use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE};
use hyper::http::request;
use hyper::{Uri, Version};

/// Prototype.
pub(super) fn towards_node(head: &mut request::Parts, host: &str) {
    drop_hops(&mut head.headers);
    if let Ok(host) = HeaderValue::from_str(host) {
        head.headers.insert(HOST, host);
    }
    if let Some(path) = head.uri.path_and_query().cloned()
        && head.uri.authority().is_some()
    {
        head.uri = Uri::from(path);
    }
    head.version = Version::HTTP_11;
}

pub(super) fn drop_hops(headers: &mut HeaderMap) {
    const HOPS: [HeaderName; 4] = [CONNECTION, TE, TRANSFER_ENCODING, UPGRADE];
    for name in HOPS {
        headers.remove(name);
    }
}
