//! The body of an answer on its way to the client. Whoever reads it drives the node's connection, and lets the next request have
//! that when the body has ended.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::account::Account;
use super::patience::Patience;
use crate::base::meter::{ByteMeter, Direction};
use crate::base::reason::Reason;
use crate::upstream::http::{self as upstream, Lease};

/// An answer's body, and what ends with it.
pub(super) struct Reply {
    source: Source,
    account: Option<Account>,
    /// Whether trailers may follow that the node does not send.
    trailing: bool,
    /// Why it broke off, until whoever reads it is told.
    broken: Option<Cut>,
}

enum Source {
    None,
    Node(Box<FromNode>),
}

/// A body that comes from a node.
struct FromNode {
    /// What it comes on, as long as it does.
    lease: Option<Lease>,
    patience: Patience,
}

/// Why an answer broke off after its head.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cut {
    /// The node's doing.
    #[error("the node's answer broke off: {0}")]
    Node(#[source] upstream::Error),
    /// Nothing moved.
    #[error("nothing moved for the timeout of the route")]
    Quiet,
}

impl Reply {
    /// No body.
    pub(super) const fn none() -> Self {
        Self { source: Source::None, account: None, trailing: false, broken: None }
    }

    /// A node's body, on the connection that it comes on.
    pub(super) fn node(lease: Lease, patience: Patience) -> Self {
        Self { source: Source::Node(Box::new(FromNode { lease: Some(lease), patience })), account: None, trailing: false, broken: None }
    }

    /// The account that is closed when the body has ended.
    pub(super) fn on_account_of(&mut self, account: Account) {
        self.trailing = account.adds_trailers();
        self.account = Some(account);
    }

    /// Ends at once where there is nothing to come: nobody asks a body without bytes for its end.
    pub(super) fn settle(&mut self) {
        if self.is_end_stream() {
            self.ended();
        }
    }

    /// The body has ended as it should.
    fn ended(&mut self) {
        if let Source::Node(node) = &mut self.source {
            node.release();
        }
        if let Some(account) = self.account.take() {
            account.close(Reason::Ok);
        }
    }

    /// The end of the body, with trailers or without. Whoever sends trailers does not ask for what follows them.
    fn finish(&mut self, trailers: Option<HeaderMap>) -> Option<Result<Frame<Bytes>, Cut>> {
        self.trailing = false;
        let trailers = match &self.account {
            Some(account) => account.trailers(trailers),
            None => trailers,
        };
        self.ended();
        trailers.map(|trailers| Ok(Frame::trailers(trailers)))
    }

    /// The body breaks off. Whoever reads it drops what it has not sent yet once it is told, and the client would not even see the
    /// status: so it gets a turn to send that before.
    fn cut(&mut self, cut: Cut, cx: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Some(account) = self.account.take() {
            account.close(match &cut {
                Cut::Node(error) => error.reason(),
                Cut::Quiet => Reason::IdleTimeout,
            });
        }
        self.broken = Some(cut);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl FromNode {
    fn poll(&mut self, cx: &mut Context<'_>, moved: impl Fn() -> u64) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let Some(lease) = &mut self.lease else { return Poll::Ready(None) };
        match lease.link.poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(frame.map(|frame| frame.map_err(Cut::Node))),
            Poll::Pending => self.patience.poll(cx, moved).map(|()| Some(Err(Cut::Quiet))),
        }
    }

    /// Gives the connection back.
    fn release(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.give_back(Instant::now());
        }
    }

    fn is_end_stream(&self) -> bool {
        self.lease.as_ref().is_none_or(|lease| lease.link.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.lease.as_ref().map_or_else(|| SizeHint::with_exact(0), |lease| lease.link.size_hint())
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = &mut *self;
        if let Some(cut) = this.broken.take() {
            return Poll::Ready(Some(Err(cut)));
        }
        let Source::Node(node) = &mut this.source else { return Poll::Ready(None) };
        let tally = this.account.as_ref().map(Account::tally);
        match ready!(node.poll(cx, || tally.map_or(0, |tally| tally.total()))) {
            Some(Ok(frame)) if frame.is_trailers() => {
                let trailers = frame.into_trailers().ok();
                Poll::Ready(this.finish(trailers))
            }
            Some(Ok(frame)) => {
                if let (Some(tally), Some(data)) = (tally, frame.data_ref()) {
                    tally.moved(Direction::Out, data.len());
                }
                // whoever sends a body of known length does not ask for what follows its last byte
                if node.is_end_stream() && !this.trailing {
                    this.ended();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(cut)) => this.cut(cut, cx),
            None => Poll::Ready(this.finish(None)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::None => true,
            Source::Node(node) => node.is_end_stream() && !self.trailing,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::None => SizeHint::with_exact(0),
            Source::Node(node) => node.size_hint(),
        }
    }
}
