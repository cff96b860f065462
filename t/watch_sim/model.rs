//! A model of a store with history, compaction, backups, streams and calls, and of a subscriber. One seed, one life.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use sluice::store::watch::{Failure, Header, Health, Input, Output, Pace, Page, Tally, Watcher};
use sluice::store::{Change, Entry, Event};

pub const STEPS: usize = 3_000;

/// Keys that the watcher follows; one more stands for all others.
const KEYS: u64 = 40;
/// Entries of a page.
const PAGE: usize = 7;

type State = BTreeMap<u64, Entry>;

/// What happened in a life.
#[derive(Debug, Default)]
pub struct Seen {
    emitted: u64,
    resets: u64,
    restores: u64,
    compactions: u64,
    breaks: u64,
    silences: u64,
    cancels: u64,
    failures: u64,
    fragments: u64,
    guarded: u64,
    accepted: u64,
    resyncs: BTreeMap<&'static str, u64>,
    /// Restored stores that look the same in two numbers: the one thing that audits cannot see.
    deceived: u64,
    /// Listings whose pages came from a store and from what it was restored to.
    mixed: u64,
}

impl Seen {
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.emitted, other.emitted),
            (&mut self.resets, other.resets),
            (&mut self.restores, other.restores),
            (&mut self.compactions, other.compactions),
            (&mut self.breaks, other.breaks),
            (&mut self.silences, other.silences),
            (&mut self.cancels, other.cancels),
            (&mut self.failures, other.failures),
            (&mut self.fragments, other.fragments),
            (&mut self.guarded, other.guarded),
            (&mut self.accepted, other.accepted),
            (&mut self.deceived, other.deceived),
            (&mut self.mixed, other.mixed),
        ];
        for (sum, more) in pairs {
            *sum += more;
        }
        for (reason, n) in &other.resyncs {
            *self.resyncs.entry(reason).or_default() += n;
        }
    }

    /// Whether the lives were eventful enough to prove anything.
    pub fn is_broad(&self) -> bool {
        let often = [self.resets, self.restores, self.compactions, self.breaks, self.cancels, self.failures, self.fragments];
        let reasons = ["compacted", "rewound", "cancelled", "audit"];
        often.iter().all(|n| *n > 700)
            && [self.silences, self.guarded, self.accepted].iter().all(|n| *n > 50)
            && reasons.iter().all(|reason| self.resyncs.get(reason).is_some_and(|n| *n > 20))
            && self.emitted > 10_000
            && self.deceived < self.restores / 20
    }
}

/// A revision as an index.
fn index(n: u64) -> usize {
    usize::try_from(n).unwrap()
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// True in so many of a thousand cases.
    fn chance(&mut self, in_a_thousand: u64) -> bool {
        self.below(1_000) < in_a_thousand
    }
}

/// One life of the store, from a restore to the next. Index: revision.
#[derive(Clone)]
struct History {
    states: Vec<Rc<State>>,
    changes: Vec<Rc<Vec<Change>>>,
}

struct Store {
    /// All lives; the last one is now.
    lives: Vec<History>,
    compacted: u64,
    cluster: u64,
    term: u64,
    values: u64,
}

impl Store {
    fn new() -> Self {
        let empty = History { states: vec![Rc::default(); 2], changes: vec![Rc::default(); 2] };
        Self { lives: vec![empty], compacted: 0, cluster: 1, term: 100, values: 0 }
    }

    fn now(&self) -> &History {
        self.lives.last().unwrap()
    }

    fn newest(&self) -> u64 {
        self.now().states.len() as u64 - 1
    }

    fn header(&self) -> Header {
        Header { at: self.newest(), cluster: self.cluster, term: self.term }
    }

    fn state(&self, at: u64) -> &Rc<State> {
        &self.now().states[index(at)]
    }

