//! One HTTP/1.1 connection to a node. It is driven by the task that waits for its answer, so that a request crosses no task
//! and wakes nobody.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use super::body::Outgoing;
use crate::net::wire::Wire;

/// The largest answer head, in bytes.
const LARGEST_HEAD: usize = 64 * 1024;

/// A connection.
#[derive(Debug)]
pub struct H1 {
    sender: SendRequest<Outgoing>,
    conn: Connection<TokioIo<Wire>, Outgoing>,
    requests: u32,
}

/// A request that got no answer.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// Nothing of it was sent: it may go to another connection.
    #[error("the connection was closed before the request")]
    Unsent(Box<Request<Outgoing>>),
    /// Some of it may have arrived.
    #[error("no answer: {0}")]
    Sent(#[source] hyper::Error),
}

/// A connection that left HTTP behind.
#[derive(Debug)]
pub struct Upgraded {
    /// The stream.
    pub wire: Wire,
    /// What came on it after the answer's head.
    pub read: Bytes,
}

/// An answer that is on its way.
struct Answer<'a, F> {
    conn: &'a mut Connection<TokioIo<Wire>, Outgoing>,
    answer: Pin<&'a mut F>,
}

impl H1 {
    /// Speaks HTTP/1.1 on a connected stream. Nothing is sent yet.
    pub async fn open(wire: Wire) -> hyper::Result<Self> {
        let (sender, conn) = http1::Builder::new().max_header_size(LARGEST_HEAD).handshake(TokioIo::new(wire)).await?;
        Ok(Self { sender, conn, requests: 0 })
    }

    /// Requests that it has carried.
    pub const fn requests(&self) -> u32 {
        self.requests
    }

    /// Sends a request and waits for the head of its answer. Dropping the future leaves the connection unusable.
    pub async fn send(&mut self, request: Request<Outgoing>) -> Result<Response<Incoming>, Broken> {
        self.requests = self.requests.saturating_add(1);
        let mut answer = std::pin::pin!(self.sender.try_send_request(request));
        Answer { conn: &mut self.conn, answer: answer.as_mut() }.await.map_err(|mut e| match e.take_message() {
            Some(unsent) => Broken::Unsent(Box::new(unsent)),
            None => Broken::Sent(e.into_error()),
        })
    }

    /// Moves what can be moved. Ready when the connection has ended, well or not.
    pub fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.conn.poll_without_shutdown(cx).map(|_| ())
    }

    /// Whether the next request may go out on it. To be asked after it was driven.
    pub fn is_free(&self) -> bool {
        self.sender.is_ready()
    }

    /// Takes the stream back after an answer of `101 Switching Protocols`.
    pub async fn upgraded(mut self) -> hyper::Result<Upgraded> {
        std::future::poll_fn(|cx| self.conn.poll_without_shutdown(cx)).await?;
        let parts = self.conn.into_parts();
        Ok(Upgraded { wire: parts.io.into_inner(), read: parts.read_buf })
    }
}

impl<F> Future for Answer<'_, F>
where
    F: Future<Output = Result<Response<Incoming>, TrySendError<Request<Outgoing>>>>,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        // its end, well or not, is told by the answer
        let _ = this.conn.poll_without_shutdown(cx);
        this.answer.as_mut().poll(cx)
    }
}
