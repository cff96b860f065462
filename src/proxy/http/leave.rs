//! Requests that leave HTTP: upgrades of HTTP/1.1 and web sockets on streams of HTTP/2. What follows is the tunnel's.

use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::http::{request, response};
use hyper::{Response, StatusCode, Version};

use super::account::Account;
use super::patience::Patience;
use super::reply::Reply;
use super::rescue;
use super::serve::Front;
use super::tunnel::Tunnel;
use super::websocket::Bridge;
use crate::base::reason::Reason;
use crate::base::task;
use crate::upstream::http::{Lease, Link};

/// How a client would like to leave HTTP.
pub(super) enum Upgrade {
    /// With its whole connection, for this protocol.
    Line(HeaderValue),
    /// With a stream of HTTP/2, for a web socket.
    Stream(Bridge),
}

impl Upgrade {
    /// What a request asks for. A CONNECT becomes the GET that it stands for.
    ///
    /// # Errors
    /// The status to refuse a CONNECT with that is for no web socket.
    pub(super) fn asked(head: &mut request::Parts) -> Result<Option<Self>, StatusCode> {
        Ok(match Bridge::take(head)? {
            Some(bridge) => Some(Self::Stream(bridge)),
            None => asked_upgrade(head).map(Self::Line),
        })
    }

    /// Asks a node of HTTP/1.1 for it.
    pub(super) fn ask(&self, head: &mut request::Parts) {
        let protocol = match self {
            Self::Line(protocol) => protocol.clone(),
            Self::Stream(bridge) => {
                bridge.ask(head);
                HeaderValue::from_static("websocket")
            }
        };
        head.headers.insert(UPGRADE, protocol);
        head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

/// Leaves HTTP behind on both sides, as both agreed.
pub(super) fn switch(
    front: &Front,
    mut head: response::Parts,
    agreed: Option<(HeaderValue, Upgrade)>,
    lease: Lease,
    patience: Patience,
    mut account: Account,
) -> Response<Reply> {
    let (Some((protocol, upgrade)), Lease { link: Link::H1(h1), node, .. }) = (agreed, lease) else {
        return rescue::end(account, Reason::BadResponse);
    };
    match &upgrade {
        // nobody may go on with what the client did not name (RFC 9110, 7.8)
        Upgrade::Line(asked) if !words(&protocol).all(|word| names(asked, word)) => return rescue::end(account, Reason::BadResponse),
        Upgrade::Line(_) if front.may_switch().is_err() => return rescue::end(account, Reason::BadRequest),
        Upgrade::Stream(bridge) if !bridge.agreed(&mut head) => return rescue::end(account, Reason::BadResponse),
        Upgrade::Line(_) | Upgrade::Stream(_) => account.answered(head.status),
    }
    let Ok(upgraded) = h1.upgraded() else { return rescue::end(account, Reason::UpstreamReset) };
    let tunnel = Tunnel { upstream: upgraded, node, account, patience };
    match upgrade {
        Upgrade::Stream(bridge) => drop(task::spawn(tunnel.run_on_stream(bridge.stream))),
        Upgrade::Line(_) => {
            front.leave(tunnel);
            head.headers.insert(UPGRADE, protocol);
            head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        }
    }
    Response::from_parts(head, Reply::none())
}

/// The protocol that an HTTP/1.1 client would like to go on with (RFC 9110, 7.8). HTTP/2 is none that a node is asked for: its requests
/// would go by all routes, and nobody is to ask so any more (RFC 9113, 3.1).
fn asked_upgrade(head: &request::Parts) -> Option<HeaderValue> {
    let protocol = head.headers.get(UPGRADE)?;
    let named = head.headers.get_all(CONNECTION).iter().any(|line| names(line, "upgrade"));
    let is_http2 = head.headers.get_all(UPGRADE).iter().any(|line| names(line, "h2c") || names(line, "h2"));
    (head.version == Version::HTTP_11 && named && !is_http2).then(|| protocol.clone())
}

/// The words of a list; none of a line that is no text.
fn words(line: &HeaderValue) -> impl Iterator<Item = &str> {
    line.to_str().unwrap_or_default().split(',').map(str::trim)
}

/// Whether a list has a word, without case.
fn names(line: &HeaderValue, word: &str) -> bool {
    words(line).any(|one| one.eq_ignore_ascii_case(word))
}
