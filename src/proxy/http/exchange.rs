//! One request and its answer: matched, sent to a node, answered.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, EXPECT, HeaderValue, UPGRADE};
use hyper::http::{request, response};
use hyper::{Request, Response, StatusCode, Version};
use tokio::time::Instant;

use super::account::Account;
use super::asked::Asked;
use super::framing::{self, Fault};
use super::patience::Patience;
use super::reply::Reply;
use super::rescue;
use super::serve::Front;
use super::toll::{self, TurnedAway};
use super::tunnel::Tunnel;
use crate::base::reason::Reason;
use crate::filter::Facts;
use crate::limit::Decision;
use crate::model::PassHost;
use crate::route::http::form;
use crate::route::http::request::{Form, NeedsForm};
use crate::snapshot::HttpRoute;
use crate::upstream::http::{Broken, Hold, Lease, Outgoing, Requests};
use crate::upstream::{Target, Tried};

/// The largest body that is read because a statement asks for its form, in bytes.
const LARGEST_FORM: usize = 64 * 1024;

/// What a request takes from the snapshot.
struct Matched {
    route: Option<Arc<HttpRoute>>,
    revision: u64,
    connect_timeout: Duration,
    timeout: Duration,
    /// What the limit of the route says, where one counts for it.
    limit: Option<Decision>,
}

/// A request's body, as far as it was read.
enum Arrived {
    Streaming(Incoming),
    Whole(Bytes),
}

/// A node's answer, and what it comes on.
struct Answered {
    response: Response<Incoming>,
    lease: Lease,
    patience: Patience,
}

/// Answers one request. `verdict` is that on its framing: a refused head is not what the client sent.
pub(super) async fn exchange(front: Arc<Front>, verdict: Result<(), Fault>, request: Request<Incoming>) -> Response<Reply> {
    let began = Instant::now();
    let (head, body) = request.into_parts();
    if let Err(fault) = verdict {
        tracing::debug!(session = front.session.id, rule = fault.rule(), "request refused");
        return refused(&front, began, &head, fault.status());
    }
    let (mut matched, body) = match find(&front, &head, body, began).await {
        Ok(found) => found,
        Err(status) => return refused(&front, began, &head, status),
    };
    front.may_rest(matched.timeout);
    let mut account = Account::open(&front, began, &head, matched.route.clone(), matched.revision);
    let version = head.version;
    let upgrade = asked_upgrade(&head);
    let pass = match toll::wait(matched.limit.take(), &front, matched.timeout).await {
        Ok(pass) => pass,
        Err(away) => return turned_away(&away, &matched, account),
    };
    account.hold(pass.hold);
    let answered = match &matched.route {
        Some(route) => forward(&front, head, body, route, &matched, &mut account).await,
        None => Err(Reason::NoRoute),
    };
    match answered {
        Ok(answered) => {
            let mut response = reply(&front, answered, upgrade, matched.route.as_deref(), account).await;
            if let Some(standing) = &pass.standing {
                toll::tell(standing, response.headers_mut());
            }
            response
        }
        Err(reason) => {
            let status = rescue::status(reason);
            account.answered(status);
            account.close(reason);
            let answer = if reason == Reason::BadRequest { rescue::refuse(status, version) } else { rescue::answer(status) };
            let (mut head, body) = answer.into_parts();
            if let Some(route) = &matched.route {
                route.transforms.local(&mut head);
            }
            Response::from_parts(head, body)
        }
    }
}

/// The answer to what the limit of its route does not let pass.
fn turned_away(away: &TurnedAway, matched: &Matched, mut account: Account) -> Response<Reply> {
    let status = rescue::status(away.reason);
    account.answered(status);
    account.close(away.reason);
    let (mut head, body) = rescue::answer(status).into_parts();
    away.tell(&mut head.headers);
    if let Some(route) = &matched.route {
        route.transforms.local(&mut head);
    }
    Response::from_parts(head, body)
}

/// The answer to what could not even be matched.
fn refused(front: &Arc<Front>, began: Instant, head: &request::Parts, status: StatusCode) -> Response<Reply> {
    let mut account = Account::open(front, began, head, None, front.shared.cell.load().revision());
    account.answered(status);
    account.close(Reason::BadRequest);
    rescue::refuse(status, head.version)
}

