//! The byte stream under an HTTP connection, whichever it is: a socket, or TLS on one.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::stream::Stream;

/// A connected byte stream.
#[derive(Debug)]
pub enum Wire {
    /// TCP as it is.
    Plain(TcpStream),
    /// TLS over TCP. Boxed: the plain one is not to carry its room along.
    Tls(Box<Stream>),
}

impl Wire {
    /// The protocol that both sides agreed on by ALPN; `None`: on none, or there is no TLS.
    pub fn protocol(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.channel().protocol(),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => write_all_at_once(Pin::new(tcp), cx, bufs),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(tcp) => tcp.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}

/// Up to so many bytes, copying them together costs less than telling the kernel where each part is.
const SMALL: usize = 2048;

fn write_all_at_once(tcp: Pin<&mut TcpStream>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
    let mut parts = bufs.iter().filter(|part| !part.is_empty());
    let Some(first) = parts.next() else { return tcp.poll_write(cx, &[]) };
    if parts.next().is_none() {
        return tcp.poll_write(cx, first);
    }
    let mut whole = [0; SMALL];
    let mut at = 0;
    for part in bufs {
        let Some(room) = whole.get_mut(at..at + part.len()) else { return tcp.poll_write_vectored(cx, bufs) };
        room.copy_from_slice(part);
        at += part.len();
    }
    tcp.poll_write(cx, whole.get(..at).unwrap_or_default())
}
