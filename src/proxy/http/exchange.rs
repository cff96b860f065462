//! One request and its answer.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::{Request, Response, StatusCode};
use tokio::time::{Instant, sleep_until};

use super::head;
use super::reply::Reply;
use super::serve::Front;
use crate::upstream::Tried;
use crate::upstream::http::{Broken, Outgoing, Requests};

pub(super) async fn exchange(front: &Front, request: Request<Incoming>) -> Response<Reply> {
    let began = Instant::now();
    let (mut parts, body) = request.into_parts();
    let route = front.route.clone();
    let Some(target) = &route.target else {
        return answer(StatusCode::SERVICE_UNAVAILABLE);
    };
    let mut timer = pin!(sleep_until(began));
    let mut way = Requests { target, connect_timeout: Duration::from_secs(3), series: &route.series, tried: Tried::default(), tries: 0 };
    let mut lease = match way.lease(began, timer.as_mut()).await {
        Ok(lease) => lease,
        Err(_) => return answer(StatusCode::BAD_GATEWAY),
    };
    head::towards_node(&mut parts, lease.node.label());
    let body = if body.is_end_stream() { Outgoing::none() } else { Outgoing::client(body, None, None) };
    match lease.h1.send(Request::from_parts(parts, body)).await {
        Ok(response) => {
            let (mut parts, body) = response.into_parts();
            head::drop_hops(&mut parts.headers);
            let reply = poll_fn(|cx| Poll::Ready(()).map(|()| cx.waker().clone())).await;
            let mut cx = std::task::Context::from_waker(&reply);
            let body = Reply::node(body, lease, None, &mut cx);
            Response::from_parts(parts, body)
        }
        Err(Broken::Unsent(_) | Broken::Sent(_)) => answer(StatusCode::BAD_GATEWAY),
    }
}

fn answer(status: StatusCode) -> Response<Reply> {
    let mut response = Response::new(Reply::whole(Bytes::new()));
    *response.status_mut() = status;
    response
}
