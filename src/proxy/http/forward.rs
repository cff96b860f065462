//! A request on its way to a node, until the head of the answer has come.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use hyper::body::Body as _;
use hyper::http::request;
use hyper::http::uri::Scheme;
use hyper::{Request, Response, Version};

use super::account::Account;
use super::leave::Upgrade;
use super::matching::{Arrived, Matched};
use super::outward;
use super::patience::Patience;
use super::serve::Front;
use crate::base::reason::Reason;
use crate::snapshot::HttpRoute;
use crate::upstream::Target;
use crate::upstream::http::{Bound, Broken, Lease, Outgoing, Requests};

/// A node's answer, and what it comes on.
pub(super) struct Answered {
    pub(super) response: Response<()>,
    pub(super) lease: Lease,
    pub(super) patience: Patience,
}

/// Sends a request to a node of the route and waits for the head of its answer.
pub(super) async fn forward(
    front: &Arc<Front>,
    mut head: request::Parts,
    body: &mut Arrived,
    upgrade: Option<&Upgrade>,
    route: &HttpRoute,
    matched: &Matched,
    account: &mut Account,
) -> Result<Answered, Reason> {
    let Some(target) = &route.target else { return Err(Reason::NoUpstream) };
    let mut patience = Patience::of(front, matched.timeout);
    let authority = outward::authority(&head, route, target);
    let mut lease = lease((target, authority), route, matched, &mut patience, account).await?;
    let held = outward::expects(&mut head, &lease.link);
    outward::transform(&mut head, front, route, target, &lease)?;
    if lease.link.is_shared() {
        outward::to_h2(&mut head, if target.client().is_some() { Scheme::HTTPS } else { Scheme::HTTP })?;
    } else {
        head.version = Version::HTTP_11;
        if let Some(upgrade) = upgrade {
            upgrade.ask(&mut head);
        }
    }
    let body = match std::mem::replace(body, Arrived::Whole(Bytes::new())) {
        Arrived::Streaming(body) if body.is_end_stream() => Outgoing::none(),
        Arrived::Streaming(body) => {
            let unknown = matched.max_body_size.filter(|_| upgrade.is_none() && body.size_hint().exact().is_none());
            let (bound, crossed) = unknown.map(Bound::new).unzip();
            account.bounded(crossed);
            Outgoing::client(body, Some(account.tally().clone()), held, bound).left_to(front.clone()).on_stream(!front.watches())
        }
        Arrived::Whole(bytes) => Outgoing::whole(bytes),
    };
    let mut request = Request::from_parts(head, body);
    loop {
        patience.begin();
        let sent = {
            let mut sent = pin!(lease.link.send(request));
            poll_fn(|cx| match sent.as_mut().poll(cx) {
                Poll::Pending => patience.poll(cx, || account.tally().total()).map(|()| Err(None)),
                Poll::Ready(sent) => Poll::Ready(sent.map_err(Some)),
            })
            .await
        };
        match sent {
            Ok(response) => return Ok(Answered { response, lease, patience }),
            Err(None) => return Err(Reason::UpstreamTimeout),
            // the connection had waited for too long
            Err(Some(Broken::Unsent(unsent))) => {
                request = *unsent;
                // boxed, like all that most requests do not come to: it would be in the memory of each
                lease = Box::pin(lease.renew(matched.connect_timeout, &route.series, patience.timer())).await.map_err(|e| e.reason)?;
            }
            Err(Some(Broken::Sent(_))) if account.crossed() => return Err(Reason::BodyTooLarge),
            Err(Some(Broken::Sent(error))) => return Err(error.reason()),
        }
    }
}

/// A connection to a node, noted in the account.
async fn lease(
    (target, authority): (&Target, Option<&str>),
    route: &HttpRoute,
    matched: &Matched,
    patience: &mut Patience,
    account: &mut Account,
) -> Result<Lease, Reason> {
    let way = Requests { target, authority, connect_timeout: matched.connect_timeout, series: &route.series };
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
