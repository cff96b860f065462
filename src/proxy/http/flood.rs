//! What an HTTP/2 client sends beside its requests, kept in proportion to them: frames that carry nothing cost it little and the
//! gateway much (CVE-2019-9512, 9515, 9518 and their like).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

use super::serve::Front;
use crate::net::rewind::Rewind;
use crate::net::through::writes_through;
use crate::tls::Wire;

/// How much of bodies a client may send before somebody takes it, in bytes.
pub(super) const WINDOW: u32 = 1024 * 1024;
/// Bytes that a connection may send before any of them is known to be of use: what fits into the window, and as much again.
const GRANTED: u64 = 2 * 1024 * 1024;
/// Bytes for each request: its head, and what it resets.
const PER_REQUEST: u64 = 32 * 1024;
/// Bytes for each byte of a body, either way: small frames, windows, pings.
const PER_BYTE: u64 = 8;
/// Bytes that are read in one go: as small frames, they keep other connections of the worker waiting.
const TURN: usize = 64 * 1024;

/// A client's wire that can be read until too much of it was for nothing; then reading is an error of kind `InvalidData`.
#[derive(Debug)]
pub(super) struct Measured {
    io: Rewind<Wire>,
    front: Arc<Front>,
    read: u64,
    /// Bytes read since others had their turn.
    turn: usize,
}

/// More was sent than requests explain.
#[derive(Debug, thiserror::Error)]
#[error("a flood of frames")]
pub(super) struct Flood;

impl Measured {
    pub(super) const fn new(io: Rewind<Wire>, front: Arc<Front>) -> Self {
        Self { io, front, read: 0, turn: 0 }
    }

    fn is_flood(&self) -> bool {
        let (_, begun) = self.front.requests();
        self.read > GRANTED && self.read > allowance(begun, self.front.moved())
    }
}

const fn allowance(requests: u64, moved: u64) -> u64 {
    GRANTED.saturating_add(requests.saturating_mul(PER_REQUEST)).saturating_add(moved.saturating_mul(PER_BYTE))
}

/// Whether a connection ended because of a flood.
pub(super) fn is_cause(error: &hyper::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && let Some(inner) = io.get_ref()
            && inner.is::<Flood>()
        {
            return true;
        }
        cause = error.source();
    }
    false
}

impl AsyncRead for Measured {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.turn >= TURN {
            self.turn = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let Poll::Ready(read) = Pin::new(&mut self.io).poll_read(cx, buf) else {
            self.turn = 0;
            return Poll::Pending;
        };
        read?;
        let bytes = buf.filled().len() - before;
        self.turn += bytes;
        self.read = self.read.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        Poll::Ready(if self.is_flood() { Err(io::Error::new(io::ErrorKind::InvalidData, Flood)) } else { Ok(()) })
    }
}

writes_through!(Measured, io);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_of_the_smallest_messages_is_no_flood() {
        // a message of one byte each way: two frames of data, two updates of windows and their padding of headers
        let messages = 10_000_000;
        let sent = messages * 10 + 1024;
        assert!(sent < allowance(1, messages * 2));
        // a download of which each frame is acknowledged twice
        let bytes = 1 << 34;
        assert!(bytes / 16_384 * 26 < allowance(1, bytes));
        // an upload that no node takes yet
        assert!(u64::from(WINDOW) + 64 * 1024 < allowance(1, 0));
        // heads as large as they may be count for what they are worth
        assert!(allowance(1000, 0) < GRANTED + 1000 * 64 * 1024);
    }
}
