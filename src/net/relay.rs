//! Two TCP streams tied together: bytes both ways, FIN as FIN, no buffer while nothing moves. Knows no time limits and no routes.
//!
//! A flow first copies through one buffer that all sessions of the worker share; what a receiver does not take at once is
//! kept aside and nothing more is read until it is gone. A flow that fills the buffer twice in a row is moved by `splice`
//! through a pipe, until what comes is small again.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::pipe::Pipe;
use crate::base::meter::{ByteMeter, Direction};
use crate::base::reason::Reason;

/// What one read takes at most, in bytes.
const BUFFER: usize = 64 * 1024;
/// So many full reads in a row start splicing.
const FULL_READS: u8 = 2;
/// A splice that moved less than this is counted towards going back to copying.
const SMALL: usize = 16 * 1024;
/// So many small splices in a row go back to copying.
const SMALL_SPLICES: u8 = 4;

thread_local! {
    static SHARED: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER].into_boxed_slice());
}

/// The relay of one session. As a future: `Reason::Ok` after both sides sent FIN and all was delivered, or the reset of a side.
///
/// Dropping it closes both sockets. Bytes are told to the meter when the receiving socket has taken them.
#[derive(Debug)]
pub struct Relay<M> {
    client: TcpStream,
    upstream: TcpStream,
    inward: Flow,
    outward: Flow,
    meter: M,
}

/// One direction.
#[derive(Debug)]
struct Flow {
    direction: Direction,
    state: State,
    way: Way,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Bytes may come.
    Open,
    /// The source sent FIN; it was passed on, unless the session ended with it.
    Ended,
}

/// How bytes go, with what is on the way.
#[derive(Debug)]
enum Way {
    /// Through the shared buffer; so many reads in a row filled it.
    Copy(u8),
    /// What the receiver did not take yet, from the offset on.
    Held { rest: Box<[u8]>, from: usize, full: u8 },
    /// Through a pipe, which is there only while bytes move; so many splices in a row were small.
    Splice { pipe: Option<Pipe>, small: u8 },
}

/// Which side broke.
enum Broken {
    Source(io::Error),
    Sink(io::Error),
}

impl<M: ByteMeter> Relay<M> {
    /// Ties two connected streams together.
    pub fn new(client: TcpStream, upstream: TcpStream, meter: M) -> Self {
        let flow = |direction| Flow { direction, state: State::Open, way: Way::Copy(0) };
        Self { client, upstream, inward: flow(Direction::In), outward: flow(Direction::Out), meter }
    }

    /// Bytes of the client that the upstream gets before all others.
    #[must_use]
    pub fn holding(mut self, bytes: Box<[u8]>) -> Self {
        self.inward.way = Way::Held { rest: bytes, from: 0, full: 0 };
        self
    }

    /// One side, but not the other, has sent FIN.
    pub fn half_closed(&self) -> bool {
        self.inward.state != self.outward.state
    }

    /// Closes both sides with RST: what was not delivered is thrown away, and both sides learn that the session was cut.
    pub fn reset(&self) {
        // a socket that is beyond an option is beyond an RST too
        let _ = self.client.set_zero_linger();
        let _ = self.upstream.set_zero_linger();
    }

    /// Passes a reset of one side on to the other.
    fn broken(&self, reason: Reason) -> Reason {
        let other = if reason == Reason::ClientReset { &self.upstream } else { &self.client };
        // a socket that is beyond an option is beyond an RST too
        let _ = other.set_zero_linger();
        reason
    }
}

impl<M: ByteMeter + Unpin> Future for Relay<M> {
    type Output = Reason;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Reason> {
        let this = &mut *self;
        let other_ended = this.outward.state == State::Ended;
        let inward = this.inward.advance(cx, &mut this.client, &mut this.upstream, &this.meter, other_ended);
        if let Poll::Ready(Err(broken)) = inward {
            return Poll::Ready(this.broken(broken.reason(Reason::ClientReset, Reason::UpstreamReset)));
        }
        let other_ended = this.inward.state == State::Ended;
        let outward = this.outward.advance(cx, &mut this.upstream, &mut this.client, &this.meter, other_ended);
        if let Poll::Ready(Err(broken)) = outward {
            return Poll::Ready(this.broken(broken.reason(Reason::UpstreamReset, Reason::ClientReset)));
        }
        if inward.is_ready() && outward.is_ready() { Poll::Ready(Reason::Ok) } else { Poll::Pending }
    }
}

