//! The four policies as state machines without a clock: told what time it is, they say whether one more may pass. Times are
//! nanoseconds since the limiter was made. Queues are none of their business.

mod concurrency;
mod fixed_window;
mod sliding_window;
mod token_bucket;

use std::time::Duration;

use crate::base::quota::Policy;
use crate::model::{Limit, Pace};

use super::share::Share;
use concurrency::Concurrency;
use fixed_window::FixedWindow;
use sliding_window::SlidingWindow;
use token_bucket::TokenBucket;

/// The numbers that count now: those of the limit, or this instance's share of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) policy: Policy,
    /// At once, in a window, or the size of the bucket. 0 only as a share.
    pub(super) permits: u32,
    pub(super) queue: u32,
    /// From one tick to the next: a window, a segment or a token period; 0 where nothing ticks.
    period: u64,
    segments: u16,
    tokens: u32,
}

impl Rule {
    pub(super) fn new(limit: &Limit, share: Share) -> Self {
        let permits = share.of(limit.permits);
        let (period, segments, tokens) = match limit.pace {
            Pace::Concurrency => (0, 1, 0),
            Pace::FixedWindow { window } => (nanos(window), 1, 0),
            // rounded up, so that all segments together are never shorter than the window
            Pace::SlidingWindow { window, segments } => (nanos(window).div_ceil(u64::from(segments.max(1))), segments.max(1), 0),
            Pace::TokenBucket { period, tokens } => (nanos(period), 1, share.of(tokens)),
        };
        let period = if limit.policy() == Policy::Concurrency { 0 } else { period.max(1) };
        Self { policy: limit.policy(), permits, queue: limit.queue, period, segments, tokens }
    }

    /// The time in which everything that was used comes back, as far as it comes back by itself.
    pub(super) fn window(&self) -> Duration {
        Duration::from_nanos(self.period.saturating_mul(u64::from(self.segments)))
    }

    /// What a count takes beside its own size, in bytes.
    pub(super) fn ring_bytes(&self) -> usize {
        match self.policy {
            // allocators hand out no less than 8
            Policy::SlidingWindow => (usize::from(self.segments) * size_of::<u32>()).next_multiple_of(8),
            Policy::Concurrency | Policy::FixedWindow | Policy::TokenBucket => 0,
        }
    }

