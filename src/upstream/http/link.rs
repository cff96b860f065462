//! What a request goes out on: a connection of HTTP/1.1 of its own, or a stream of a shared one of HTTP/2.

use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::{Request, Response};

use super::body::Outgoing;
use super::error::Error;
use super::h1::{Broken, H1};
use super::h2::H2;
use super::kind::Kind;

/// A connection or a stream.
#[derive(Debug)]
pub enum Link {
    /// A connection of its own, driven by the request.
    H1(Box<H1>),
    /// A stream.
    H2(H2),
}

impl Link {
    /// Whether others share the connection: it speaks HTTP/2.
    pub const fn is_shared(&self) -> bool {
        matches!(self, Self::H2(_))
    }

    /// Which kind of connection it is.
    pub fn kind(&self) -> &Kind {
        match self {
            Self::H1(h1) => h1.kind(),
            Self::H2(h2) => h2.kind(),
        }
    }

    /// Sends a request and waits for the head of its answer; the body is read with [`Self::poll_frame`]. Dropping the future leaves it
    /// unusable.
    pub async fn send(&mut self, request: Request<Outgoing>) -> Result<Response<()>, Broken> {
        match self {
            Self::H1(h1) => h1.send(request).await,
            Self::H2(h2) => Box::pin(h2.send(request)).await,
        }
    }

    /// The next piece of the answer's body, or its trailers. An error is the last word.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match self {
            Self::H1(h1) => h1.poll_frame(cx),
            Self::H2(h2) => h2.poll_frame(cx),
        }
    }

    /// Whether nothing more of the answer is to come. False as long as that is not known.
    pub fn is_end_stream(&self) -> bool {
        match self {
            Self::H1(h1) => h1.is_end_stream(),
            Self::H2(h2) => h2.is_end_stream(),
        }
    }

    /// How much of the answer's body is to come.
    pub fn size_hint(&self) -> SizeHint {
        match self {
            Self::H1(h1) => h1.size_hint(),
            Self::H2(h2) => h2.size_hint(),
        }
    }
}