    /// A transaction: keys with a new value, or none.
    fn commit(&mut self, writes: &[(u64, bool)]) {
        let at = self.newest() + 1;
        let mut state = State::clone(self.state(at - 1));
        let mut changes = Vec::new();
        for (key, is_put) in writes {
            if *key >= KEYS {
                continue;
            }
            let name = format!("/{key:02}");
            if *is_put {
                self.values += 1;
                let created = state.get(key).map_or(at, |entry| entry.created);
                let value = Bytes::from(self.values.to_string());
                let entry = Entry { key: name.into(), value, created, modified: at };
                state.insert(*key, entry.clone());
                changes.push(Change::Put(entry));
            } else if state.remove(key).is_some() {
                changes.push(Change::Delete { key: name.into(), at });
            }
        }
        let history = self.lives.last_mut().unwrap();
        history.states.push(Rc::new(state));
        history.changes.push(Rc::new(changes));
    }

    /// Goes back to a revision.
    fn restore(&mut self, to: u64) {
        let mut history = self.now().clone();
        history.states.truncate(index(to) + 1);
        history.changes.truncate(index(to) + 1);
        self.lives.push(history);
        self.compacted = self.compacted.min(to);
    }

    fn is_readable(&self, at: Option<u64>) -> Result<u64, Failure> {
        match at {
            Some(at) if at < self.compacted => Err(Failure::Compacted),
            Some(at) if at > self.newest() => Err(Failure::Future),
            Some(at) => Ok(at),
            None => Ok(self.newest()),
        }
    }

    fn page(&self, from: Option<&Bytes>, at: Option<u64>) -> Result<Page, Failure> {
        let state = self.state(self.is_readable(at)?);
        let mut entries: Vec<Entry> = state.values().filter(|e| from.is_none_or(|f| e.key.as_bytes() >= &f[..])).cloned().collect();
        let more = entries.len() > PAGE;
        entries.truncate(PAGE);
        let next = entries.last().filter(|_| more).map(|e| [e.key.as_bytes(), b"\0"].concat().into());
        Ok(Page { entries, next, header: self.header() })
    }

    fn tally(&self, at: Option<u64>) -> Result<Tally, Failure> {
        let state = self.state(self.is_readable(at)?);
        let mut all: Vec<_> = state.values().map(|e| (e.modified, e.key.clone())).collect();
        all.sort_by_key(|(modified, _)| std::cmp::Reverse(*modified));
        all.truncate(Tally::RECENT);
        Ok(Tally::new(state.len(), all))
    }
}

/// A stream as the store sees it.
struct Stream {
    /// The next revision.
    next: u64,
    /// It says nothing any more, for ever.
    mute: bool,
    /// Fragments of a message that was begun.
    begun: VecDeque<Input>,
    is_created: bool,
}

/// What a subscriber made of what it was told.
#[derive(Clone, Default)]
struct Subscriber {
    state: State,
    at: u64,
    /// How many keys of the state are held back.
    held: usize,
}

impl Subscriber {
    /// Whether a life had this state at this revision, but for what is held back.
    fn is_of(&self, life: &History) -> bool {
        let Some(had) = life.states.get(index(self.at)) else { return false };
        self.state.len() == had.len() + self.held && had.iter().all(|(key, entry)| self.state.get(key) == Some(entry))
    }

    fn take(&mut self, event: &Event) {
        let number = |key: &str| key[1..].parse::<u64>().unwrap();
        match event {
            Event::Reset(listing) => {
                self.state = listing.entries.iter().map(|e| (number(&e.key), e.clone())).collect();
                self.at = listing.at;
            }
            Event::Apply { changes, at } => {
                for change in changes {
                    match change {
                        Change::Put(entry) => self.state.insert(number(&entry.key), entry.clone()),
                        Change::Delete { key, .. } => self.state.remove(&number(key)),
                    };
                }
                self.at = *at;
            }
        }
    }
}

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct World {
    random: Random,
    store: Store,
    watcher: Option<Watcher>,
    now: Duration,
    call: Option<Output>,
    stream: Option<Stream>,
    subscriber: Subscriber,
    /// What it was when an audit was asked for.
    asked: Subscriber,
    health: Health,
    /// A restored store can be told from the one before by its headers alone.
    is_honest: bool,
    /// An audit or a listing said nothing of a restore that it could have told.
    is_deceived: bool,
    /// The life that the first page of a listing came from.
    listing: usize,
    /// Its other pages came from another one.
    is_mixed: bool,
    seen: Seen,
    is_loud: bool,
}

