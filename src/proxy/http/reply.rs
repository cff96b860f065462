//! The body of an answer on its way to the client. Whoever reads it drives the node's connection, and lets the next request have
//! that when the body has ended.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Instant;

use crate::base::meter::{ByteMeter, Direction};
use crate::upstream::http::{Lease, Meter};

/// An answer's body.
pub(super) struct Reply {
    source: Source,
    meter: Option<Meter>,
}

enum Source {
    None,
    Whole(Bytes),
    Node { body: Incoming, lease: Option<Lease> },
}

impl Reply {
    pub(super) const fn none() -> Self {
        Self { source: Source::None, meter: None }
    }

    pub(super) const fn whole(bytes: Bytes) -> Self {
        Self { source: Source::Whole(bytes), meter: None }
    }

    pub(super) fn node(body: Incoming, lease: Lease, meter: Option<Meter>, cx: &mut Context<'_>) -> Self {
        let mut reply = Self { source: Source::Node { body, lease: Some(lease) }, meter };
        if reply.is_end_stream() {
            reply.release(cx);
        }
        reply
    }

    /// Gives the connection back; the body has ended.
    fn release(&mut self, cx: &mut Context<'_>) {
        if let Source::Node { lease, .. } = &mut self.source
            && let Some(mut lease) = lease.take()
            && lease.h1.poll_drive(cx).is_pending()
        {
            lease.give_back(Instant::now());
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let frame = match &mut this.source {
            Source::None => return Poll::Ready(None),
            Source::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                return Poll::Ready(if bytes.is_empty() { None } else { Some(Ok(Frame::data(bytes))) });
            }
            Source::Node { body, lease } => match (Pin::new(&mut *body).poll_frame(cx), lease) {
                (Poll::Pending, Some(lease)) => {
                    // its end, well or not, is told by the body
                    let _ = lease.h1.poll_drive(cx);
                    std::task::ready!(Pin::new(body).poll_frame(cx))
                }
                (Poll::Pending, None) => return Poll::Pending,
                (Poll::Ready(frame), _) => frame,
            },
        };
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(meter), Some(data)) = (&this.meter, frame.data_ref()) {
                    meter.moved(Direction::Out, data.len());
                }
                if this.is_end_stream() {
                    this.release(cx);
                }
            }
            Some(Err(_)) => {}
            None => this.release(cx),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::None => true,
            Source::Whole(bytes) => bytes.is_empty(),
            Source::Node { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::None => SizeHint::with_exact(0),
            #[expect(clippy::as_conversions, reason = "a usize fits into 64 bits")]
            Source::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Node { body, .. } => body.size_hint(),
        }
    }
}
