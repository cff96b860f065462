//! The one place where the gateway's own answers are made: what a failure looks like to the client.

use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Response, StatusCode, Version};

use super::reply::Reply;
use crate::base::reason::Reason;

/// The status that tells a client of an end before its answer began.
pub(super) const fn status(reason: Reason) -> StatusCode {
    match reason {
        Reason::NoRoute => StatusCode::NOT_FOUND,
        Reason::NoUpstream | Reason::NoHealthyNode | Reason::Overload => StatusCode::SERVICE_UNAVAILABLE,
        Reason::UpstreamTimeout | Reason::IdleTimeout | Reason::MaxDuration => StatusCode::GATEWAY_TIMEOUT,
        Reason::UpstreamRefused | Reason::UpstreamReset | Reason::UpstreamUnreachable | Reason::DnsFailed | Reason::BadResponse => {
            StatusCode::BAD_GATEWAY
        }
        Reason::BadRequest | Reason::ClientReset | Reason::ProxyHeader => StatusCode::BAD_REQUEST,
        Reason::Ok | Reason::DrainDeadline | Reason::ListenerRemoved | Reason::AdminKilled | Reason::Internal => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

/// An answer without a body.
pub(super) fn answer(status: StatusCode) -> Response<Reply> {
    let mut response = Response::new(Reply::none());
    *response.status_mut() = status;
    response
}

/// An answer to what was not understood: nothing more is read from an HTTP/1 connection that said it.
pub(super) fn refuse(status: StatusCode, version: Version) -> Response<Reply> {
    let mut response = answer(status);
    if version < Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
