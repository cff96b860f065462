//! One HTTP/2 connection to a node, shared by the requests of one worker. Tasks of its own drive it; a request takes a stream of it
//! and leaves by dropping that.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use atomic_waker::AtomicWaker;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http2::{self, Connection, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use super::body::Outgoing;
use super::error::Error;
use super::h1::Broken;
use super::kind::Kind;
use crate::base::reason::Reason;
use crate::base::task;
use crate::net::through::writes_through;
use crate::tls::Wire;

/// The longest list of header lines that an answer may have, in bytes.
const LARGEST_HEAD: u32 = 64 * 1024;
/// The most streams on one connection, whatever the node allows: one connection is one lock and one TCP window.
const MOST_STREAMS: usize = 128;

/// A connection that takes further streams.
#[derive(Debug)]
pub struct Shared {
    sender: SendRequest<Outgoing>,
    load: Arc<Load>,
    /// When a stream was last taken.
    since: Instant,
}

/// One stream of a connection, for one request. Dropping it makes room for another.
#[derive(Debug)]
pub struct H2 {
    sender: SendRequest<Outgoing>,
    load: Arc<Load>,
    /// The answer's body, once there is an answer.
    answer: Option<Incoming>,
}

/// How much is on a connection, and how much may be.
#[derive(Debug, Default)]
struct Load {
    kind: Kind,
    streams: AtomicUsize,
    /// What the node allows; 0 as long as it has not said.
    most: AtomicUsize,
    /// Wakes whoever drives the connection when it has read something, until the node has said what it allows.
    driver: AtomicWaker,
    /// Wakes whoever waits for that word.
    opener: AtomicWaker,
}

/// The wire, with an eye on what is read from it.
struct Watched {
    wire: Wire,
    load: Arc<Load>,
}

impl Shared {
    /// Speaks HTTP/2 on a connected stream of some kind, and waits until the node does: only then it is known to, and how many streams it
    /// takes.
    pub async fn open(wire: Wire, kind: Kind, now: Instant) -> Result<Self, Reason> {
        let load = Arc::new(Load { kind, ..Load::default() });
        let io = TokioIo::new(Watched { wire, load: load.clone() });
        // no stream is opened before the node's SETTINGS say how many. There are no pings: gRPC servers close connections of clients
        // that send them while nothing else moves
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).initial_max_send_streams(0).max_header_list_size(LARGEST_HEAD);
        let (sender, conn) = builder.handshake(io).await.map_err(|_| Reason::UpstreamReset)?;
        drop(task::spawn(drive(conn, load.clone())));
        let shared = Self { sender, load, since: now };
        poll_fn(|cx| shared.poll_open(cx)).await?;
        Ok(shared)
    }

    fn poll_open(&self, cx: &Context<'_>) -> Poll<Result<(), Reason>> {
        self.load.opener.register(cx.waker());
        if self.load.most.load(Ordering::Acquire) > 0 {
            return Poll::Ready(Ok(()));
        }
        if self.sender.is_closed() { Poll::Ready(Err(Reason::BadResponse)) } else { Poll::Pending }
    }

    /// A stream, if there is room for one.
    pub fn stream(&mut self, now: Instant) -> Option<H2> {
        let most = self.load.most.load(Ordering::Acquire).min(MOST_STREAMS);
        if self.sender.is_closed() || self.load.streams.load(Ordering::Relaxed) >= most {
            return None;
        }
        self.since = now;
        self.load.streams.fetch_add(1, Ordering::Relaxed);
        Some(H2 { sender: self.sender.clone(), load: self.load.clone(), answer: None })
    }

    /// Whether it is worth keeping: open, and used within `idle`.
    pub fn is_wanted(&self, idle: std::time::Duration, now: Instant) -> bool {
        let used = self.load.streams.load(Ordering::Relaxed) > 0 || now.saturating_duration_since(self.since) < idle;
        used && self.is_open()
    }

    /// Which kind of connection it is.
    pub fn kind(&self) -> &Kind {
        &self.load.kind
    }

    /// Whether it takes streams at all.
    pub fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }
}

impl H2 {
    /// Which kind of connection it is of.
    pub fn kind(&self) -> &Kind {
        &self.load.kind
    }

    /// Sends a request and waits for the head of its answer. Dropping the future resets the stream and harms no other.
    pub async fn send(&mut self, request: Request<Outgoing>) -> Result<Response<()>, Broken> {
        let response = self.sender.try_send_request(request).await.map_err(|mut e| match e.take_message() {
            Some(unsent) => Broken::Unsent(Box::new(unsent)),
            None => Broken::Sent(Error::Stream(e.into_error())),
        })?;
        Ok(response.map(|body| self.answer = Some(body)))
    }

    /// The next piece of the answer's body, or its trailers.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(answer) = &mut self.answer else { return Poll::Ready(None) };
        match ready!(Pin::new(&mut *answer).poll_frame(cx)) {
            // a stream that was reset without an error ends like a whole one
            None if !answer.is_end_stream() => Poll::Ready(Some(Err(Error::Cut))),
            frame => Poll::Ready(frame.map(|frame| frame.map_err(Error::Stream))),
        }
    }

    /// Whether nothing more of the answer is to come. False as long as that is not known.
    pub fn is_end_stream(&self) -> bool {
        self.answer.as_ref().is_none_or(Body::is_end_stream)
    }

    /// How much of the answer's body is to come.
    pub fn size_hint(&self) -> SizeHint {
        self.answer.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl Drop for H2 {
    fn drop(&mut self) {
        self.load.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Drives a connection to its end, and notes what the node allows.
async fn drive(mut conn: Connection<TokioIo<Watched>, Outgoing, TokioExecutor>, load: Arc<Load>) {
    let ended = poll_fn(|cx| {
        load.driver.register(cx.waker());
        let ended = Pin::new(&mut conn).poll(cx);
        load.most.store(conn.current_max_send_streams(), Ordering::Release);
        load.opener.wake();
        ended
    })
    .await;
    drop(conn);
    load.opener.wake();
    if let Err(error) = ended {
        tracing::debug!(%error, "HTTP/2 connection to a node");
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.wire).poll_read(cx, buf);
        if read.is_ready() && self.load.most.load(Ordering::Relaxed) == 0 {
            self.load.driver.wake();
        }
        read
    }
}

writes_through!(Watched, wire);
