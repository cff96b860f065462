//! A data worker: one thread, one runtime, its own socket for each port. Told by the listener set what to open and close.

use std::io;
use std::sync::Arc;

use rustix::io::Errno;
use tokio::sync::{mpsc, oneshot};

use super::accept;
use super::budget::Budget;
use super::dgram;
use super::gate::Gate;
use crate::base::task;
use crate::live::sessions::Sessions;
use crate::proxy::http;
use crate::snapshot::cell::Cell;
use crate::telemetry::{AccessLog, Metrics, RouteSeries};

/// What every connection of the process shares.
#[derive(Debug)]
pub struct Context {
    /// The configuration of the moment.
    pub cell: Cell,
    /// The sessions that run.
    pub sessions: Sessions,
    /// One record for each ended session.
    pub access: AccessLog,
    /// Descriptors for sessions.
    pub budget: Budget,
    /// The series of sessions that matched no route.
    pub unrouted: Arc<RouteSeries>,
    /// What all HTTP connections share.
    pub http: Arc<http::Shared>,
    /// The name for clients that give none by TLS.
    pub fallback_sni: Option<Arc<str>>,
    /// Counts pauses of accepting, and handshakes.
    pub metrics: Metrics,
}

impl Context {
    /// Counts and logs a pause of accepting.
    pub(super) fn accept_paused(&self, error: &io::Error, gate: &Gate) {
        let resource = match Errno::from_io_error(error) {
            Some(Errno::MFILE | Errno::NFILE) => "descriptors",
            _ => "memory",
        };
        self.metrics.accept_paused(resource);
        tracing::warn!(port = %gate.port, resource, %error, "accepting pauses");
    }
}

/// Stops an accept loop; answered when its socket is closed.
pub(super) type Stop = oneshot::Sender<oneshot::Sender<()>>;

/// A bound socket.
#[derive(Debug)]
pub(super) enum Socket {
    /// It listens.
    Tcp(std::net::TcpListener),
    /// Datagrams come to it.
    Udp(std::net::UdpSocket),
}

/// An order to a worker.
pub(super) struct Open {
    pub(super) socket: Socket,
    pub(super) gate: Arc<Gate>,
    pub(super) stop: oneshot::Receiver<oneshot::Sender<()>>,
    pub(super) opened: oneshot::Sender<io::Result<()>>,
}

/// The set's side of a worker.
#[derive(Clone, Debug)]
pub struct WorkerHandle(mpsc::UnboundedSender<Open>);

/// The worker itself; its future runs on the worker's own runtime.
#[derive(Debug)]
pub struct Worker {
    orders: mpsc::UnboundedReceiver<Open>,
    context: Arc<Context>,
}

/// A worker and the handle to it.
pub fn worker(context: Arc<Context>) -> (WorkerHandle, Worker) {
    let (tx, orders) = mpsc::unbounded_channel();
    (WorkerHandle(tx), Worker { orders, context })
}

impl WorkerHandle {
    /// Hands a socket over. Resolves when the worker accepts on it.
    pub(super) async fn open(&self, socket: Socket, gate: Arc<Gate>) -> io::Result<Stop> {
        let gone = || io::Error::other("the worker has ended");
        let (stop, stopped) = oneshot::channel();
        let (opened, answer) = oneshot::channel();
        self.0.send(Open { socket, gate, stop: stopped, opened }).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?.map(|()| stop)
    }
}

impl Worker {
    /// Serves until every handle is gone.
    pub async fn run(mut self) {
        while let Some(order) = self.orders.recv().await {
            let context = self.context.clone();
            let accepting = match order.socket {
                Socket::Tcp(socket) => tokio::net::TcpListener::from_std(socket)
                    .map(|listener| drop(task::spawn(accept::run(listener, order.gate, context, order.stop)))),
                Socket::Udp(socket) => dgram::start(socket, order.gate, context, order.stop),
            };
            // the set gave up waiting only while the process ends
            let _ = order.opened.send(accepting);
        }
    }
}
