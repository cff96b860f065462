//! So many at once. Nothing comes back by itself.

use super::Rule;

/// What runs.
#[derive(Debug, Default)]
pub(in crate::limit) struct Concurrency {
    running: u32,
}

impl Concurrency {
    pub(super) const fn available(&self, rule: &Rule) -> u32 {
        // a lowered limit keeps what runs
        rule.permits.saturating_sub(self.running)
    }

    pub(super) const fn take(&mut self) {
        self.running = self.running.saturating_add(1);
    }

    pub(super) const fn give_back(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    pub(super) const fn idle(&self) -> bool {
        self.running == 0
    }
}
