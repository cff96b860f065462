//! The relay of a session with TLS on at least one side: what comes in several records leaves in one system call, FIN and
//! `close_notify` stand for each other, and an idle session holds no buffer. Knows no time limits and no routes.
//!
//! Where both sides are plain, `net::relay` does this without copying.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::tcp::Tie;
use crate::base::meter::{ByteMeter, Direction};
use crate::base::reason::Reason;
use crate::tls::buffers::{self, Buffers, PLAIN};
use crate::tls::{Channel, Parts, Wire};

/// Where the bytes are that a side was asked for.
enum Pulled {
    /// Nowhere: the side has ended.
    End,
    /// In `incoming`: so many, as they came.
    Raw(usize),
    /// In `plain`.
    Plain,
}

/// One side of a session: its socket, and TLS if it is spoken there.
#[derive(Debug)]
pub(super) struct End {
    tcp: TcpStream,
    tls: Option<Box<Channel>>,
    /// What the socket did not take yet, from the offset on.
    out: Vec<u8>,
    from: usize,
    /// Plaintext in `out` that the meter was not told of.
    owed: usize,
}

/// One direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    /// Bytes may come.
    Open,
    /// The source has ended, and the sink is being told.
    Ending,
    /// The sink was told.
    Ended,
}

/// The relay of one session. As a future: as `net::relay::Relay`.
#[derive(Debug)]
pub(super) struct Crypt<M> {
    client: End,
    upstream: End,
    inward: Flow,
    outward: Flow,
    meter: M,
}

/// Which side broke.
enum Broken {
    Source(io::Error),
    Sink(io::Error),
}

impl<M: ByteMeter> Crypt<M> {
    pub(super) const fn new(client: End, upstream: End, meter: M) -> Self {
        Self { client, upstream, inward: Flow::Open, outward: Flow::Open, meter }
    }

    /// Passes a reset of one side on to the other.
    fn broken(&self, broken: Broken, source: Reason, sink: Reason) -> Reason {
        let (error, reason) = match broken {
            Broken::Source(e) => (e, source),
            Broken::Sink(e) => (e, sink),
        };
        tracing::trace!(%error, %reason, "relay broken");
        let other = if reason == Reason::ClientReset { &self.upstream } else { &self.client };
        // a socket that is beyond an option is beyond an RST too
        let _ = other.tcp.set_zero_linger();
        reason
    }
}

impl<M: ByteMeter + Unpin> Future for Crypt<M> {
    type Output = Reason;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Reason> {
        let this = &mut *self;
        buffers::with(|shared| {
            let (client, upstream) = (&mut this.client, &mut this.upstream);
            let last = this.outward == Flow::Ended;
            let inward = this.inward.advance(cx, shared, client, upstream, (&this.meter, Direction::In, last));
            if let Poll::Ready(Err(broken)) = inward {
                return Poll::Ready(this.broken(broken, Reason::ClientReset, Reason::UpstreamReset));
            }
            let last = this.inward == Flow::Ended;
            let outward = this.outward.advance(cx, shared, upstream, client, (&this.meter, Direction::Out, last));
            if let Poll::Ready(Err(broken)) = outward {
                return Poll::Ready(this.broken(broken, Reason::UpstreamReset, Reason::ClientReset));
            }
            if inward.is_ready() && outward.is_ready() {
                return Poll::Ready(Reason::Ok);
            }
            // reading from a side can make answers for that same side, which the other direction has looked at before
            if let Poll::Ready(Err(error)) = this.upstream.flush(cx, &this.meter, Direction::In) {
                return Poll::Ready(this.broken(Broken::Sink(error), Reason::ClientReset, Reason::UpstreamReset));
            }
            Poll::Pending
        })
    }
}

impl<M: ByteMeter + Unpin> Tie for Crypt<M> {
    fn half_closed(&self) -> bool {
        (self.inward == Flow::Open) != (self.outward == Flow::Open)
    }

    fn reset(&self) {
        // a socket that is beyond an option is beyond an RST too
        let _ = self.client.tcp.set_zero_linger();
        let _ = self.upstream.tcp.set_zero_linger();
    }
}

impl Flow {
    /// Moves what can be moved now. Ready when this direction has ended. `last`: the other one had ended before.
    fn advance<M: ByteMeter>(
        &mut self,
        cx: &mut Context<'_>,
        shared: &mut Buffers,
        source: &mut End,
        sink: &mut End,
        (meter, direction, last): (&M, Direction, bool),
    ) -> Poll<Result<(), Broken>> {
        loop {
            ready!(sink.flush(cx, meter, direction)).map_err(Broken::Sink)?;
            match self {
                Self::Ended => return Poll::Ready(Ok(())),
                Self::Ending => {
                    // where both directions have ended, the close that follows sends the FIN
                    if !last {
                        shut(&sink.tcp);
                    }
                    *self = Self::Ended;
                }
                Self::Open => {
                    let pulled = ready!(source.pull(cx, shared)).map_err(Broken::Source)?;
                    let Buffers { incoming, plain, records } = &mut *shared;
                    let bytes = match pulled {
                        Pulled::Raw(length) => incoming.get(..length).unwrap_or_default(),
                        Pulled::Plain => plain,
                        Pulled::End => {
                            sink.finish().map_err(Broken::Sink)?;
                            *self = Self::Ending;
                            continue;
                        }
                    };
                    sink.push(cx, bytes, records, (meter, direction)).map_err(Broken::Sink)?;
                }
            }
        }
    }
}

