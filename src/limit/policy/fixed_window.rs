//! So many in each window of a grid that begins with the limit. All of them come back at once, with the next window.

use super::Rule;

/// The window of the moment.
#[derive(Debug)]
pub(in crate::limit) struct FixedWindow {
    next: u64,
    used: u32,
}

impl FixedWindow {
    pub(super) const fn new(rule: &Rule, now: u64) -> Self {
        Self { next: now.saturating_add(rule.period), used: 0 }
    }

    pub(super) const fn advance(&mut self, rule: &Rule, now: u64) {
        if now >= self.next {
            (_, self.next) = rule.ticks(self.next, now);
            self.used = 0;
        }
    }

    pub(super) fn amend(&mut self, rule: &Rule, now: u64) {
        self.next = self.next.min(now.saturating_add(rule.period));
    }

    pub(super) const fn available(&self, rule: &Rule) -> u32 {
        rule.permits.saturating_sub(self.used)
    }

    pub(super) const fn take(&mut self) {
        self.used = self.used.saturating_add(1);
    }

    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    pub(super) const fn idle(&self, rule: &Rule, now: u64) -> bool {
        now >= self.next.saturating_add(rule.period)
    }
}
