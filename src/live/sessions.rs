//! The sessions that run: registered by the listening side before any check, listed and ended by the control API.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use atomic_waker::AtomicWaker;
use dashmap::DashMap;

use crate::base::addr::{Local, Port, Protocol, Remote};
use crate::base::id::Id;
use crate::base::meter::Direction;
use crate::base::reason::Reason;

/// One running session. Shared by its task and whoever inspects it.
#[derive(Debug)]
pub struct Session {
    /// Unique in this process.
    pub id: u64,
    /// The listener that accepted it.
    pub listener: Id,
    /// The bound port that it came in through.
    pub port: Port,
    /// What it speaks.
    pub protocol: Protocol,
    /// The other end of the connection. Who the client is says [`Session::client`].
    pub peer: Remote<SocketAddr>,
    /// The address that the peer connected to.
    pub local: Local<SocketAddr>,
    /// Nanoseconds since 1970: half of what the time of the standard library takes.
    started: u64,
    /// Boxed: only sessions behind a trusted proxy or of TLS have one.
    rare: OnceLock<Box<Rare>>,
    route: OnceLock<Id>,
    node: OnceLock<Arc<str>>,
    bytes: [AtomicU64; 2],
    /// 0, or the reason somebody wants it to end for.
    end: AtomicU8,
    /// Somebody wants it to end when that harms nobody.
    finish: AtomicBool,
    waker: AtomicWaker,
}

/// What few sessions have; each is noted once.
#[derive(Debug, Default)]
struct Rare {
    claim: OnceLock<Claim>,
    sni: OnceLock<Box<str>>,
    tls: OnceLock<Tls>,
}

/// What a trusted peer says of the connection that it passes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The client.
    pub client: Remote<SocketAddr>,
    /// The address that the client connected to, at the peer's side.
    pub server: Remote<SocketAddr>,
}

impl Session {
    /// The client: the peer, or whom a trusted peer speaks for. Everything that asks who the client is means this one.
    pub fn client(&self) -> Remote<SocketAddr> {
        self.claim().map_or(self.peer, |claim| claim.client)
    }

    /// When it was accepted, by the wall clock.
    pub fn started(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.started)
    }

    /// What a trusted peer said.
    pub fn claim(&self) -> Option<&Claim> {
        self.rare.get()?.claim.get()
    }

    /// Notes what a trusted peer said; only the first call counts. For the session's task, before it is routed.
    pub fn set_claim(&self, claim: Claim) {
        // a second call would be a bug of the caller: a connection has one header
        let _ = self.rare().claim.set(claim);
    }

    /// The name that the client asked for by TLS, if it gave one.
    pub fn sni(&self) -> Option<&str> {
        self.rare.get()?.sni.get().map(AsRef::as_ref)
    }

    /// What a handshake with the client agreed on, if there was one.
    pub fn tls(&self) -> Option<Tls> {
        self.rare.get()?.tls.get().copied()
    }

    /// Notes the name; only the first call counts.
    pub fn set_sni(&self, sni: Box<str>) {
        // a second call would be a bug of the caller: a connection has one hello
        let _ = self.rare().sni.set(sni);
    }

    /// Notes what a handshake agreed on; only the first call counts.
    pub fn set_tls(&self, tls: Tls) {
        let _ = self.rare().tls.set(tls);
    }

    /// The route that it matched, if it has by now.
    pub fn route(&self) -> Option<&Id> {
        self.route.get()
    }

    /// The node that it is connected to, if it is by now.
    pub fn node(&self) -> Option<&str> {
        self.node.get().map(AsRef::as_ref)
    }

    /// Notes the route; only the first call counts.
    pub fn set_route(&self, route: Id) {
        // a second call would be a bug of the caller, and harmless: a session has one route
        let _ = self.route.set(route);
    }

    /// Notes the node; only the first call counts.
    pub fn set_node(&self, node: Arc<str>) {
        let _ = self.node.set(node);
    }

    /// Bytes moved so far in a direction.
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.counter(direction).load(Ordering::Relaxed)
    }

    /// Adds to the bytes moved. Only the session's own tasks call it, which all run on one thread.
    pub fn add_bytes(&self, direction: Direction, bytes: u64) {
        let counter = self.counter(direction);
        // one writer: a load and a store are enough, and cheaper than a locked add
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(bytes), Ordering::Relaxed);
    }

    /// Asks the session to end. The first reason stays.
    #[expect(clippy::as_conversions, reason = "a Reason is its number")]
    pub fn end(&self, reason: Reason) {
        if self.end.compare_exchange(0, reason as u8, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.waker.wake();
        }
    }

    /// Asks the session to end as soon as nothing is under way on it. Sessions of protocols that know no such moment go on.
    pub fn finish(&self) {
        // a waker is used up by a call: who knows nothing of finishing would not hear of the end that follows
        if self.protocol == Protocol::Http && !self.finish.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Whether it was asked to end when nothing is under way. Whoever polls for its end is woken when that changes.
    pub fn asked_to_finish(&self) -> bool {
        self.finish.load(Ordering::Acquire)
    }

    /// For the session's task: ready once somebody wants it to end.
    pub fn poll_end(&self, cx: &mut Context<'_>) -> Poll<Reason> {
        if let Some(reason) = self.asked_to_end() {
            return Poll::Ready(reason);
        }
        self.waker.register(cx.waker());
        // looked at again, for a request that came between the look and the registration
        self.asked_to_end().map_or(Poll::Pending, Poll::Ready)
    }

    /// The reason somebody wants it to end for.
    pub fn asked_to_end(&self) -> Option<Reason> {
        Reason::from_u8(self.end.load(Ordering::Acquire))
    }

    fn rare(&self) -> &Rare {
        self.rare.get_or_init(Box::default)
    }

    fn counter(&self, direction: Direction) -> &AtomicU64 {
        let [inward, outward] = &self.bytes;
        match direction {
            Direction::In => inward,
            Direction::Out => outward,
        }
    }
}

