//! The UDP flow table against a plain model of it: random traffic, errors, deadlines, floods and a table that overflows, from seeds.
//! `SLUICE_UDP_SEED=0x…` replays one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use sluice::base::datagram::DropReason;
use sluice::base::id::Id;
use sluice::base::reason::Reason;
use sluice::proxy::udp::flow::{Arrival, Failure, FlowId, Flows, Key, Reply, Terms};
use sluice::proxy::udp::places::Places;
use sluice::proxy::udp::sources::{Pace, Sources};

const SEEDS: u64 = 256;
const STEPS: u32 = 3000;
/// Places of the table under test, and how many of them one route may take.
const MOST: usize = 40;
const PER_ROUTE: usize = 38;
/// More taken places than this are few left.
const MANY: usize = 35;
/// Slow enough to be felt.
const PACE: Pace = Pace { burst: 3, rate: 5 };
/// How late an end may be found: one slot of the wheel.
const LATE: u64 = 64;

/// A generator whose numbers are those of its seed for ever (xorshift64*).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % below
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.roll(n) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.roll(from.len() as u64)).unwrap()]
    }
}

/// A session as one would write it down.
#[derive(Clone, Debug)]
struct Shadow {
    key: Key,
    route: usize,
    terms: Terms,
    began: u64,
    last: u64,
    budget: u64,
    answered: bool,
    tries_left: u32,
}

impl Shadow {
    /// The latest moment at which it may still be there.
    fn end(&self) -> u64 {
        let idle = self.last + self.terms.idle;
        self.terms.longest.map_or(idle, |longest| idle.min(self.began + longest))
    }

    fn reason(&self, now: u64) -> Reason {
        let long = self.terms.longest.is_some_and(|longest| now >= self.began + longest);
        if long { Reason::MaxDuration } else { Reason::IdleTimeout }
    }
}

/// The model: everything by its simplest means.
struct Model {
    sessions: BTreeMap<FlowId, Shadow>,
    buckets: BTreeMap<usize, (u64, u64)>,
    closed: bool,
    names: BTreeSet<FlowId>,
}

impl Model {
    fn taken(&self, route: usize) -> usize {
        self.sessions.values().filter(|s| s.route == route).count()
    }

    /// The bucket of an entry, in thousandths of a session.
    fn admits(&mut self, entry: usize, now: u64, first_shortage: u64) -> bool {
        let full = u64::from(PACE.burst) * 1000;
        let (tokens, at) = self.buckets.get(&entry).copied().unwrap_or((full, first_shortage));
        let tokens = (tokens + (now - at) * u64::from(PACE.rate)).min(full);
        self.buckets.insert(entry, if tokens >= 1000 { (tokens - 1000, now) } else { (tokens, now) });
        tokens >= 1000
    }
}

