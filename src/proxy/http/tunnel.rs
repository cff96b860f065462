//! A connection after `101 Switching Protocols`: bytes both ways, whatever they mean.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;

use super::account::{Account, Tally};
use super::patience::Patience;
use super::pump::pump;
use crate::base::meter::{ByteMeter, Direction};
use crate::base::reason::Reason;
use crate::live::sessions::Session;
use crate::net::relay::Relay;
use crate::proxy::crypt::{Crypt, End};
use crate::proxy::tcp::Tie;
use crate::tls::Wire;
use crate::upstream::Node;
use crate::upstream::http::Upgraded;

/// The node's side of a tunnel.
#[derive(Debug)]
pub(super) struct Tunnel {
    pub(super) upstream: Upgraded,
    pub(super) node: Arc<Node>,
    pub(super) account: Account,
    /// How long nothing may move.
    pub(super) patience: Patience,
}

impl Tunnel {
    /// Relays until an end. `early` is what the client sent after its request.
    pub(super) async fn run(self, client: Wire, early: Bytes, session: &Session) {
        let Self { upstream: Upgraded { wire, read }, node, account, patience } = self;
        let _in_flight = node.hold();
        let reason = relay(client, early, wire, read, session, patience.alone(), &account).await;
        account.close(reason);
    }

    /// Relays between the node and a stream of HTTP/2 that was answered. The end of its connection is its end.
    pub(super) async fn run_on_stream(self, stream: OnUpgrade) {
        let Self { upstream: Upgraded { wire, read }, node, account, mut patience } = self;
        let _in_flight = node.hold();
        let Ok(stream) = stream.await else { return account.close(Reason::ClientReset) };
        let mut client = TokioIo::new(stream);
        if !read.is_empty() {
            account.tally().moved(Direction::Out, read.len());
            if client.write_all(&read).await.is_err() {
                return account.close(Reason::ClientReset);
            }
        }
        patience.begin();
        let reason = pump(client, wire, account.tally(), patience).await;
        account.close(reason);
    }
}

async fn relay(
    mut client: Wire,
    early: Bytes,
    mut node: Wire,
    read: Bytes,
    session: &Session,
    mut patience: Patience,
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
    patience.begin();
    match (client, node) {
        (Wire::Plain(client), Wire::Plain(node)) => tied(Relay::new(client, node, tally.clone()), session, patience, tally).await,
        (client, node) => tied(Crypt::new(End::of(client), End::of(node), tally.clone()), session, patience, tally).await,
    }
}

/// Lets a relay run until it ends, somebody ends the session, or nothing moves.
async fn tied(mut relay: impl Tie, session: &Session, mut patience: Patience, tally: &Tally) -> Reason {
    poll_fn(|cx| {
        if let Poll::Ready(reason) = Pin::new(&mut relay).poll(cx) {
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
