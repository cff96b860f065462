//! The listener set: makes the ports of the process those of the snapshot, one plan after the other, and tells what became of
//! each. Runs on the control runtime; the sockets live on the workers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::gate::Gate;
use super::worker::{Socket, Stop, WorkerHandle};
use crate::base::addr::{Port, Transport};
use crate::base::drain::{Phase, Watch};
use crate::base::id::Id;
use crate::base::reason::Reason;
use crate::live::applied::AppliedWriter;
use crate::live::listeners::{PortState, PortStatus, Ports};
use crate::live::sessions::Sessions;
use crate::net::{limits, sock, udp};
use crate::snapshot::cell::Cell;
use crate::snapshot::diff::{ListenPlan, diff};
use crate::snapshot::{Conflict, PortSpec};
use crate::telemetry::Metrics;

/// The first wait before a failed bind is tried again; it doubles up to [`RETRY_MOST`].
const RETRY: Duration = Duration::from_millis(500);
/// The longest wait between two tries of a bind.
const RETRY_MOST: Duration = Duration::from_secs(30);
/// How often the sessions of removed listeners are looked after.
const TICK: Duration = Duration::from_millis(200);

/// What the set is made of.
#[derive(Debug)]
pub struct SetParts {
    /// Where snapshots come from.
    pub cell: Cell,
    /// Where the state of each port is told.
    pub ports: Ports,
    /// Where the applied revision is told.
    pub applied: AppliedWriter,
    /// The sessions that run.
    pub sessions: Sessions,
    /// The data workers; at least one.
    pub workers: Vec<WorkerHandle>,
    /// Bind failures and apply times are counted here.
    pub metrics: Metrics,
    /// For listeners that give no drain timeout.
    pub drain_timeout: Duration,
    /// At its first phase every port is closed.
    pub drain: Watch,
}

/// The set.
#[derive(Debug)]
pub struct ListenSet {
    parts: SetParts,
    /// What is wanted: the winners of the snapshot that was applied last.
    wanted: Arc<BTreeMap<Port, Arc<PortSpec>>>,
    conflicts: Vec<Conflict>,
    bound: HashMap<Port, Bound>,
    /// UDP ports of removed listeners whose sessions still run: without the socket, they could not.
    closing: HashMap<Port, Bound>,
    failed: HashMap<Port, Retry>,
    leaving: Vec<Leaving>,
}

/// A port that accepts.
#[derive(Debug)]
struct Bound {
    gate: Arc<Gate>,
    stops: Vec<Stop>,
}

/// A port that could not be bound.
#[derive(Debug)]
struct Retry {
    at: Instant,
    wait: Duration,
    /// Why, as it was told.
    state: PortState,
}

/// A closed port whose sessions may still run.
#[derive(Debug)]
struct Leaving {
    spec: Arc<PortSpec>,
    deadline: Instant,
}

impl ListenSet {
    /// A set without ports.
    pub fn new(parts: SetParts) -> Self {
        let (bound, closing, failed) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { parts, wanted: Arc::default(), conflicts: Vec::new(), bound, closing, failed, leaving: Vec::new() }
    }

    /// Follows the snapshots until the drain begins; then closes every port and returns.
    pub async fn run(&mut self) {
        let mut drain = self.parts.drain.clone();
        let mut published = self.parts.cell.subscribe();
        loop {
            let wake = self.wake();
            tokio::select! {
                () = drain.reached(Phase::Draining) => break,
                changed = published.changed() => match changed {
                    Ok(()) => self.apply().await,
                    Err(_) => break,
                },
                () = sleep_until(wake) => {
                    self.retry().await;
                    self.look_after_leaving().await;
                }
            }
        }
        self.close_all().await;
    }

    /// When to wake without a new snapshot.
    fn wake(&self) -> Instant {
        let retry = self.failed.values().map(|r| r.at).min();
        let tick = (!self.leaving.is_empty()).then(|| Instant::now() + TICK);
        retry.into_iter().chain(tick).min().unwrap_or_else(|| Instant::now() + RETRY_MOST)
    }