/// Lives through so many steps and a quiet end.
pub fn run(seed: u64, steps: usize, is_loud: bool) -> Seen {
    let mut world = World {
        random: Random(seed.wrapping_mul(0x5851_f42d_4c95_7f2d)),
        store: Store::new(),
        watcher: Some(Watcher::new(Pace::default(), seed)),
        now: Duration::ZERO,
        call: None,
        stream: None,
        subscriber: Subscriber::default(),
        asked: Subscriber::default(),
        health: Health::default(),
        is_honest: seed.is_multiple_of(2),
        is_deceived: false,
        listing: 0,
        is_mixed: false,
        seen: Seen::default(),
        is_loud,
    };
    world.tell(Input::Begin);
    let mut faults = 0;
    for step in 0..steps {
        if step % 100 == 0 {
            // calm times, and worse ones
            faults = [0, 0, 20, 100, 300][index(world.random.below(5))];
        }
        world.step(faults);
    }
    world.rest();
    world.seen
}

impl World {
    fn step(&mut self, faults: u64) {
        match self.random.below(10) {
            0..=2 => self.write(),
            3 => self.pass(),
            4..=8 => self.serve(faults),
            _ if self.random.chance(faults) => self.harm(),
            _ => self.progress(),
        }
        if self.health.held > 0 && self.random.chance(5) {
            self.seen.accepted += 1;
            self.tell(Input::Accept);
        }
    }

    fn write(&mut self) {
        // mostly puts for a while, then mostly deletes
        let puts = if self.store.newest() % 400 < 300 { 80 } else { 20 };
        let mut writes = BTreeMap::new();
        for _ in 0..=self.random.below(4) {
            let key = self.random.below(KEYS + 4);
            writes.insert(key, self.random.below(100) < puts);
        }
        self.store.commit(&writes.into_iter().collect::<Vec<_>>());
    }

    /// Time goes on, to what is due or a little.
    fn pass(&mut self) {
        let due = self.watcher.as_ref().unwrap().due();
        self.now = match due {
            Some(due) if self.random.chance(400) => due.max(self.now),
            _ => self.now + Duration::from_millis(self.random.below(800)),
        };
        if due.is_some_and(|due| due <= self.now) {
            self.tell(Input::Tick);
        }
    }

    /// A call is answered, or the stream says something.
    fn serve(&mut self, faults: u64) {
        if self.call.is_some() && self.random.chance(500) {
            let call = self.call.take().unwrap();
            if self.random.chance(faults) {
                self.seen.failures += 1;
                let failure = if self.random.chance(100) { Failure::Denied } else { Failure::Unavailable };
                return self.tell(Input::Failed(failure));
            }
            self.answer(&call);
        } else {
            self.flow();
        }
    }

    fn answer(&mut self, call: &Output) {
        let life = self.store.lives.len();
        let input = match call {
            Output::List { from, at } => self.store.page(from.as_ref(), *at).map(|page| {
                if from.is_none() {
                    (self.listing, self.is_mixed) = (life, false);
                }
                self.is_mixed |= self.listing != life && !self.is_honest;
                Input::Page(page)
            }),
            Output::OpenWatch { from } => {
                self.stream = Some(Stream { next: *from, mute: false, begun: VecDeque::new(), is_created: false });
                return;
            }
            Output::Audit { at } => self.store.tally(*at).map(|tally| {
                let header = self.store.header();
                Input::Audited { tally, header }
            }),
            Output::CloseWatch | Output::AskProgress | Output::Emit(_) | Output::Resync(_) | Output::Health(_) => panic!("{call:?}"),
        };
        let is_vetted = matches!((call, &input), (Output::Audit { at: Some(_) }, Ok(_)));
        let resyncs = self.resyncs();
        let is_same = !is_vetted || self.asked.is_of(self.store.now());
        // as many keys and the same newest ones, but not the same store
        let is_deception = !is_same && !self.is_honest && !self.is_deceived;
        self.is_deceived |= is_deception;
        self.tell(input.unwrap_or_else(Input::Failed));
        if is_deception && self.resyncs() == resyncs {
            self.seen.deceived += 1;
        } else if is_deception {
            self.is_deceived = false;
        }
    }

