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
use tokio::time::{Instant, timeout};

use super::asked::Asked;
use super::patience::Patience;
use super::rescue::Speaks;
use super::serve::{Front, LINGER};
use super::toll;
use crate::base::meter::Direction;
use crate::base::task;
use crate::limit::Decision;
use crate::model::Global;
use crate::route::http::form;
use crate::route::http::request::{Form, NeedsForm};
use crate::snapshot::HttpRoute;
use crate::upstream::http::Unread;

/// The largest body that is read because a statement asks for its form, in bytes.
const LARGEST_FORM: usize = 64 * 1024;

/// What a request takes from the snapshot.
pub(super) struct Matched {
    pub(super) route: Option<Arc<HttpRoute>>,
    pub(super) revision: u64,
    pub(super) connect_timeout: Duration,
    pub(super) timeout: Duration,
    /// The most bytes of the body; `None` for any number.
    pub(super) max_body_size: Option<u64>,
    /// What the limit of the route says, where one counts for it.
    pub(super) limit: Option<Decision>,
}

/// A request's body, as far as it was read.
pub(super) enum Arrived {
    Streaming(Incoming),
    Whole(Bytes),
}

impl Arrived {
    /// How long it is, where that is known before it has come.
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            Self::Streaming(body) => body.size_hint().exact(),
            Self::Whole(bytes) => u64::try_from(bytes.len()).ok(),
        }
    }

    /// Leaves the body to the client's connection, as no node gets it.
    pub(super) fn let_go(&mut self, front: &Arc<Front>) {
        let body = std::mem::replace(self, Self::Whole(Bytes::new()));
        if let Self::Streaming(body) = body
            && !body.is_end_stream()
        {
            front.clone().left(body);
        }
    }
}

impl Unread for Front {
    /// Reads what a client of HTTP/2 still sends that is answered already, for at most `LINGER`, and forgets it: a stream that is reset
    /// behind its answer, as RFC 9113 8.1 allows, makes some clients forget that instead. On HTTP/1 that is done once the answer was
    /// sent and the connection is to end.
    fn left(self: Arc<Self>, mut body: Incoming) {
        if self.watches() {
            return self.linger();
        }
        let rest = async move {
            while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                self.session.add_bytes(Direction::In, u64::try_from(bytes).unwrap_or(u64::MAX));
            }
        };
        drop(task::spawn(timeout(LINGER, rest)));
    }
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
        max_body_size: max_body_size(route.as_deref(), global, head).filter(|most| *most > 0),
        limit: route.as_ref().and_then(|route| toll::ask(front, &snapshot, route, head, now)),
        route,
        revision: snapshot.revision(),
        connect_timeout: global.connect_timeout,
    })
}

/// The most bytes of a body; 0: no bound. Streams of gRPC last as long as they like, unless their route says otherwise.
fn max_body_size(route: Option<&HttpRoute>, global: &Global, head: &request::Parts) -> Option<u64> {
    let own = route.and_then(|route| route.max_body_size);
    own.or_else(|| (!Speaks::of(head).grpc()).then_some(global.max_body_size))
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
            // a stream that was reset without an error ends like a whole one
            None if !front.watches() && !body.is_end_stream() => return Err(StatusCode::BAD_REQUEST),
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
