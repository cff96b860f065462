//! One client connection that speaks HTTP/1.1, request after request, until one side has enough.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Poll;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::exchange::exchange;
use super::framing::{self, Fault, Place, Watch};
use super::tunnel::Tunnel;
use super::waiting::{For, Waiting};
use crate::base::meter::Direction;
use crate::base::reason::Reason;
use crate::live::sessions::Session;
use crate::net::wire::Wire;
use crate::snapshot::cell::Cell;
use crate::telemetry::{AccessLog, RouteSeries};

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

/// What all requests of a connection share.
#[derive(Debug)]
pub struct Front {
    pub(super) shared: Arc<Shared>,
    pub(super) session: Arc<Session>,
    pub(super) secure: bool,
    /// Where the connection goes on when it leaves HTTP.
    tunnel: Mutex<Option<Tunnel>>,
    /// What is known of the bytes of an HTTP/1 client.
    watch: OnceLock<Watch>,
    /// Requests whose answer began, and ended. Counted by the connection's own task.
    begun: AtomicU64,
    ended: AtomicU64,
    /// The time limit of the request that began last, in milliseconds.
    timeout: AtomicU64,
}

impl Front {
    /// The front of a connection; `secure` if it came over TLS.
    pub fn new(shared: Arc<Shared>, session: Arc<Session>, secure: bool) -> Self {
        let (begun, ended, timeout) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Self { shared, session, secure, tunnel: Mutex::new(None), watch: OnceLock::new(), begun, ended, timeout }
    }

    /// A request is about to be answered.
    pub(super) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// It was, or never will be.
    pub(super) fn end(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// How long nothing may move while the request is answered.
    pub(super) fn may_rest(&self, timeout: Duration) {
        self.timeout.store(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn rest(&self) -> Duration {
        Duration::from_millis(self.timeout.load(Ordering::Relaxed))
    }

    fn moved(&self) -> u64 {
        self.session.bytes(Direction::In).wrapping_add(self.session.bytes(Direction::Out))
    }

    /// What an HTTP/1 connection waits for now.
    fn waits_for(&self) -> For {
        let (begun, ended) = (self.begun.load(Ordering::Relaxed), self.ended.load(Ordering::Relaxed));
        match self.watch.get().map(Watch::place) {
            _ if begun != ended => For::Answer(self.rest()),
            Some(Place::Head) => For::Head(ended),
            // a body that belongs to no answer is one that is read for its form
            Some(Place::Body) => For::Nothing,
            _ => For::Request(ended),
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

/// Serves a connection to its end, and tells why it ended. Dropping the future closes it.
pub async fn serve(wire: Wire, front: Arc<Front>) -> Reason {
    let (wire, watch) = framing::watch(wire);
    // one connection, one front
    let _ = front.watch.set(watch.clone());
    let service = {
        let front = front.clone();
        service_fn(move |request: Request<Incoming>| {
            let (front, verdict) = (front.clone(), watch.verdict());
            Box::pin(async move { Ok::<_, Infallible>(exchange(front, verdict, request).await) })
        })
    };
    let mut builder = http1::Builder::new();
    builder.max_headers(framing::PARSER_LINES).max_header_size(framing::PARSER_HEAD);
    let mut conn = builder.serve_connection(TokioIo::new(wire), service);
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
        match conn.poll_without_shutdown(cx) {
            Poll::Ready(ended) => Poll::Ready(Ok(ended)),
            Poll::Pending => waiting.poll(front.waits_for(), || front.moved(), cx).map(|late| {
                if matches!(late, For::Head(_)) {
                    is_head_late = true;
                }
                Err(Reason::IdleTimeout)
            }),
        }
    })
    .await;
    match ended {
        Err(reason) => {
            if is_head_late {
                give_up(conn.into_parts().io.into_inner().into_inner()).await;
            }
            reason
        }
        Ok(Err(error)) => {
            tracing::debug!(session = front.session.id, %error, "HTTP connection");
            Reason::ClientReset
        }
        Ok(Ok(())) => match front.left() {
            None => Reason::Ok,
            Some(tunnel) => {
                let parts = conn.into_parts();
                let timeout = front.rest();
                tunnel.run(parts.io.into_inner().into_inner(), parts.read_buf, &front.session, timeout).await;
                Reason::Ok
            }
        },
    }
}

/// Tells a client whose head does not come to an end that it took too long. Nothing of an earlier answer is left to be sent: the
/// connection was polled just now, and what does not fit at once is not worth waiting for.
async fn give_up(mut wire: Wire) {
    const LATE: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    poll_fn(|cx| {
        let _ = Pin::new(&mut wire).poll_write(cx, LATE);
        Poll::Ready(())
    })
    .await;
}
