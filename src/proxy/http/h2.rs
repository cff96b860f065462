//! One client connection that speaks HTTP/2: its streams are exchanges, each in a task of its own on the same worker.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::{Instant, Sleep, sleep_until};

use super::exchange::exchange;
use super::flood::{self, Measured, WINDOW};
use super::framing;
use super::serve::Front;
use crate::base::reason::Reason;
use crate::net::rewind::Rewind;
use crate::tls::Wire;

/// The most requests at a time.
const MOST_STREAMS: u32 = 128;
/// The longest list of header lines of one request that is read, in bytes: more than is taken, so that what is too long gets its 431.
/// Beyond this the stream is refused, too, which some clients take for leave to try again.
const LARGEST_HEAD: u32 = 128 * 1024;
/// Streams that a client has reset and nobody has taken yet: more end the connection (CVE-2023-44487).
const MOST_RESET: usize = 32;
/// Streams that had to be reset for errors of the client's: more end the connection (RUSTSEC-2024-0003).
const MOST_FAULTS: usize = 256;
/// What waits on one stream for the client's window, in bytes.
const MOST_WAITING: usize = 64 * 1024;
/// A client that says nothing for so long is asked whether it is there.
const PING: Duration = Duration::from_secs(60);
/// How long it may take to say so.
const PONG: Duration = Duration::from_secs(20);
/// How long a connection without requests is kept.
const IDLE: Duration = Duration::from_secs(120);
/// How often it is looked at.
const TICK: Duration = Duration::from_secs(10);
/// Steps of a request that wait for no bytes: names and connects.
const STEPS: Duration = Duration::from_secs(60);

/// Serves a connection to its end, and tells why it ended. Dropping the future closes it, and all of its streams.
pub(super) async fn serve(io: Rewind<Wire>, front: Arc<Front>) -> Reason {
    let service = {
        let front = front.clone();
        service_fn(move |request: Request<Incoming>| {
            let front = front.clone();
            let (head, body) = request.into_parts();
            let verdict = framing::request(&head);
            async move { Ok::<_, Infallible>(exchange(front, verdict, head, body).await) }
        })
    };
    let mut conn = pin!(builder().serve_connection(TokioIo::new(Measured::new(io, front.clone())), service));
    let mut quiet = Quiet::new(Instant::now());
    let mut finishing = false;
    let ended = poll_fn(|cx| {
        if let Poll::Ready(reason) = front.session().poll_end(cx) {
            return Poll::Ready(Err(reason));
        }
        let verdict = quiet.poll(cx, &front);
        if let Poll::Ready(Verdict::Stalled) = verdict {
            return Poll::Ready(Err(Reason::IdleTimeout));
        }
        let unused = verdict.is_ready();
        if unused && finishing {
            return Poll::Ready(Err(Reason::Ok));
        }
        if !finishing && (unused || front.session().asked_to_finish()) {
            finishing = true;
            conn.as_mut().graceful_shutdown();
        }
        conn.as_mut().poll(cx).map(Ok)
    })
    .await;
    match ended {
        Err(reason) => reason,
        Ok(Ok(())) => Reason::Ok,
        Ok(Err(error)) if flood::is_cause(&error) => {
            tracing::debug!(session = front.session().id, "a flood of HTTP/2 frames");
            Reason::BadRequest
        }
        Ok(Err(error)) => {
            tracing::debug!(session = front.session().id, %error, "HTTP/2 connection");
            Reason::ClientReset
        }
    }
}

fn builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(LARGEST_HEAD)
        .max_pending_accept_reset_streams(MOST_RESET)
        .max_local_error_reset_streams(MOST_FAULTS)
        .max_send_buf_size(MOST_WAITING)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .enable_connect_protocol();
    builder
}

/// What is known of a connection at a tick.
enum Verdict {
    /// No request has been on it for a while.
    Unused,
    /// There are requests, and nothing has moved for longer than any of them may wait: a client that opens no window.
    Stalled,
}

/// How long nothing has moved on a connection.
struct Quiet {
    timer: Pin<Box<Sleep>>,
    seen: u64,
    time: Duration,
}

impl Quiet {
    fn new(now: Instant) -> Self {
        Self { timer: Box::pin(sleep_until(now + TICK)), seen: 0, time: Duration::ZERO }
    }

    fn poll(&mut self, cx: &mut Context<'_>, front: &Front) -> Poll<Verdict> {
        while self.timer.as_mut().poll(cx).is_ready() {
            self.timer.as_mut().reset(Instant::now() + TICK);
            let (running, begun) = front.requests();
            let moved = begun.wrapping_add(front.moved());
            self.time = if moved == self.seen { self.time.saturating_add(TICK) } else { Duration::ZERO };
            self.seen = moved;
            if running == 0 && self.time >= IDLE {
                return Poll::Ready(Verdict::Unused);
            }
            if running > 0 && self.time >= front.patience().saturating_add(STEPS) {
                return Poll::Ready(Verdict::Stalled);
            }
        }
        Poll::Pending
    }
}
