//! What is to be written: bytes that were put together, then one large piece that was not copied, then what closes that.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use super::spare;

/// Up to so many bytes, a piece is put together with others.
const COPIED: usize = 4096;

/// Bytes on their way to the node.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    together: Vec<u8>,
    /// How much of it is written.
    at: usize,
    large: Bytes,
    close: &'static [u8],
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.at == self.together.len() && self.large.is_empty() && self.close.is_empty()
    }

    /// Whether more may be put together before something is written.
    pub(super) fn has_room(&self) -> bool {
        self.large.is_empty() && self.close.is_empty() && self.together.len() < COPIED
    }

    /// Where bytes are put together; to be asked for only if there is room.
    pub(super) fn together(&mut self) -> &mut Vec<u8> {
        if self.together.capacity() == 0 {
            self.together = spare::write();
        }
        &mut self.together
    }

    /// Adds a piece and what follows it.
    pub(super) fn push(&mut self, piece: Bytes, close: &'static [u8]) {
        if piece.len() <= COPIED {
            let together = self.together();
            together.extend_from_slice(&piece);
            together.extend_from_slice(close);
        } else {
            (self.large, self.close) = (piece, close);
        }
    }

    /// Writes what can be written at once, at least a byte.
    pub(super) fn poll_write<W: AsyncWrite + Unpin>(&mut self, wire: &mut W, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let together = self.together.get(self.at..).unwrap_or_default();
        let written = if self.large.is_empty() && self.close.is_empty() {
            ready!(Pin::new(wire).poll_write(cx, together))?
        } else {
            let parts = [IoSlice::new(together), IoSlice::new(&self.large), IoSlice::new(self.close)];
            ready!(Pin::new(wire).poll_write_vectored(cx, &parts))?
        };
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.written(written);
        Poll::Ready(Ok(()))
    }

    /// Writes all.
    pub(super) fn poll_flush<W: AsyncWrite + Unpin>(&mut self, wire: &mut W, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            ready!(self.poll_write(wire, cx))?;
        }
        Pin::new(wire).poll_flush(cx)
    }

    /// Lets all go, and the memory.
    pub(super) fn clear(&mut self) {
        spare::keep_write(std::mem::take(self).together);
    }

    fn written(&mut self, mut bytes: usize) {
        let now = bytes.min(self.together.len() - self.at);
        self.at += now;
        bytes -= now;
        if self.at == self.together.len() {
            self.together.clear();
            self.at = 0;
        }
        let now = bytes.min(self.large.len());
        self.large.advance(now);
        self.close = self.close.get(bytes - now..).unwrap_or_default();
        if self.large.is_empty() {
            // whoever else holds a part of that memory gets it back now
            self.large = Bytes::new();
        }
    }
}