struct World {
    dice: Dice,
    now: u64,
    flows: Flows<u64>,
    places: Places,
    sources: Sources,
    model: Model,
    first_shortage: Option<u64>,
    routes: [Id; 2],
    terms: Vec<Terms>,
    opened: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let places = Places::new(MOST);
        let table_seed = dice.roll(u64::MAX);
        let terms = (0..4)
            .map(|_| Terms {
                idle: dice.pick(&[1, 50, 400, 2_000, 60_000, 100_000]),
                longest: dice.pick(&[None, None, Some(300), Some(70_000)]),
                responses: dice.pick(&[None, Some(0), Some(1), Some(3)]),
                retries: dice.pick(&[0, 1, 3]),
            })
            .collect();
        Self {
            flows: Flows::new(places.clone(), Sources::new(table_seed, PACE)),
            sources: Sources::new(table_seed, PACE),
            model: Model { sessions: BTreeMap::new(), buckets: BTreeMap::new(), closed: false, names: BTreeSet::new() },
            places,
            first_shortage: None,
            routes: [Id::parse("a").unwrap(), Id::parse("b").unwrap()],
            terms,
            now: 0,
            opened: 0,
            dice,
        }
    }

    fn step(&mut self) {
        self.now += self.dice.pick(&[0, 0, 1, 3, 20, 90, 700]);
        if self.dice.one_in(400) {
            // the machine slept
            self.now += 50_000;
        }
        self.expire();
        match self.dice.roll(20) {
            0..8 => self.datagram(),
            8..14 => self.answer(),
            14..16 => self.fail(),
            16 => self.kill(),
            17 => self.stranger(),
            18 if self.dice.one_in(10) => {
                self.model.closed = !self.model.closed;
                self.flows.set_closed(self.model.closed);
            }
            _ => {}
        }
        self.agree();
    }

    fn key(&mut self) -> Key {
        // few enough that they meet again, more than there are places; a flood is many ports of one address
        let [a, b] = [self.dice.roll(4), self.dice.roll(24)].map(|n| u8::try_from(n).unwrap());
        let client = match a {
            0 => SocketAddr::from(([192, 0, 2, 1], 1000 + u16::from(b))),
            1 => SocketAddr::from(([0x2001, 0xdb8, 0, u16::from(b % 3), 0, 0, 0, u16::from(b)], 7)),
            _ => SocketAddr::from(([198, 51, 100, b], u16::from(a))),
        };
        Key { client, local: IpAddr::from([127, 0, 0, 1 + b % 2]) }
    }

    fn find(&self, key: &Key) -> Option<FlowId> {
        self.model.sessions.iter().find(|(_, s)| s.key == *key).map(|(id, _)| *id)
    }

    fn datagram(&mut self) {
        let key = self.key();
        let datagrams = u32::try_from(1 + self.dice.roll(3)).unwrap();
        let short = self.model.sessions.len() > MANY;
        assert_eq!(self.places.short(), short);
        let expected = match self.find(&key) {
            Some(id) => Arrival::Known(id),
            None if self.model.closed => Arrival::Refused(DropReason::ListenerRemoved),
            None if short => {
                let first = *self.first_shortage.get_or_insert(self.now);
                let entry = self.sources.entry(key.client.ip());
                if self.model.admits(entry, self.now, first) { Arrival::New } else { Arrival::Refused(DropReason::SourceRate) }
            }
            None => Arrival::New,
        };
        assert_eq!(self.flows.arrive(&key, self.now), expected);
        match expected {
            Arrival::New => self.open(key, datagrams),
            Arrival::Known(id) => self.arrived(id, datagrams),
            Arrival::Refused(_) => {}
        }
    }

    fn arrived(&mut self, id: FlowId, datagrams: u32) {
        self.flows.get_mut(id).unwrap().arrived(datagrams, self.now);
        let shadow = self.model.sessions.get_mut(&id).unwrap();
        shadow.last = self.now;
        shadow.budget += u64::from(shadow.terms.responses.unwrap_or(0)) * u64::from(datagrams);
    }

    fn open(&mut self, key: Key, datagrams: u32) {
        let route = usize::from(self.dice.one_in(4));
        let terms = self.dice.pick(&self.terms.clone());
        let fails = self.dice.one_in(8);
        let room = self.model.sessions.len() < MOST && self.model.taken(route) < PER_ROUTE;
        self.opened += 1;
        let (line, mut asked) = (self.opened, false);
        let got = self.flows.open(key, &self.routes[route], terms, self.now, |_| {
            asked = true;
            if fails { Err("no node") } else { Ok(line) }
        });
        assert_eq!(asked, room, "the socket side is asked exactly if there is a place");
        let id = match got {
            Ok(id) => id,
            Err(None) => return assert!(!room),
            Err(Some(_)) => return assert!(fails),
        };
        assert!(room && !fails);
        assert!(self.model.names.insert(id), "{id:?} was used before");
        assert_eq!(FlowId::from_u64(id.to_u64()), id);
        let (now, tries_left) = (self.now, terms.retries);
        let shadow = Shadow { key, route, terms, began: now, last: now, budget: 0, answered: false, tries_left };
        self.model.sessions.insert(id, shadow);
        assert_eq!(self.flows.arrive(&key, now), Arrival::Known(id));
        self.arrived(id, datagrams);
    }

    fn any(&mut self) -> Option<FlowId> {
        let all: Vec<FlowId> = self.model.sessions.keys().copied().collect();
        (!all.is_empty()).then(|| self.dice.pick(&all))
    }

    fn answer(&mut self) {
        let Some(id) = self.any() else { return };
        for _ in 0..=self.dice.roll(3) {
            let now = self.now;
            let Some(shadow) = self.model.sessions.get_mut(&id) else { return };
            if !shadow.answered {
                (shadow.answered, shadow.tries_left) = (true, shadow.terms.retries);
            }
            let expected = match (shadow.terms.responses, shadow.budget) {
                (Some(_), 0) => Reply::Refused(DropReason::Unasked),
                (Some(_), 1) => Reply::Last,
                (None | Some(_), _) => Reply::Relay,
            };
            if !matches!(expected, Reply::Refused(_)) {
                shadow.last = now;
                shadow.budget = shadow.budget.saturating_sub(1);
            }
            assert_eq!(self.flows.reply(id, now), expected);
            if expected == Reply::Last && self.dice.one_in(2) {
                self.close(id);
            }
        }
    }

    fn fail(&mut self) {
        let Some(id) = self.any() else { return };
        let shadow = self.model.sessions.get_mut(&id).unwrap();
        let again = !std::mem::take(&mut shadow.answered);
        let expected = if shadow.tries_left == 0 { Failure::Close } else { Failure::Next { again } };
        shadow.tries_left = shadow.tries_left.saturating_sub(1);
        assert_eq!(self.flows.failed(id), expected);
        if expected == Failure::Close {
            self.close(id);
        }
    }

    fn kill(&mut self) {
        if let Some(id) = self.any() {
            self.close(id);
        }
    }

    /// News of a session that has ended.
    fn stranger(&mut self) {
        let gone: Vec<FlowId> = self.model.names.iter().filter(|id| !self.model.sessions.contains_key(id)).copied().collect();
        if let Some(id) = (!gone.is_empty()).then(|| self.dice.pick(&gone)) {
            assert_eq!(self.flows.reply(id, self.now), Reply::Refused(DropReason::Unasked));
            assert_eq!(self.flows.failed(id), Failure::Close);
            assert!(self.flows.get(id).is_none() && self.flows.close(id).is_none());
        }
    }

    fn close(&mut self, id: FlowId) {
        let shadow = self.model.sessions.remove(&id).unwrap();
        let flow = self.flows.close(id).expect("it was there");
        assert_eq!(*flow.key(), shadow.key);
    }

    fn expire(&mut self) {
        let was_due = self.flows.due();
        while let Some((id, reason)) = self.flows.expired(self.now) {
            let shadow = &self.model.sessions[&id];
            assert!(shadow.end() <= self.now, "{id:?} was ended {} ms early", shadow.end() - self.now);
            assert_eq!(reason, shadow.reason(self.now));
            assert!(was_due.is_some_and(|due| due <= self.now), "the table had not asked to be looked at");
            self.close(id);
        }
        for (id, shadow) in &self.model.sessions {
            assert!(shadow.end() + LATE > self.now, "{id:?} should have ended {} ms ago", self.now - shadow.end());
        }
    }

    fn agree(&self) {
        assert_eq!(self.flows.len(), self.model.sessions.len());
        assert_eq!(self.flows.iter().map(|(id, _)| id).collect::<BTreeSet<_>>(), self.model.sessions.keys().copied().collect());
        assert_eq!(self.places.taken(), self.model.sessions.len());
        assert!(self.places.taken() <= MOST && self.model.taken(0) <= PER_ROUTE && self.model.taken(1) <= PER_ROUTE);
        assert_eq!(self.flows.due().is_some(), !self.flows.is_empty());
    }
}

fn run(seed: u64) -> usize {
    let mut world = World::new(seed);
    let mut most = 0;
    for _ in 0..STEPS {
        world.step();
        most = most.max(world.model.sessions.len());
    }
    for id in world.model.sessions.keys().copied().collect::<Vec<_>>() {
        world.close(id);
    }
    assert_eq!((world.places.taken(), world.flows.due()), (0, None));
    most
}

#[test]
fn the_flow_table_does_what_its_model_does_for_every_seed() {
    if let Ok(text) = std::env::var("SLUICE_UDP_SEED") {
        run(u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap());
        return;
    }
    let mut fullest = 0;
    for seed in 0..SEEDS {
        let ran = std::panic::catch_unwind(|| run(seed));
        fullest = fullest.max(ran.unwrap_or_else(|e| {
            eprintln!("replay with SLUICE_UDP_SEED={seed:#x}");
            std::panic::resume_unwind(e)
        }));
    }
    assert_eq!(fullest, MOST, "some seed fills the table");
}
