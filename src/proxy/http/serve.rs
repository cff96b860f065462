//! One client connection that speaks HTTP/1.1, request after request, until one side has enough.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Poll;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::exchange::exchange;
use super::framing::{self, Fault, Watch};
use super::tunnel::Tunnel;
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
}

impl Front {
    /// The front of a connection; `secure` if it came over TLS.
    pub fn new(shared: Arc<Shared>, session: Arc<Session>, secure: bool) -> Self {
        Self { shared, session, secure, tunnel: Mutex::new(None), watch: OnceLock::new() }
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
    let mut finishing = false;
    let ended = poll_fn(|cx| {
        if let Poll::Ready(reason) = front.session.poll_end(cx) {
            return Poll::Ready(Err(reason));
        }
        if !finishing && front.session.asked_to_finish() {
            finishing = true;
            Pin::new(&mut conn).graceful_shutdown();
        }
        conn.poll_without_shutdown(cx).map(Ok)
    })
    .await;
    match ended {
        Err(reason) => reason,
        Ok(Err(error)) => {
            tracing::debug!(session = front.session.id, %error, "HTTP connection");
            Reason::ClientReset
        }
        Ok(Ok(())) => match front.left() {
            None => Reason::Ok,
            Some(tunnel) => {
                let parts = conn.into_parts();
                let timeout = front.shared.cell.load().global().default_timeout;
                tunnel.run(parts.io.into_inner().into_inner(), parts.read_buf, &front.session, timeout).await;
                Reason::Ok
            }
        },
    }
}