    /// How many periods have begun since a tick that was due, and the tick after them.
    const fn ticks(&self, due: u64, now: u64) -> (u64, u64) {
        // a period is never 0 where something ticks
        let passed = (now - due) / self.period + 1;
        (passed, due.saturating_add(passed.saturating_mul(self.period)))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The state of one count.
#[derive(Debug)]
pub(super) enum Meter {
    Concurrency(Concurrency),
    FixedWindow(FixedWindow),
    SlidingWindow(SlidingWindow),
    TokenBucket(TokenBucket),
}

impl Meter {
    /// A count of which nothing is used yet; its grid begins now.
    pub(super) fn new(rule: &Rule, now: u64) -> Self {
        match rule.policy {
            Policy::Concurrency => Self::Concurrency(Concurrency::default()),
            Policy::FixedWindow => Self::FixedWindow(FixedWindow::new(rule, now)),
            Policy::SlidingWindow => Self::SlidingWindow(SlidingWindow::new(rule, now)),
            Policy::TokenBucket => Self::TokenBucket(TokenBucket::new(rule, now)),
        }
    }

    /// Lets time pass until now. A time before an earlier one changes nothing.
    pub(super) fn advance(&mut self, rule: &Rule, now: u64) {
        match self {
            Self::Concurrency(_) => {}
            Self::FixedWindow(m) => m.advance(rule, now),
            Self::SlidingWindow(m) => m.advance(rule, now),
            Self::TokenBucket(m) => m.advance(rule, now),
        }
    }

    /// The numbers have changed; what is used stays used.
    pub(super) fn amend(&mut self, rule: &Rule, now: u64) {
        match self {
            Self::Concurrency(_) => {}
            Self::FixedWindow(m) => m.amend(rule, now),
            Self::SlidingWindow(m) => m.amend(rule, now),
            Self::TokenBucket(m) => m.amend(rule, now),
        }
    }

    /// Permits that could be taken now.
    pub(super) fn available(&self, rule: &Rule) -> u32 {
        match self {
            Self::Concurrency(m) => m.available(rule),
            Self::FixedWindow(m) => m.available(rule),
            Self::SlidingWindow(m) => m.available(rule),
            Self::TokenBucket(m) => m.available(),
        }
    }

    /// Takes one permit. The caller has seen that there is one.
    pub(super) fn take(&mut self) {
        match self {
            Self::Concurrency(m) => m.take(),
            Self::FixedWindow(m) => m.take(),
            Self::SlidingWindow(m) => m.take(),
            Self::TokenBucket(m) => m.take(),
        }
    }

    /// What held a permit has ended.
    pub(super) fn give_back(&mut self) {
        match self {
            Self::Concurrency(m) => m.give_back(),
            Self::FixedWindow(_) | Self::SlidingWindow(_) | Self::TokenBucket(_) => {}
        }
    }

    /// When permits come next by themselves.
    pub(super) fn next(&self) -> Option<u64> {
        match self {
            Self::Concurrency(_) => None,
            Self::FixedWindow(m) => Some(m.next()),
            Self::SlidingWindow(m) => Some(m.next()),
            Self::TokenBucket(m) => Some(m.next()),
        }
    }

    /// When one that is refused now should ask again, where so many wait before it; `None` where nobody can tell.
    pub(super) fn retry_after(&self, rule: &Rule, queued: u32) -> Option<Duration> {
        let (available, supply) = match self {
            Self::Concurrency(_) | Self::SlidingWindow(_) => return None,
            Self::FixedWindow(m) => (m.available(rule), rule.permits),
            Self::TokenBucket(m) => (m.available(), rule.tokens),
        };
        let wanted = queued.saturating_add(1).saturating_sub(available);
        let periods = wanted.checked_div(supply).unwrap_or(1).max(1);
        Some(Duration::from_nanos(rule.period.saturating_mul(u64::from(periods))))
    }

    /// Whether it is as a new one would be, and has been for a window.
    pub(super) fn idle(&self, rule: &Rule, now: u64) -> bool {
        match self {
            Self::Concurrency(m) => m.idle(),
            Self::FixedWindow(m) => m.idle(rule, now),
            Self::SlidingWindow(m) => m.idle(rule, now),
            Self::TokenBucket(m) => m.idle(rule, now),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::base::quota::Scope;
    use crate::model::By;
    use proptest::prelude::*;

    pub(crate) fn limit(pace: Pace, permits: u32, queue: u32) -> Limit {
        Limit { pace, by: By::Total, permits, queue, scope: Scope::Instance }
    }

    pub(crate) fn secs(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    fn pace() -> impl Strategy<Value = Pace> {
        let time = || (1u64..60).prop_map(secs);
        prop_oneof![
            time().prop_map(|window| Pace::FixedWindow { window }),
            (time(), 1u16..7).prop_map(|(window, segments)| Pace::SlidingWindow { window, segments }),
            (time(), 1u32..9).prop_map(|(period, tokens)| Pace::TokenBucket { period, tokens }),
        ]
    }

    /// Takes whenever it can at each of the times; answers with the times at which it could.
    fn taken(rule: &Rule, steps: &[u64]) -> Vec<u64> {
        let mut meter = Meter::new(rule, 0);
        let mut now = 0;
        steps
            .iter()
            .filter_map(|step| {
                now += step;
                meter.advance(rule, now);
                (meter.available(rule) > 0).then(|| meter.take()).map(|()| now)
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: prop::test_runner::RngSeed::Fixed(2000), ..ProptestConfig::with_cases(2000) })]

        #[test]
        fn no_window_ever_has_more_than_its_permits(pace in pace(), permits in 1u32..9, steps in prop::collection::vec(0u64..8_000_000_000, 1..200)) {
            let rule = Rule::new(&limit(pace, permits, 0), Share::default());
            let taken = taken(&rule, &steps);
            // windows begin with the grid's ticks
            let window = rule.period * u64::from(rule.segments);
            for from in taken.iter().map(|t| t / rule.period * rule.period) {
                let inside = taken.iter().filter(|t| (from..from + window).contains(t)).count();
                prop_assert!(inside <= usize::try_from(permits).unwrap(), "{inside} from {from} in {taken:?}");
            }
        }

        #[test]
        fn a_bucket_never_holds_more_than_its_size(permits in 1u32..9, tokens in 1u32..20, steps in prop::collection::vec((0u64..50, any::<bool>()), 1..200)) {
            let rule = Rule::new(&limit(Pace::TokenBucket { period: Duration::from_nanos(10), tokens }, permits, 0), Share::default());
            let mut meter = Meter::new(&rule, 0);
            let mut now = 0;
            for (step, take) in steps {
                now += step;
                meter.advance(&rule, now);
                prop_assert!(meter.available(&rule) <= permits);
                if take && meter.available(&rule) > 0 {
                    meter.take();
                }
            }
        }

        #[test]
        fn an_idle_count_is_as_good_as_new(pace in pace(), permits in 1u32..9, steps in prop::collection::vec(0u64..9_000_000_000, 1..40), rest in 0u64..400_000_000_000) {
            let rule = Rule::new(&limit(pace, permits, 0), Share::default());
            let mut meter = Meter::new(&rule, 0);
            let mut now = 0;
            for step in steps {
                now += step;
                meter.advance(&rule, now);
                if meter.available(&rule) > 0 {
                    meter.take();
                }
            }
            now += rest;
            if meter.idle(&rule, now) {
                meter.advance(&rule, now);
                prop_assert_eq!(meter.available(&rule), permits);
            }
            let long = now + rule.period * u64::from(rule.segments) * u64::from(permits + 3);
            prop_assert!(meter.idle(&rule, long), "it comes to rest");
        }
    }

    #[test]
    fn a_changed_length_counts_from_now_on() {
        let long = Rule::new(&limit(Pace::FixedWindow { window: secs(600) }, 1, 0), Share::default());
        let short = Rule::new(&limit(Pace::FixedWindow { window: secs(1) }, 1, 0), Share::default());
        let mut meter = Meter::new(&long, 0);
        meter.take();
        meter.amend(&short, 5);
        assert_eq!((meter.available(&short), meter.next()), (0, Some(1_000_000_005)));
    }

    #[test]
    fn more_or_fewer_segments_forget_nothing_too_early() {
        let two = Rule::new(&limit(Pace::SlidingWindow { window: secs(10), segments: 2 }, 4, 0), Share::default());
        let five = Rule::new(&limit(Pace::SlidingWindow { window: secs(10), segments: 5 }, 4, 0), Share::default());
        let mut meter = Meter::new(&two, 0);
        meter.take();
        meter.take();
        meter.amend(&five, 0);
        assert_eq!(meter.available(&five), 2);
        meter.advance(&five, 9_999_999_999);
        assert_eq!(meter.available(&five), 2);
        meter.advance(&five, 10_000_000_000);
        assert_eq!(meter.available(&five), 4);
    }
}
