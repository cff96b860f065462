//! One limit at work: asked for permits, it grants, lets wait or refuses. Lives as long as the process needs it, over edits of
//! whatever carries it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use tokio::time::Instant;

use super::bucket::{Bucket, Refused, Standing};
use super::key::LimitKey;
use super::keyed::{Place, Single, Table, lock};
use super::policy::Rule;
use super::queue::{Seat, Wakes, wake};
use super::share::Share;
use super::waiting::Waiting;
use crate::base::quota::{Policy, Scope};
use crate::model::{By, KeySource, Limit};
use crate::telemetry::LimitSeries;

/// One limit with what it has counted so far.
#[derive(Debug)]
pub struct Limiter {
    name: Arc<str>,
    policy: Policy,
    scope: Scope,
    by: By,
    born: Instant,
    /// What is configured, and which share of it counts here. Held while the numbers change or the table is made.
    numbers: Mutex<Numbers>,
    counts: Counts,
    waiting: AtomicUsize,
}

#[derive(Debug)]
struct Numbers {
    spec: Arc<Limit>,
    share: Share,
}

#[derive(Debug)]
enum Counts {
    Total(Mutex<Single>),
    Keyed(OnceLock<Box<Table>>),
}

/// The answer to one who asks.
#[derive(Debug)]
#[must_use = "a permit that is dropped is given back"]
pub enum Decision {
    /// It may pass.
    Granted(Permit),
    /// It has a place in the queue.
    Queued(Waiting),
    /// It may not.
    Refused(Refused),
}

/// Leave to pass. Given back when it is dropped, which matters only to `concurrency`.
#[derive(Debug)]
#[must_use = "dropping it gives the permit back"]
pub struct Permit {
    /// How the count stood after this one.
    pub standing: Standing,
    hold: Option<Hold>,
}

/// What has to be kept of a permit as long as it is used.
#[derive(Debug)]
#[must_use = "dropping it gives the permit back"]
pub struct Hold(Arc<Limiter>, Place);

impl Permit {
    /// Only what has to be kept; `None` where nothing is ever given back.
    pub fn into_hold(self) -> Option<Hold> {
        self.hold
    }
}

impl Limiter {
    pub(super) fn new(name: Arc<str>, spec: Arc<Limit>, share: Share) -> Self {
        let counts = match spec.by {
            By::Total => Counts::Total(Mutex::new(Single::new(Rule::new(&spec, share), 0))),
            By::Key(_) => Counts::Keyed(OnceLock::new()),
        };
        Self {
            name,
            policy: spec.policy(),
            scope: spec.scope,
            by: spec.by.clone(),
            born: Instant::now(),
            numbers: Mutex::new(Numbers { spec, share }),
            counts,
            waiting: AtomicUsize::new(0),
        }
    }

    /// What carries it: `stream_routes/<id>`, or `settings/global`.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// How it counts.
    pub const fn policy(&self) -> Policy {
        self.policy
    }

    /// What its numbers are meant for.
    pub const fn scope(&self) -> Scope {
        self.scope
    }

    /// What it counts together; for [`LimitKey::of`].
    pub const fn by(&self) -> &By {
        &self.by
    }

    /// Asks for a permit. The answer is told to `series`; one that waits tells it when it is granted or refused.
    pub fn ask(self: &Arc<Self>, key: &LimitKey<'_>, now: Instant, series: &Arc<LimitSeries>) -> Decision {
        let at = self.since(now);
        let (answer, place) =
            self.open(key, at, |bucket, rule, wakes| bucket.ask(rule, at, wakes).map_err(|refused| bucket.sit(rule).ok_or(refused)));
        match answer {
            Ok(standing) => {
                series.allowed();
                Decision::Granted(self.permit(place, standing))
            }
            Err(Ok(seat)) => {
                self.waiting.fetch_add(1, Ordering::Relaxed);
                Decision::Queued(Waiting::new(self.clone(), place, seat, series.clone()))
            }
            Err(Err(refused)) => {
                series.rejected();
                Decision::Refused(refused)
            }
        }
    }

    /// Asks for a permit where nothing can wait: for datagrams. Those who wait elsewhere are not overtaken.
    pub fn try_ask(self: &Arc<Self>, key: &LimitKey<'_>, now: Instant, series: &LimitSeries) -> Result<Permit, Refused> {
        let at = self.since(now);
        let (answer, place) = self.open(key, at, |bucket, rule, wakes| bucket.ask(rule, at, wakes));
        answer.map(|standing| self.permit(place, standing)).inspect(|_| series.allowed()).inspect_err(|_| series.rejected())
    }

    /// Does something with the count of a key, which is made if there is none, and wakes whom that concerns.
    fn open<R>(&self, key: &LimitKey<'_>, now: u64, act: impl FnOnce(&mut Bucket, &Rule, &mut Wakes) -> R) -> (R, Place) {
        let mut wakes = Wakes::new();
        let done = match &self.counts {
            Counts::Total(single) => {
                let mut single = lock(single);
                let Single { rule, bucket } = &mut *single;
                (act(bucket, rule, &mut wakes), Place::Total)
            }
            Counts::Keyed(table) => self.table(table, now).open(key, now, |bucket, rule| act(bucket, rule, &mut wakes)),
        };
        wake(&wakes);
        done
    }

