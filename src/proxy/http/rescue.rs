//! The one place where the gateway's own answers are made: what a failure looks like to the client.

use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::http::request;
use hyper::{HeaderMap, Response, StatusCode, Version};

use super::account::Account;
use super::reply::Reply;
use crate::base::reason::Reason;

/// The status that tells a client of an end before its answer began.
pub(super) const fn status(reason: Reason) -> StatusCode {
    match reason {
        Reason::NoRoute => StatusCode::NOT_FOUND,
        Reason::NoUpstream | Reason::NoHealthyNode | Reason::Overload | Reason::QueueTimeout => StatusCode::SERVICE_UNAVAILABLE,
        Reason::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Reason::Limited => StatusCode::TOO_MANY_REQUESTS,
        Reason::UpstreamTimeout | Reason::IdleTimeout | Reason::MaxDuration => StatusCode::GATEWAY_TIMEOUT,
        Reason::UpstreamRefused
        | Reason::UpstreamReset
        | Reason::UpstreamTls
        | Reason::UpstreamUnreachable
        | Reason::DnsFailed
        | Reason::BadResponse => StatusCode::BAD_GATEWAY,
        Reason::BadRequest | Reason::ClientReset | Reason::ProxyHeader | Reason::TlsHandshake | Reason::SniNoMatch => {
            StatusCode::BAD_REQUEST
        }
        Reason::Ok
        | Reason::DrainDeadline
        | Reason::ListenerRemoved
        | Reason::AdminKilled
        | Reason::SessionTableFull
        | Reason::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What a client understands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speaks {
    version: Version,
    grpc: bool,
}

impl Speaks {
    /// What the client speaks that sent a request. gRPC goes over HTTP/2 only: `grpc-web` is another protocol.
    pub(super) fn of(head: &request::Parts) -> Self {
        let rest = || head.headers.get(CONTENT_TYPE).and_then(|value| value.as_bytes().strip_prefix(b"application/grpc"));
        let grpc = head.version == Version::HTTP_2 && rest().is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')));
        Self { version: head.version, grpc }
    }

    /// Whether it is HTTP/1.0, which has no chunks.
    pub(super) fn is_10(self) -> bool {
        self.version < Version::HTTP_11
    }

    /// Whether it is gRPC.
    pub(super) const fn grpc(self) -> bool {
        self.grpc
    }
}

/// Ends a request before its answer began, with what the client is told of it.
pub(super) fn end(account: Account, reason: Reason) -> Response<Reply> {
    end_with(account, reason, status(reason), |_| ())
}

/// The same where the reason alone does not tell the status, or where `tell` has more to say.
pub(super) fn end_with(mut account: Account, reason: Reason, status: StatusCode, tell: impl FnOnce(&mut HeaderMap)) -> Response<Reply> {
    let (mut head, body) = answer(reason, status, account.speaks()).into_parts();
    tell(&mut head.headers);
    if let Some(route) = account.route().filter(|_| is_transformed(reason)) {
        route.transforms.local(&mut head);
    }
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        account.unread();
    }
    account.answered(head.status);
    account.close(reason);
    Response::from_parts(head, body)
}

/// Whether the transforms of the route work on an answer: not where the request itself was too much, or not understood.
const fn is_transformed(reason: Reason) -> bool {
    !matches!(reason, Reason::Limited | Reason::BodyTooLarge | Reason::BadRequest)
}

fn answer(reason: Reason, status: StatusCode, speaks: Speaks) -> Response<Reply> {
    if speaks.grpc {
        return grpc(status, reason);
    }
    let mut response = bare(status);
    if matches!(reason, Reason::BadRequest | Reason::BodyTooLarge) && speaks.version < Version::HTTP_2 {
        // no further request is read from a connection that said what was not understood, or more than it may
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The status of gRPC for an end before the answer began: by that of HTTP, but a time that ran out is one
/// (<https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>).
const fn code(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "13",
        404 | 501 => "12",
        401 => "16",
        403 => "7",
        413 => "8",
        408 | 504 => "4",
        429 | 502 | 503 => "14",
        _ => "2",
    }
}

/// An answer as clients of gRPC read it: nothing but trailers, and those in its head
/// (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>, Trailers-Only).
fn grpc(status: StatusCode, reason: Reason) -> Response<Reply> {
    let mut response = bare(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(HeaderName::from_static("grpc-status"), HeaderValue::from_static(code(status)));
    headers.insert(HeaderName::from_static("grpc-message"), HeaderValue::from_static(reason.as_str()));
    response
}

/// An answer without a body.
fn bare(status: StatusCode) -> Response<Reply> {
    let mut response = Response::new(Reply::none());
    *response.status_mut() = status;
    response
}
