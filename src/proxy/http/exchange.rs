//! One request and its answer: matched, limited, sent to a node, answered.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::header::UPGRADE;
use hyper::http::request;
use hyper::{Response, StatusCode, Version};
use tokio::time::Instant;

use super::account::Account;
use super::forward::{Answered, forward};
use super::framing::{self, Fault};
use super::leave::{self, Upgrade};
use super::matching::find;
use super::reply::Reply;
use super::rescue;
use super::serve::Front;
use super::toll;
use crate::base::reason::Reason;

/// Answers one request. `verdict` is that on its framing: a refused head is not what the client sent.
pub(super) async fn exchange(front: Arc<Front>, verdict: Result<(), Fault>, mut head: request::Parts, body: Incoming) -> Response<Reply> {
    let began = Instant::now();
    if let Err(fault) = verdict {
        tracing::debug!(session = front.session.id, rule = fault.rule(), "request refused");
        return refused(&front, began, &head, fault.status());
    }
    let upgrade = match Upgrade::asked(&mut head) {
        Ok(upgrade) => upgrade,
        Err(status) => return refused(&front, began, &head, status),
    };
    let (mut matched, mut body) = match find(&front, &head, body, began).await {
        Ok(found) => found,
        Err(status) => return refused(&front, began, &head, status),
    };
    let mut account = Account::open(&front, began, &head, matched.route.clone(), matched.revision, matched.timeout);
    // behind a request for another protocol, what follows is no body
    if upgrade.is_none() && body.length().zip(matched.max_body_size).is_some_and(|(length, most)| length > most) {
        body.let_go(&front);
        return rescue::end(account, Reason::BodyTooLarge);
    }
    let pass = match toll::wait(matched.limit.take(), &front, matched.timeout).await {
        Ok(pass) => pass,
        Err(away) => {
            body.let_go(&front);
            return rescue::end_with(account, away.reason, rescue::status(away.reason), |headers| away.tell(headers));
        }
    };
    account.hold(pass.hold);
    let answered = match &matched.route {
        Some(route) => forward(&front, head, &mut body, upgrade.as_ref(), route, &matched, &mut account).await,
        None => Err(Reason::NoRoute),
    };
    match answered {
        Ok(answered) => {
            let mut response = reply(&front, answered, upgrade, account);
            if let Some(standing) = &pass.standing {
                toll::tell(standing, response.headers_mut());
            }
            response
        }
        Err(reason) => {
            body.let_go(&front);
            rescue::end(account, front.blame(reason))
        }
    }
}

/// The answer to what could not even be matched.
fn refused(front: &Arc<Front>, began: Instant, head: &request::Parts, status: StatusCode) -> Response<Reply> {
    let account = Account::open(front, began, head, None, front.shared.cell.load().revision(), Duration::ZERO);
    rescue::end_with(account, Reason::BadRequest, status, |_| ())
}

/// The node's answer as the client gets it.
fn reply(front: &Front, answered: Answered, upgrade: Option<Upgrade>, mut account: Account) -> Response<Reply> {
    let Answered { response, lease, patience } = answered;
    let (mut head, ()) = response.into_parts();
    // an answer of HTTP/1.1 was judged where it was parsed
    if lease.link.is_shared() && framing::answer(&head).is_err() {
        return rescue::end(account, Reason::BadResponse);
    }
    account.answered(head.status);
    let protocol = (head.status == StatusCode::SWITCHING_PROTOCOLS).then(|| head.headers.get(UPGRADE).cloned());
    if let Some(route) = account.route() {
        route.transforms.response(&mut head);
    }
    if let Some(protocol) = protocol {
        let agreed = protocol.zip(upgrade);
        return leave::switch(front, head, agreed, lease, patience, account);
    }
    if matches!(upgrade, Some(Upgrade::Stream(_))) && head.status.is_success() {
        // what would be a tunnel to the client is none to the node
        return rescue::end(account, Reason::BadResponse);
    }
    // what the client speaks is the server's business
    head.version = Version::HTTP_11;
    let mut reply = Reply::node(lease, patience);
    if account.speaks().is_10() && reply.size_hint().exact().is_none() {
        front.unframed();
    }
    reply.on_account_of(account);
    reply.settle();
    Response::from_parts(head, reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, B, C, D, F>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_request_is_small() {
        let bytes = size(exchange);
        assert!((2500..=3600).contains(&bytes), "{bytes} bytes: a change of this size wants a reason");
    }
}