/// What a handshake agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The version, as `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite, by its name at the IANA.
    pub cipher: &'static str,
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// All running sessions. Cheap to clone; all clones are one registry.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    map: Arc<DashMap<u64, Arc<Session>>>,
    next: Arc<AtomicU64>,
}

/// A place in the registry; leaving is dropping it.
#[derive(Debug)]
#[must_use = "dropping it takes the session out of the registry"]
pub struct Registered {
    session: Arc<Session>,
    map: Arc<DashMap<u64, Arc<Session>>>,
}

/// Where a session came in.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The listener.
    pub listener: Id,
    /// The bound port.
    pub port: Port,
    /// What it speaks.
    pub protocol: Protocol,
    /// The other end of the connection.
    pub peer: Remote<SocketAddr>,
    /// The address that the peer connected to.
    pub local: Local<SocketAddr>,
    /// When, by the wall clock.
    pub started: SystemTime,
}

impl Sessions {
    /// Registers a session.
    pub fn register(&self, arrival: Arrival) -> Registered {
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let session = Arc::new(Session {
            id,
            listener: arrival.listener,
            port: arrival.port,
            protocol: arrival.protocol,
            peer: arrival.peer,
            local: arrival.local,
            started: nanos(arrival.started),
            rare: OnceLock::new(),
            route: OnceLock::new(),
            node: OnceLock::new(),
            bytes: [AtomicU64::new(0), AtomicU64::new(0)],
            end: AtomicU8::new(0),
            finish: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        });
        self.map.insert(id, session.clone());
        Registered { session, map: self.map.clone() }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.map.len()
    }

    /// All of them, oldest first.
    pub fn list(&self) -> Vec<Arc<Session>> {
        let mut all: Vec<_> = self.map.iter().map(|e| e.value().clone()).collect();
        all.sort_unstable_by_key(|s| s.id);
        all
    }

    /// One of them.
    pub fn get(&self, id: u64) -> Option<Arc<Session>> {
        self.map.get(&id).map(|e| e.value().clone())
    }
}

impl std::ops::Deref for Registered {
    type Target = Arc<Session>;

    fn deref(&self) -> &Self::Target {
        &self.session
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.map.remove(&self.session.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::addr::Transport;

    fn arrival() -> Arrival {
        let addr: SocketAddr = "127.0.0.1:9100".parse().unwrap();
        Arrival {
            listener: Id::parse("a").unwrap(),
            port: Port { transport: Transport::Tcp, addr },
            protocol: Protocol::Tcp,
            peer: Remote(addr),
            local: Local(addr),
            started: SystemTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_session_is_small() {
        // with its two counts it fills a place of 256 bytes
        assert!(size_of::<Session>() <= 240, "{}", size_of::<Session>());
    }

    #[test]
    fn a_session_is_listed_until_its_place_is_dropped() {
        let sessions = Sessions::default();
        let (a, b) = (sessions.register(arrival()), sessions.register(arrival()));
        assert_eq!(sessions.list().iter().map(|s| s.id).collect::<Vec<_>>(), [a.id, b.id]);
        let gone = a.id;
        drop(a);
        assert!(sessions.get(gone).is_none());
        assert_eq!(sessions.count(), 1);
    }

    #[test]
    fn the_client_is_the_peer_unless_a_trusted_peer_speaks_for_another() {
        let place = Sessions::default().register(arrival());
        assert_eq!(place.client(), place.peer);
        let [client, server] = ["192.0.2.7:4000", "198.51.100.1:443"].map(|text| Remote(text.parse().unwrap()));
        place.set_claim(Claim { client, server });
        place.set_claim(Claim { client: server, server: client });
        assert_eq!((place.client(), place.claim().map(|claim| claim.server)), (client, Some(server)), "the first stays");
        assert_ne!(place.peer, client);
    }

    #[tokio::test]
    async fn the_first_reason_to_end_wakes_the_session_and_stays() {
        let sessions = Sessions::default();
        let place = sessions.register(arrival());
        let session = place.clone();
        let waiting = crate::base::task::spawn(async move { std::future::poll_fn(|cx| session.poll_end(cx)).await });
        tokio::task::yield_now().await;
        place.end(Reason::AdminKilled);
        place.end(Reason::DrainDeadline);
        assert_eq!(waiting.await.unwrap(), Reason::AdminKilled);
    }
}
