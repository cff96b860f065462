//! Why a session ended: one closed list, the same word in the log line, the metric and the API.

use std::fmt;

/// The reason a session ended with. A member exists only where a feature can cause it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Reason {
    /// Both sides finished.
    Ok = 1,
    /// The client reset the connection, or went away while it waited for a permit.
    ClientReset,
    /// Every tried node refused.
    UpstreamRefused,
    /// The last tried node did not answer within the connect timeout.
    UpstreamTimeout,
    /// The upstream reset the connection.
    UpstreamReset,
    /// The node answered, but TLS with it failed.
    UpstreamTls,
    /// No way to the node: no route to the host, no local port, and the like.
    UpstreamUnreachable,
    /// The upstream has no node that could be used.
    NoHealthyNode,
    /// None of the upstream's names resolved.
    DnsFailed,
    /// No route matched.
    NoRoute,
    /// The handshake with the client failed.
    TlsHandshake,
    /// No certificate for the name that the client asked for.
    SniNoMatch,
    /// The matched route has no upstream, or it is not there yet.
    NoUpstream,
    /// There was no place for another UDP session.
    SessionTableFull,
    /// The client sent no PROXY header, or not in time, where the listener wants one.
    ProxyHeader,
    /// The client's request was malformed, ambiguous or too large.
    BadRequest,
    /// The request's body was longer than the route allows.
    BodyTooLarge,
    /// The node's answer was no HTTP, or ambiguous.
    BadResponse,
    /// A limit refused it.
    Limited,
    /// It waited in vain for a permit of a limit.
    QueueTimeout,
    /// The process ran out of file descriptors for a new session.
    Overload,
    /// The drain deadline of the process passed.
    DrainDeadline,
    /// Nothing moved for the idle timeout.
    IdleTimeout,
    /// The listener was removed and its drain timeout passed.
    ListenerRemoved,
    /// An operator ended the session.
    AdminKilled,
    /// The session reached its longest duration.
    MaxDuration,
    /// A fault of ours.
    Internal,
}

/// Whose doing an end was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The client's.
    Client,
    /// The upstream's.
    Upstream,
    /// The gateway's.
    Gateway,
}

impl Side {
    /// The word in log lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Gateway => "gateway",
        }
    }
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 27] = [
        Self::Ok,
        Self::ClientReset,
        Self::UpstreamRefused,
        Self::UpstreamTimeout,
        Self::UpstreamReset,
        Self::UpstreamTls,
        Self::UpstreamUnreachable,
        Self::NoHealthyNode,
        Self::DnsFailed,
        Self::NoRoute,
        Self::TlsHandshake,
        Self::SniNoMatch,
        Self::NoUpstream,
        Self::SessionTableFull,
        Self::ProxyHeader,
        Self::BadRequest,
        Self::BodyTooLarge,
        Self::BadResponse,
        Self::Limited,
        Self::QueueTimeout,
        Self::Overload,
        Self::DrainDeadline,
        Self::IdleTimeout,
        Self::ListenerRemoved,
        Self::AdminKilled,
        Self::MaxDuration,
        Self::Internal,
    ];

    /// The word in logs, metrics and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ClientReset => "client_reset",
            Self::UpstreamRefused => "upstream_refused",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::UpstreamReset => "upstream_reset",
            Self::UpstreamTls => "upstream_tls",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::NoHealthyNode => "no_healthy_node",
            Self::DnsFailed => "dns_failed",
            Self::NoRoute => "no_route",
            Self::TlsHandshake => "tls_handshake",
            Self::SniNoMatch => "sni_no_match",
            Self::NoUpstream => "no_upstream",
            Self::SessionTableFull => "session_table_full",
            Self::ProxyHeader => "proxy_header",
            Self::BadRequest => "bad_request",
            Self::BodyTooLarge => "body_too_large",
            Self::BadResponse => "bad_response",
            Self::Limited => "limited",
            Self::QueueTimeout => "queue_timeout",
            Self::Overload => "overload",
            Self::DrainDeadline => "drain_deadline",
            Self::IdleTimeout => "idle_timeout",
            Self::ListenerRemoved => "listener_removed",
            Self::AdminKilled => "admin_killed",
            Self::MaxDuration => "max_duration",
            Self::Internal => "internal",
        }
    }

    /// Whose doing it was. `Ok` is the client's: sessions end when the client is done.
    pub const fn side(self) -> Side {
        match self {
            Self::Ok
            | Self::ClientReset
            | Self::ProxyHeader
            | Self::TlsHandshake
            | Self::SniNoMatch
            | Self::BadRequest
            | Self::BodyTooLarge => Side::Client,
            Self::UpstreamRefused
            | Self::UpstreamTimeout
            | Self::UpstreamReset
            | Self::UpstreamTls
            | Self::UpstreamUnreachable
            | Self::NoHealthyNode
            | Self::DnsFailed
            | Self::BadResponse => Side::Upstream,
            Self::NoRoute
            | Self::NoUpstream
            | Self::SessionTableFull
            | Self::Limited
            | Self::QueueTimeout
            | Self::Overload
            | Self::DrainDeadline
            | Self::IdleTimeout
            | Self::ListenerRemoved
            | Self::AdminKilled
            | Self::MaxDuration
            | Self::Internal => Side::Gateway,
        }
    }

    /// The reason of a number made by `reason as u8`; `None` for any other.
    pub fn from_u8(n: u8) -> Option<Self> {
        n.checked_sub(1).and_then(|i| Self::ALL.get(usize::from(i)).copied())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::as_conversions, reason = "the numbers are what is tested")]
    fn numbers_and_words_are_unique_and_reversible() {
        let words: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|r| r.as_str()).collect();
        assert_eq!(words.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert_eq!(Reason::from_u8(reason as u8), Some(reason));
        }
        assert_eq!(Reason::from_u8(0), None);
        assert_eq!(Reason::from_u8(255), None);
    }
}
