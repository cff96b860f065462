//! The time that leases are measured in: the wall clock as it was at the start, moved on by the runtime's clock. Knows no keys.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// A moment, in nanoseconds since 1970. Saturates in the year 2554.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wall(pub(super) u64);

impl Wall {
    /// This moment and that much more.
    pub(super) fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Tells the moment. Steps of the machine's clock while the process runs do not move it; a paused runtime pauses it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    began: Wall,
    since: Instant,
}

impl Clock {
    /// A clock that starts at the machine's time; at 1970 if that is earlier.
    pub(super) fn start() -> Self {
        let began = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, nanos);
        Self { began: Wall(began), since: Instant::now() }
    }

    /// The moment.
    pub(super) fn now(&self) -> Wall {
        self.began.after(self.since.elapsed())
    }

    /// Returns at the moment or after it, never before. Cancel safe.
    pub(super) async fn reach(&self, at: Wall) {
        tokio::time::sleep(Duration::from_nanos(at.0.saturating_sub(self.now().0))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_moment_is_reached_and_not_before() {
        let clock = Clock::start();
        let at = clock.now().after(Duration::from_nanos(1_500_001));
        clock.reach(at).await;
        assert!(clock.now() >= at);
        assert_eq!(Wall(1).after(Duration::MAX), Wall(u64::MAX));
    }
}
