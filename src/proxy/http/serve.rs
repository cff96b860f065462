//! One client connection that speaks HTTP: which version it is told by, and HTTP/1.1, request after request, until one side has enough.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, sleep, timeout};

use super::exchange::exchange;
use super::framing::{self, Fault, Place, Watch};
use super::h2;
use super::preface;
use super::secured::Secured;
use super::tunnel::Tunnel;
use super::waiting::{For, Waiting};
use crate::base::meter::Direction;
use crate::base::reason::Reason;
use crate::live::sessions::Session;
use crate::net::rewind::Rewind;
use crate::snapshot::cell::Cell;
use crate::telemetry::{AccessLog, RouteSeries};
use crate::tls::Wire;

/// How long a client over TLS may take for the last bytes of an answer once its connection is to end.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long a client that was answered early may go on sending, and how long it may say nothing meanwhile.
pub(super) const LINGER: Duration = Duration::from_secs(30);
const LINGER_QUIET: Duration = Duration::from_secs(5);

/// What all HTTP connections share.
#[derive(Debug)]
pub struct Shared {
    /// The configuration of the moment.
    pub cell: Cell,
    /// One line for each request.
    pub access: AccessLog,
    /// The series of requests that matched no route.
    pub unrouted: Arc<RouteSeries>,
}

/// The version of HTTP that a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// HTTP/1.0 or HTTP/1.1.
    H1,
    /// HTTP/2.
    H2,
    /// Either: the client's first bytes tell.
    Either,
}

/// What all requests of a connection share.
#[derive(Debug)]
pub struct Front {
    pub(super) shared: Arc<Shared>,
    pub(super) session: Arc<Session>,
    /// What is known of a client that came over TLS.
    pub(super) secured: Option<Secured>,
    /// Where the connection goes on when it leaves HTTP.
    tunnel: Mutex<Option<Tunnel>>,
    /// What is known of the bytes of an HTTP/1 client.
    watch: OnceLock<Watch>,
    /// Requests that began, and those of them that ended. Counted by tasks of one thread.
    begun: AtomicU64,
    ended: AtomicU64,
    /// The longest time limit of the requests that run, in milliseconds.
    patience: AtomicU64,
    /// Steps of requests that count as movement, though nothing was sent.
    steps: AtomicU64,
    /// Whether nothing has moved for the limit of the request that runs; of HTTP/1 only.
    late: AtomicBool,
    /// The last request of an HTTP/1 client was answered before its end.
    lingers: AtomicBool,
    /// The end of the answer that runs is the end of the connection, and nothing else tells it.
    unframed: AtomicBool,
}

