//! All limits of the process, found by what carries them while a snapshot is built: an edit keeps what was counted. Also who keeps
//! their shares right and their tables swept.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::key::LimitKey;
use super::keyed::lock;
use super::limiter::{Limiter, by_text};
use super::share::Share;
use crate::base::quota::Scope;
use crate::live::fleet::Fleet;
use crate::live::limits::LimitStatus;
use crate::model::{By, Limit};

/// The shortest time between two sweeps of a table, and the longest.
const SWEEP: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];

/// All live limits. Cheap to clone; all clones are one registry.
#[derive(Clone, Debug, Default)]
pub struct Registry(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    live: Mutex<HashMap<Arc<str>, Weak<Limiter>>>,
    /// Those with a table, and when each was swept last.
    keyed: Mutex<Vec<(Weak<Limiter>, Instant)>>,
    share: Mutex<Share>,
}

impl Registry {
    /// The limit of what is so called: `stream_routes/<id>`, or `settings/global`. The one that it had, as long as somebody holds it:
    /// an unchanged one is left alone, one with other numbers takes them over and keeps what it has counted. Another policy, key or
    /// scope begins anew.
    pub fn limiter(&self, name: &str, spec: &Arc<Limit>) -> Arc<Limiter> {
        // locked throughout, so that a change of the share finds it or is found by it
        let share = lock(&self.0.share);
        let mut live = lock(&self.0.live);
        if let Some(held) = live.get(name).and_then(Weak::upgrade).filter(|held| held.can_become(spec)) {
            held.amend(Some(spec), None, Instant::now());
            return held;
        }
        let of = if spec.scope == Scope::Cluster { *share } else { Share::default() };
        let limiter = Arc::new(Limiter::new(name.into(), spec.clone(), of));
        if live.len() == live.capacity() {
            // swept only when the table would grow, so that an edit among many costs no walk over all
            live.retain(|_, held| held.strong_count() > 0);
        }
        live.insert(limiter.name().clone(), Arc::downgrade(&limiter));
        if limiter.by() != &By::Total {
            lock(&self.0.keyed).push((Arc::downgrade(&limiter), Instant::now()));
        }
        limiter
    }

    /// Follows the fleet and sweeps tables. Runs for ever; there is one in the process.
    pub async fn keep(self, mut fleet: Fleet) {
        loop {
            self.divide(&fleet);
            let due = self.sweep(Instant::now());
            tokio::select! {
                () = fleet.changed() => {}
                () = sleep_until(due) => {}
            }
        }
    }

    /// Gives every limit of the cluster its share among those that live now.
    fn divide(&self, fleet: &Fleet) {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let now = Share { count: number(fleet.count()), rank: number(fleet.rank()) };
        let mut share = lock(&self.0.share);
        if *share == now {
            return;
        }
        *share = now;
        let held: Vec<Arc<Limiter>> = lock(&self.0.live).values().filter_map(Weak::upgrade).collect();
        let mut concerned = 0;
        for limiter in held.iter().filter(|l| l.scope() == Scope::Cluster) {
            limiter.amend(None, Some(now), Instant::now());
            concerned += 1;
        }
        if concerned > 0 {
            tracing::info!(instances = now.count, rank = now.rank, limits = concerned, "limits of the cluster are divided again");
        }
    }

    /// Sweeps the tables whose time it is; answers when to come again.
    fn sweep(&self, now: Instant) -> Instant {
        let mut due = Vec::new();
        lock(&self.0.keyed).retain_mut(|(held, swept)| {
            let Some(limiter) = held.upgrade() else { return false };
            let [shortest, longest] = SWEEP;
            if now.saturating_duration_since(*swept) >= limiter.rule().window().clamp(shortest, longest) {
                *swept = now;
                due.push(limiter);
            }
            true
        });
        for limiter in due {
            limiter.sweep(now);
        }
        let [shortest, _] = SWEEP;
        now + shortest
    }

    /// Every live limit, by name.
    pub fn inspect(&self) -> Vec<LimitStatus> {
        let held: Vec<Arc<Limiter>> = lock(&self.0.live).values().filter_map(Weak::upgrade).collect();
        let mut all: Vec<LimitStatus> = held.iter().map(|limiter| status(limiter, None)).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}

/// How a limit stands: as a whole, or for a key as it is written in an address, a header or a cookie.
pub fn status(limiter: &Limiter, key: Option<&str>) -> LimitStatus {
    let (spec, share) = (limiter.spec(), limiter.share());
    let key = key.map(|text| text.parse::<IpAddr>().map_or(LimitKey::Text(text.as_bytes()), LimitKey::Client));
    let standing = limiter.standing(key.as_ref(), Instant::now());
    LimitStatus {
        name: limiter.name().clone(),
        policy: limiter.policy(),
        scope: limiter.scope(),
        by: by_text(limiter.by()),
        permit_limit: spec.permits,
        share: limiter.rule().permits,
        instances: share.count,
        queue_limit: spec.queue,
        queued: limiter.queued(),
        keys: limiter.keys(),
        remaining: standing.map(|s| s.remaining),
        reset: standing.and_then(|s| s.reset),
    }
}