impl End {
    /// A side before its first byte of the relay.
    pub(super) const fn new(tcp: TcpStream, tls: Option<Box<Channel>>) -> Self {
        Self { tcp, tls, out: Vec::new(), from: 0, owed: 0 }
    }

    /// A side that spoke another protocol before.
    pub(super) fn of(wire: Wire) -> Self {
        match wire {
            Wire::Plain(tcp) => Self::new(tcp, None),
            Wire::Tls(stream) => {
                let Parts { tcp, channel, unsent } = stream.into_parts();
                Self { out: unsent, ..Self::new(tcp, Some(channel)) }
            }
        }
    }

    /// Writes what the socket did not take yet.
    fn flush<M: ByteMeter>(&mut self, cx: &mut Context<'_>, meter: &M, direction: Direction) -> Poll<io::Result<()>> {
        while let Some(bytes) = self.out.get(self.from..).filter(|bytes| !bytes.is_empty()) {
            self.from += ready!(Pin::new(&mut self.tcp).poll_write(cx, bytes))?;
        }
        if self.from > 0 {
            (self.out, self.from) = (Vec::new(), 0);
            meter.moved(direction, std::mem::take(&mut self.owed));
        }
        Poll::Ready(Ok(()))
    }

    /// Reads until there is plaintext in a shared buffer, or this side has ended.
    fn pull(&mut self, cx: &mut Context<'_>, shared: &mut Buffers) -> Poll<io::Result<Pulled>> {
        let Some(tls) = &mut self.tls else {
            let mut buf = ReadBuf::new(shared.incoming.get_mut(..PLAIN).unwrap_or_default());
            ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut buf))?;
            let filled = buf.filled().len();
            return Poll::Ready(Ok(if filled == 0 { Pulled::End } else { Pulled::Raw(filled) }));
        };
        shared.plain.clear();
        shared.plain.append(&mut tls.take_early());
        while shared.plain.is_empty() {
            if tls.ended() || !ready!(fill(&mut self.tcp, tls, cx, shared, &mut self.out))? {
                return Poll::Ready(Ok(Pulled::End));
            }
        }
        Poll::Ready(Ok(Pulled::Plain))
    }

    /// Sends plaintext. What the socket does not take is kept.
    fn push<M: ByteMeter>(
        &mut self,
        cx: &mut Context<'_>,
        plain: &[u8],
        records: &mut [u8],
        (meter, direction): (&M, Direction),
    ) -> io::Result<()> {
        let bytes = match &mut self.tls {
            None => plain,
            Some(tls) => {
                let length = tls.encrypt(plain, records, &mut self.out).map_err(io::Error::other)?;
                records.get(..length).unwrap_or_default()
            }
        };
        // an answer of the channel goes before
        let wrote = if self.out.is_empty() { Pin::new(&mut self.tcp).poll_write(cx, bytes) } else { Poll::Pending };
        let wrote = match wrote {
            Poll::Ready(wrote) => wrote?,
            Poll::Pending => 0,
        };
        if wrote == bytes.len() {
            meter.moved(direction, plain.len());
        } else {
            self.out.extend_from_slice(bytes.get(wrote..).unwrap_or_default());
            self.owed = plain.len();
        }
        Ok(())
    }

    /// Says that nothing more comes, after all that waits.
    fn finish(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => tls.close(&mut self.out).map_err(io::Error::other),
            None => Ok(()),
        }
    }
}

/// One read of records, and what they say. False at the end of the source, with or without a `close_notify`: many clients send
/// none, and a plain FIN has no such proof either.
fn fill(
    tcp: &mut TcpStream,
    tls: &mut Channel,
    cx: &mut Context<'_>,
    shared: &mut Buffers,
    answers: &mut Vec<u8>,
) -> Poll<io::Result<bool>> {
    let waiting = tls.take_rest();
    let mut buf = ReadBuf::new(&mut shared.incoming);
    buf.put_slice(&waiting);
    let read = Pin::new(tcp).poll_read(cx, &mut buf);
    let filled = buf.filled().len();
    if read.is_pending() || filled == waiting.len() {
        tls.put_rest(waiting);
        return read.map_ok(|()| false);
    }
    let came = shared.incoming.get_mut(..filled).unwrap_or_default();
    Poll::Ready(tls.receive(came, &mut shared.plain, answers).map(|()| true).map_err(io::Error::other))
}

/// Sends FIN. A side that cannot be shut is broken, and the other direction will say how.
fn shut(sink: &TcpStream) {
    let _ = socket2::SockRef::from(sink).shutdown(std::net::Shutdown::Write);
}
