//! What the control side tells in metrics: objects by state, refusals, the store's health and revision. Counts nothing by itself.

use super::families::Metrics;
use crate::base::id::{Id, Kind};
use crate::base::violation::Stage;

#[expect(clippy::disallowed_methods, reason = "these change a few times a second at most: nothing is gained by keeping their handles")]
impl Metrics {
    /// How many objects of a kind are in a state.
    pub fn set_objects(&self, kind: Kind, state: &str, n: i64) {
        self.config_objects.with_label_values(&[kind.dir(), state]).set(n);
    }

    /// A value of this kind was refused at a stage.
    pub fn count_rejection(&self, kind: Kind, stage: Stage) {
        self.config_rejections_total.with_label_values(&[kind.dir(), stage.as_str()]).inc();
    }

    /// When the first certificate of an ssl object expires, in seconds since 1970; `None`: the object is no more.
    pub fn set_certificate(&self, id: &Id, not_after: Option<i64>) {
        let family = &self.tls_certificate_not_after_timestamp_seconds;
        match not_after {
            Some(time) => family.with_label_values(&[id.as_str()]).set(time),
            // it may never have been there
            None => drop(family.remove_label_values(&[id.as_str()])),
        }
    }

    /// The newest revision that came from the store.
    pub fn set_store_revision(&self, revision: u64) {
        self.config_revision.with_label_values(&["store"]).set(i64::try_from(revision).unwrap_or(i64::MAX));
    }

    /// The revision of the newest value that came from the store.
    pub fn set_newest_revision(&self, revision: u64) {
        self.config_revision.with_label_values(&["newest"]).set(i64::try_from(revision).unwrap_or(i64::MAX));
    }

    /// Whether the store answers.
    pub fn set_store_up(&self, up: bool) {
        self.store_up.set(i64::from(up));
    }

    /// A request to the Admin API was refused for its key, or for want of one.
    pub fn count_admin_auth_failure(&self, reason: &str) {
        self.admin_auth_failures_total.with_label_values(&[reason]).inc();
    }

    /// Everything was listed again for this reason.
    pub fn count_resync(&self, reason: &str) {
        self.config_resyncs_total.with_label_values(&[reason]).inc();
    }

    /// Whether what serves may not be what the store holds.
    pub fn set_config_stale(&self, stale: bool) {
        self.config_stale.set(i64::from(stale));
    }

    /// How many objects serve that the store has no more.
    pub fn set_config_held(&self, held: usize) {
        self.config_held.set(i64::try_from(held).unwrap_or(i64::MAX));
    }

    /// A call to the store failed.
    pub fn count_store_error(&self, op: &str) {
        self.store_errors_total.with_label_values(&[op]).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_side_is_told_by_kind_state_and_stage() {
        let metrics = Metrics::new().unwrap();
        metrics.set_objects(Kind::Upstream, "active", 3);
        metrics.count_rejection(Kind::Listener, Stage::Schema);
        metrics.set_store_revision(17);
        metrics.set_store_up(true);
        metrics.count_store_error("subscribe");
        metrics.count_resync("compacted");
        metrics.set_config_stale(true);
        metrics.set_config_held(12);
        let text = String::from_utf8(metrics.encode().unwrap()).unwrap();
        for line in [
            r#"sluice_config_objects{kind="upstreams",state="active"} 3"#,
            r#"sluice_config_rejections_total{kind="listeners",stage="schema"} 1"#,
            r#"sluice_config_revision{which="store"} 17"#,
            "\nsluice_store_up 1",
            r#"sluice_store_errors_total{op="subscribe"} 1"#,
            r#"sluice_config_resyncs_total{reason="compacted"} 1"#,
            "\nsluice_config_stale 1",
            "\nsluice_config_held 12",
        ] {
            assert!(text.contains(line), "{line}");
        }
    }
}
