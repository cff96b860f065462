//! The route of a request, by its head, and by its body where the choice depends on it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::request;
use tokio::time::Instant;

use super::asked::Asked;
use super::patience::Patience;
use super::serve::Front;
use super::toll;
use crate::limit::Decision;
use crate::route::http::form;
use crate::route::http::request::{Form, NeedsForm};
use crate::snapshot::HttpRoute;

/// The largest body that is read because a statement asks for its form, in bytes.
const LARGEST_FORM: usize = 64 * 1024;

/// What a request takes from the snapshot.
pub(super) struct Matched {
    pub(super) route: Option<Arc<HttpRoute>>,
    pub(super) revision: u64,
    pub(super) connect_timeout: Duration,
    pub(super) timeout: Duration,
    /// What the limit of the route says, where one counts for it.
    pub(super) limit: Option<Decision>,
}

/// A request's body, as far as it was read.
pub(super) enum Arrived {
    Streaming(Incoming),
    Whole(Bytes),
}

/// Finds the route.
///
/// # Errors
/// The status to refuse the request with.
pub(super) async fn find(front: &Front, head: &request::Parts, body: Incoming, began: Instant) -> Result<(Matched, Arrived), StatusCode> {
    let asked = Asked::read(head, front.secure())?;
    if front.secured.as_ref().is_some_and(|secured| !secured.may_ask(asked.host, &front.shared.cell.load())) {
        return Err(StatusCode::MISDIRECTED_REQUEST);
    }
    if let Ok(matched) = find_by(front, head, &asked, Form::Unread, began) {
        return Ok((matched, Arrived::Streaming(body)));
    }
    let bytes = Box::pin(read_form(front, body)).await?;
    let content_type = head.headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let fields = form::fields(content_type, &bytes);
    let matched = find_by(front, head, &asked, Form::Fields(&fields), began).map_err(|NeedsForm| StatusCode::BAD_REQUEST)?;
    Ok((matched, Arrived::Whole(bytes.clone())))
}

fn find_by(front: &Front, head: &request::Parts, asked: &Asked<'_>, form: Form<'_>, now: Instant) -> Result<Matched, NeedsForm> {
    let snapshot = front.shared.cell.load();
    let route = snapshot.http_route_for(&asked.request(form))?.cloned();
    let global = snapshot.global();
    Ok(Matched {
        timeout: route.as_ref().and_then(|route| route.timeout).unwrap_or(global.default_timeout),
        limit: route.as_ref().and_then(|route| toll::ask(front, &snapshot, route, head, now)),
        route,
        revision: snapshot.revision(),
        connect_timeout: global.connect_timeout,
    })
}

/// Reads a body that a statement has to see.
async fn read_form(front: &Front, mut body: Incoming) -> Result<Bytes, StatusCode> {
    let limit = front.shared.cell.load().global().default_timeout;
    let mut patience = Patience::new(limit);
    patience.begin();
    let mut whole = BytesMut::new();
    loop {
        let frame = poll_fn(|cx| match Pin::new(&mut body).poll_frame(cx) {
            Poll::Pending => patience.poll(cx, || whole.len().try_into().unwrap_or(u64::MAX)).map(|()| Err(StatusCode::REQUEST_TIMEOUT)),
            Poll::Ready(frame) => Poll::Ready(Ok(frame)),
        });
        match frame.await? {
            None => return Ok(whole.freeze()),
            Some(Err(_)) => return Err(StatusCode::BAD_REQUEST),
            Some(Ok(frame)) => {
                let data = frame.into_data().unwrap_or_default();
                if whole.len() + data.len() > LARGEST_FORM {
                    return Err(StatusCode::PAYLOAD_TOO_LARGE);
                }
                whole.extend_from_slice(&data);
            }
        }
    }
}
