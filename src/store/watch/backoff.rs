//! Waits between tries. Randomness comes in as a seed.

use std::time::Duration;

/// Waits that double, each shortened by up to a half so that a fleet does not ask in step.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    shortest: Duration,
    longest: Duration,
    failures: u32,
    random: u64,
}

impl Backoff {
    /// A run of no failures. Equal seeds give equal waits.
    pub(super) fn new(shortest: Duration, longest: Duration, seed: u64) -> Self {
        Self { shortest, longest, failures: 0, random: seed | 1 }
    }

    /// Whether anything failed since the last reset.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// The run of failures is over.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// One more failure: how long to wait.
    pub(super) fn next(&mut self) -> Duration {
        let doubled = self.shortest.saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        self.shorten(doubled.min(self.longest))
    }

    /// One more failure, of a kind that does not pass by itself: the longest wait.
    pub(super) fn long(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.shorten(self.longest)
    }

    /// No wait for a first failure, else as [`Backoff::next`].
    pub(super) fn soon(&mut self) -> Duration {
        if self.is_failing() {
            return self.next();
        }
        self.failures = 1;
        Duration::ZERO
    }

    fn shorten(&mut self, full: Duration) -> Duration {
        // xorshift
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let percent = u32::try_from(self.random % 51).unwrap_or(0);
        full.saturating_mul(100 - percent) / 100
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_no_further() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5), 7);
        let mut full = 100;
        for _ in 0..40 {
            let wait = backoff.next().as_millis();
            assert!(wait >= full / 2 && wait <= full, "{wait} of {full}");
            full = (full * 2).min(5_000);
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(100));
    }

    #[test]
    fn only_the_first_failure_of_a_run_is_tried_again_at_once() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5), 7);
        assert_eq!(backoff.soon(), Duration::ZERO);
        assert!(backoff.soon() >= Duration::from_millis(50));
        assert!(backoff.long() >= Duration::from_millis(2_500));
    }
}
