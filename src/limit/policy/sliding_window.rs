//! So many in a window that moves on in segments: what was used in a segment comes back when the segment is a whole window old.

use super::Rule;

/// What was used, by segment.
#[derive(Debug)]
pub(in crate::limit) struct SlidingWindow {
    next: u64,
    /// A ring; the one at `at` is that of the moment, the one after it the oldest.
    segments: Box<[u32]>,
    used: u32,
    at: u16,
}

impl SlidingWindow {
    pub(super) fn new(rule: &Rule, now: u64) -> Self {
        let segments = vec![0; usize::from(rule.segments)].into_boxed_slice();
        Self { next: now.saturating_add(rule.period), segments, used: 0, at: 0 }
    }

    pub(super) fn advance(&mut self, rule: &Rule, now: u64) {
        if now < self.next {
            return;
        }
        let (passed, next) = rule.ticks(self.next, now);
        self.next = next;
        if passed >= u64::from(rule.segments) {
            self.segments.fill(0);
            self.used = 0;
            return;
        }
        for _ in 0..passed {
            self.at = (self.at + 1) % rule.segments;
            let oldest = std::mem::take(self.current());
            self.used = self.used.saturating_sub(oldest);
        }
    }

    pub(super) fn amend(&mut self, rule: &Rule, now: u64) {
        self.next = self.next.min(now.saturating_add(rule.period));
        if self.segments.len() != usize::from(rule.segments) {
            // all that is used counts as used now: it comes back later than it would have, never earlier
            let used = self.used;
            *self = Self::new(rule, now);
            self.used = used;
            *self.current() = used;
        }
    }

    pub(super) const fn available(&self, rule: &Rule) -> u32 {
        rule.permits.saturating_sub(self.used)
    }

    pub(super) fn take(&mut self) {
        self.used = self.used.saturating_add(1);
        let segment = self.current();
        *segment = segment.saturating_add(1);
    }

    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn idle(&self, rule: &Rule, now: u64) -> bool {
        now >= self.next.saturating_add(rule.period.saturating_mul(u64::from(rule.segments)))
    }

    #[expect(clippy::indexing_slicing, reason = "the ring is never empty, and `at` is always taken modulo its length")]
    fn current(&mut self) -> &mut u32 {
        &mut self.segments[usize::from(self.at)]
    }
}
