//! What the limit of a route asks of one session: leave for each datagram, or one permit for as long as the session lives. Nothing
//! waits here: a datagram that would have to is dropped.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::Instant;

use crate::base::quota::Policy;
use crate::limit::{Hold, LimitKey, Limiter};
use crate::snapshot::L4Route;
use crate::telemetry::LimitSeries;

/// How a session pays.
#[derive(Debug)]
pub(super) enum Toll {
    /// For each datagram.
    Each(Arc<Limiter>, Arc<LimitSeries>),
    /// With the permit that it keeps.
    Once(#[expect(dead_code, reason = "dropping it gives the permit back")] Hold),
}

impl Toll {
    /// Asks for a session that would begin with so many datagrams of a client. Answers with how many of them may pass, at least one;
    /// `None`: the session may not begin.
    pub(super) fn enter(limiter: &Arc<Limiter>, route: &L4Route, client: IpAddr, datagrams: u32, now: Instant) -> Option<(Self, u32)> {
        let series = route.series.limit(limiter.policy(), limiter.scope());
        if limiter.policy() == Policy::Concurrency {
            let permit = limiter.try_ask(&LimitKey::Client(client), now, &series).ok()?;
            return permit.into_hold().map(|hold| (Self::Once(hold), datagrams));
        }
        let toll = Self::Each(limiter.clone(), series);
        let passed = toll.pass(client, datagrams, now);
        (passed > 0).then_some((toll, passed))
    }

    /// How many of so many datagrams of the client may pass: the first ones.
    pub(super) fn pass(&self, client: IpAddr, datagrams: u32, now: Instant) -> u32 {
        let Self::Each(limiter, series) = self else { return datagrams };
        for asked in 0..datagrams {
            if limiter.try_ask(&LimitKey::Client(client), now, series).is_err() {
                // the others would hear the same at the same moment
                (asked + 1..datagrams).for_each(|_| series.rejected());
                return asked;
            }
        }
        datagrams
    }
}