impl Broken {
    fn reason(self, source: Reason, sink: Reason) -> Reason {
        let (error, reason) = match self {
            Self::Source(e) => (e, source),
            Self::Sink(e) => (e, sink),
        };
        tracing::trace!(%error, %reason, "relay broken");
        reason
    }
}

impl Flow {
    /// Moves what can be moved now. Ready when this direction has ended.
    fn advance<M: ByteMeter>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut TcpStream,
        sink: &mut TcpStream,
        meter: &M,
        other_ended: bool,
    ) -> Poll<Result<(), Broken>> {
        if self.state == State::Ended {
            return Poll::Ready(Ok(()));
        }
        loop {
            let moved = match &self.way {
                Way::Copy(full) => ready!(self.copy(cx, *full, source, sink, meter))?,
                Way::Held { .. } => ready!(self.write_held(cx, sink, meter))?,
                Way::Splice { .. } => ready!(self.splice(cx, source, sink, meter))?,
            };
            if !moved {
                self.state = State::Ended;
                self.way = Way::Copy(0);
                // where both directions have ended, the close that follows sends the FIN
                if !other_ended {
                    shut(sink);
                }
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// One read and one write through the shared buffer. False at the end of the source.
    fn copy<M: ByteMeter>(
        &mut self,
        cx: &mut Context<'_>,
        full: u8,
        source: &mut TcpStream,
        sink: &mut TcpStream,
        meter: &M,
    ) -> Poll<Result<bool, Broken>> {
        SHARED.with_borrow_mut(|shared| {
            let mut buf = ReadBuf::new(shared);
            ready!(Pin::new(source).poll_read(cx, &mut buf)).map_err(Broken::Source)?;
            let bytes = buf.filled();
            if bytes.is_empty() {
                return Poll::Ready(Ok(false));
            }
            let full = if buf.remaining() == 0 { full + 1 } else { 0 };
            let bytes = buf.filled();
            let wrote = match Pin::new(sink).poll_write(cx, bytes) {
                Poll::Ready(wrote) => wrote.map_err(Broken::Sink)?,
                Poll::Pending => 0,
            };
            meter.moved(self.direction, wrote);
            self.way = match bytes.get(wrote..) {
                Some(rest) if !rest.is_empty() => Way::Held { rest: rest.into(), from: 0, full },
                _ => Way::after(full),
            };
            Poll::Ready(Ok(true))
        })
    }

    /// Writes what was held back.
    fn write_held<M: ByteMeter>(&mut self, cx: &mut Context<'_>, sink: &mut TcpStream, meter: &M) -> Poll<Result<bool, Broken>> {
        let Way::Held { rest, from, full } = &mut self.way else {
            return Poll::Ready(Ok(true));
        };
        while let Some(bytes) = rest.get(*from..).filter(|b| !b.is_empty()) {
            let wrote = ready!(Pin::new(&mut *sink).poll_write(cx, bytes)).map_err(Broken::Sink)?;
            meter.moved(self.direction, wrote);
            *from += wrote;
        }
        self.way = Way::after(*full);
        Poll::Ready(Ok(true))
    }

    /// Fills the pipe and empties it. False at the end of the source.
    fn splice<M: ByteMeter>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut TcpStream,
        sink: &mut TcpStream,
        meter: &M,
    ) -> Poll<Result<bool, Broken>> {
        let Way::Splice { pipe: slot, small } = &mut self.way else {
            return Poll::Ready(Ok(true));
        };
        while let Some(pipe) = slot.as_mut().filter(|p| p.held() > 0) {
            ready!(sink.poll_write_ready(cx)).map_err(Broken::Sink)?;
            match sink.try_io(Interest::WRITABLE, || pipe.empty(&*sink)) {
                Ok(n) => meter.moved(self.direction, n),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(Broken::Sink(e))),
            }
        }
        if source.poll_read_ready(cx).map_err(Broken::Source)?.is_pending() {
            if let Some(pipe) = slot.take() {
                pipe.give_back();
            }
            return Poll::Pending;
        }
        let Some(mut pipe) = slot.take().or_else(Pipe::take) else {
            self.way = Way::Copy(0);
            return Poll::Ready(Ok(true));
        };
        match source.try_io(Interest::READABLE, || pipe.fill(&*source)) {
            Ok(0) => {
                pipe.give_back();
                return Poll::Ready(Ok(false));
            }
            Ok(n) => {
                *small = if n < SMALL { *small + 1 } else { 0 };
                *slot = Some(pipe);
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => *slot = Some(pipe),
            Err(e) => return Poll::Ready(Err(Broken::Source(e))),
        }
        if *small >= SMALL_SPLICES && slot.as_ref().is_none_or(|p| p.held() == 0) {
            if let Some(pipe) = slot.take() {
                pipe.give_back();
            }
            self.way = Way::Copy(0);
        }
        Poll::Ready(Ok(true))
    }
}

impl Way {
    /// How to go on after so many full reads in a row.
    fn after(full: u8) -> Self {
        if full >= FULL_READS { Self::Splice { pipe: None, small: 0 } } else { Self::Copy(full) }
    }
}

/// Sends FIN.
fn shut(sink: &TcpStream) {
    // a sink that cannot be shut is broken, and the other direction will say how
    let _ = socket2::SockRef::from(sink).shutdown(std::net::Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[derive(Debug, Default)]
    struct Count([AtomicUsize; 2]);

    impl ByteMeter for Count {
        fn moved(&self, direction: Direction, bytes: usize) {
            self.0[usize::from(direction == Direction::Out)].fetch_add(bytes, Ordering::Relaxed);
        }
    }

    impl Count {
        fn both(&self) -> (usize, usize) {
            (self.0[0].load(Ordering::Relaxed), self.0[1].load(Ordering::Relaxed))
        }
    }

    struct Tied {
        client: TcpStream,
        server: TcpStream,
        relay: tokio::task::JoinHandle<Reason>,
        count: Arc<Count>,
    }

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (a, b) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (a.unwrap(), b.unwrap().0)
    }

    async fn tie() -> Tied {
        let ((client, near), (far, server)) = (pair().await, pair().await);
        let count = Arc::new(Count::default());
        let relay = crate::base::task::spawn(Relay::new(near, far, count.clone()));
        Tied { client, server, relay, count }
    }

    #[tokio::test]
    async fn a_fin_is_passed_on_while_the_other_direction_goes_on() {
        let mut t = tie().await;
        t.client.write_all(b"question").await.unwrap();
        t.client.shutdown().await.unwrap();
        let mut got = Vec::new();
        t.server.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"question");
        let answer = vec![7; 10 << 20];
        let (sent, got) = tokio::join!(
            async {
                t.server.write_all(&answer).await.unwrap();
                t.server.shutdown().await
            },
            async {
                let mut got = Vec::new();
                t.client.read_to_end(&mut got).await.map(|_| got)
            }
        );
        sent.unwrap();
        assert!(got.unwrap() == answer, "every byte arrived");
        assert_eq!(t.relay.await.unwrap(), Reason::Ok);
        assert_eq!(t.count.both(), (8, 10 << 20));
    }

    async fn both(stream: &mut TcpStream, data: &[u8]) -> Vec<u8> {
        let (mut read, mut write) = stream.split();
        let mut got = Vec::new();
        let (sent, ()) = tokio::join!(
            async {
                write.write_all(data).await.unwrap();
                write.shutdown().await
            },
            async {
                let mut small = [0; 1000];
                loop {
                    match read.read(&mut small).await.unwrap() {
                        0 => return,
                        n => got.extend_from_slice(&small[..n]),
                    }
                    if got.len() % 7 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
            }
        );
        sent.unwrap();
        got
    }

    #[tokio::test]
    async fn bulk_both_ways_with_slow_readers_arrives_whole() {
        let mut t = tie().await;
        let data: Vec<u8> = (0..=250).flat_map(|byte| [byte; 7]).cycle().take(8 << 20).collect();
        let (a, b) = tokio::join!(both(&mut t.client, &data), both(&mut t.server, &data));
        assert!(a == data && b == data);
        assert_eq!(t.relay.await.unwrap(), Reason::Ok);
        assert_eq!(t.count.both(), (data.len(), data.len()));
    }

    #[tokio::test]
    async fn a_reset_of_one_side_reaches_the_other_as_a_reset() {
        for from_client in [true, false] {
            let t = tie().await;
            let (breaks, mut sees, reason) =
                if from_client { (t.client, t.server, Reason::ClientReset) } else { (t.server, t.client, Reason::UpstreamReset) };
            breaks.set_zero_linger().unwrap();
            drop(breaks);
            assert_eq!(t.relay.await.unwrap(), reason);
            let error = sees.read(&mut [0; 1]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
    }

    #[test]
    fn an_idle_relay_is_small() {
        assert!(size_of::<Relay<Arc<Count>>>() <= 224, "{}", size_of::<Relay<Arc<Count>>>());
    }
}
