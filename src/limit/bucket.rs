//! One count with its queue: what is asked of it, in which order it grants. Without a clock, a lock or a task.

use std::sync::Arc;
use std::time::Duration;

use super::policy::{Meter, Rule};
use super::queue::{Queue, Seat, Wakes};

/// How a count stands, as the headers of an answer tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The permits that there are in all.
    pub limit: u32,
    /// Those that are left.
    pub remaining: u32,
    /// When the next ones come by themselves; `None` where they come back only as others end.
    pub reset: Option<Duration>,
}

/// There is no permit and no place to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// When it is worth another try; `None` where nobody can tell.
    pub retry_after: Option<Duration>,
    /// How the count stands.
    pub standing: Standing,
}

#[derive(Debug)]
pub(super) struct Bucket {
    meter: Meter,
    /// There only while somebody waits.
    queue: Option<Box<Queue>>,
}

impl Bucket {
    pub(super) fn new(rule: &Rule, now: u64) -> Self {
        Self { meter: Meter::new(rule, now), queue: None }
    }

    /// Asks for a permit. Nobody who waits is overtaken.
    pub(super) fn ask(&mut self, rule: &Rule, now: u64, wakes: &mut Wakes) -> Result<Standing, Refused> {
        self.turn(rule, now, wakes);
        if self.queue.is_some() || self.meter.available(rule) == 0 {
            return Err(self.refusal(rule, now));
        }
        self.meter.take();
        Ok(self.standing(rule, now))
    }

    /// A place to wait for one who has just been refused, if there is one. With no permit in all there is nothing to wait for.
    pub(super) fn sit(&mut self, rule: &Rule) -> Option<Arc<Seat>> {
        (self.queued() < rule.queue && rule.permits > 0).then(|| self.queue.get_or_insert_default().push())
    }

    /// Lets time pass and grants what there is to those who wait.
    pub(super) fn turn(&mut self, rule: &Rule, now: u64, wakes: &mut Wakes) {
        self.meter.advance(rule, now);
        self.drain(rule, wakes);
    }

    /// What held a permit has ended.
    pub(super) fn give_back(&mut self, rule: &Rule, wakes: &mut Wakes) {
        self.meter.give_back();
        self.drain(rule, wakes);
    }

    /// Somebody waits no more; a permit that was granted meanwhile goes to the next.
    pub(super) fn leave(&mut self, rule: &Rule, seat: &Seat, wakes: &mut Wakes) {
        if seat.granted() {
            return self.give_back(rule, wakes);
        }
        if let Some(queue) = &mut self.queue {
            queue.leave(seat);
            self.rest(wakes);
        }
    }

    /// The numbers have changed. What runs and who waits stays.
    pub(super) fn amend(&mut self, rule: &Rule, now: u64, wakes: &mut Wakes) {
        self.meter.amend(rule, now);
        self.turn(rule, now, wakes);
        // whoever watches the clock may have to look earlier
        wakes.extend(self.queue.as_ref().and_then(|q| q.head()).cloned());
    }

    /// When the head of the queue has to look again; `None` for the others, and where no clock brings permits.
    pub(super) fn next_look(&self, seat: &Arc<Seat>) -> Option<u64> {
        let head = self.queue.as_ref()?.head()?;
        Arc::ptr_eq(head, seat).then(|| self.meter.next()).flatten()
    }

    pub(super) fn queued(&self) -> u32 {
        self.queue.as_ref().map_or(0, |q| u32::try_from(q.len()).unwrap_or(u32::MAX))
    }

    pub(super) fn standing(&self, rule: &Rule, now: u64) -> Standing {
        let reset = self.meter.next().map(|next| Duration::from_nanos(next.saturating_sub(now)));
        Standing { limit: rule.permits, remaining: self.meter.available(rule), reset }
    }

    pub(super) fn refusal(&self, rule: &Rule, now: u64) -> Refused {
        Refused { retry_after: self.meter.retry_after(rule, self.queued()), standing: self.standing(rule, now) }
    }

    /// Whether it could be forgotten without anybody noticing.
    pub(super) fn idle(&self, rule: &Rule, now: u64) -> bool {
        self.queue.is_none() && self.meter.idle(rule, now)
    }

    fn drain(&mut self, rule: &Rule, wakes: &mut Wakes) {
        let Some(queue) = &mut self.queue else { return };
        let before = wakes.len();
        while self.meter.available(rule) > 0
            && let Some(seat) = queue.grant()
        {
            self.meter.take();
            wakes.push(seat);
        }
        if wakes.len() > before {
            self.rest(wakes);
        }
    }

    /// After somebody has gone: there may be a new head, which then watches the clock, or nobody.
    fn rest(&mut self, wakes: &mut Wakes) {
        match self.queue.as_ref().and_then(|q| q.head()) {
            Some(head) => wakes.push(head.clone()),
            None => self.queue = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::policy::tests::{limit, secs};
    use super::super::share::Share;
    use super::*;
    use crate::model::Pace;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn rule(pace: Pace, permits: u32, queue: u32) -> Rule {
        Rule::new(&limit(pace, permits, queue), Share::default())
    }

    /// Small and fast, and always the same for the same seed.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % sides
        }

        fn index(&mut self, of: usize) -> usize {
            usize::try_from(self.roll(u64::try_from(of).unwrap())).unwrap()
        }
    }

