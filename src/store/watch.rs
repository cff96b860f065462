//! The watcher: a state and a pure `step` from what happened to what is to be done. Follows one prefix for ever. Makes no calls, knows
//! no clock: time comes in, since the watcher's start.
//!
//! List the prefix at one revision, then watch from the next one, also after a broken stream. What a watch tells waits until the store
//! was seen to hold at our revision what we hold: it may have been restored. After anything that makes a gap possible list again. Never
//! half a revision, never a position from a header other than a listing's.

mod backoff;
mod memory;
mod words;

use std::time::Duration;

use self::backoff::Backoff;
use self::memory::Memory;
pub use self::words::{Failure, Header, Health, Input, Output, Pace, Page, Reason, Tally};
use super::{Change, Entry, Revision};

/// The state.
#[derive(Clone, Debug)]
pub struct Watcher {
    phase: Phase,
    memory: Memory,
    pace: Pace,
    /// Waits after calls and watches that failed.
    tries: Backoff,
    /// Waits before listings again that a store asks for which answers.
    resyncs: Backoff,
    next_audit: Duration,
    up: bool,
    told: Option<Health>,
}

#[derive(Clone, Debug, Default)]
enum Phase {
    #[default]
    Idle,
    /// Pages are asked for, one after the other; the first one's header holds for all.
    Listing { first: Option<Header>, entries: Vec<Entry> },
    /// A watch is being opened.
    Starting { since: Duration },
    /// The watch stands, but is the store the same as before? Until an audit of our own revision has told, changes wait.
    Vetting { stream: Stream, expected: Tally, waiting: Vec<Change> },
    /// Changes are told as they come.
    Watching { stream: Stream, question: Question },
    /// Waits for the next try.
    Backoff { until: Duration, then: Then },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    List,
    Watch,
}

/// An open watch.
#[derive(Clone, Debug)]
struct Stream {
    opened: Duration,
    /// When it gave the last sign of life.
    heard: Duration,
    /// When it was last asked for one.
    asked: Duration,
    /// Changes of a revision that may be incomplete.
    fragments: Vec<Change>,
}

/// The audit of a watcher that watches.
#[derive(Clone, Debug)]
enum Question {
    /// None is under way. `differed`: the last one did not fit, at this position.
    None { differed: Option<Revision> },
    /// Is our revision still what it was?
    Ours { expected: Tally, differed: Option<Revision> },
    /// Does the newest revision fit?
    Newest { differed: Option<Revision> },
}

impl Stream {
    fn new(now: Duration) -> Self {
        Self { opened: now, heard: now, asked: now, fragments: Vec::new() }
    }
}

/// Collects what is to be done.
type Todo = Vec<Output>;

impl Watcher {
    /// A watcher that waits for [`Input::Begin`]. Waits between tries are jittered from the seed.
    pub fn new(pace: Pace, seed: u64) -> Self {
        let backoff = |seed| Backoff::new(pace.shortest, pace.longest, seed);
        let (tries, resyncs) = (backoff(seed), backoff(!seed));
        let next_audit = Duration::ZERO;
        Self { phase: Phase::Idle, memory: Memory::default(), pace, tries, resyncs, next_audit, up: false, told: None }
    }

    /// The same without a guard: whatever a listing lost is deleted.
    #[must_use]
    pub fn unguarded(mut self) -> Self {
        self.memory = Memory::unguarded();
        self
    }

    /// Notes what the subscriber was given by somebody else before the first listing. That one is held against it: a store that lost
    /// most of it is guarded.
    pub fn remember(&mut self, entries: &[Entry]) {
        self.memory.remember(entries);
    }

    /// The revision of what was emitted; 0 before the first listing.
    pub fn position(&self) -> Revision {
        self.memory.position()
    }

