//! A stream whose first bytes were read already: they are read again, then what follows. Never holds more than those.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, ReadBuf};

use super::through::writes_through;

/// A stream and what was read from it before.
#[derive(Debug)]
pub struct Rewind<S> {
    early: Bytes,
    wire: S,
}

impl<S> Rewind<S> {
    /// A stream from which `early` was read; empty: nothing was.
    pub const fn new(early: Bytes, wire: S) -> Self {
        Self { early, wire }
    }

    /// What of the early bytes nobody read again, and the stream.
    pub fn into_parts(self) -> (Bytes, S) {
        (self.early, self.wire)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewind<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.wire).poll_read(cx, buf);
        }
        let now = self.early.len().min(buf.remaining());
        buf.put_slice(self.early.get(..now).unwrap_or_default());
        self.early.advance(now);
        if self.early.is_empty() {
            // the memory goes now, not with the connection
            self.early = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

writes_through!(Rewind<S>, wire);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn early_bytes_are_read_again_before_those_that_follow() {
        let bound = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(bound.local_addr().unwrap()).await.unwrap();
        let (server, _) = bound.accept().await.unwrap();
        client.write_all(b"def").await.unwrap();
        client.shutdown().await.unwrap();
        let mut rewound = Rewind::new(Bytes::from_static(b"abc"), server);
        let mut two = [0; 2];
        rewound.read_exact(&mut two).await.unwrap();
        assert_eq!((&two, rewound.early.as_ref()), (b"ab", &b"c"[..]));
        let mut rest = Vec::new();
        rewound.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"cdef");
        assert!(rewound.into_parts().0.is_empty());
    }
}
