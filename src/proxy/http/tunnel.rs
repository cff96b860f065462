//! A connection after `101 Switching Protocols`: bytes both ways, whatever they mean.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::account::Account;
use super::patience::Patience;
use crate::base::meter::{ByteMeter, Direction};
use crate::base::reason::Reason;
use crate::live::sessions::Session;
use crate::net::relay::Relay;
use crate::net::wire::Wire;
use crate::upstream::Node;
use crate::upstream::http::Upgraded;

/// The node's side of a tunnel.
#[derive(Debug)]
pub(super) struct Tunnel {
    pub(super) upstream: Upgraded,
    pub(super) node: Arc<Node>,
    pub(super) account: Account,
}

impl Tunnel {
    /// Relays until an end. `early` is what the client sent after its request.
    pub(super) async fn run(self, client: Wire, early: Bytes, session: &Session, timeout: Duration) {
        let Self { upstream: Upgraded { wire, read }, node, account } = self;
        let _in_flight = node.hold();
        let reason = relay(client, early, wire, read, session, timeout, &account).await;
        account.close(reason);
    }
}

async fn relay(
    mut client: Wire,
    early: Bytes,
    mut node: Wire,
    read: Bytes,
    session: &Session,
    timeout: Duration,
    account: &Account,
) -> Reason {
    let tally = account.tally();
    // what both sides had sent already fits into their sockets: it was read in one go
    if !early.is_empty() {
        tally.moved(Direction::In, early.len());
        if node.write_all(&early).await.is_err() {
            return Reason::UpstreamReset;
        }
    }
    if !read.is_empty() {
        tally.moved(Direction::Out, read.len());
        if client.write_all(&read).await.is_err() {
            return Reason::ClientReset;
        }
    }
    let now = Instant::now();
    let mut patience = Patience::new(now, timeout);
    patience.begin(now);
    let (Wire::Plain(client), Wire::Plain(node)) = (client, node);
    let mut relay = pin!(Relay::new(client, node, tally.clone()));
    poll_fn(|cx| {
        if let Poll::Ready(reason) = relay.as_mut().poll(cx) {
            return Poll::Ready(reason);
        }
        if let Poll::Ready(reason) = session.poll_end(cx) {
            relay.reset();
            return Poll::Ready(reason);
        }
        patience.poll(cx, || tally.total()).map(|()| Reason::IdleTimeout)
    })
    .await
}
