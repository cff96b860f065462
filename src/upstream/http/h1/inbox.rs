//! What was read and is not used up yet, in a buffer that grows while much comes.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::spare;

/// What is read at once of a body that comes fast, in bytes.
const LARGE: usize = 64 * 1024;

/// Bytes of the node.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    pub(super) bytes: BytesMut,
    /// Whether the buffer has grown beyond [`spare::SIZE`].
    grown: bool,
    /// Whether the last read filled it.
    fast: bool,
}

impl Inbox {
    /// Gets ready for an answer.
    pub(super) fn begin(&mut self) {
        if self.bytes.capacity() == 0 {
            self.bytes = spare::read();
        }
    }

    /// Lets go of the buffer, and of what is in it.
    pub(super) fn clear(&mut self) {
        let Self { bytes, grown, .. } = std::mem::take(self);
        if !grown && bytes.capacity() > 0 {
            spare::keep_read(bytes);
        }
    }

    /// Reads once; 0 is the end. `left` is what the body may still have.
    pub(super) fn poll_fill<R: AsyncRead + Unpin>(&mut self, wire: &mut R, left: u64, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let room = if self.fast { usize::try_from(left).unwrap_or(LARGE).clamp(spare::SIZE, LARGE) } else { spare::SIZE };
        // as long as others hold parts of the buffer, what is left of it will do
        if !self.bytes.try_reclaim(room) && self.bytes.capacity() - self.bytes.len() < room / 2 {
            self.bytes.reserve(room);
        }
        self.grown |= room > spare::SIZE || self.bytes.len() > spare::SIZE / 2;
        let room = self.bytes.capacity() - self.bytes.len();
        let read = ready!(pin!(wire.read_buf(&mut self.bytes)).poll(cx))?;
        self.fast = read == room || (self.fast && read >= spare::SIZE);
        Poll::Ready(Ok(read))
    }
}
