//! Why a datagram was not passed on: one closed list, the label of `sluice_udp_dropped_total`. Sessions have `reason` instead.

use std::fmt;

/// The reason a datagram was dropped for. A member exists only where a feature can cause it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DropReason {
    /// No route matched the session that it would have begun.
    NoRoute,
    /// The matched route has no upstream, or it is not there yet.
    NoUpstream,
    /// No node could be used or reached.
    NoNode,
    /// There was no place for another session.
    SessionTableFull,
    /// Its source began too many sessions while places were short.
    SourceRate,
    /// The system gave no descriptor, port or memory.
    Overload,
    /// The listener was removed, and it belongs to no session that runs.
    ListenerRemoved,
    /// The limit of its route had no permit for it.
    Limited,
    /// A reply of a route that relays none, or more than it relays.
    Unasked,
    /// The socket towards its receiver took no more, or refused it.
    Unsent,
    /// The system threw it away before it was read: the socket's receive buffer was full.
    ReceiveBuffer,
}

impl DropReason {
    /// Every reason, in the order of its numbers.
    pub const ALL: [Self; 11] = [
        Self::NoRoute,
        Self::NoUpstream,
        Self::NoNode,
        Self::SessionTableFull,
        Self::SourceRate,
        Self::Overload,
        Self::ListenerRemoved,
        Self::Limited,
        Self::Unasked,
        Self::Unsent,
        Self::ReceiveBuffer,
    ];

    /// The word in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoRoute => "no_route",
            Self::NoUpstream => "no_upstream",
            Self::NoNode => "no_node",
            Self::SessionTableFull => "session_table_full",
            Self::SourceRate => "source_rate",
            Self::Overload => "overload",
            Self::ListenerRemoved => "listener_removed",
            Self::Limited => "limited",
            Self::Unasked => "unasked",
            Self::Unsent => "unsent",
            Self::ReceiveBuffer => "receive_buffer",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::as_conversions, reason = "the numbers are what is tested")]
    fn numbers_are_places_and_words_are_unique() {
        let words: std::collections::BTreeSet<_> = DropReason::ALL.iter().map(|r| r.as_str()).collect();
        assert_eq!(words.len(), DropReason::ALL.len());
        for (at, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at);
        }
    }
}