    #[test]
    fn a_million_random_operations_with_cancellations_leak_no_permit() {
        let (mut dice, mut wakes) = (Dice(0x5EED), Wakes::new());
        let mut rules = [rule(Pace::Concurrency, 10, 20), rule(Pace::Concurrency, 3, 5)];
        let uncounted = rule(Pace::Concurrency, u32::MAX, 0);
        let mut bucket = Bucket::new(&rules[0], 0);
        let (mut running, mut waiting, mut cancelled) = (0usize, Vec::<Arc<Seat>>::new(), 0);
        for _ in 0..1_000_000 {
            let rule = rules[0];
            match dice.roll(100) {
                0..45 if bucket.ask(&rule, 0, &mut wakes).is_ok() => {
                    assert!(waiting.iter().all(|seat| seat.granted()), "nobody is overtaken");
                    running += 1;
                }
                0..45 => match bucket.sit(&rule) {
                    Some(seat) => waiting.push(seat),
                    None => assert!(bucket.queued() >= rule.queue),
                },
                45..70 if running > 0 => {
                    bucket.give_back(&rule, &mut wakes);
                    running -= 1;
                }
                70..85 if !waiting.is_empty() => {
                    // granted or not: it has not looked yet
                    let seat = waiting.swap_remove(dice.index(waiting.len()));
                    bucket.leave(&rule, &seat, &mut wakes);
                    cancelled += 1;
                }
                85..99 => {
                    let before = waiting.len();
                    waiting.retain(|seat| !seat.granted());
                    running += before - waiting.len();
                }
                99 => {
                    rules.swap(0, 1);
                    bucket.amend(&rules[0], 0, &mut wakes);
                }
                _ => {}
            }
            wakes.clear();
            let held = running + waiting.iter().filter(|seat| seat.granted()).count();
            let counted = u32::MAX - bucket.meter.available(&uncounted);
            assert_eq!(usize::try_from(counted).unwrap(), held);
        }
        assert!(cancelled > 10_000);
        for seat in waiting {
            bucket.leave(&rules[0], &seat, &mut wakes);
        }
        (0..running).for_each(|_| bucket.give_back(&rules[0], &mut wakes));
        assert_eq!((bucket.meter.available(&rules[0]), bucket.queued()), (rules[0].permits, 0));
        assert!(bucket.idle(&rules[0], 0));
    }

    fn any_pace() -> impl Strategy<Value = Pace> {
        prop_oneof![
            Just(Pace::Concurrency),
            Just(Pace::FixedWindow { window: secs(10) }),
            Just(Pace::SlidingWindow { window: secs(10), segments: 3 }),
            Just(Pace::TokenBucket { period: secs(10), tokens: 2 }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: prop::test_runner::RngSeed::Fixed(1000), ..ProptestConfig::with_cases(1000) })]
        #[test]
        fn waiters_are_served_in_the_order_in_which_they_came(
            pace in any_pace(), permits in 1u32..4, queue in 0u32..6, ops in prop::collection::vec((0u8..4, 0u64..7, any::<prop::sample::Index>()), 1..200)
        ) {
            let rule = rule(pace, permits, queue);
            let (mut bucket, mut wakes, mut now) = (Bucket::new(&rule, 0), Wakes::new(), 0);
            let (mut waiting, mut came): (Vec<(usize, Arc<Seat>)>, usize) = (Vec::new(), 0);
            let mut running = 0;
            let mut last = None;
            for (op, step, which) in ops {
                now += step * SECOND;
                match op {
                    0 | 1 if bucket.ask(&rule, now, &mut wakes).is_ok() => running += 1,
                    0 | 1 => waiting.extend(bucket.sit(&rule).map(|seat| (came, seat))),
                    2 if !waiting.is_empty() => {
                        let (_, seat) = waiting.remove(which.index(waiting.len()));
                        prop_assert!(!seat.granted());
                        bucket.leave(&rule, &seat, &mut wakes);
                    }
                    3 if running > 0 => {
                        running -= 1;
                        bucket.give_back(&rule, &mut wakes);
                    }
                    _ => bucket.turn(&rule, now, &mut wakes),
                }
                came += 1;
                wakes.clear();
                let served: Vec<usize> = waiting.extract_if(.., |(_, s)| s.granted()).map(|(n, _)| n).collect();
                running += u32::try_from(served.len()).unwrap();
                for n in served {
                    prop_assert!(last.is_none_or(|l| l < n), "{n} after {last:?}");
                    last = Some(n);
                }
                prop_assert!(waiting.iter().all(|(n, _)| last.is_none_or(|l| l < *n)), "one was overtaken");
                prop_assert_eq!(usize::try_from(bucket.queued()).unwrap(), waiting.len());
                prop_assert!(waiting.len() <= usize::try_from(queue).unwrap());
                if pace == Pace::Concurrency {
                    prop_assert!(running <= permits);
                }
            }
        }
    }

    #[test]
    fn a_lowered_limit_keeps_what_runs_and_a_raised_one_serves_at_once() {
        let (three, one) = (rule(Pace::Concurrency, 3, 9), rule(Pace::Concurrency, 1, 9));
        let (mut bucket, mut wakes) = (Bucket::new(&three, 0), Wakes::new());
        for _ in 0..3 {
            assert!(bucket.ask(&three, 0, &mut wakes).is_ok());
        }
        bucket.amend(&one, 0, &mut wakes);
        assert!(bucket.ask(&one, 0, &mut wakes).is_err());
        let first = bucket.sit(&one).unwrap();
        bucket.give_back(&one, &mut wakes);
        bucket.give_back(&one, &mut wakes);
        assert!(!first.granted(), "one still runs");
        bucket.amend(&three, 0, &mut wakes);
        assert!(first.granted());
    }

    #[test]
    fn with_no_share_at_all_nobody_waits() {
        let rule = Rule::new(&limit(Pace::Concurrency, 1, 9), Share { count: 2, rank: 1 });
        let (mut bucket, mut wakes) = (Bucket::new(&rule, 0), Wakes::new());
        assert!(bucket.ask(&rule, 0, &mut wakes).is_err());
        assert!(bucket.sit(&rule).is_none());
    }
}