impl Front {
    /// The front of a connection; `secured` if it came over TLS.
    pub fn new(shared: Arc<Shared>, session: Arc<Session>, secured: Option<Secured>) -> Self {
        let [begun, ended, patience, steps] = [(); 4].map(|()| AtomicU64::new(0));
        let [late, lingers, unframed] = [(); 3].map(|()| AtomicBool::new(false));
        let (tunnel, watch) = (Mutex::new(None), OnceLock::new());
        Self { shared, session, secured, tunnel, watch, begun, ended, patience, steps, late, lingers, unframed }
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Whether the client came over TLS.
    pub(super) const fn secure(&self) -> bool {
        self.secured.is_some()
    }

    /// A request is about to be answered, during which nothing may move for so long.
    pub(super) fn begin(&self, patience: Duration) {
        let patience = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        self.late.store(false, Ordering::Relaxed);
        self.unframed.store(false, Ordering::Relaxed);
        self.lingers.store(false, Ordering::Relaxed);
        if self.begun.fetch_add(1, Ordering::Relaxed) == self.ended.load(Ordering::Relaxed) {
            self.patience.store(patience, Ordering::Relaxed);
        } else {
            self.patience.fetch_max(patience, Ordering::Relaxed);
        }
    }

    /// It was, or never will be.
    pub(super) fn end(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that run, and all that ever began.
    pub(super) fn requests(&self) -> (u64, u64) {
        let begun = self.begun.load(Ordering::Relaxed);
        (begun.saturating_sub(self.ended.load(Ordering::Relaxed)), begun)
    }

    /// How long the most patient of the requests that run may be quiet.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_millis(self.patience.load(Ordering::Relaxed))
    }

    /// Whether the connection watches over the time limit of its request: one of HTTP/1 does, as it has but one at a time.
    pub(super) fn watches(&self) -> bool {
        self.watch.get().is_some()
    }

    /// The request that runs has come to its next step: its time begins anew.
    pub(super) fn renew(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
        self.late.store(false, Ordering::Relaxed);
    }

    /// Whether the time of the request that runs is over.
    pub(super) fn is_late(&self) -> bool {
        self.late.load(Ordering::Relaxed)
    }

    /// Bytes of bodies, both ways.
    pub(super) fn moved(&self) -> u64 {
        self.session.bytes(Direction::In).wrapping_add(self.session.bytes(Direction::Out))
    }

    /// What an HTTP/1 connection waits for now.
    fn waits_for(&self) -> For {
        let (running, begun) = self.requests();
        match self.watch.get().map(Watch::place) {
            _ if running > 0 => For::Answer(begun, self.patience()),
            Some(Place::Head) => For::Head(begun),
            // a body that belongs to no answer is one that is read for its form
            Some(Place::Body) => For::Nothing,
            _ => For::Request(begun),
        }
    }

    /// An HTTP/1 client may still be sending when it gets its last answer.
    pub(super) fn linger(&self) {
        self.lingers.store(true, Ordering::Relaxed);
    }

    /// The client can tell the end of its answer by that of the connection alone.
    pub(super) fn unframed(&self) {
        self.unframed.store(true, Ordering::Relaxed);
    }

    /// The reason of a request that ended with this one: a body that broke off may have done so for a fault in it.
    pub(super) fn blame(&self, reason: Reason) -> Reason {
        match self.watch.get().and_then(Watch::fault) {
            Some(fault) if reason == Reason::ClientReset => {
                tracing::debug!(session = self.session.id, rule = fault.rule(), "request refused");
                Reason::BadRequest
            }
            _ => reason,
        }
    }

    /// Whether the client's next bytes may be those of another protocol.
    pub(super) fn may_switch(&self) -> Result<(), Fault> {
        self.watch.get().map_or(Ok(()), Watch::switch)
    }

    pub(super) fn leave(&self, tunnel: Tunnel) {
        *self.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some(tunnel);
    }

    fn left(&self) -> Option<Tunnel> {
        self.tunnel.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Serves a connection to its end, and tells why it ended. Over TLS, `spoken` is what both sides agreed on. Dropping the future closes
/// it.
pub async fn serve(mut wire: Wire, front: Arc<Front>, spoken: Spoken) -> Reason {
    let (spoken, early) = match spoken {
        Spoken::Either => match preface::read(&mut wire, &front.session).await {
            Ok(read) => read,
            Err(preface::Ended { reason, late }) => {
                if late {
                    give_up(wire).await;
                }
                return reason;
            }
        },
        known @ (Spoken::H1 | Spoken::H2) => (known, Bytes::new()),
    };
    let io = Rewind::new(early, wire);
    if spoken == Spoken::H2 { Box::pin(h2::serve(io, front)).await } else { serve_h1(io, front).await }
}

async fn serve_h1(io: Rewind<Wire>, front: Arc<Front>) -> Reason {
    let (io, watch) = framing::watch(io);
    // one connection, one front
    let _ = front.watch.set(watch.clone());
    let service = {
        let front = front.clone();
        service_fn(move |request: Request<Incoming>| {
            let (front, verdict) = (front.clone(), watch.verdict());
            let (head, body) = request.into_parts();
            Box::pin(async move { Ok::<_, Infallible>(exchange(front, verdict, head, body).await) })
        })
    };
    let mut builder = http1::Builder::new();
    builder.max_header_size(framing::PARSER_HEAD);
    let mut conn = builder.serve_connection(TokioIo::new(io), service);
    let mut waiting = Waiting::new(Instant::now());
    let (mut finishing, mut is_head_late) = (false, false);
    let ended = poll_fn(|cx| {
        if let Poll::Ready(reason) = front.session.poll_end(cx) {
            return Poll::Ready(Err(reason));
        }
        if !finishing && front.session.asked_to_finish() {
            finishing = true;
            Pin::new(&mut conn).graceful_shutdown();
        }
        loop {
            if let Poll::Ready(ended) = conn.poll_without_shutdown(cx) {
                return Poll::Ready(Ok(ended));
            }
            let moved = || front.moved().wrapping_add(front.steps.load(Ordering::Relaxed));
            match ready!(waiting.poll(front.waits_for(), moved, cx)) {
                // the request is told, and has as much time again to tell a client that takes nothing
                For::Answer(..) if !front.late.swap(true, Ordering::Relaxed) => {}
                late @ (For::Nothing | For::Answer(..) | For::Request(_) | For::Head(_)) => {
                    is_head_late = matches!(late, For::Head(_));
                    return Poll::Ready(Err(Reason::IdleTimeout));
                }
            }
        }
    })
    .await;
    match ended {
        Err(reason) => {
            let io = conn.into_parts().io.into_inner().into_inner();
            if is_head_late {
                give_up(io).await;
            } else {
                break_off(io, &front);
            }
            reason
        }
        Ok(Err(error)) => {
            tracing::debug!(session = front.session.id, %error, "HTTP connection");
            break_off(conn.into_parts().io.into_inner().into_inner(), &front);
            Reason::ClientReset
        }
        Ok(Ok(())) => match front.left() {
            None => {
                let io = conn.into_parts().io.into_inner().into_inner();
                if front.lingers.load(Ordering::Relaxed) {
                    Box::pin(linger(io, &front.session)).await;
                } else {
                    say_end(io.into_parts().1).await;
                }
                Reason::Ok
            }
            Some(tunnel) => {
                let parts = conn.into_parts();
                let (rest, wire) = parts.io.into_inner().into_inner().into_parts();
                let early = if rest.is_empty() { parts.read_buf } else { [parts.read_buf, rest].concat().into() };
                tunnel.run(wire, early, &front.session).await;
                Reason::Ok
            }
        },
    }
}

/// Ends a connection in the middle of whatever was on it. An answer without a length of its own would look whole if the connection
/// were closed as usual (RFC 9112, 8): so it is reset. Over TLS the missing `close_notify` tells it.
fn break_off(io: Rewind<Wire>, front: &Front) {
    if front.unframed.load(Ordering::Relaxed)
        && let (_, Wire::Plain(tcp)) = io.into_parts()
    {
        // a socket that takes no options any more is as good as reset
        let _ = tcp.set_zero_linger();
    }
}

/// Ends TLS after an answer: without a `close_notify` its end could be anybody's doing (RFC 8446, 6.1). Over plain TCP the close
/// says it.
async fn say_end(mut wire: Wire) {
    if matches!(wire, Wire::Tls(_)) {
        // a client that takes nothing any more has had its time
        let _ = timeout(FAREWELL, wire.shutdown()).await;
    }
}

/// Reads what a client still sends that has its answer, and throws it away: closed at once, the connection would be reset and the
/// answer lost (RFC 9112, 9.6). Ends when the client does, or after [`LINGER`] or [`LINGER_QUIET`].
async fn linger(mut io: Rewind<Wire>, session: &Session) {
    let (mut end, mut quiet) = (pin!(sleep(LINGER)), pin!(sleep(LINGER_QUIET)));
    let (mut told, mut waste) = (false, vec![0; 16 * 1024]);
    poll_fn(|cx| {
        if session.poll_end(cx).is_ready() || end.as_mut().poll(cx).is_ready() || quiet.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if !told {
            told = Pin::new(&mut io).poll_shutdown(cx).is_ready();
        }
        let mut buf = ReadBuf::new(&mut waste);
        match Pin::new(&mut io).poll_read(cx, &mut buf) {
            Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                quiet.as_mut().reset(Instant::now() + LINGER_QUIET);
                // one read a turn: others are served in between
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
}

/// Tells a client whose head does not come to an end that it took too long. Nothing of an earlier answer is left to be sent: the
/// connection was polled just now, and what does not fit at once is not worth waiting for.
async fn give_up(mut wire: impl AsyncWrite + Unpin) {
    const LATE: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    poll_fn(|cx| {
        let _ = Pin::new(&mut wire).poll_write(cx, LATE);
        Poll::Ready(())
    })
    .await;
}