    /// Makes the ports those of the newest snapshot.
    async fn apply(&mut self) {
        let snapshot = self.parts.cell.load_full();
        let wanted = snapshot.ports().clone();
        let ListenPlan { open, update, close } = diff(&self.wanted, &wanted);
        self.tell_conflicts(snapshot.conflicts());
        for spec in open {
            self.open(&spec).await;
        }
        for spec in update {
            self.update(&spec);
        }
        for port in close {
            self.close(port).await;
        }
        self.wanted = wanted;
        if let Some(arrived) = snapshot.arrived() {
            self.parts.metrics.config_apply_seconds.observe(arrived.elapsed().as_secs_f64());
        }
        self.parts.metrics.set_applied_revision(snapshot.revision());
        self.parts.applied.set(snapshot.revision());
    }

    async fn open(&mut self, spec: &Arc<PortSpec>) {
        let wait = self.failed.get(&spec.port).map_or(RETRY, |r| (r.wait * 2).min(RETRY_MOST));
        self.leaving.retain(|l| l.spec.port != spec.port || l.spec.listener.id != spec.listener.id);
        let opened = match self.closing.remove(&spec.port) {
            Some(bound) => {
                bound.gate.update(spec.clone());
                bound.gate.set_closed(false);
                Ok(bound)
            }
            None => self.bind(spec).await,
        };
        match opened {
            Ok(bound) => {
                self.failed.remove(&spec.port);
                self.bound.insert(spec.port, bound);
                tracing::info!(listener = %spec.listener.id, port = %spec.port, "listening");
                self.tell(spec, PortState::Active);
            }
            Err(error) => {
                self.parts.metrics.bind_failed(&spec.listener.id);
                tracing::warn!(listener = %spec.listener.id, port = %spec.port, errno = error.errno, reason = %error, retry_in = ?wait, "bind failed");
                let state = PortState::Failed { errno: error.errno, message: error.message };
                self.failed.insert(spec.port, Retry { at: Instant::now() + wait, wait, state: state.clone() });
                self.tell(spec, state);
            }
        }
    }

    async fn bind(&self, spec: &Arc<PortSpec>) -> Result<Bound, sock::BindError> {
        let addr = spec.port.addr;
        // an overlapping port of our own would fail the probe: wildcard and address may stand side by side
        let ours = |p: &Port| p.transport == spec.port.transport && sock::overlap(p.addr, addr);
        if !self.bound.keys().chain(self.closing.keys()).any(ours) {
            match spec.port.transport {
                Transport::Tcp => sock::probe_tcp(addr)?,
                Transport::Udp => udp::probe(addr)?,
            }
        }
        let workers = self.workers_for(spec.port);
        let gate = Arc::new(Gate::new(spec.clone()));
        let mut stops = Vec::with_capacity(workers.len());
        let sockets: Vec<Socket> = match spec.port.transport {
            Transport::Tcp => sock::listen_tcp(addr, workers.len())?.into_iter().map(Socket::Tcp).collect(),
            Transport::Udp => udp::listen(addr, workers.len())?.into_iter().map(Socket::Udp).collect(),
        };
        for (worker, socket) in workers.iter().zip(sockets) {
            let opened = worker.open(socket, gate.clone()).await;
            stops.push(
                opened.map_err(|e| sock::BindError { errno: e.raw_os_error().unwrap_or(0), message: format!("accept on {addr}: {e}") })?,
            );
        }
        Ok(Bound { gate, stops })
    }

    /// Every worker; or, where sockets for each would take more than a quarter of the descriptors, one of them.
    fn workers_for(&self, port: Port) -> Vec<&WorkerHandle> {
        let workers = &self.parts.workers;
        let sockets = (self.bound.len() + 1).saturating_mul(workers.len());
        if sockets <= limits::descriptors() / 4 {
            return workers.iter().collect();
        }
        workers.get(usize::from(port.addr.port()) % workers.len().max(1)).into_iter().collect()
    }

    fn update(&self, spec: &Arc<PortSpec>) {
        let before = self.wanted.get(&spec.port).map(|s| s.listener.id.clone());
        if let Some(id) = before.filter(|id| *id != spec.listener.id) {
            self.parts.ports.remove(&id, spec.port);
        }
        if let Some(bound) = self.bound.get(&spec.port) {
            bound.gate.update(spec.clone());
            self.tell(spec, PortState::Active);
        } else if let Some(retry) = self.failed.get(&spec.port) {
            self.tell(spec, retry.state.clone());
        }
    }