    fn resyncs(&self) -> u64 {
        self.seen.resyncs.values().sum()
    }

    fn deceive(&mut self) {
        if !self.is_deceived {
            self.is_deceived = true;
            self.seen.deceived += 1;
        }
    }

    /// The next message of the stream.
    fn flow(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        if stream.mute {
            return;
        }
        if !stream.is_created {
            stream.is_created = true;
            return self.tell(Input::Created);
        }
        if let Some(part) = stream.begun.pop_front() {
            return self.tell(part);
        }
        if stream.next < self.store.compacted {
            // cancelled, and the stream stays open for ever
            stream.mute = true;
            self.seen.cancels += 1;
            return self.tell(Input::Cancelled { compacted: true });
        }
        let until = (stream.next + self.random.below(6)).min(self.store.newest());
        let mut changes = Vec::new();
        while stream.next <= until {
            changes.extend(self.store.now().changes[index(stream.next)].iter().cloned());
            stream.next += 1;
        }
        if changes.is_empty() {
            return;
        }
        while changes.len() > 1 && self.random.chance(300) {
            let rest = changes.split_off(1 + index(self.random.below(changes.len() as u64 - 1)));
            stream.begun.push_back(Input::Changes { changes: std::mem::replace(&mut changes, rest), fragment: true });
            self.seen.fragments += 1;
        }
        stream.begun.push_back(Input::Changes { changes, fragment: false });
        let first = stream.begun.pop_front().unwrap();
        self.tell(first);
    }

    fn progress(&mut self) {
        let is_able = self.stream.as_ref().is_some_and(|s| !s.mute && s.is_created && s.begun.is_empty());
        if is_able {
            // a member may lag
            let lag = if self.random.chance(50) { self.random.below(4) } else { 0 };
            let mut header = self.store.header();
            header.at = header.at.saturating_sub(lag);
            self.tell(Input::Progress(header));
        }
    }

    fn harm(&mut self) {
        match self.random.below(8) {
            0 => {
                let newest = self.store.newest();
                self.store.compacted = self.store.compacted.max(newest - self.random.below(newest.min(6)));
                self.seen.compactions += 1;
            }
            1 => self.restore(),
            2 => {
                if let Some(stream) = &mut self.stream {
                    stream.mute = true;
                    self.seen.silences += 1;
                }
            }
            3 => {
                if self.stream.as_ref().is_some_and(|stream| !stream.mute) {
                    self.stream.as_mut().unwrap().mute = true;
                    self.seen.cancels += 1;
                    self.tell(Input::Cancelled { compacted: false });
                }
            }
            4 => {
                // most of it is gone, and so is the history of how
                let all: Vec<u64> = self.store.state(self.store.newest()).keys().copied().collect();
                let writes: Vec<_> = all.into_iter().filter(|_| self.random.chance(900)).map(|key| (key, false)).collect();
                self.store.commit(&writes);
                self.store.commit(&[(KEYS, true)]);
                self.store.compacted = self.store.newest();
                self.seen.compactions += 1;
                self.cut();
            }
            _ => self.cut(),
        }
    }

    /// The stream breaks.
    fn cut(&mut self) {
        if self.stream.take().is_some() {
            self.seen.breaks += 1;
            self.tell(Input::Ended);
        }
    }

