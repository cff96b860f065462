//! A socket with TLS on it, after the handshake, as a stream of plaintext: several records in one system call both ways. Holds no
//! buffer while it is idle. Knows no time limits.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::buffers::{self, Buffers, PLAIN};
use super::channel::Channel;

/// What one read asks for at least, in bytes: a full record with its frame, which can be read only whole.
const RECORD: usize = 17 * 1024;

/// The stream. Its end is that of the other side, with or without a `close_notify`: many send none.
#[derive(Debug)]
pub struct Stream {
    tcp: TcpStream,
    channel: Box<Channel>,
    /// Records that the socket did not take yet, from the offset on.
    out: Vec<u8>,
    from: usize,
    /// Plaintext that the reader had no room for, from the offset on.
    plain: Vec<u8>,
    taken: usize,
    said_end: bool,
}

/// What a stream is made of.
#[derive(Debug)]
pub struct Parts {
    /// The socket.
    pub tcp: TcpStream,
    /// Its channel; what nobody has read yet is in there.
    pub channel: Box<Channel>,
    /// Records that the socket did not take yet; they go before all others.
    pub unsent: Vec<u8>,
}

impl Stream {
    /// A socket and the channel that a handshake made on it.
    pub const fn new(tcp: TcpStream, channel: Box<Channel>) -> Self {
        Self { tcp, channel, out: Vec::new(), from: 0, plain: Vec::new(), taken: 0, said_end: false }
    }

    /// The TLS of it.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Takes it apart, for a relay that has its own way with records.
    pub fn into_parts(self) -> Parts {
        let Self { tcp, mut channel, mut out, from, mut plain, taken, .. } = self;
        out.drain(..from.min(out.len()));
        plain.drain(..taken.min(plain.len()));
        channel.put_early(plain);
        Parts { tcp, channel, unsent: out }
    }

    /// Writes what the socket did not take yet.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(bytes) = self.out.get(self.from..).filter(|bytes| !bytes.is_empty()) {
            let wrote = ready!(Pin::new(&mut self.tcp).poll_write(cx, bytes))?;
            if wrote == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.from += wrote;
        }
        if !self.out.is_empty() {
            (self.out, self.from) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }

    /// Hands on plaintext that is there already. False if there is none.
    fn give(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        if self.plain.is_empty() {
            self.plain = self.channel.take_early();
        }
        let Some(left) = self.plain.get(self.taken..).filter(|left| !left.is_empty()) else { return false };
        let now = left.get(..left.len().min(buf.remaining())).unwrap_or_default();
        buf.put_slice(now);
        self.taken += now.len();
        if self.taken == self.plain.len() {
            (self.plain, self.taken) = (Vec::new(), 0);
        }
        true
    }

    /// One read of records, and what they say, into the shared plaintext. False at the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>, shared: &mut Buffers, wanted: usize) -> Poll<io::Result<bool>> {
        let waiting = self.channel.take_rest();
        let most = (waiting.len() + wanted.max(RECORD)).min(shared.incoming.len());
        let mut buf = ReadBuf::new(shared.incoming.get_mut(..most).unwrap_or_default());
        buf.put_slice(&waiting);
        let read = Pin::new(&mut self.tcp).poll_read(cx, &mut buf);
        let filled = buf.filled().len();
        if read.is_pending() || filled == waiting.len() {
            self.channel.put_rest(waiting);
            return read.map_ok(|()| false);
        }
        let came = shared.incoming.get_mut(..filled).unwrap_or_default();
        let understood = self.channel.receive(came, &mut shared.plain, &mut self.out);
        // an answer that does not fit waits for the next write; an alert that does not is nobody's loss
        let _ = self.poll_out(cx);
        Poll::Ready(understood.map(|()| true).map_err(|broken| io::Error::new(io::ErrorKind::InvalidData, broken)))
    }

    /// Sends plaintext, all of it: what the socket does not take is kept.
    fn push(&mut self, cx: &mut Context<'_>, plain: &[u8], records: &mut [u8]) -> io::Result<()> {
        let length = self.channel.encrypt(plain, records, &mut self.out).map_err(io::Error::other)?;
        let bytes = records.get(..length).unwrap_or_default();
        // an answer of the channel goes before
        let wrote = if self.out.is_empty() { Pin::new(&mut self.tcp).poll_write(cx, bytes) } else { Poll::Pending };
        let wrote = match wrote {
            Poll::Ready(wrote) => wrote?,
            Poll::Pending => 0,
        };
        self.out.extend_from_slice(bytes.get(wrote..).unwrap_or_default());
        Ok(())
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 || this.give(buf) {
            return Poll::Ready(Ok(()));
        }
        buffers::with(|shared| {
            shared.plain.clear();
            while shared.plain.is_empty() {
                if this.channel.ended() || !ready!(this.poll_fill(cx, shared, buf.remaining()))? {
                    return Poll::Ready(Ok(()));
                }
            }
            let (now, later) = shared.plain.split_at(shared.plain.len().min(buf.remaining()));
            buf.put_slice(now);
            if !later.is_empty() {
                this.plain = later.to_vec();
            }
            Poll::Ready(Ok(()))
        })
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_out(cx))?;
        let now = buf.get(..buf.len().min(PLAIN)).unwrap_or_default();
        if !now.is_empty() {
            buffers::with(|shared| this.push(cx, now, &mut shared.records))?;
        }
        Poll::Ready(Ok(now.len()))
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut filled = bufs.iter().filter(|buf| !buf.is_empty());
        let (Some(first), second) = (filled.next(), filled.next()) else { return Poll::Ready(Ok(0)) };
        if second.is_none() || first.len() >= PLAIN {
            return self.poll_write(cx, first);
        }
        let this = self.get_mut();
        ready!(this.poll_out(cx))?;
        buffers::with(|shared| {
            let Buffers { plain, records, .. } = shared;
            plain.clear();
            for buf in bufs {
                plain.extend_from_slice(buf.get(..buf.len().min(PLAIN - plain.len())).unwrap_or_default());
            }
            this.push(cx, plain, records).map(|()| plain.len()).into()
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_out(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.said_end {
            this.said_end = true;
            this.channel.close(&mut this.out).map_err(io::Error::other)?;
        }
        ready!(this.poll_out(cx))?;
        Pin::new(&mut this.tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