    fn table<'a>(&self, place: &'a OnceLock<Box<Table>>, now: u64) -> &'a Table {
        if let Some(table) = place.get() {
            return table;
        }
        let numbers = lock(&self.numbers);
        place.get_or_init(|| Box::new(Table::new(Rule::new(&numbers.spec, numbers.share), now)))
    }

    pub(super) fn permit(self: &Arc<Self>, place: Place, standing: Standing) -> Permit {
        let hold = (self.policy == Policy::Concurrency).then(|| Hold(self.clone(), place));
        Permit { standing, hold }
    }

    /// Does something with a count, and wakes whom that concerns.
    fn at<R>(&self, place: Place, act: impl FnOnce(&mut Bucket, &Rule, &mut Wakes) -> R) -> Option<R> {
        let mut wakes = Wakes::new();
        let done = match &self.counts {
            Counts::Total(single) => {
                let mut single = lock(single);
                let Single { rule, bucket } = &mut *single;
                Some(act(bucket, rule, &mut wakes))
            }
            Counts::Keyed(table) => table.get().and_then(|table| table.at(place, |bucket, rule| act(bucket, rule, &mut wakes))),
        };
        wake(&wakes);
        done
    }

    /// For one who waits: its standing if it has been granted, else when to look again, if by the clock.
    pub(super) fn turn(&self, place: Place, seat: &Arc<Seat>, now: Instant) -> Result<Standing, Option<Instant>> {
        let at = self.since(now);
        let turned = self.at(place, |bucket, rule, wakes| {
            bucket.turn(rule, at, wakes);
            if seat.granted() { Ok(bucket.standing(rule, at)) } else { Err(bucket.next_look(seat)) }
        });
        // a count with somebody in its queue is never forgotten
        turned.unwrap_or(Err(None)).map_err(|next| next.map(|next| self.born + std::time::Duration::from_nanos(next)))
    }

    /// One who waited waits no more.
    pub(super) fn leave(&self, place: Place, seat: &Seat) {
        self.at(place, |bucket, rule, wakes| bucket.leave(rule, seat, wakes));
    }

    pub(super) fn waited(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// What one hears who has waited in vain.
    pub(super) fn refusal(&self, place: Place, now: Instant) -> Refused {
        let at = self.since(now);
        let refused = self.at(place, |bucket, rule, _| bucket.refusal(rule, at));
        refused.unwrap_or_else(|| Refused { retry_after: None, standing: self.untouched() })
    }

    /// How a count stands that nobody has asked for yet.
    fn untouched(&self) -> Standing {
        let permits = self.rule().permits;
        Standing { limit: permits, remaining: permits, reset: None }
    }

    /// Whether another form of the same limit can go on with what was counted: only its numbers are others.
    pub(super) fn can_become(&self, spec: &Limit) -> bool {
        self.policy == spec.policy() && self.scope == spec.scope && self.by == spec.by
    }

    /// Takes over other numbers. What runs and who waits stays.
    pub(super) fn amend(&self, spec: Option<&Arc<Limit>>, share: Option<Share>, now: Instant) {
        let mut numbers = lock(&self.numbers);
        let old = Rule::new(&numbers.spec, numbers.share);
        numbers.spec = spec.unwrap_or(&numbers.spec).clone();
        numbers.share = share.unwrap_or(numbers.share);
        let rule = Rule::new(&numbers.spec, numbers.share);
        if rule == old {
            return;
        }
        let at = self.since(now);
        match &self.counts {
            Counts::Total(single) => {
                let mut wakes = Wakes::new();
                lock(single).amend(rule, at, &mut wakes);
                wake(&wakes);
            }
            Counts::Keyed(table) => {
                if let Some(table) = table.get() {
                    table.amend(rule, at);
                }
            }
        }
    }

    pub(super) fn spec(&self) -> Arc<Limit> {
        lock(&self.numbers).spec.clone()
    }

    pub(super) fn share(&self) -> Share {
        lock(&self.numbers).share
    }

    pub(super) fn rule(&self) -> Rule {
        let numbers = lock(&self.numbers);
        Rule::new(&numbers.spec, numbers.share)
    }

    /// How many wait now.
    pub(super) fn queued(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many keys are known; `None` if it has none.
    pub(super) fn keys(&self) -> Option<usize> {
        match &self.counts {
            Counts::Total(_) => None,
            Counts::Keyed(table) => Some(table.get().map_or(0, |table| table.len())),
        }
    }

    /// How the count of a key stands, or the only one; one that nobody has asked for yet is untouched.
    pub(super) fn standing(&self, key: Option<&LimitKey<'_>>, now: Instant) -> Option<Standing> {
        let at = self.since(now);
        let place = match (&self.counts, key) {
            (Counts::Total(_), _) => Place::Total,
            (Counts::Keyed(_), None) => return None,
            (Counts::Keyed(table), Some(key)) => table.get().map_or(Place::Rest, |table| table.place(key)),
        };
        let seen = self.at(place, |bucket, rule, wakes| {
            bucket.turn(rule, at, wakes);
            bucket.standing(rule, at)
        });
        Some(seen.unwrap_or_else(|| self.untouched()))
    }

    /// Forgets idle keys.
    pub(super) fn sweep(&self, now: Instant) {
        if let Counts::Keyed(table) = &self.counts
            && let Some(table) = table.get()
        {
            table.sweep(self.since(now));
        }
    }

    fn since(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.born).as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.at(self.1, Bucket::give_back);
    }
}

/// What is counted together, in one word or two: `total`, `client`, `header x-user`, `cookie sid`.
pub(super) fn by_text(by: &By) -> String {
    match by {
        By::Total => "total".to_owned(),
        By::Key(KeySource::Client) => "client".to_owned(),
        By::Key(KeySource::Header(name)) => format!("header {name}"),
        By::Key(KeySource::Cookie(name)) => format!("cookie {name}"),
    }
}
