//! One HTTP/1.1 connection to a node. It is driven by the task that waits for its answer, so that a request crosses no task and no
//! channel. HTTP/2 and the choice of a connection live elsewhere.

mod body;
mod chunk;
mod head;
mod inbox;
mod outbox;
mod request;
mod spare;

#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::body::{Framing, Next};
use self::head::{Asked, Head};
use self::inbox::Inbox;
use self::outbox::Outbox;
use self::request::{Filled, Sending};
use super::body::Outgoing;
use super::error::{Error, Malformed};
use super::kind::Kind;
use crate::tls::Wire;

/// A connection.
#[derive(Debug)]
pub struct H1<W = Wire> {
    wire: W,
    inbox: Inbox,
    outbox: Outbox,
    request: Sending,
    /// Whether all of the request was written, or never will be.
    sent: bool,
    answer: Answer,
    /// Whether the node has said anything since the request.
    heard: bool,
    /// Whether both sides let the connection live.
    keep: bool,
    requests: u32,
    kind: Kind,
}

/// Where the node's side is.
#[derive(Debug)]
enum Answer {
    /// A head is to come.
    Head(Asked),
    /// A body is, unless it has ended.
    Body(Framing),
    /// Another protocol.
    Switched,
}

/// A request that got no answer.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// It may go to another connection: nothing of it was sent; or it has no body, asks for the same however often it is sent (RFC 9110,
    /// 9.2.2), and met a connection that the node was closing (RFC 9112, 9.3.1).
    #[error("the connection was closed before the request")]
    Unsent(Box<Request<Outgoing>>),
    /// Some of it may have arrived.
    #[error("no answer: {0}")]
    Sent(#[source] Error),
}

/// A connection that left HTTP behind.
#[derive(Debug)]
pub struct Upgraded<W = Wire> {
    /// The stream.
    pub wire: W,
    /// What came on it after the answer's head.
    pub read: Bytes,
}

impl<W: AsyncRead + AsyncWrite + Unpin> H1<W> {
    /// Speaks HTTP/1.1 on a connected stream of some kind. Nothing is sent yet.
    pub fn new(wire: W, kind: Kind) -> Self {
        Self {
            wire,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            request: Sending::none(),
            sent: true,
            answer: Answer::Body(Framing::Ended),
            heard: false,
            keep: true,
            requests: 0,
            kind,
        }
    }

    /// Requests that it has carried.
    pub const fn requests(&self) -> u32 {
        self.requests
    }

    /// Which kind of connection it is.
    pub const fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Sends a request and waits for the head of its answer; the body is read with [`Self::poll_frame`]. Where the request's own body
    /// is still to come then, it goes on as long as that is polled. Dropping the future leaves the connection unusable.
    ///
    /// # Errors
    /// [`Broken::Unsent`] only on a connection that has waited since an earlier request.
    pub async fn send(&mut self, request: Request<Outgoing>) -> Result<Response<()>, Broken> {
        let (mut head, body) = request.into_parts();
        let told;
        (self.request, told) = Sending::begin(&head, body, &mut self.outbox);
        (self.sent, self.answer, self.heard, self.keep) = (false, Answer::Head(told.asked), false, told.keep);
        let again = self.requests > 0 && self.request.is_done() && head.method.is_idempotent();
        self.inbox.begin();
        if let Err(error) = poll_fn(|cx| self.poll_begin(cx)).await {
            return Err(self.not_begun(head, error));
        }
        self.requests = self.requests.saturating_add(1);
        // the answer's fields take the place of the request's
        match poll_fn(|cx| self.poll_answer(&mut head.headers, cx)).await {
            Ok(response) => Ok(response),
            Err(Error::Closed | Error::Wire(_)) if again && !self.heard => {
                self.give_up();
                Err(Broken::Unsent(Box::new(Request::from_parts(head, Outgoing::none()))))
            }
            Err(error) => Err(Broken::Sent(error)),
        }
    }