    /// Closes a port: when this returns, no session can begin. Those that run live on until their drain timeout.
    async fn close(&mut self, port: Port) {
        self.failed.remove(&port);
        let Some(spec) = self.wanted.get(&port).cloned() else { return };
        let Some(bound) = self.bound.remove(&port) else {
            self.parts.ports.remove(&spec.listener.id, port);
            return;
        };
        match port.transport {
            Transport::Tcp => stop(bound.stops).await,
            Transport::Udp => {
                bound.gate.set_closed(true);
                self.closing.insert(port, bound);
            }
        }
        tracing::info!(listener = %spec.listener.id, %port, "closed");
        let wait = spec.listener.drain_timeout.unwrap_or(self.parts.drain_timeout);
        self.tell(&spec, PortState::Draining);
        self.leaving.push(Leaving { spec, deadline: Instant::now() + wait });
        self.look_after_leaving().await;
    }

    /// Asks the sessions of removed listeners to finish, ends those whose time is up, and forgets listeners whose sessions are gone.
    async fn look_after_leaving(&mut self) {
        if self.leaving.is_empty() {
            return;
        }
        let sessions = self.parts.sessions.list();
        let now = Instant::now();
        let ports = &self.parts.ports;
        self.leaving.retain(|leaving| {
            let mut left = false;
            for session in sessions.iter().filter(|s| s.port == leaving.spec.port && s.listener == leaving.spec.listener.id) {
                left = true;
                session.finish();
                if now >= leaving.deadline {
                    session.end(Reason::ListenerRemoved);
                }
            }
            if !left {
                ports.remove(&leaving.spec.listener.id, leaving.spec.port);
            }
            left
        });
        let empty = |port: &Port| !self.leaving.iter().any(|l| l.spec.port == *port);
        let done: Vec<Port> = self.closing.keys().copied().filter(empty).collect();
        for port in done {
            if let Some(bound) = self.closing.remove(&port) {
                stop(bound.stops).await;
            }
        }
    }

    async fn retry(&mut self) {
        let now = Instant::now();
        let due: Vec<Port> = self.failed.iter().filter(|(_, r)| r.at <= now).map(|(p, _)| *p).collect();
        for port in due {
            if let Some(spec) = self.wanted.get(&port).cloned() {
                self.open(&spec).await;
            }
        }
    }

    fn tell(&self, spec: &PortSpec, state: PortState) {
        self.parts.ports.set(status(&spec.listener.id, spec, state));
    }

    fn tell_conflicts(&mut self, now: &[Conflict]) {
        for gone in self.conflicts.iter().filter(|c| !now.contains(c)) {
            self.parts.ports.remove(&gone.listener, gone.port);
        }
        for conflict in now {
            self.parts.ports.set(PortStatus {
                listener: conflict.listener.clone(),
                protocol: conflict.protocol,
                port: conflict.port,
                state: PortState::Conflict { winner: conflict.winner.clone() },
                required: conflict.required,
            });
        }
        self.conflicts = now.to_vec();
    }

    async fn close_all(&mut self) {
        for (port, bound) in std::mem::take(&mut self.bound) {
            // sessions of UDP need the socket; it goes with the last of them
            bound.gate.set_closed(true);
            if port.transport == Transport::Tcp {
                stop(bound.stops).await;
            }
            if let Some(spec) = self.wanted.get(&port) {
                self.tell(spec, PortState::Draining);
            }
        }
    }
}

fn status(id: &Id, spec: &PortSpec, state: PortState) -> PortStatus {
    PortStatus { listener: id.clone(), protocol: spec.listener.protocol, port: spec.port, state, required: spec.required }
}

/// Stops accept loops, and waits until their sockets are closed.
async fn stop(stops: Vec<Stop>) {
    let mut waits = Vec::with_capacity(stops.len());
    for stop in stops {
        let (said, wait) = tokio::sync::oneshot::channel();
        if stop.send(said).is_ok() {
            waits.push(wait);
        }
    }
    for wait in waits {
        // a worker that is gone has closed its sockets
        let _ = wait.await;
    }
}
