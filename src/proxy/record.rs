//! The access line of a session, as far as the session itself knows it. Whoever counts it fills in the rest.

use std::time::{Duration, SystemTime};

use crate::base::meter::Direction;
use crate::base::reason::Reason;
use crate::live::sessions::Session;
use crate::telemetry::Record;

/// What is told of a session that ends now, with nothing about a route, a node or a request.
pub fn of(session: &Session) -> Record {
    Record {
        ts: SystemTime::now(),
        session_id: session.id,
        listener: session.listener.clone(),
        proto: session.protocol,
        client: session.client().0,
        peer_addr: session.claim().map(|_| session.peer.0),
        local_addr: session.local.0,
        sni: session.sni().map(Into::into),
        tls_version: session.tls().map(|tls| tls.version),
        tls_cipher: session.tls().map(|tls| tls.cipher),
        rx_bytes: session.bytes(Direction::In),
        tx_bytes: session.bytes(Direction::Out),
        route: None,
        upstream: None,
        endpoint: None,
        retries: 0,
        connect: None,
        duration: Duration::ZERO,
        datagrams: None,
        reason: Reason::Ok,
        config_revision: 0,
        http: None,
    }
}
