//! What the process and its listening side count: binds that failed, handshakes, pauses of accepting, the applied revision, panics.

use std::time::SystemTime;

use super::families::Metrics;
use crate::base::id::Id;

/// What accepting may pause for.
const RESOURCES: [&str; 2] = ["descriptors", "memory"];
/// The long-lived tasks.
const TASKS: [&str; 6] = ["instances", "limits", "publish", "reconcile", "store_leases", "upstream_pools"];
/// The logs that may lose lines.
const SINKS: [&str; 2] = ["access", "log"];

#[expect(clippy::disallowed_methods, reason = "rare events, or as costly ones as handshakes: a handle is not worth keeping")]
impl Metrics {
    /// Makes what should never happen appear as 0, so that a graph of it is not empty and its first time is a rise.
    pub(super) fn begin_at_zero(&self) {
        for (family, words) in
            [(&self.accept_pauses_total, &RESOURCES[..]), (&self.task_panics_total, &TASKS[..]), (&self.log_dropped_total, &SINKS[..])]
        {
            for word in words {
                drop(family.with_label_values(&[word]));
            }
        }
    }

    /// A bind of one of this listener's ports failed.
    pub fn bind_failed(&self, listener: &Id) {
        self.listener_bind_failures_total.with_label_values(&[listener.as_str()]).inc();
    }

    /// A handshake with a client of this listener is over.
    pub fn handshake(&self, listener: &Id, version: &str, resumed: bool) {
        let resumed = if resumed { "true" } else { "false" };
        self.tls_handshakes_total.with_label_values(&[listener.as_str(), version, resumed]).inc();
    }

    /// A handshake with a client of this listener failed for one of a closed list of reasons.
    pub fn handshake_failed(&self, listener: &Id, reason: &str) {
        self.tls_handshake_failures_total.with_label_values(&[listener.as_str(), reason]).inc();
    }

    /// Accepting paused for lack of `descriptors`, `memory` or `places`.
    pub fn accept_paused(&self, resource: &str) {
        self.accept_pauses_total.with_label_values(&[resource]).inc();
    }

    /// Every worker uses this revision.
    pub fn set_applied_revision(&self, revision: u64) {
        self.config_revision.with_label_values(&["applied"]).set(i64::try_from(revision).unwrap_or(i64::MAX));
    }

    /// Whether the gateway should get new connections.
    pub fn set_ready(&self, ready: bool) {
        self.ready.set(i64::from(ready));
    }

    /// This instance's status could not be written.
    pub fn status_publish_failed(&self) {
        self.status_publish_errors_total.inc();
    }

    /// A long-lived task panicked, and is started again.
    pub fn task_panicked(&self, task: &str) {
        self.task_panics_total.with_label_values(&[task]).inc();
    }

    /// What never changes in a process.
    pub fn set_build_info(&self, version: &str, started: SystemTime) {
        self.build_info.with_label_values(&[version]).set(1.0);
        self.start_time_seconds.set(started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64());
    }
}
