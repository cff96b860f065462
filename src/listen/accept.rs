//! The accept loop of one port on one worker.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::conn;
use super::gate::Gate;
use super::worker::Context;
use crate::base::task;

/// How long accepting pauses when the system has no descriptor or memory for another connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts until told to stop; then takes what the kernel has already accepted for this socket, since closing it would reset
/// them, closes it, and says so.
pub(super) async fn run(listener: TcpListener, gate: Arc<Gate>, context: Arc<Context>, mut stop: oneshot::Receiver<oneshot::Sender<()>>) {
    let said = loop {
        tokio::select! {
            biased;
            said = &mut stop => break said.ok(),
            () = next(&listener, &gate, &context) => {}
        }
    };
    while let Poll::Ready(Ok((stream, peer))) = poll_fn(|cx| Poll::Ready(listener.poll_accept(cx))).await {
        start(stream, peer, &gate, &context);
    }
    drop(listener);
    if let Some(said) = said {
        // nobody waits for the answer only while the process ends
        let _ = said.send(());
    }
}

/// Takes one connection, or waits out a lack of places, descriptors or memory. Cancel safe.
async fn next(listener: &TcpListener, gate: &Arc<Gate>, context: &Arc<Context>) {
    context.budget.freed().await;
    match listener.accept().await {
        Ok((stream, peer)) => start(stream, peer, gate, context),
        Err(error) if exhausted(&error) => {
            context.accept_paused(&error, gate);
            sleep(PAUSE).await;
        }
        // the client went away before it was accepted, and the like: its own affair
        Err(error) => tracing::debug!(port = %gate.port, %error, "accept"),
    }
}

fn start(stream: TcpStream, peer: SocketAddr, gate: &Arc<Gate>, context: &Arc<Context>) {
    let place = context.budget.take();
    task::spawn(conn::serve(stream, peer, gate, context.clone(), place));
}

fn exhausted(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}
