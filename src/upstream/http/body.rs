//! The body of a request on its way to a node: the client's own, streamed and counted, and held back where the node has to ask
//! for it first.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::base::meter::{ByteMeter, Direction};

/// Who counts the bytes of a body.
pub type Meter = Arc<dyn ByteMeter + Send + Sync>;

/// A request's body.
pub struct Outgoing {
    source: Source,
    meter: Option<Meter>,
    hold: Option<Arc<Hold>>,
}

enum Source {
    None,
    Client(Incoming),
    Whole(Bytes),
}

/// Keeps a body back until the node asked for it (`Expect: 100-continue`, RFC 9110 10.1.1).
#[derive(Debug, Default)]
pub struct Hold {
    open: AtomicBool,
    waker: AtomicWaker,
}

impl Hold {
    /// The body may go.
    pub fn open(&self) {
        self.open.store(true, Ordering::Release);
        self.waker.wake();
    }

    fn poll_open(&self, cx: &Context<'_>) -> Poll<()> {
        if self.open.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        self.waker.register(cx.waker());
        // looked at again, for an opening that came between the look and the registration
        if self.open.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Outgoing {
    /// No body.
    pub const fn none() -> Self {
        Self { source: Source::None, meter: None, hold: None }
    }

    /// The client's body, counted as it goes, and held until asked for where there is a hold.
    pub const fn client(body: Incoming, meter: Option<Meter>, hold: Option<Arc<Hold>>) -> Self {
        Self { source: Source::Client(body), meter, hold }
    }

    /// A body that was read before. Its bytes have been counted.
    pub const fn whole(bytes: Bytes) -> Self {
        Self { source: Source::Whole(bytes), meter: None, hold: None }
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
        if let Some(hold) = &this.hold {
            std::task::ready!(hold.poll_open(cx));
            this.hold = None;
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
