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
    /// The limit of what is so called: `stream_routes/<id>`, `routes/<id>`, or `settings/global`. The one that it had, as long as somebody holds it:
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

#[cfg(test)]
mod tests {
    use super::super::policy::tests::{limit, secs};
    use super::super::timelines::series;
    use super::super::{Decision, Permit};
    use super::*;
    use crate::base::task;
    use crate::live::fleet::{Member, fleet};
    use crate::model::{KeySource, Pace};

    const CLIENT: LimitKey<'static> = LimitKey::Client(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    fn passes(limiter: &Arc<Limiter>) -> Option<Permit> {
        match limiter.ask(&CLIENT, Instant::now(), &series()) {
            Decision::Granted(permit) => Some(permit),
            Decision::Queued(_) | Decision::Refused(_) => None,
        }
    }

    fn fixed(permits: u32) -> Limit {
        limit(Pace::FixedWindow { window: secs(1) }, permits, 0)
    }

    fn member(id: &str, own: bool) -> Member {
        Member { id: id.into(), own, applied: None, document: Arc::new(serde_json::Value::Null) }
    }

    #[tokio::test(start_paused = true)]
    async fn an_edit_keeps_the_counts_of_a_limit_that_stays_the_same_kind() {
        let registry = Registry::default();
        let first = registry.limiter("stream_routes/a", &Arc::new(fixed(2)));
        assert!(passes(&first).is_some());
        let same = registry.limiter("stream_routes/a", &Arc::new(fixed(2)));
        assert!(Arc::ptr_eq(&first, &same));
        assert!(passes(&same).is_some() && passes(&same).is_none());
        // other numbers take the count over
        let more = registry.limiter("stream_routes/a", &Arc::new(fixed(3)));
        assert!(passes(&more).is_some() && passes(&more).is_none());
        let fewer = registry.limiter("stream_routes/a", &Arc::new(fixed(1)));
        assert!(passes(&fewer).is_none());
        // another kind begins anew, and so does another route
        let sliding = limit(Pace::SlidingWindow { window: secs(1), segments: 2 }, 1, 0);
        assert!(passes(&registry.limiter("stream_routes/a", &Arc::new(sliding))).is_some());
        assert!(passes(&registry.limiter("stream_routes/b", &Arc::new(fixed(1)))).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_holder_takes_a_limit_away_and_a_running_session_is_one() {
        let registry = Registry::default();
        let spec = Arc::new(limit(Pace::Concurrency, 1, 0));
        let permit = passes(&registry.limiter("stream_routes/a", &spec));
        assert!(permit.is_some());
        // the route was deleted and is back: its session still runs
        assert!(passes(&registry.limiter("stream_routes/a", &spec)).is_none());
        drop(permit);
        assert!(registry.inspect().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn shares_follow_those_who_live() {
        let registry = Registry::default();
        let (writer, reads) = fleet("b");
        let cluster = |permits| Arc::new(Limit { scope: Scope::Cluster, ..fixed(permits) });
        let before = registry.limiter("stream_routes/a", &cluster(90));
        let alone = registry.limiter("stream_routes/own", &Arc::new(fixed(90)));
        task::spawn(registry.clone().keep(reads));
        let shares = async || {
            tokio::time::sleep(Duration::from_millis(1)).await;
            [before.rule().permits, alone.rule().permits]
        };
        assert_eq!(shares().await, [90, 90]);
        writer.set(vec![member("a", false), member("b", true), member("c", false), member("d", false)]);
        assert_eq!(shares().await, [23, 90], "the remainder of two goes to a and b");
        let after = registry.limiter("stream_routes/c", &cluster(3));
        assert_eq!(after.rule().permits, 1);
        writer.set(vec![member("a", false), member("b", true)]);
        assert_eq!(shares().await, [45, 90]);
        let passed = (0..100).filter(|_| passes(&before).is_some()).count();
        assert_eq!(passed, 45);
    }

    #[tokio::test(start_paused = true)]
    async fn idle_keys_are_forgotten_without_anybody_asking() {
        let registry = Registry::default();
        let (_writer, reads) = fleet("a");
        task::spawn(registry.clone().keep(reads));
        let limiter = registry.limiter("stream_routes/a", &Arc::new(Limit { by: By::Key(KeySource::Client), ..fixed(1) }));
        for n in 0..1000 {
            let key = LimitKey::Client(IpAddr::V4(std::net::Ipv4Addr::from_bits(n)));
            assert!(limiter.try_ask(&key, Instant::now(), &series()).is_ok());
            assert!(limiter.try_ask(&key, Instant::now(), &series()).is_err());
        }
        assert_eq!(limiter.keys(), Some(1000));
        tokio::time::sleep(secs(4)).await;
        assert_eq!(limiter.keys(), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_count_for_each_key_follows_new_numbers_and_queues_of_keys_are_apart() {
        let registry = Registry::default();
        let spec = |permits, queue| Arc::new(Limit { by: By::Key(KeySource::Client), ..limit(Pace::Concurrency, permits, queue) });
        let limiter = registry.limiter("settings/global", &spec(1, 1));
        let other = LimitKey::Client([127, 0, 0, 2].into());
        let held = passes(&limiter).unwrap();
        let Decision::Queued(waiting) = limiter.ask(&CLIENT, Instant::now(), &series()) else { panic!("it waits") };
        assert!(matches!(limiter.ask(&other, Instant::now(), &series()), Decision::Granted(_)));
        assert_eq!((limiter.queued(), limiter.keys()), (1, Some(2)));
        registry.limiter("settings/global", &spec(2, 1));
        let second = waiting.await.unwrap();
        assert_eq!(second.standing.limit, 2);
        assert!(limiter.try_ask(&CLIENT, Instant::now(), &series()).is_err());
        drop((held, second));
        assert_eq!(limiter.standing(Some(&CLIENT), Instant::now()).unwrap().remaining, 2);
        assert_eq!(limiter.queued(), 0);
    }
}