/// Finds the route; reads the body where the choice depends on it.
async fn find(front: &Front, head: &request::Parts, body: Incoming, began: Instant) -> Result<(Matched, Arrived), StatusCode> {
    let asked = Asked::read(head, front.secure)?;
    if let Ok(matched) = find_by(front, head, &asked, Form::Unread, began) {
        return Ok((matched, Arrived::Streaming(body)));
    }
    let bytes = read_form(front, body, began).await?;
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
async fn read_form(front: &Front, mut body: Incoming, began: Instant) -> Result<Bytes, StatusCode> {
    let limit = front.shared.cell.load().global().default_timeout;
    let mut patience = Patience::new(began, limit);
    patience.begin(began);
    let mut whole = BytesMut::new();
    loop {
        let frame = poll_fn(|cx| match std::pin::Pin::new(&mut body).poll_frame(cx) {
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

/// Sends a request to a node of the route and waits for the head of its answer.
async fn forward(
    front: &Front,
    mut head: request::Parts,
    body: Arrived,
    route: &HttpRoute,
    matched: &Matched,
    account: &mut Account,
) -> Result<Answered, Reason> {
    // a node that expects TLS must not be sent a request in the clear
    let Some(target) = route.target.as_ref().filter(|target| target.client().is_none()) else { return Err(Reason::NoUpstream) };
    let mut patience = Patience::new(account.began(), matched.timeout);
    let mut lease = lease(target, route, matched, &mut patience, account).await?;
    let hold = head.headers.contains_key(EXPECT).then(Arc::<Hold>::default);
    let upgrade = asked_upgrade(&head);
    transform(&mut head, front, route, target, &lease)?;
    if let Some(protocol) = upgrade {
        head.headers.insert(UPGRADE, protocol);
        head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
    let body = match body {
        Arrived::Streaming(body) if body.is_end_stream() => Outgoing::none(),
        Arrived::Streaming(body) => Outgoing::client(body, Some(account.tally().clone()), hold.clone()),
        Arrived::Whole(bytes) => Outgoing::whole(bytes),
    };
    let mut request = Request::from_parts(head, body);
    if let Some(hold) = hold {
        hyper::ext::on_informational(&mut request, move |answer| {
            if answer.status() == StatusCode::CONTINUE {
                hold.open();
            }
        });
    }
    loop {
        patience.begin(Instant::now());
        let sent = {
            let mut sent = pin!(lease.h1.send(request));
            poll_fn(|cx| match sent.as_mut().poll(cx) {
                Poll::Pending => patience.poll(cx, || account.tally().total()).map(|()| Err(None)),
                Poll::Ready(sent) => Poll::Ready(sent.map_err(Some)),
            })
            .await
        };
        match sent {
            Ok(response) => return Ok(Answered { response, lease, patience }),
            Err(None) => return Err(Reason::UpstreamTimeout),
            // nothing of it was sent: the connection had waited for too long
            Err(Some(Broken::Unsent(unsent))) => {
                request = *unsent;
                lease = lease.renew(matched.connect_timeout, &route.series, patience.timer()).await.map_err(|e| e.reason)?;
            }
            Err(Some(Broken::Sent(error))) => return Err(broken(&error)),
        }
    }
}

/// Makes of the client's head the one for the node.
fn transform(head: &mut request::Parts, front: &Front, route: &HttpRoute, target: &Target, lease: &Lease) -> Result<(), Reason> {
    let host = Asked::read(head, front.secure).map(|asked| asked.host.to_owned()).map_err(|_| Reason::BadRequest)?;
    let session = &front.session;
    let (node_authority, original_host) = match &target.spec().pass_host {
        PassHost::Pass => (&**lease.node.label(), true),
        PassHost::Node => (&**lease.node.label(), false),
        PassHost::Rewrite(authority) => (&**authority, false),
    };
    let facts = Facts {
        client: session.client().0,
        local: session.local.0,
        secure: front.secure,
        version: head.version,
        host: &host,
        node_authority,
        original_host,
        client_certificate: None,
    };
    route.transforms.request(head, &facts).map_err(|_| Reason::BadRequest)?;
    head.version = Version::HTTP_11;
    Ok(())
}

/// A connection to a node, noted in the account.
async fn lease(
    target: &Target,
    route: &HttpRoute,
    matched: &Matched,
    patience: &mut Patience,
    account: &mut Account,
) -> Result<Lease, Reason> {
    let mut way = Requests { target, connect_timeout: matched.connect_timeout, series: &route.series, tried: Tried::default(), tries: 0 };
    match way.lease(account.began(), patience.timer()).await {
        Ok(lease) => {
            account.reached(Some(lease.node.label().clone()), lease.retries, lease.connect);
            Ok(lease)
        }
        Err(error) => {
            account.reached(error.node.map(|node| node.label().clone()), error.tries.saturating_sub(1), None);
            Err(error.reason)
        }
    }
}

/// Whose doing it was that a request got no answer.
fn broken(error: &hyper::Error) -> Reason {
    if error.is_user() {
        Reason::ClientReset
    } else if error.is_parse() {
        Reason::BadResponse
    } else {
        Reason::UpstreamReset
    }
}

/// The node's answer as the client gets it.
async fn reply(
    front: &Front,
    answered: Answered,
    upgrade: Option<HeaderValue>,
    route: Option<&HttpRoute>,
    mut account: Account,
) -> Response<Reply> {
    let Answered { response, lease, patience } = answered;
    let (mut head, body) = response.into_parts();
    if framing::answer(&head).is_err() {
        account.answered(StatusCode::BAD_GATEWAY);
        account.close(Reason::BadResponse);
        return rescue::answer(StatusCode::BAD_GATEWAY);
    }
    account.answered(head.status);
    let protocol = (head.status == StatusCode::SWITCHING_PROTOCOLS).then(|| head.headers.get(UPGRADE).cloned());
    if let Some(route) = route {
        route.transforms.response(&mut head);
    }
    if let Some(protocol) = protocol {
        return switch(front, head, protocol.filter(|_| upgrade.is_some()), lease, account).await;
    }
    // what the client speaks is the server's business
    head.version = Version::HTTP_11;
    let mut reply = Reply::node(body, lease, patience);
    reply.on_account_of(account);
    poll_fn(|cx| {
        reply.settle(cx);
        Poll::Ready(())
    })
    .await;
    Response::from_parts(head, reply)
}

/// Leaves HTTP behind on both sides, as both agreed.
async fn switch(
    front: &Front,
    mut head: response::Parts,
    protocol: Option<HeaderValue>,
    lease: Lease,
    mut account: Account,
) -> Response<Reply> {
    let (Some(protocol), Lease { h1, node, .. }) = (protocol, lease) else {
        account.answered(StatusCode::BAD_GATEWAY);
        account.close(Reason::BadResponse);
        return rescue::answer(StatusCode::BAD_GATEWAY);
    };
    if front.may_switch().is_err() {
        account.answered(StatusCode::BAD_REQUEST);
        account.close(Reason::BadRequest);
        return rescue::refuse(StatusCode::BAD_REQUEST, head.version);
    }
    let Ok(upgraded) = h1.upgraded().await else {
        account.answered(StatusCode::BAD_GATEWAY);
        account.close(Reason::UpstreamReset);
        return rescue::answer(StatusCode::BAD_GATEWAY);
    };
    front.leave(Tunnel { upstream: upgraded, node, account });
    head.headers.insert(UPGRADE, protocol);
    head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    Response::from_parts(head, Reply::none())
}

/// The protocol that an HTTP/1.1 client would like to go on with (RFC 9110, 7.8).
fn asked_upgrade(head: &request::Parts) -> Option<HeaderValue> {
    let protocol = head.headers.get(UPGRADE)?;
    let named =
        |line: &HeaderValue| line.to_str().is_ok_and(|line| line.split(',').any(|name| name.trim().eq_ignore_ascii_case("upgrade")));
    (head.version == Version::HTTP_11 && head.headers.get_all(CONNECTION).iter().any(named)).then(|| protocol.clone())
}
