//! Names to addresses through the system's resolver, off the data path, again and again while anybody needs the name. A name
//! that stops resolving keeps its last good addresses.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::base::task;

/// How long an answer is used before it is asked for again. The system's resolver tells no lifetime.
const AGAIN: Duration = Duration::from_secs(15);
/// The first wait after a failed look-up; it doubles up to [`AGAIN`].
const RETRY: Duration = Duration::from_millis(500);

/// A name has no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} does not resolve: {reason}")]
pub struct Unresolved {
    /// The name.
    pub name: Arc<str>,
    /// What the resolver said.
    pub reason: String,
}

/// What is known of a name.
#[derive(Clone, Debug, Default)]
struct Known {
    /// The last good answer.
    ips: Arc<[IpAddr]>,
    /// What the newest look-up failed with.
    error: Option<String>,
    /// Whether there was a look-up at all.
    asked: bool,
}

/// One name, looked up while it is held.
#[derive(Debug)]
pub(super) struct Name {
    name: Arc<str>,
    known: watch::Sender<Known>,
}

impl Name {
    /// Its addresses. Waits for the first look-up. Cancel safe.
    pub(super) async fn addresses(&self) -> Result<Arc<[IpAddr]>, Unresolved> {
        let mut watch = self.known.subscribe();
        let known = match watch.wait_for(|k| k.asked).await {
            Ok(known) => known.clone(),
            Err(_) => Known::default(),
        };
        if known.ips.is_empty() {
            let reason = known.error.unwrap_or_else(|| "no address".into());
            return Err(Unresolved { name: self.name.clone(), reason });
        }
        Ok(known.ips)
    }

    pub(super) fn known(&self) -> (Arc<[IpAddr]>, Option<String>) {
        let known = self.known.borrow();
        (known.ips.clone(), known.error.clone())
    }

    fn learn(&self, answer: io::Result<Vec<IpAddr>>) -> bool {
        let mut good = false;
        self.known.send_modify(|known| {
            known.asked = true;
            match answer {
                Ok(ips) if !ips.is_empty() => {
                    good = true;
                    known.error = None;
                    if *known.ips != *ips {
                        tracing::info!(name = %self.name, addresses = ?ips, "name resolved");
                        known.ips = ips.into();
                    }
                }
                other => {
                    let reason = other.err().map_or_else(|| "no address".to_owned(), |e| e.to_string());
                    if known.error.as_ref() != Some(&reason) {
                        tracing::warn!(name = %self.name, %reason, last_good = ?known.ips, "name does not resolve");
                    }
                    known.error = Some(reason);
                }
            }
        });
        good
    }
}

/// All names in use. Cheap to clone; all clones are one table.
#[derive(Clone, Debug)]
pub(super) struct Names {
    table: Arc<Mutex<HashMap<Arc<str>, Weak<Name>>>>,
    asks: mpsc::UnboundedSender<Weak<Name>>,
}

/// The look-ups themselves: `app` runs it on the control runtime.
#[derive(Debug)]
pub struct Resolver(mpsc::UnboundedReceiver<Weak<Name>>);

/// The table and what keeps it current.
pub(super) fn names() -> (Names, Resolver) {
    let (asks, answers) = mpsc::unbounded_channel();
    (Names { table: Arc::default(), asks }, Resolver(answers))
}

impl Names {
    /// The name's live entry; its first look-up begins at once.
    pub(super) fn name(&self, name: &Arc<str>) -> Arc<Name> {
        let mut table = self.table.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if table.len() == table.capacity() {
            // swept only when the table would grow
            table.retain(|_, held| held.strong_count() > 0);
        }
        let place = table.entry(name.clone());
        if let Entry::Occupied(found) = &place
            && let Some(live) = found.get().upgrade()
        {
            return live;
        }
        let live = Arc::new(Name { name: name.clone(), known: watch::Sender::new(Known::default()) });
        place.insert_entry(Arc::downgrade(&live));
        // nobody resolves any more only while the process ends
        let _ = self.asks.send(Arc::downgrade(&live));
        live
    }
}

impl Resolver {
    /// Looks names up for ever. Each name has a task of its own, so that a slow one holds up no other.
    pub async fn run(mut self) {
        while let Some(name) = self.0.recv().await {
            task::spawn(keep(name));
        }
    }
}

async fn keep(name: Weak<Name>) {
    let mut wait = RETRY;
    loop {
        let Some(host) = name.upgrade().map(|n| n.name.clone()) else { return };
        let answer = tokio::net::lookup_host((&*host, 0)).await.map(|found| {
            let mut ips: Vec<IpAddr> = found.map(|a| a.ip()).collect();
            ips.dedup();
            ips
        });
        let Some(live) = name.upgrade() else { return };
        wait = if live.learn(answer) { AGAIN } else { wait.min(AGAIN) };
        drop(live);
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(AGAIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_looked_up_once_for_all_and_forgotten_with_its_last_holder() {
        let (names, resolver) = names();
        task::spawn(resolver.run());
        let host: Arc<str> = "localhost".into();
        let (a, b) = (names.name(&host), names.name(&host));
        assert!(Arc::ptr_eq(&a, &b));
        assert!(a.addresses().await.unwrap().iter().all(IpAddr::is_loopback));
        drop((a, b));
        names.name(&"other.invalid".into());
        let live = names.table.lock().unwrap().values().filter(|n| n.strong_count() > 0).count();
        assert_eq!(live, 0, "nobody holds one");
    }

    #[test]
    fn a_name_that_stops_resolving_keeps_its_last_addresses() {
        let name = Name { name: "a".into(), known: watch::Sender::new(Known::default()) };
        let ip: IpAddr = "192.0.2.7".parse().unwrap();
        assert!(name.learn(Ok(vec![ip])));
        assert!(!name.learn(Err(io::Error::other("no such name"))));
        assert_eq!(name.known(), ([ip].into(), Some("no such name".into())));
    }

    #[tokio::test]
    async fn a_name_without_any_answer_says_why() {
        let (names, resolver) = names();
        task::spawn(resolver.run());
        let error = names.name(&"nothing.invalid".into()).addresses().await.unwrap_err();
        assert_eq!(&*error.name, "nothing.invalid");
    }
}
