//! Which gateways share the store and live: written by the control side, read by Admin and by whoever needs a share of a whole.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;

/// One living instance, as it tells of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// The name under which it is known to the others.
    pub id: Arc<str>,
    /// Whether it is this process.
    pub own: bool,
    /// The revision that its workers use; `None` before the first.
    pub applied: Option<u64>,
    /// Everything that it tells.
    pub document: Arc<Value>,
}

/// What is known now.
#[derive(Debug)]
struct Known {
    /// What this process calls itself until it is among the members.
    name: Arc<str>,
    /// By id.
    members: Vec<Member>,
}

impl Known {
    fn own(&self) -> &str {
        self.members.iter().find(|member| member.own).map_or(&self.name, |member| &member.id)
    }

    fn others(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.own)
    }

    fn behind(&self, revision: u64) -> impl Iterator<Item = &Member> {
        self.others().filter(move |member| member.applied.is_none_or(|applied| applied < revision))
    }
}

/// The writing end: one in the process.
#[derive(Debug)]
pub struct FleetWriter(watch::Sender<Known>);

/// The reading end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Fleet(watch::Receiver<Known>);

/// Both ends, for a process of this name; nobody else is known yet.
pub fn fleet(name: &str) -> (FleetWriter, Fleet) {
    let (tx, rx) = watch::channel(Known { name: name.into(), members: Vec::new() });
    (FleetWriter(tx), Fleet(rx))
}

impl FleetWriter {
    /// These live now.
    pub fn set(&self, mut members: Vec<Member>) {
        members.sort_by(|a, b| a.id.cmp(&b.id));
        self.0.send_if_modified(|known| {
            let other = known.members != members;
            known.members = members;
            other
        });
    }
}

impl Fleet {
    /// How many live, this process included, whether it could make itself known or not: at least 1.
    pub fn count(&self) -> usize {
        self.0.borrow().others().count() + 1
    }

    /// This process's place among them in the order of their names, from 0.
    pub fn rank(&self) -> usize {
        let known = self.0.borrow();
        known.others().filter(|member| &*member.id < known.own()).count()
    }

    /// Waits until others live, or tell other things, than when this handle last returned from here. Cancel safe; for ever if the
    /// process is ending.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The name of this process among them.
    pub fn name(&self) -> String {
        self.0.borrow().own().to_owned()
    }

    /// All that are known, by name.
    pub fn members(&self) -> Vec<Member> {
        self.0.borrow().members.clone()
    }

    /// The others that do not use this revision yet.
    pub fn behind(&self, revision: u64) -> Vec<Arc<str>> {
        self.0.borrow().behind(revision).map(|member| member.id.clone()).collect()
    }

    /// Waits until no other member is behind this revision; one that is gone is not waited for. Cancel safe; for ever if the process is
    /// ending and somebody is behind.
    pub async fn reached(&mut self, revision: u64) {
        if self.0.wait_for(|known| known.behind(revision).next().is_none()).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, own: bool, applied: Option<u64>) -> Member {
        Member { id: id.into(), own, applied, document: Arc::new(Value::Null) }
    }

    #[test]
    fn a_process_counts_itself_before_the_store_knows_it() {
        let (writer, fleet) = fleet("b");
        assert_eq!((fleet.count(), fleet.rank(), fleet.name().as_str()), (1, 0, "b"));
        writer.set(vec![member("c", false, None), member("a", false, None)]);
        assert_eq!((fleet.count(), fleet.rank()), (3, 1));
        writer.set(vec![member("c", false, None), member("b~2", true, None), member("b", false, None), member("a", false, None)]);
        assert_eq!((fleet.count(), fleet.rank(), fleet.name().as_str()), (4, 2, "b~2"));
        assert_eq!(fleet.members().iter().map(|m| &*m.id).collect::<Vec<_>>(), ["a", "b", "b~2", "c"]);
    }

    #[tokio::test(start_paused = true)]
    async fn everybody_else_is_waited_for_as_long_as_they_live() {
        let (writer, fleet) = fleet("a");
        let soon =
            |mut fleet: Fleet| async move { tokio::time::timeout(std::time::Duration::from_secs(1), fleet.reached(5)).await.is_ok() };
        assert!(soon(fleet.clone()).await, "nobody else");
        writer.set(vec![member("a", true, None), member("b", false, Some(4)), member("c", false, None)]);
        assert_eq!(fleet.behind(5), ["b".into(), "c".into()]);
        assert!(!soon(fleet.clone()).await);
        writer.set(vec![member("a", true, None), member("b", false, Some(6)), member("c", false, None)]);
        assert_eq!(fleet.behind(5), ["c".into()]);
        writer.set(vec![member("a", true, None), member("b", false, Some(6))]);
        assert!(soon(fleet.clone()).await);
    }
}
