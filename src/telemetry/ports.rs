//! What the listening side counts: binds that failed, pauses of accepting.

use super::families::Metrics;
use crate::base::id::Id;

#[expect(clippy::disallowed_methods, reason = "rare events: a handle is not worth keeping")]
impl Metrics {
    /// A bind of one of this listener's ports failed.
    pub fn bind_failed(&self, listener: &Id) {
        self.listener_bind_failures_total.with_label_values(&[listener.as_str()]).inc();
    }

    /// Accepting paused for lack of `descriptors`, `memory` or `places`.
    pub fn accept_paused(&self, resource: &str) {
        self.accept_pauses_total.with_label_values(&[resource]).inc();
    }
}