    /// The next piece of the answer's body. An error is the last word.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.poll_body(cx).map(Result::transpose)
    }

    /// Whether nothing more of the answer is to come. False as long as that is not known.
    pub const fn is_end_stream(&self) -> bool {
        matches!(&self.answer, Answer::Body(framing) if framing.is_ended())
    }

    /// How much of the answer's body is to come.
    pub fn size_hint(&self) -> SizeHint {
        match &self.answer {
            Answer::Body(framing) => framing.size_hint(),
            Answer::Head(_) | Answer::Switched => SizeHint::default(),
        }
    }

    /// Whether the next request may go out on it: request and answer were whole, and nobody said that they were the last.
    pub fn is_free(&self) -> bool {
        self.keep && self.is_end_stream() && self.sent && self.request.is_done() && self.inbox.bytes.is_empty()
    }

    /// Lets go of all memory that an idle connection does not need.
    pub fn rest(&mut self) {
        self.outbox.clear();
        self.inbox.clear();
    }

    /// Says the end to the node where that is more than closing, before the connection goes: over TLS a `close_notify` (RFC 8446, 6.1). What
    /// the socket does not take at once is not worth waiting for.
    pub fn say_end(&mut self) {
        let _ = Pin::new(&mut self.wire).poll_shutdown(&mut Context::from_waker(Waker::noop()));
    }

    /// Whether a connection at rest is open still: one that has anything to say is not. No system call if nothing came.
    pub fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        let read = Pin::new(&mut self.wire).poll_read(&mut Context::from_waker(Waker::noop()), &mut ReadBuf::new(&mut byte));
        read.is_pending()
    }

    /// Takes the stream back after an answer of `101 Switching Protocols`.
    pub fn upgraded(self) -> Result<Upgraded<W>, Error> {
        if !matches!(self.answer, Answer::Switched) || !self.sent || !self.request.is_done() {
            return Err(Error::Closed);
        }
        Ok(Upgraded { wire: self.wire, read: self.inbox.bytes.freeze() })
    }

    /// Ready when the first bytes were written.
    fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.request.fill(&mut self.outbox, cx)?;
        self.outbox.poll_write(&mut self.wire, cx).map_err(Error::Wire)
    }

    fn not_begun(&mut self, head: Parts, error: Error) -> Broken {
        let request = self.give_up();
        match request.into_whole() {
            // what fails at once on a new connection would fail so again and again
            Some(body) if self.requests > 0 && matches!(error, Error::Wire(_)) => Broken::Unsent(Box::new(Request::from_parts(head, body))),
            _ => Broken::Sent(error),
        }
    }

    fn poll_answer(&mut self, headers: &mut HeaderMap, cx: &mut Context<'_>) -> Poll<Result<Response<()>, Error>> {
        let Answer::Head(asked) = self.answer else { return Poll::Ready(Err(Error::Closed)) };
        self.push(cx)?;
        loop {
            let before = self.inbox.bytes.len();
            if ready!(self.inbox.poll_fill(&mut self.wire, u64::MAX, cx)).map_err(Error::Wire)? == 0 {
                return Poll::Ready(Err(Error::Closed));
            }
            self.heard = true;
            // no head ends without the end of a line
            let is_line = memchr::memchr(b'\n', self.inbox.bytes.get(before..).unwrap_or_default()).is_some();
            while is_line && let Some(head) = head::parse(&mut self.inbox.bytes, asked, headers)? {
                if let Some(response) = self.head(head, headers) {
                    return Poll::Ready(Ok(response));
                }
                self.push(cx)?;
            }
            if self.inbox.bytes.len() > head::LARGEST {
                return Poll::Ready(Err(Malformed::TooLarge.into()));
            }
        }
    }

    /// Takes a head; `None` if it is but news (RFC 9110, 15.2).
    fn head(&mut self, head: Head, headers: &mut HeaderMap) -> Option<Response<()>> {
        let Head { mut response, framing, keep } = head;
        let status = response.status();
        if status == StatusCode::SWITCHING_PROTOCOLS {
            self.answer = Answer::Switched;
        } else if status.is_informational() {
            if status == StatusCode::CONTINUE {
                self.request.open();
            }
            *headers = std::mem::take(response.headers_mut());
            return None;
        } else {
            self.keep &= keep;
            self.answer = Answer::Body(framing);
        }
        Some(response)
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, Error>> {
        self.push(cx)?;
        loop {
            let Answer::Body(framing) = &mut self.answer else { return Poll::Ready(Err(Error::Closed)) };
            let left = match framing.next(&mut self.inbox.bytes)? {
                Next::Data(data) => return Poll::Ready(Ok(Some(Frame::data(data)))),
                Next::Trailers(trailers) => return Poll::Ready(Ok(Some(Frame::trailers(*trailers)))),
                Next::End => return Poll::Ready(Ok(None)),
                Next::More(left) => left,
            };
            if ready!(self.inbox.poll_fill(&mut self.wire, left, cx)).map_err(Error::Wire)? == 0
                && let Answer::Body(framing) = &mut self.answer
            {
                framing.closed()?;
            }
        }
    }

    /// Sends what can be sent of the request. A node that takes no more of it may have answered all the same.
    fn push(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        if self.sent {
            return Ok(());
        }
        match self.poll_request(cx) {
            Poll::Ready(Ok(())) => {
                self.sent = true;
                self.outbox.clear();
            }
            Poll::Ready(Err(Error::Wire(error))) => {
                tracing::debug!(%error, "a node takes no more of a request");
                self.give_up();
            }
            Poll::Ready(Err(error)) => {
                self.give_up();
                return Err(error);
            }
            Poll::Pending => {}
        }
        Ok(())
    }

    /// Sends no more of the request: it is not whole, and the connection for no other.
    fn give_up(&mut self) -> Sending {
        self.outbox.clear();
        self.sent = true;
        std::mem::replace(&mut self.request, Sending::broken())
    }

    /// Ready when all of the request was sent.
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            let filled = self.request.fill(&mut self.outbox, cx)?;
            if filled == Filled::Some && self.outbox.is_empty() {
                return Poll::Pending;
            }
            ready!(self.outbox.poll_flush(&mut self.wire, cx)).map_err(Error::Wire)?;
            if filled == Filled::All {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
