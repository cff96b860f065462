//! Bytes both ways between streams of any kind, counted as they come. Two sockets have a faster way: `net::relay`.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};

use super::account::Tally;
use super::patience::Patience;
use crate::base::meter::{ByteMeter, Direction};
use crate::base::reason::Reason;

/// One side.
struct Side<T> {
    io: T,
    tally: Arc<Tally>,
    direction: Direction,
    /// What its failures are called.
    blame: Reason,
    fault: Arc<OnceLock<Reason>>,
}

impl<T> Side<T> {
    fn noted<V>(&self, result: Poll<io::Result<V>>) -> Poll<io::Result<V>> {
        if matches!(result, Poll::Ready(Err(_))) {
            // the first failure is the cause of those that follow
            let _ = self.fault.set(self.blame);
        }
        result
    }
}

/// Moves bytes until both sides have ended, one fails, or nothing moves.
pub(super) async fn pump<C, N>(client: C, node: N, tally: &Arc<Tally>, mut patience: Patience) -> Reason
where
    C: AsyncRead + AsyncWrite + Unpin,
    N: AsyncRead + AsyncWrite + Unpin,
{
    let fault = Arc::new(OnceLock::new());
    let mut client = Side { io: client, tally: tally.clone(), direction: Direction::In, blame: Reason::ClientReset, fault: fault.clone() };
    let mut node = Side { io: node, tally: tally.clone(), direction: Direction::Out, blame: Reason::UpstreamReset, fault: fault.clone() };
    let mut copy = pin!(copy_bidirectional(&mut client, &mut node));
    std::future::poll_fn(|cx| match copy.as_mut().poll(cx) {
        Poll::Ready(Ok(_)) => Poll::Ready(Reason::Ok),
        Poll::Ready(Err(_)) => Poll::Ready(fault.get().copied().unwrap_or(Reason::UpstreamReset)),
        Poll::Pending => patience.poll(cx, || tally.total()).map(|()| Reason::IdleTimeout),
    })
    .await
}

impl<T: AsyncRead + Unpin> AsyncRead for Side<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        let bytes = buf.filled().len() - before;
        if bytes > 0 {
            self.tally.moved(self.direction, bytes);
        }
        self.noted(read)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Side<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.noted(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.noted(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.io).poll_shutdown(cx);
        self.noted(closed)
    }
}
