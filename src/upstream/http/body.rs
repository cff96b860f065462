//! The body of a request on its way to a node: the client's own, streamed and counted, and held back where the node has to ask
//! for it first, and broken off where it is longer than it may be.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::base::meter::{ByteMeter, Direction};

/// How long a node may take to ask for a body that waits for that: what curl and .NET wait.
const ASKED: Duration = Duration::from_secs(1);

/// Who counts the bytes of a body.
pub type Meter = Arc<dyn ByteMeter + Send + Sync>;

/// Who takes a client's body that nobody reads to its end any more: the client, who still sends it, is to get its answer all the same.
pub trait Unread: Send + Sync {
    /// Takes what is left.
    fn left(self: Arc<Self>, rest: Incoming);
}

/// A request's body.
pub struct Outgoing {
    source: Source,
    meter: Option<Meter>,
    /// Until when it is kept back.
    held: Option<Pin<Box<Sleep>>>,
    bound: Option<Bound>,
    unread: Option<Arc<dyn Unread>>,
    /// Whether it comes on a stream of HTTP/2.
    is_stream: bool,
}

/// Why a body does not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Torn {
    /// The client's doing.
    #[error("the client's body broke off: {0}")]
    Client(#[from] hyper::Error),
    /// The client broke off a stream of HTTP/2, and called that no error.
    #[error("the client's body broke off")]
    Cut,
    /// It went on beyond its bound.
    #[error("the client's body is too large")]
    TooLarge,
}

/// How many bytes may still pass of a body whose length nobody told.
#[derive(Debug)]
pub struct Bound {
    left: u64,
    crossed: Arc<Crossed>,
}

/// Whether a body went beyond its bound; for whoever learns only that its request broke off.
#[derive(Debug, Default)]
pub struct Crossed(AtomicBool);

impl Crossed {
    /// Whether it did.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Bound {
    /// A bound of so many bytes, and where it is told that there were more.
    pub fn new(bytes: u64) -> (Self, Arc<Crossed>) {
        let crossed = Arc::<Crossed>::default();
        (Self { left: bytes, crossed: crossed.clone() }, crossed)
    }

    #[expect(clippy::as_conversions, reason = "a usize fits into 64 bits")]
    fn take(&mut self, bytes: usize) -> Result<(), Torn> {
        if let Some(left) = self.left.checked_sub(bytes as u64) {
            self.left = left;
            return Ok(());
        }
        self.crossed.0.store(true, Ordering::Release);
        Err(Torn::TooLarge)
    }
}

enum Source {
    None,
    Client(Incoming),
    Whole(Bytes),
}

impl Outgoing {
    /// No body.
    pub const fn none() -> Self {
        Self::of(Source::None)
    }

    const fn of(source: Source) -> Self {
        Self { source, meter: None, held: None, bound: None, unread: None, is_stream: false }
    }

    /// The client's body, counted as it goes. A held one is kept back until the node asked for it (`Expect: 100-continue`, RFC 9110
    /// 10.1.1), but not for long, as many nodes never ask; only connections of HTTP/1.1 are told of that. With a bound, what would cross it
    /// is not passed on.
    pub fn client(body: Incoming, meter: Option<Meter>, held: bool, bound: Option<Bound>) -> Self {
        let mut body = Self::of(Source::Client(body));
        (body.meter, body.bound) = (meter, bound);
        body.held = held.then(|| Box::pin(sleep(ASKED)));
        body
    }

    /// The same, and who takes what nobody reads of it.
    #[must_use]
    pub fn left_to(mut self, unread: Arc<dyn Unread>) -> Self {
        self.unread = Some(unread);
        self
    }

    /// The same of a client of HTTP/2. Its body is whole if its stream says so: one that was reset without an error ends like any other.
    #[must_use]
    pub const fn on_stream(mut self, is_stream: bool) -> Self {
        self.is_stream = is_stream;
        self
    }

    /// The body may go. Whoever polls it has to poll it again.
    pub(super) fn open(&mut self) {
        self.held = None;
    }

    /// A body that was read before. Its bytes have been counted.
    pub const fn whole(bytes: Bytes) -> Self {
        Self::of(Source::Whole(bytes))
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if let Source::Client(body) = std::mem::replace(&mut self.source, Source::None)
            && !body.is_end_stream()
            && let Some(unread) = self.unread.take()
        {
            unread.left(body);
        }
    }
}

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outgoing")
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Torn;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Torn>>> {
        let this = &mut *self;
        if let Some(held) = &mut this.held {
            std::task::ready!(held.as_mut().poll(cx));
            this.held = None;
        }
        match &mut this.source {
            Source::None => Poll::Ready(None),
            Source::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready(if bytes.is_empty() { None } else { Some(Ok(Frame::data(bytes))) })
            }
            Source::Client(body) => {
                let frame = std::task::ready!(Pin::new(&mut *body).poll_frame(cx));
                if frame.is_none() && this.is_stream && !body.is_end_stream() {
                    this.source = Source::None;
                    return Poll::Ready(Some(Err(Torn::Cut)));
                }
                if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref) {
                    if let Some(Err(torn)) = this.bound.as_mut().map(|bound| bound.take(data.len())) {
                        return Poll::Ready(Some(Err(torn)));
                    }
                    if let Some(meter) = &this.meter {
                        meter.moved(Direction::In, data.len());
                    }
                }
                if matches!(&frame, None | Some(Err(_))) {
                    // nothing is left of it
                    this.source = Source::None;
                }
                Poll::Ready(frame.map(|frame| frame.map_err(Torn::Client)))
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
