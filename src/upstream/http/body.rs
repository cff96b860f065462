//! The body of a request on its way to a node: the client's own, streamed and counted, and held back where the node has to ask
//! for it first.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::base::meter::{ByteMeter, Direction};

/// Who counts the bytes of a body.
pub type Meter = Arc<dyn ByteMeter + Send + Sync>;

/// A request's body.
pub struct Outgoing {
    source: Source,
    meter: Option<Meter>,
    held: bool,
}

enum Source {
    None,
    Client(Incoming),
    Whole(Bytes),
}

impl Outgoing {
    /// No body.
    pub const fn none() -> Self {
        Self { source: Source::None, meter: None, held: false }
    }

    /// The client's body, counted as it goes. A held one is kept back until the node asked for it (`Expect: 100-continue`, RFC 9110
    /// 10.1.1); only connections of HTTP/1.1 are told of that.
    pub const fn client(body: Incoming, meter: Option<Meter>, held: bool) -> Self {
        Self { source: Source::Client(body), meter, held }
    }

    /// The body may go. Whoever polls it has to poll it again.
    pub(super) const fn open(&mut self) {
        self.held = false;
    }

    /// A body that was read before. Its bytes have been counted.
    pub const fn whole(bytes: Bytes) -> Self {
        Self { source: Source::Whole(bytes), meter: None, held: false }
    }
}

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outgoing")
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        if this.held {
            return Poll::Pending;
        }
        match &mut this.source {
            Source::None => Poll::Ready(None),
            Source::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready(if bytes.is_empty() { None } else { Some(Ok(Frame::data(bytes))) })
            }
            Source::Client(body) => {
                let frame = std::task::ready!(Pin::new(body).poll_frame(cx));
                if let (Some(Ok(frame)), Some(meter)) = (&frame, &this.meter)
                    && let Some(data) = frame.data_ref()
                {
                    meter.moved(Direction::In, data.len());
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::None => true,
            Source::Client(body) => body.is_end_stream(),
            Source::Whole(bytes) => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::None => SizeHint::with_exact(0),
            Source::Client(body) => body.size_hint(),
            #[expect(clippy::as_conversions, reason = "a usize fits into 64 bits")]
            Source::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}
