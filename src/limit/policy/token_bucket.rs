//! A bucket that is full at first and gets some tokens with each period, never more than it holds.

use super::Rule;

/// The bucket.
#[derive(Debug)]
pub(in crate::limit) struct TokenBucket {
    next: u64,
    tokens: u32,
}

impl TokenBucket {
    pub(super) const fn new(rule: &Rule, now: u64) -> Self {
        Self { next: now.saturating_add(rule.period), tokens: rule.permits }
    }

    pub(super) fn advance(&mut self, rule: &Rule, now: u64) {
        if now >= self.next {
            let (passed, next) = rule.ticks(self.next, now);
            self.next = next;
            self.tokens = filled(rule, self.tokens, passed);
        }
    }

    pub(super) fn amend(&mut self, rule: &Rule, now: u64) {
        self.next = self.next.min(now.saturating_add(rule.period));
        self.tokens = self.tokens.min(rule.permits);
    }

    pub(super) const fn available(&self) -> u32 {
        self.tokens
    }

    pub(super) const fn take(&mut self) {
        self.tokens = self.tokens.saturating_sub(1);
    }

    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// Full after the last tick but one, so for a whole period.
    pub(super) fn idle(&self, rule: &Rule, now: u64) -> bool {
        let passed = now.checked_sub(self.next).map_or(0, |since| since / rule.period);
        passed > 0 && filled(rule, self.tokens, passed) >= rule.permits
    }
}

fn filled(rule: &Rule, tokens: u32, periods: u64) -> u32 {
    let supply = u64::from(rule.tokens).saturating_mul(periods);
    let all = u64::from(tokens).saturating_add(supply).min(u64::from(rule.permits));
    u32::try_from(all).unwrap_or(rule.permits)
}