    /// Whether it waits before it tries again.
    pub fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Backoff { .. })
    }

    /// When it wants the next [`Input::Tick`], unless something happens before.
    pub fn due(&self) -> Option<Duration> {
        let of_stream = |stream: &Stream| {
            let ask = stream.heard.max(stream.asked) + self.pace.ask;
            let due = ask.min(stream.heard + self.pace.silence);
            if self.tries.is_failing() || self.resyncs.is_failing() { due.min(self.stable_at(stream)) } else { due }
        };
        match &self.phase {
            Phase::Idle | Phase::Listing { .. } => None,
            Phase::Starting { since } => Some(*since + self.pace.silence),
            Phase::Watching { stream, question: Question::None { .. } } => Some(of_stream(stream).min(self.next_audit)),
            Phase::Vetting { stream, .. } | Phase::Watching { stream, .. } => Some(of_stream(stream)),
            Phase::Backoff { until, .. } => Some(*until),
        }
    }

    /// Takes what happened at a moment. What does not fit the state changes nothing.
    #[must_use]
    pub fn step(mut self, now: Duration, input: Input) -> (Self, Vec<Output>) {
        let mut todo = Todo::new();
        let phase = std::mem::take(&mut self.phase);
        self.phase = match input {
            Input::Begin => list(&mut todo),
            Input::Page(page) => self.page(phase, now, page, &mut todo),
            Input::Failed(failure) => self.failed(phase, now, failure, &mut todo),
            Input::Created => self.created(phase, now, &mut todo),
            Input::Changes { changes, fragment } => self.changes(phase, now, changes, fragment, &mut todo),
            Input::Progress(header) => self.progress(phase, now, header, &mut todo),
            Input::Cancelled { compacted } => self.cancelled(phase, now, compacted, &mut todo),
            Input::Ended => self.ended(phase, now, &mut todo),
            Input::Audited { tally, header } => self.audited(phase, now, &tally, header, &mut todo),
            Input::Tick => self.tick(phase, now, &mut todo),
            Input::Accept => {
                todo.extend(self.memory.accept().map(Output::Emit));
                phase
            }
        };
        let health = Health { up: self.up, held: self.memory.held() };
        if self.told.replace(health) != Some(health) {
            todo.push(Output::Health(health));
        }
        (self, todo)
    }

    // === listing

    fn page(&mut self, phase: Phase, now: Duration, page: Page, todo: &mut Todo) -> Phase {
        let Phase::Listing { first, mut entries } = phase else { return phase };
        let first = first.unwrap_or(page.header);
        if page.header.is_before(first) {
            // not the store that the first page came from
            return list_after(now, self.resyncs.soon(), todo);
        }
        entries.extend(page.entries);
        if let Some(from) = page.next {
            todo.push(Output::List { from: Some(from), at: Some(first.at) });
            return Phase::Listing { first: Some(first), entries };
        }
        self.up = true;
        self.next_audit = now + self.pace.audit;
        todo.push(Output::Emit(self.memory.adopt(entries, first)));
        self.watch(now, todo)
    }

    /// Lists again: at once, unless that was done a moment ago.
    fn relist(&mut self, now: Duration, reason: Reason, todo: &mut Todo) -> Phase {
        todo.push(Output::CloseWatch);
        todo.push(Output::Resync(reason));
        let wait = if reason == Reason::Cancelled { self.tries.next() } else { self.resyncs.soon() };
        list_after(now, wait, todo)
    }

    // === the watch

    fn watch(&self, now: Duration, todo: &mut Todo) -> Phase {
        todo.push(Output::OpenWatch { from: self.memory.position() + 1 });
        Phase::Starting { since: now }
    }

    fn created(&self, phase: Phase, now: Duration, todo: &mut Todo) -> Phase {
        let Phase::Starting { .. } = phase else { return phase };
        let stream = Stream::new(now);
        todo.push(Output::Audit { at: Some(self.memory.position()) });
        Phase::Vetting { stream, expected: self.memory.tally(), waiting: Vec::new() }
    }

    fn changes(&mut self, phase: Phase, now: Duration, changes: Vec<Change>, fragment: bool, todo: &mut Todo) -> Phase {
        match phase {
            Phase::Watching { mut stream, question } => {
                if let Some(whole) = stream.collect(now, changes, fragment) {
                    todo.extend(self.memory.apply(whole).into_iter().map(Output::Emit));
                }
                Phase::Watching { stream, question }
            }
            Phase::Vetting { mut stream, expected, mut waiting } => {
                waiting.extend(stream.collect(now, changes, fragment).unwrap_or_default());
                Phase::Vetting { stream, expected, waiting }
            }
            // changes of a watch that does not stand yet: it is opened again, so that none is lost
            Phase::Starting { .. } => self.ended(phase, now, todo),
            Phase::Idle | Phase::Listing { .. } | Phase::Backoff { .. } => phase,
        }
    }

    fn progress(&mut self, phase: Phase, now: Duration, header: Header, todo: &mut Todo) -> Phase {
        match phase {
            Phase::Watching { mut stream, question } => {
                stream.heard = now;
                let mut question = question;
                if self.memory.doubts(header) && !matches!(question, Question::Ours { .. }) {
                    question = self.ask_ours(None, todo);
                }
                Phase::Watching { stream, question }
            }
            Phase::Vetting { mut stream, expected, waiting } => {
                stream.heard = now;
                Phase::Vetting { stream, expected, waiting }
            }
            Phase::Idle | Phase::Listing { .. } | Phase::Starting { .. } | Phase::Backoff { .. } => phase,
        }
    }

    fn cancelled(&mut self, phase: Phase, now: Duration, compacted: bool, todo: &mut Todo) -> Phase {
        match phase {
            Phase::Starting { .. } | Phase::Vetting { .. } | Phase::Watching { .. } if compacted => {
                self.relist(now, Reason::Compacted, todo)
            }
            Phase::Starting { .. } | Phase::Vetting { .. } | Phase::Watching { .. } => {
                self.up = false;
                self.relist(now, Reason::Cancelled, todo)
            }
            Phase::Idle | Phase::Listing { .. } | Phase::Backoff { .. } => phase,
        }
    }

    fn ended(&mut self, phase: Phase, now: Duration, todo: &mut Todo) -> Phase {
        match phase {
            Phase::Starting { .. } | Phase::Vetting { .. } | Phase::Watching { .. } => {
                let wait = self.tries.next();
                self.reopen(now, wait, todo)
            }
            Phase::Idle | Phase::Listing { .. } | Phase::Backoff { .. } => phase,
        }
    }

    fn reopen(&mut self, now: Duration, wait: Duration, todo: &mut Todo) -> Phase {
        self.up = false;
        todo.push(Output::CloseWatch);
        Phase::Backoff { until: now + wait, then: Then::Watch }
    }

    // === audits

    fn audited(&mut self, phase: Phase, now: Duration, tally: &Tally, header: Header, todo: &mut Todo) -> Phase {
        match phase {
            Phase::Vetting { stream, expected, waiting } => {
                if *tally != expected || self.memory.doubts(header) {
                    return self.relist(now, Reason::Rewound, todo);
                }
                self.same_store(header);
                todo.extend(self.memory.apply(waiting).into_iter().map(Output::Emit));
                Phase::Watching { stream, question: Question::None { differed: None } }
            }
            Phase::Watching { stream, question: Question::Ours { expected, differed } } => {
                if *tally != expected || self.memory.doubts(header) {
                    return self.relist(now, Reason::Rewound, todo);
                }
                self.same_store(header);
                if differed.is_some() {
                    self.next_audit = now + self.pace.settle;
                }
                Phase::Watching { stream, question: Question::None { differed } }
            }
            Phase::Watching { stream, question: Question::Newest { differed } } => {
                self.compared(now, stream, tally, header, differed, todo)
            }
            Phase::Watching { .. } | Phase::Idle | Phase::Listing { .. } | Phase::Starting { .. } | Phase::Backoff { .. } => phase,
        }
    }

    /// The newest revision against ours.
    fn compared(
        &mut self,
        now: Duration,
        stream: Stream,
        tally: &Tally,
        header: Header,
        differed: Option<Revision>,
        todo: &mut Todo,
    ) -> Phase {
        if self.memory.doubts(header) {
            return self.relist(now, Reason::Rewound, todo);
        }
        self.next_audit = now + self.pace.audit;
        if *tally == self.memory.tally() {
            self.same_store(header);
            return Phase::Watching { stream, question: Question::None { differed: None } };
        }
        let position = self.memory.position();
        if header.at == position || differed == Some(position) {
            return self.relist(now, Reason::Audit, todo);
        }
        // changes may be under way; then our own revision fits, and ours moves on
        let question = self.ask_ours(if differed.is_none() { Some(position) } else { None }, todo);
        Phase::Watching { stream, question }
    }

    fn ask_ours(&self, differed: Option<Revision>, todo: &mut Todo) -> Question {
        todo.push(Output::Audit { at: Some(self.memory.position()) });
        Question::Ours { expected: self.memory.tally(), differed }
    }

    fn same_store(&mut self, header: Header) {
        self.up = true;
        self.memory.renew(header);
    }

    // === failures and time

    fn failed(&mut self, phase: Phase, now: Duration, failure: Failure, todo: &mut Todo) -> Phase {
        let lost = matches!(failure, Failure::Compacted | Failure::Future);
        match phase {
            // the fixed revision is gone: all pages again
            Phase::Listing { .. } if lost => {
                let wait = self.resyncs.soon();
                list_after(now, wait, todo)
            }
            Phase::Listing { .. } => {
                self.up = false;
                Phase::Backoff { until: now + self.wait(failure), then: Then::List }
            }
            Phase::Starting { .. } | Phase::Vetting { .. } | Phase::Watching { .. } if lost => {
                let reason = if failure == Failure::Compacted { Reason::Compacted } else { Reason::Rewound };
                self.relist(now, reason, todo)
            }
            Phase::Starting { .. } | Phase::Vetting { .. } | Phase::Watching { .. } => {
                let wait = self.wait(failure);
                self.reopen(now, wait, todo)
            }
            Phase::Idle | Phase::Backoff { .. } => phase,
        }
    }

    fn wait(&mut self, failure: Failure) -> Duration {
        if failure == Failure::Denied { self.tries.long() } else { self.tries.next() }
    }

    fn tick(&mut self, phase: Phase, now: Duration, todo: &mut Todo) -> Phase {
        match phase {
            Phase::Backoff { until, then: Then::List } if now >= until => list(todo),
            Phase::Backoff { until, then: Then::Watch } if now >= until => self.watch(now, todo),
            Phase::Starting { since } if now >= since + self.pace.silence => self.ended(phase, now, todo),
            Phase::Vetting { ref stream, .. } | Phase::Watching { ref stream, .. } if now >= stream.heard + self.pace.silence => {
                self.ended(phase, now, todo)
            }
            Phase::Vetting { mut stream, expected, waiting } => {
                self.look(&mut stream, now, todo);
                Phase::Vetting { stream, expected, waiting }
            }
            Phase::Watching { mut stream, mut question } => {
                self.look(&mut stream, now, todo);
                if let (Question::None { differed }, true) = (&question, now >= self.next_audit) {
                    todo.push(Output::Audit { at: None });
                    question = Question::Newest { differed: *differed };
                }
                Phase::Watching { stream, question }
            }
            Phase::Idle | Phase::Listing { .. } | Phase::Starting { .. } | Phase::Backoff { .. } => phase,
        }
    }

    /// Asks a quiet stream for a sign of life; forgets failures when it has lived long enough.
    fn look(&mut self, stream: &mut Stream, now: Duration, todo: &mut Todo) {
        if now >= stream.heard.max(stream.asked) + self.pace.ask {
            stream.asked = now;
            todo.push(Output::AskProgress);
        }
        if now >= self.stable_at(stream) {
            self.tries.reset();
            self.resyncs.reset();
        }
    }

    fn stable_at(&self, stream: &Stream) -> Duration {
        stream.opened + self.pace.stable
    }
}

fn list(todo: &mut Todo) -> Phase {
    todo.push(Output::List { from: None, at: None });
    Phase::Listing { first: None, entries: Vec::new() }
}

fn list_after(now: Duration, wait: Duration, todo: &mut Todo) -> Phase {
    if wait.is_zero() { list(todo) } else { Phase::Backoff { until: now + wait, then: Then::List } }
}

impl Stream {
    /// Adds changes; answers with all that are complete.
    fn collect(&mut self, now: Duration, changes: Vec<Change>, fragment: bool) -> Option<Vec<Change>> {
        self.heard = now;
        self.fragments.extend(changes);
        (!fragment).then(|| std::mem::take(&mut self.fragments))
    }
}