    fn restore(&mut self) {
        let newest = self.store.newest();
        let to = newest - self.random.below(newest.min(40));
        self.store.restore(to);
        self.seen.restores += 1;
        if self.is_honest {
            if self.random.chance(300) {
                self.store.cluster += 1;
            } else {
                self.store.term -= 1;
            }
        }
        for _ in 0..self.random.below(60) {
            self.write();
        }
        if self.random.chance(300) {
            // the connection looks alive
            if let Some(stream) = &mut self.stream {
                stream.mute = true;
                stream.begun.clear();
            }
        } else {
            self.cut();
        }
    }

    /// Nothing bad happens any more.
    fn rest(&mut self) {
        let until = self.now + Duration::from_secs(400);
        while self.now < until {
            for _ in 0..200 {
                if let Some(call) = self.call.take() {
                    self.answer(&call);
                }
                self.flow();
            }
            self.progress();
            let due = self.watcher.as_ref().unwrap().due().map_or(self.now, |due| due.max(self.now));
            self.now = due.max(self.now + Duration::from_millis(100));
            self.tell(Input::Tick);
        }
        if self.health.held > 0 {
            self.tell(Input::Accept);
        }
        assert_eq!(self.health, Health { up: true, held: 0 }, "it recovers");
        if !self.is_deceived {
            let newest = self.store.state(self.store.newest());
            assert_eq!(&self.subscriber.state, &**newest, "no put and no delete is lost");
        }
    }

    fn tell(&mut self, input: Input) {
        if self.is_loud {
            eprintln!("{:?} {input:?}", self.now);
        }
        let is_listed = matches!(input, Input::Page(_));
        let (watcher, outputs) = self.watcher.take().unwrap().step(self.now, input);
        self.watcher = Some(watcher);
        for output in outputs {
            if self.is_loud {
                eprintln!("    {output:?}");
            }
            match output {
                Output::List { .. } | Output::OpenWatch { .. } => self.call = Some(output),
                Output::Audit { .. } => {
                    self.asked = self.subscriber.clone();
                    self.call = Some(output);
                }
                Output::CloseWatch => {
                    self.stream = None;
                    self.call = None;
                }
                Output::AskProgress => {}
                Output::Resync(reason) => *self.seen.resyncs.entry(reason.as_str()).or_default() += 1,
                Output::Health(health) => {
                    self.seen.guarded += u64::from(health.held > 0 && self.health.held == 0);
                    self.health = health;
                    self.subscriber.held = health.held;
                }
                Output::Emit(event) => self.emitted(&event, is_listed),
            }
        }
        self.sweep();
    }

    /// What was told continues what was told before.
    fn emitted(&mut self, event: &Event, is_listed: bool) {
        self.seen.emitted += 1;
        let before = self.subscriber.at;
        if is_listed {
            // which tells the truth again
            self.is_deceived = false;
            if self.is_mixed {
                self.seen.mixed += 1;
                self.deceive();
            }
        }
        match event {
            Event::Reset(_) => self.seen.resets += 1,
            Event::Apply { changes, at } => {
                let is_of_a_revision = |history: &History| {
                    let skipped = (before + 1..*at).all(|r| history.changes.get(index(r)).is_some_and(|c| c.is_empty()));
                    skipped && history.changes.get(index(*at)).is_some_and(|c| **c == *changes)
                };
                let is_continued = *at > before && self.store.lives.iter().any(is_of_a_revision);
                // a listing without its deletes, or the deletes
                let is_guarded = is_listed || self.health.held > 0;
                assert!(is_continued || is_guarded, "after {before}: {changes:?} at {at}");
            }
        }
        self.subscriber.take(event);
    }

    /// The subscriber's state is one that the store had; beside it only what is held back.
    fn sweep(&mut self) {
        let at = self.subscriber.at;
        assert_eq!(self.watcher.as_ref().unwrap().position(), at);
        if at == 0 || self.is_deceived {
            return;
        }
        let is_had = self.store.lives.iter().rev().any(|life| self.subscriber.is_of(life));
        assert!(is_had, "the store never had this at {at}, {} held: {:?}", self.health.held, self.subscriber.state);
    }
}
