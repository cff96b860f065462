//! What became of each object: from its record and from what the last build could not link. Accepts and refuses nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ledger::{Record, Records};
use super::status::{ObjectState, ObjectStatus, Told};
use crate::base::id::{Id, Key, Kind};
use crate::model::{Origin, Resource};
use crate::snapshot::{Conflict, Pending, compile};
use crate::telemetry::Metrics;

/// The newest outcome of every object.
#[derive(Default)]
pub(super) struct Outcomes {
    pending: BTreeMap<Key, Key>,
    conflicts: BTreeMap<Id, Vec<Conflict>>,
    told: Told,
    tally: BTreeMap<(Kind, ObjectState), i64>,
}

impl Outcomes {
    /// Notes what the last build could not link; the names that are or were concerned.
    pub(super) fn link(&mut self, pending: Vec<Pending>, conflicts: Vec<Conflict>) -> Vec<Arc<str>> {
        let mut names = self.linked();
        self.pending = pending.into_iter().map(|p| (p.key, p.missing)).collect();
        self.conflicts.clear();
        for conflict in conflicts {
            self.conflicts.entry(conflict.listener.clone()).or_default().push(conflict);
        }
        names.extend(self.linked());
        names
    }

    fn linked(&self) -> Vec<Arc<str>> {
        let listeners = self.conflicts.keys().map(|id| Key::new(Kind::Listener, id.clone()).to_string().into());
        self.pending.keys().map(|key| key.to_string().into()).chain(listeners).collect()
    }

    /// Works one name out again.
    pub(super) fn renew(&mut self, name: &Arc<str>, records: &Records) {
        let status = records.get(name).map(|record| self.status(name, record, records));
        if let Some(had) = self.told.objects.get(name).and_then(|had| Some((had.kind?, had.state))) {
            *self.tally.entry(had).or_default() -= 1;
        }
        let Some(status) = status else {
            self.told.objects.remove_mut(name);
            return;
        };
        if let Some(kind) = status.kind {
            *self.tally.entry((kind, status.state)).or_default() += 1;
        }
        self.told.objects.insert_mut(name.clone(), Arc::new(status));
    }

    /// Tells the numbers by kind and state.
    pub(super) fn count(&self, metrics: &Metrics) {
        for kind in Kind::ALL {
            for state in ObjectState::ALL {
                metrics.set_objects(kind, state.as_str(), self.tally.get(&(kind, state)).copied().unwrap_or(0));
            }
        }
    }

    /// Everything, as of a revision.
    pub(super) fn told(&mut self, revision: u64) -> Told {
        self.told.revision = revision;
        self.told.tally.clone_from(&self.tally);
        self.told.clone()
    }

    fn status(&self, name: &str, record: &Record, records: &Records) -> ObjectStatus {
        let good = record.good.as_ref();
        let (state, reason) = self.state(record, records);
        let serving = good.filter(|good| compile::enabled(&good.stored.resource));
        let unread = if record.seen.is_some() { Origin::Store } else { Origin::Conf };
        ObjectStatus {
            key: name.to_owned(),
            kind: Some(record.kind),
            origin: good.map_or(unread, |good| good.stored.origin),
            state,
            reason,
            violations: record.bad.as_ref().map(|bad| bad.violations.clone()).unwrap_or_default(),
            stage: record.bad.as_ref().map(|bad| bad.stage),
            revision: record.seen.map_or(0, |seen| seen.modified),
            serving_revision: serving.map(|good| good.stored.modified),
            applied_at: good.and_then(|good| good.applied_at),
            warnings: good.map(|good| good.warnings.clone()).unwrap_or_default(),
            value: good.map(|good| good.value.clone()).unwrap_or_default(),
        }
    }

    fn state(&self, record: &Record, records: &Records) -> (ObjectState, Option<String>) {
        let good = match (&record.bad, &record.good) {
            (None, Some(good)) => good,
            (bad, _) => {
                let first = bad.as_ref().and_then(|bad| bad.violations.first());
                return (ObjectState::Rejected, first.map(ToString::to_string));
            }
        };
        if !compile::enabled(&good.stored.resource) {
            return (ObjectState::Disabled, Some("its status is 0".to_owned()));
        }
        if let Resource::Listener(listener) = &good.stored.resource
            && let Some(lost) = self.conflicts.get(&listener.id)
        {
            let lost: Vec<String> = lost.iter().map(|c| format!("listeners/{} has {}", c.winner, c.port)).collect();
            return (ObjectState::Conflict, Some(lost.join("; ")));
        }
        match self.pending.get(&good.stored.key) {
            Some(missing) => (ObjectState::Pending, Some(format!("waits for {missing}, which {}", absence(missing, records)))),
            None => (ObjectState::Active, None),
        }
    }
}

/// Why an object that another one waits for is not there.
fn absence(missing: &Key, records: &Records) -> &'static str {
    match records.get(missing.to_string().as_str()) {
        None => "does not exist",
        Some(Record { good: None, .. }) => "was refused",
        Some(Record { good: Some(_), .. }) => "is disabled",
    }
}
