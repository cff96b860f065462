//! The listening side of UDP sessions: what their shell asks for, and how it runs on a worker.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::oneshot;

use super::budget::Place;
use super::gate::Gate;
use super::guard::ConnGuard;
use super::worker::Context;
use crate::base::addr::{Local, Remote, canonical};
use crate::base::task;
use crate::live::sessions::{Arrival, Session};
use crate::proxy::tcp::Outcome;
use crate::proxy::udp::shell::{Front, Guard, Parts, Ruling, Shell};
use crate::proxy::udp::sources::{Pace, Sources};
use crate::route::l4::Ask;
use crate::snapshot::L4Route;
use crate::telemetry::RouteSeries;

/// One bound UDP port, as its sessions see it.
#[derive(Debug)]
struct Door {
    gate: Arc<Gate>,
    context: Arc<Context>,
}

/// A registered session, and its share of the descriptors.
#[derive(Debug)]
struct Entered {
    guard: ConnGuard,
    _place: Option<Place>,
}

impl Front for Door {
    type Guard = Entered;

    fn route(&self, client: SocketAddr, local: SocketAddr) -> Ruling {
        let snapshot = self.context.cell.load();
        let ask = Ask { client: canonical(client).ip(), server: canonical(local), sni: None };
        let route = snapshot.route_for(&self.gate.spec(), &ask).cloned();
        let limiter = route.as_ref().and_then(|route| snapshot.limiter(&route.limit)).cloned();
        Ruling { route, limiter, revision: snapshot.revision() }
    }

    fn register(&self, client: SocketAddr, local: SocketAddr, route: Option<&Arc<L4Route>>, revision: u64) -> Entered {
        let spec = self.gate.spec();
        let arrival = Arrival {
            listener: spec.listener.id.clone(),
            port: self.gate.port,
            protocol: spec.listener.protocol,
            peer: Remote(canonical(client)),
            local: Local(canonical(local)),
            started: SystemTime::now(),
        };
        let mut guard = ConnGuard::register(&self.context, arrival);
        guard.routed(route, revision);
        Entered { guard, _place: self.context.budget.take_one() }
    }

    fn unrouted(&self) -> &RouteSeries {
        &self.context.unrouted
    }

    fn has_room(&self) -> bool {
        self.context.budget.has_one()
    }

    fn closed(&self) -> bool {
        self.gate.closed()
    }
}

impl Guard for Entered {
    fn session(&self) -> &Arc<Session> {
        self.guard.session()
    }

    fn close(self, outcome: &Outcome, datagrams: [u64; 2]) {
        self.guard.close_after(outcome, datagrams);
    }
}

/// Serves a UDP socket on this worker until it is stopped.
pub(super) fn start(
    socket: UdpSocket,
    gate: Arc<Gate>,
    context: Arc<Context>,
    stop: oneshot::Receiver<oneshot::Sender<()>>,
) -> io::Result<()> {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).map_err(|e| io::Error::other(e.to_string()))?;
    let places = context.budget.places().clone();
    let mut shell = Shell::new(Parts {
        front: Door { gate, context },
        socket,
        places,
        sources: Sources::new(u64::from_ne_bytes(seed), Pace::default()),
        stop,
    })?;
    task::spawn(async move {
        let said = (&mut shell).await;
        // whoever asked is told once the socket is closed
        drop(shell);
        if let Some(said) = said {
            // nobody waits for the answer only while the process ends
            let _ = said.send(());
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::udp::shell;

    #[test]
    fn a_session_at_rest_is_small() {
        let bytes = shell::bytes::<Entered>();
        assert!((256..=320).contains(&bytes), "{bytes} bytes: a change of this size wants a reason");
    }
}
