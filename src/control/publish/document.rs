//! The status as the others read it: one JSON object. Bounded: what there may be thousands of is counted, and listed up to a limit.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::super::status::{ObjectState, ObjectStatus, Told};
use crate::base::violation::Stage;
use crate::live::listeners::{PortState, PortStatus};
use crate::telemetry::stamp::rfc3339;

/// Listed at most; the counts beside them are of all.
const LISTED: usize = 100;
/// Bytes of listed rejections, as JSON.
const REJECTION_BYTES: usize = 64 * 1024;

/// What is the same in every status of a process, and what was worked out for the last one.
pub(super) struct Document {
    run: String,
    started: String,
    /// Objects and rejections, as of what they were worked out from.
    last: Option<(Arc<Told>, Map<String, Value>)>,
}

impl Document {
    pub(super) fn new(run: &str, started: SystemTime) -> Self {
        Self { run: run.to_owned(), started: rfc3339(started), last: None }
    }

    /// The status. The same facts make the same text.
    pub(super) fn text(&mut self, told: &Arc<Told>, ports: &[PortStatus], applied: Option<u64>) -> String {
        let mut out = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "run": self.run,
            "started_at": self.started,
            "applied_revision": applied,
            "store_revision": told.revision,
            "ports": in_states(ports),
            "listeners": ports.iter().take(LISTED).map(listener).collect::<Vec<_>>(),
        });
        if let Some(map) = out.as_object_mut() {
            map.extend(self.objects(told).clone());
        }
        out.to_string()
    }

    /// Looks at every object only if something happened to one.
    fn objects(&mut self, told: &Arc<Told>) -> &Map<String, Value> {
        if self.last.as_ref().is_some_and(|(of, _)| !Arc::ptr_eq(of, told)) {
            self.last = None;
        }
        let (_, objects) = self.last.get_or_insert_with(|| (told.clone(), objects(told)));
        objects
    }
}

fn objects(told: &Told) -> Map<String, Value> {
    let mut counts = Map::<String, Value>::new();
    for ((kind, state), count) in told.tally.iter().filter(|(_, count)| **count > 0) {
        if let Value::Object(states) = counts.entry(kind.dir()).or_insert_with(|| json!({})) {
            states.insert(state.as_str().to_owned(), json!(count));
        }
    }
    let rejected: i64 = told.tally.iter().filter(|((_, state), _)| *state == ObjectState::Rejected).map(|(_, count)| count).sum();
    let mut out = Map::new();
    out.insert("objects".to_owned(), Value::Object(counts));
    out.insert("rejected".to_owned(), json!(rejected));
    out.insert("rejections".to_owned(), Value::Array(if rejected > 0 { rejections(told) } else { Vec::new() }));
    out
}

fn rejections(told: &Told) -> Vec<Value> {
    let refused = told.objects.values().filter(|status| status.state == ObjectState::Rejected);
    let mut room = REJECTION_BYTES;
    let fits = |shown: &Value| {
        let left = room.checked_sub(shown.to_string().len());
        room = left.unwrap_or(0);
        left.is_some()
    };
    refused.take(LISTED).map(|status| rejection(status)).take_while(fits).collect()
}

fn rejection(status: &ObjectStatus) -> Value {
    json!({
        "key": status.key,
        "stage": status.stage.map(Stage::as_str),
        "reason": status.reason,
        "violations": status.violations,
        "revision": status.revision,
        "serving_revision": status.serving_revision,
    })
}

fn in_states(ports: &[PortStatus]) -> Value {
    let mut counts = Map::new();
    for word in PortState::WORDS {
        let count = ports.iter().filter(|port| port.state.as_str() == word).count();
        if count > 0 {
            counts.insert(word.to_owned(), json!(count));
        }
    }
    Value::Object(counts)
}

fn listener(port: &PortStatus) -> Value {
    json!({ "listener": port.listener, "address": port.port.to_string(), "state": port.state.as_str() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Kind;
    use crate::base::violation::Violation;
    use crate::model::Origin;

    fn refused(n: usize, violations: usize) -> ObjectStatus {
        ObjectStatus {
            key: format!("upstreams/{n:04}"),
            kind: Some(Kind::Upstream),
            origin: Origin::Store,
            state: ObjectState::Rejected,
            reason: Some("r".into()),
            violations: vec![Violation::new("/nodes", "type", "x".repeat(1000)); violations],
            stage: Some(Stage::Schema),
            revision: 8,
            serving_revision: None,
            applied_at: None,
            warnings: Arc::default(),
            value: Arc::default(),
        }
    }

    fn told(of: impl Iterator<Item = ObjectStatus>) -> Arc<Told> {
        let mut told = Told { revision: 9, ..Told::default() };
        for status in of {
            *told.tally.entry((Kind::Upstream, status.state)).or_default() += 1;
            told.objects.insert_mut(status.key.as_str().into(), Arc::new(status));
        }
        Arc::new(told)
    }

    fn shown(told: &Arc<Told>) -> Value {
        serde_json::from_str(&Document::new("1", SystemTime::UNIX_EPOCH).text(told, &[], Some(7))).unwrap()
    }

    #[test]
    fn it_tells_who_runs_what_and_what_was_refused() {
        let told = shown(&told([refused(1, 1)].into_iter()));
        assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!((&told["applied_revision"], &told["store_revision"]), (&json!(7), &json!(9)));
        assert_eq!(told["started_at"], "1970-01-01T00:00:00.000Z");
        assert_eq!(told["objects"], json!({ "upstreams": { "rejected": 1 } }));
        let one = &told["rejections"][0];
        assert_eq!((&one["key"], &one["stage"], &one["revision"]), (&json!("upstreams/0001"), &json!("schema"), &json!(8)));
        assert_eq!((&one["reason"], &one["violations"][0]["path"]), (&json!("r"), &json!("/nodes")));
    }

    #[test]
    fn however_much_was_refused_the_status_stays_small() {
        for (objects, violations, most) in [(5000, 1, LISTED), (5000, 20, 3), (1, 200, 0)] {
            let told = told((0..objects).map(|n| refused(n, violations)));
            let shown = shown(&told);
            assert_eq!(shown["rejected"], objects);
            assert!(shown["rejections"].as_array().unwrap().len() <= most);
            assert!(shown.to_string().len() < 80 * 1024);
        }
    }
}
