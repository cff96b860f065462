//! The store of a cluster: etcd. Reads and writes go to whichever member answers; what is under a prefix is followed by the watcher
//! (`watch`). Connects to nobody before it is asked.

mod dial;
mod fault;
mod follow;
mod members;
mod wire;

use std::collections::btree_map::{self, BTreeMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use etcd_client::{Client, GetOptions, SortOrder, SortTarget};
use tokio::sync::watch as signal;
use tokio::time::timeout;

use self::fault::{Fault, Meaning};
use self::follow::Follower;
use self::members::Members;
use super::last_good::{self, Keeper, Kept, Refusal};
use super::watch::{Header, Page, Tally};
use super::{Entry, Listing, Op, Revision, Standing, Store, StoreError, Subscription, Txn};
use crate::base::secret::Secret;
use crate::telemetry::Metrics;

/// How many entries are read at a time.
const PAGE: i64 = 1000;
/// How many of the newest values an audit looks at.
const RECENT: i64 = 8;

/// Where the cluster is and how it is talked to.
#[derive(Clone, Debug)]
pub struct EtcdOptions {
    /// The members: `http://…` or `https://…`, with a port.
    pub hosts: Vec<String>,
    /// How long one member may take for one answer.
    pub timeout: Duration,
    /// Name and password.
    pub user: Option<(String, Secret<String>)>,
    /// TLS beyond the system's authorities.
    pub tls: Option<EtcdTls>,
    /// The prefix of configuration. How well it is followed is told in metrics, and a listing of it that lost most objects is held
    /// back. What others write beside it comes and goes as it likes.
    pub prefix: String,
    /// Where the last good set of configuration is kept, for a start without the cluster; `None`: nowhere.
    pub last_good: Option<PathBuf>,
}

/// Files and names for TLS. Files are read again when a member fails.
#[derive(Clone, Debug, Default)]
pub struct EtcdTls {
    /// PEM files of our certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// A PEM file of authorities; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// The name that the servers' certificates must have; `None`: the host's.
    pub sni: Option<String>,
    /// Any certificate of a server is taken; `ca` is not read then.
    pub unverified: bool,
}

/// Keys in an etcd cluster.
pub struct Etcd {
    shared: Arc<Shared>,
    accept: signal::Sender<u64>,
}

struct Shared {
    members: Members,
    metrics: Metrics,
    /// One call as a whole, over all members.
    limit: Duration,
    /// The prefix of configuration.
    prefix: String,
    /// The set that was read at the start, until the cluster has answered.
    kept: Mutex<Option<Arc<Kept>>>,
    /// Keeps the set from now on.
    keeper: Option<Keeper>,
    standing: Mutex<Standing>,
}

impl Etcd {
    /// A store that has not connected yet. Reads the last good set, if there is one that can be used; the log says why not.
    /// Errors: `Unusable` (a host, a certificate or a key is none).
    pub async fn new(options: &EtcdOptions, metrics: Metrics) -> Result<Self, StoreError> {
        let members = Members::new(options).await?;
        let prefix = options.prefix.trim_end_matches('/').to_owned();
        let (kept, keeper) = match &options.last_good {
            Some(path) => keep(path.clone(), prefix.clone(), metrics.clone()).await,
            None => (None, None),
        };
        let shared = Shared {
            members,
            metrics,
            limit: options.timeout.saturating_mul(2),
            prefix,
            kept: Mutex::new(kept.map(Arc::new)),
            keeper,
            standing: Mutex::new(Standing { up: false, ..Standing::default() }),
        };
        Ok(Self { shared: Arc::new(shared), accept: signal::Sender::new(0) })
    }
}

/// Reads the last good set and takes its place. Neither has to succeed: a gateway that cannot keep a set still serves.
async fn keep(path: PathBuf, prefix: String, metrics: Metrics) -> (Option<Kept>, Option<Keeper>) {
    let name = path.display().to_string();
    let opened = tokio::task::spawn_blocking(move || {
        let read = last_good::read(&path, &prefix);
        let place = if matches!(read, Err(Refusal::Foreign)) { None } else { Some(last_good::Place::take(&path, &prefix)) };
        (read, place)
    });
    let Ok((read, place)) = opened.await else { return (None, None) };
    let kept = read.unwrap_or_else(|refusal| {
        tracing::error!(path = name, reason = %refusal, "the last good set is not used");
        None
    });
    let keeper = match place {
        Some(Ok(place)) => Some(Keeper::start(place, metrics)),
        Some(Err(error)) => {
            tracing::warn!(path = name, reason = %error, "no last good set is kept");
            None
        }
        None => None,
    };
    (kept, keeper)
}

impl Shared {
    /// Whether keys under this prefix are configuration.
    fn is_config(&self, prefix: &str) -> bool {
        prefix.strip_prefix(&self.prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Whether this is the prefix of all configuration.
    fn is_all_config(&self, prefix: &str) -> bool {
        prefix.trim_end_matches('/') == self.prefix
    }

    fn kept(&self) -> Option<Arc<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The cluster has answered: it knows better than any file.
    fn forget_kept(&self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn stand(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut self.standing.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A part of what is under a prefix: from a key on, as of a revision.
    async fn page(&self, prefix: &str, from: Option<&Bytes>, at: Option<Revision>) -> Result<Page, Fault> {
        let get = |client: Client| {
            let (first, options) = range(prefix, from);
            let options = options.with_limit(PAGE).with_revision(at.map_or(0, wire::number));
            async move { members::kv(&client).get(first, Some(options)).await }
        };
        Ok(wire::page(self.members.ask(get).await?))
    }

    async fn pages(&self, prefix: &str) -> Result<Listing, Fault> {
        let mut page = self.page(prefix, None, None).await?;
        let mut listing = Listing { entries: page.entries, at: page.header.at };
        while let Some(next) = page.next {
            page = self.page(prefix, Some(&next), Some(listing.at)).await?;
            listing.entries.append(&mut page.entries);
        }
        Ok(listing)
    }

    /// How many keys there are under a prefix and which the newest are, told by all members together.
    async fn audit(&self, prefix: &str, at: Option<Revision>) -> Result<(Tally, Header), Fault> {
        let get = |client: Client| {
            let (first, options) = range(prefix, None);
            let options = options.with_sort(SortTarget::Mod, SortOrder::Descend).with_limit(RECENT).with_keys_only();
            let options = options.with_revision(at.map_or(0, wire::number));
            async move { members::kv(&client).get(first, Some(options)).await }
        };
        let answer = self.members.ask(get).await?;
        Ok((wire::tally(&answer), wire::header(answer.0.header.as_ref())))
    }

    /// A lease for every time to live in a transaction: keys that end together end in one revision.
    async fn leases(&self, txn: &Txn) -> Result<BTreeMap<i64, i64>, Fault> {
        let mut leases = BTreeMap::new();
        for op in &txn.ops {
            let Op::Put { ttl: Some(ttl), .. } = op else { continue };
            let seconds = wire::seconds(*ttl);
            if let btree_map::Entry::Vacant(place) = leases.entry(seconds) {
                let grant = |client: Client| async move { client.lease_client().grant(seconds, None).await };
                place.insert(self.members.ask(grant).await?.id());
            }
        }
        Ok(leases)
    }

    async fn commit(&self, txn: &Txn) -> Result<Revision, StoreError> {
        let leases = self.leases(txn).await.map_err(|fault| wire::refusal(&fault))?;
        let request = wire::transaction(txn, |ttl| leases.get(&wire::seconds(ttl)).copied().unwrap_or(0));
        let send = |client: Client| {
            let request = request.clone();
            async move { members::kv(&client).txn(request).await }
        };
        match self.members.ask_once(send).await {
            Ok(answer) => wire::outcome(txn, answer),
            Err(fault) if fault.meaning == Meaning::Unknown => self.find(txn, &fault).await,
            Err(fault) => Err(wire::refusal(&fault)),
        }
    }

    /// Whether a transaction whose answer was lost was made.
    async fn find(&self, txn: &Txn, lost: &Fault) -> Result<Revision, StoreError> {
        let request = wire::reading(txn);
        let read = |client: Client| {
            let request = request.clone();
            async move { members::kv(&client).txn(request).await }
        };
        let found = self.members.ask(read).await.ok().and_then(|answer| wire::as_wanted(txn, answer));
        found.ok_or_else(|| StoreError::Unavailable { reason: format!("{lost}; the write may still be made") })
    }

    /// Bounds a call and counts it if it fails.
    async fn within<T>(&self, op: &str, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let answer = timeout(self.limit, call).await.unwrap_or_else(|_| {
            let reason = format!("no answer within {:?}", self.limit);
            Err(StoreError::Unavailable { reason: if op == "commit" { reason + "; the write may still be made" } else { reason } })
        });
        if matches!(answer, Err(StoreError::Unavailable { .. })) {
            self.metrics.count_store_error(op);
        }
        answer
    }
}

/// The keys under a prefix, or those of them from a key on.
fn range(prefix: &str, from: Option<&Bytes>) -> (Vec<u8>, GetOptions) {
    let Some(from) = from else { return (prefix.as_bytes().to_vec(), GetOptions::new().with_prefix()) };
    let options = match behind(prefix) {
        Some(end) => GetOptions::new().with_range(end),
        None => GetOptions::new().with_from_key(),
    };
    (from.to_vec(), options)
}

/// The first key behind all that start with the prefix; `None`: there is none. Text has no byte 255, so the last one can be raised.
fn behind(prefix: &str) -> Option<Vec<u8>> {
    let mut end = prefix.as_bytes().to_vec();
    let last = end.last_mut()?;
    *last = last.checked_add(1)?;
    Some(end)
}

#[async_trait]
impl Store for Etcd {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let call = async {
            let get = |client: Client| async move { members::kv(&client).get(key, None).await };
            let answer = self.shared.members.ask(get).await.map_err(|fault| wire::refusal(&fault))?;
            Ok(wire::entries(answer).pop())
        };
        self.shared.within("get", call).await
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        let call = async {
            let mut listed = self.shared.pages(prefix).await;
            if listed.as_ref().is_err_and(|fault| fault.meaning == Meaning::Compacted) {
                // between two pages
                listed = self.shared.pages(prefix).await;
            }
            listed.map_err(|fault| wire::refusal(&fault))
        };
        self.shared.within("list", call).await
    }

    async fn commit(&self, txn: Txn) -> Result<Revision, StoreError> {
        self.shared.within("commit", self.shared.commit(&txn)).await
    }

    async fn subscribe(&self, prefix: &str) -> Result<Box<dyn Subscription>, StoreError> {
        let follower = Follower::begin(self.shared.clone(), prefix, self.accept.subscribe()).await?;
        Ok(Box::new(follower))
    }

    fn standing(&self) -> Standing {
        self.shared.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn accept(&self) {
        self.accept.send_modify(|n| *n = n.wrapping_add(1));
    }

    async fn settle(&self) {
        if let Some(keeper) = &self.shared.keeper {
            keeper.settle().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audit_asks_for_as_many_values_as_it_looks_at() {
        assert_eq!(usize::try_from(RECENT), Ok(Tally::RECENT));
    }

    #[test]
    fn the_end_of_a_prefix_is_the_first_key_behind_it() {
        assert_eq!(behind("/s/"), Some(b"/s0".to_vec()));
        assert_eq!(behind(""), None);
        assert_eq!(behind("ä"), Some(vec![0xc3, 0xa5]));
    }
}
