//! When collected changes are applied: at once after a quiet time, together in a burst. Time is passed in; nothing waits here.

use std::time::Duration;

use tokio::time::Instant;

/// After so long without a change, the next one is applied at once.
const QUIET: Duration = Duration::from_millis(50);
/// A burst is over when nothing came for so long.
const SETTLE: Duration = Duration::from_millis(25);
/// No change of a burst waits longer.
const LONGEST: Duration = Duration::from_millis(200);

/// The changes that are not applied yet, as far as time is concerned.
#[derive(Debug, Default)]
pub(super) struct Pace {
    last: Option<Instant>,
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    since: Instant,
    at_once: bool,
}

impl Pace {
    /// A change came.
    pub(super) fn came(&mut self, at: Instant) {
        let at_once = self.last.is_none_or(|last| at.saturating_duration_since(last) >= QUIET);
        self.last = Some(at);
        self.waiting.get_or_insert(Waiting { since: at, at_once });
    }

    /// When what waits is to be applied; `None` while nothing waits.
    pub(super) fn due(&self) -> Option<Instant> {
        let waiting = self.waiting.as_ref()?;
        let settled = self.last.map_or(waiting.since, |last| last + SETTLE);
        Some(if waiting.at_once { waiting.since } else { settled.min(waiting.since + LONGEST) })
    }

    /// Everything that waited is applied; when the oldest of it came.
    pub(super) fn applied(&mut self) -> Option<Instant> {
        self.waiting.take().map(|waiting| waiting.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_after_quiet_is_due_at_once_and_a_burst_when_it_settles() {
        let start = Instant::now();
        let mut pace = Pace::default();
        pace.came(start);
        assert_eq!(pace.due(), Some(start));
        assert_eq!(pace.applied(), Some(start));
        assert_eq!(pace.due(), None);
        pace.came(start + ms(10));
        pace.came(start + ms(20));
        assert_eq!(pace.due(), Some(start + ms(45)));
        assert_eq!(pace.applied(), Some(start + ms(10)));
        pace.came(start + ms(70));
        assert_eq!(pace.due(), Some(start + ms(70)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_without_end_is_applied_every_200_ms() {
        let start = Instant::now();
        let mut pace = Pace::default();
        pace.came(start);
        pace.applied();
        for n in 1..100 {
            pace.came(start + ms(10 * n));
            assert!(pace.due().unwrap() <= start + ms(210));
        }
    }
}
