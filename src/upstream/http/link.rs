//! What a request goes out on: a connection of HTTP/1.1 of its own, or a stream of a shared one of HTTP/2.

use std::task::{Context, Poll};

use hyper::body::Incoming;
use hyper::{Request, Response};

use super::body::Outgoing;
use super::h1::{Broken, H1};
use super::h2::H2;

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

    /// Sends a request and waits for the head of its answer. Dropping the future leaves it unusable.
    pub async fn send(&mut self, request: Request<Outgoing>) -> Result<Response<Incoming>, Broken> {
        match self {
            Self::H1(h1) => h1.send(request).await,
            Self::H2(h2) => Box::pin(h2.send(request)).await,
        }
    }

    /// Moves what can be moved. Ready when the connection has ended; a shared one is driven by its own tasks.
    pub fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::H1(h1) => h1.poll_drive(cx),
            Self::H2(_) => Poll::Pending,
        }
    }
}
