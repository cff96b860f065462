//! The end of the process: a signal starts the drain, sessions end by themselves, the late ones in portions, and a second
//! signal ends all at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, interval};

use crate::base::meter::Direction;
use crate::base::reason::Reason;
use crate::live::sessions::{Session, Sessions};
use crate::telemetry::AccessLog;

/// How often the drain looks at the sessions.
const TICK: Duration = Duration::from_millis(100);
/// The part of the drain timeout at whose end sessions are ended in portions.
const STAGGER: f64 = 0.2;
/// How long ended sessions may take to close.
const LAST: Duration = Duration::from_secs(1);

/// The signals that stop the process, and the one that does not.
#[derive(Debug)]
pub(super) struct Stop {
    term: Signal,
    int: Signal,
    hup: Signal,
    /// What a hang-up opens again.
    access: AccessLog,
}

impl Stop {
    pub(super) fn new() -> anyhow::Result<Self> {
        let term = signal(SignalKind::terminate()).context("the signal SIGTERM")?;
        let int = signal(SignalKind::interrupt()).context("the signal SIGINT")?;
        let hup = signal(SignalKind::hangup()).context("the signal SIGHUP")?;
        Ok(Self { term, int, hup, access: AccessLog::disabled() })
    }

    /// From now on a hang-up opens this log's file again.
    pub(super) fn reopens(&mut self, access: AccessLog) {
        self.access = access;
    }

    /// Waits for the next signal that stops the process. A hang-up is not one, and no reload: what can change at run time changes
    /// without it, and a habit of other gateways must not end sessions. Cancel safe.
    pub(super) async fn asked(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.term.recv() => return "SIGTERM",
                _ = self.int.recv() => return "SIGINT",
                _ = self.hup.recv() => self.hung_up(),
            }
        }
    }
}

impl Stop {
    fn hung_up(&self) {
        let access_log = if self.access.reopen() { "opened again" } else { "no file" };
        tracing::warn!(access_log, "SIGHUP is not a reload: resources change at run time, the configuration file at a restart");
    }
}

/// Waits until no session is left. All are asked at once to end as soon as nothing is under way. Before `timeout` is over those that are still there are ended in even portions, quiet ones
/// first; a second signal ends all at once.
pub(super) async fn drain(sessions: &Sessions, timeout: Duration, stop: &mut Stop) {
    let deadline = Instant::now() + timeout;
    for session in sessions.list() {
        session.finish();
    }
    let mut portions = Portions::default();
    let mut ticks = interval(TICK);
    while sessions.count() > 0 {
        tokio::select! {
            _ = ticks.tick() => {
                let left = deadline.saturating_duration_since(Instant::now());
                for session in portions.next(sessions.list(), left, timeout) {
                    session.end(Reason::DrainDeadline);
                }
                if left.is_zero() {
                    break;
                }
            }
            signal = stop.asked() => {
                tracing::warn!(signal, sessions = sessions.count(), "asked again: ending all sessions");
                break;
            }
        }
    }
    end_all(sessions).await;
}

/// Ends whatever is left, and gives it a moment to close.
async fn end_all(sessions: &Sessions) {
    let deadline = Instant::now() + LAST;
    let mut ticks = interval(Duration::from_millis(5));
    while sessions.count() > 0 && Instant::now() < deadline {
        for session in sessions.list() {
            session.end(Reason::DrainDeadline);
        }
        ticks.tick().await;
    }
}

/// Which sessions are ended when.
#[derive(Debug, Default)]
struct Portions {
    /// Bytes that each session had moved at the last look.
    seen: HashMap<u64, u64>,
}

impl Portions {
    /// The sessions to end now: none before the last part of the timeout, then an even share of those that are left.
    fn next(&mut self, mut running: Vec<Arc<Session>>, left: Duration, timeout: Duration) -> Vec<Arc<Session>> {
        let moved = |s: &Session| s.bytes(Direction::In).wrapping_add(s.bytes(Direction::Out));
        let now: HashMap<u64, u64> = running.iter().map(|s| (s.id, moved(s))).collect();
        let before = std::mem::replace(&mut self.seen, now);
        if left > timeout.mul_f64(STAGGER) {
            return Vec::new();
        }
        let ticks = usize::try_from(left.as_millis() / TICK.as_millis()).unwrap_or(usize::MAX).max(1);
        running.retain(|s| s.asked_to_end().is_none());
        running.sort_by_key(|s| before.get(&s.id) != Some(&moved(s)));
        running.truncate(running.len().div_ceil(ticks));
        running
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::addr::{Local, Port, Protocol, Remote, Transport};
    use crate::base::id::Id;
    use crate::live::sessions::{Arrival, Registered};
    use std::time::SystemTime;

    fn many(sessions: &Sessions, n: usize) -> Vec<Registered> {
        let addr = "127.0.0.1:1".parse().unwrap();
        let arrival = Arrival {
            listener: Id::parse("l").unwrap(),
            port: Port { transport: Transport::Tcp, addr },
            protocol: Protocol::Tcp,
            peer: Remote(addr),
            local: Local(addr),
            started: SystemTime::UNIX_EPOCH,
        };
        (0..n).map(|_| sessions.register(arrival.clone())).collect()
    }

    #[test]
    fn late_sessions_end_in_even_portions_and_quiet_ones_first() {
        let sessions = Sessions::default();
        let places = many(&sessions, 20);
        let timeout = Duration::from_secs(10);
        let mut portions = Portions::default();
        assert!(portions.next(sessions.list(), Duration::from_secs(5), timeout).is_empty());
        for busy in &places[..19] {
            busy.add_bytes(Direction::In, 1);
        }
        let first = portions.next(sessions.list(), Duration::from_secs(2), timeout);
        assert_eq!(first.iter().map(|s| s.id).collect::<Vec<_>>(), [places[19].id]);
        first[0].end(Reason::DrainDeadline);
        assert_eq!(portions.next(sessions.list(), Duration::from_millis(400), timeout).len(), 5);
        assert_eq!(portions.next(sessions.list(), Duration::ZERO, timeout).len(), 19);
    }
}
