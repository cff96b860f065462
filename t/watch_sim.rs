//! The watcher without a store: first a script through every transition, then a model of a store that does what stores do, bad things
//! included, driven by seeds.

mod model;

use std::time::Duration;

use bytes::Bytes;
use sluice::store::watch::{Failure, Header, Health, Input, Output, Pace, Page, Reason, Tally, Watcher};
use sluice::store::{Change, Entry, Event, Listing};

const S: fn(u64) -> Duration = Duration::from_secs;

fn header(at: u64) -> Header {
    Header { at, cluster: 1, term: 5 }
}

fn entry(key: &str, modified: u64) -> Entry {
    Entry { key: key.into(), value: Bytes::new(), created: modified, modified }
}

fn put(key: &str, modified: u64) -> Change {
    Change::Put(entry(key, modified))
}

fn delete(key: &str, at: u64) -> Change {
    Change::Delete { key: key.into(), at }
}

fn page(keys: &[(&str, u64)], at: u64) -> Input {
    Input::Page(Page { entries: keys.iter().map(|(key, modified)| entry(key, *modified)).collect(), next: None, header: header(at) })
}

fn told(changes: Vec<Change>, fragment: bool) -> Input {
    Input::Changes { changes, fragment }
}

/// `/a` at 3 and `/b` at 9.
const BOTH: &[(&str, u64)] = &[("/a", 3), ("/b", 9)];

fn tally(keys: &[(&str, u64)]) -> Tally {
    Tally::new(keys.len(), keys.iter().map(|(key, modified)| (*modified, (*key).into())))
}

fn audited(keys: &[(&str, u64)], at: u64) -> Input {
    Input::Audited { tally: tally(keys), header: header(at) }
}

fn reset(keys: &[(&str, u64)], at: u64) -> Output {
    Output::Emit(Event::Reset(Listing { entries: keys.iter().map(|(key, modified)| entry(key, *modified)).collect(), at }))
}

fn apply(changes: Vec<Change>, at: u64) -> Output {
    Output::Emit(Event::Apply { changes, at })
}

fn health(up: bool, held: usize) -> Output {
    Output::Health(Health { up, held })
}

const LIST: Output = Output::List { from: None, at: None };

fn watch(from: u64) -> Output {
    Output::OpenWatch { from }
}

fn audit(at: Option<u64>) -> Output {
    Output::Audit { at }
}

fn relist(reason: Reason) -> Vec<Output> {
    vec![Output::CloseWatch, Output::Resync(reason), LIST]
}

/// A watcher and its time.
struct Script {
    watcher: Option<Watcher>,
    now: Duration,
}

impl Script {
    fn new() -> Self {
        let mut script = Self { watcher: Some(Watcher::new(Pace::default(), 1)), now: S(100) };
        assert_eq!(script.take(Input::Begin), [LIST, health(false, 0)]);
        script
    }

    /// One that watches: `/a` and `/b`, at revision 10.
    fn watching() -> Self {
        let mut script = Self::new();
        let listed = script.take(page(&[("/a", 3), ("/b", 9)], 10));
        assert_eq!(listed, [reset(&[("/a", 3), ("/b", 9)], 10), watch(11), health(true, 0)]);
        assert_eq!(script.take(Input::Created), [audit(Some(10))]);
        assert_eq!(script.take(audited(BOTH, 10)), []);
        script
    }

    /// One whose stream broke and that opened another, which is being vetted.
    fn vetting() -> Self {
        let mut script = Self::watching();
        assert_eq!(script.take(Input::Ended), [Output::CloseWatch, health(false, 0)]);
        assert_eq!(script.wait(), [watch(11)]);
        assert_eq!(script.take(Input::Created), [audit(Some(10))]);
        script
    }

    fn take(&mut self, input: Input) -> Vec<Output> {
        let (watcher, outputs) = self.watcher.take().unwrap().step(self.now, input);
        self.watcher = Some(watcher);
        outputs
    }

    fn due(&self) -> Option<Duration> {
        self.watcher.as_ref().unwrap().due()
    }

    /// Lets time pass until something is due.
    fn wait(&mut self) -> Vec<Output> {
        self.now = self.due().expect("something is due").max(self.now);
        self.take(Input::Tick)
    }

    fn after(&mut self, time: Duration) -> Vec<Output> {
        self.now += time;
        self.take(Input::Tick)
    }

    fn position(&self) -> u64 {
        self.watcher.as_ref().unwrap().position()
    }
}

#[test]
fn pages_are_read_at_the_revision_of_the_first_one() {
    let mut it = Script::new();
    let first = Page { entries: vec![entry("/a", 3)], next: Some(Bytes::from_static(b"/a\0")), header: header(10) };
    assert_eq!(it.take(Input::Page(first)), [Output::List { from: Some(Bytes::from_static(b"/a\0")), at: Some(10) }]);
    assert_eq!(it.take(page(&[("/b", 9)], 12)), [reset(&[("/a", 3), ("/b", 9)], 10), watch(11), health(true, 0)]);
}

#[test]
fn a_listing_whose_revision_goes_away_begins_again() {
    let first = Page { entries: vec![entry("/a", 3)], next: Some(Bytes::from_static(b"/a\0")), header: header(10) };
    for failure in [Failure::Compacted, Failure::Future] {
        let mut it = Script::new();
        it.take(Input::Page(first.clone()));
        assert_eq!(it.take(Input::Failed(failure)), [LIST], "at once");
        it.take(Input::Page(first.clone()));
        assert_eq!(it.take(Input::Failed(failure)), [], "the second time a moment later");
        assert_eq!(it.wait(), [LIST]);
        it.take(page(&[("/b", 9)], 12));
        assert_eq!(it.position(), 12, "nothing of the first pages is left");
    }
    // another store answered for the second page
    let mut it = Script::new();
    it.take(Input::Page(first));
    assert_eq!(it.take(page(&[("/b", 4)], 9)), [LIST]);
}

#[test]
fn a_listing_that_fails_waits_ever_longer_and_no_longer_than_5_seconds() {
    let mut it = Script::new();
    let mut longest = Duration::ZERO;
    for _ in 0..20 {
        assert_eq!(it.take(Input::Failed(Failure::Unavailable)), []);
        longest = longest.max(it.due().unwrap() - it.now);
        assert_eq!(it.wait(), [LIST]);
    }
    assert!(longest > S(2) && longest <= S(5), "{longest:?}");
}

#[test]
fn a_store_that_lets_nobody_in_is_asked_every_few_seconds_only() {
    let mut it = Script::new();
    for _ in 0..5 {
        it.take(Input::Failed(Failure::Denied));
        assert!(it.due().unwrap() - it.now >= Duration::from_millis(2500));
        it.wait();
    }
}

#[test]
fn changes_are_told_by_revision_and_move_the_position() {
    let mut it = Script::watching();
    let changes = vec![put("/c", 12), delete("/a", 12), put("/b", 15)];
    assert_eq!(it.take(told(changes, false)), [apply(vec![put("/c", 12), delete("/a", 12)], 12), apply(vec![put("/b", 15)], 15)]);
    assert_eq!(it.position(), 15);
    assert_eq!(it.take(Input::Progress(header(40))), []);
    assert_eq!(it.position(), 15, "a header moves nothing");
    it.take(Input::Ended);
    assert_eq!(it.wait(), [watch(16)]);
}

#[test]
fn a_fragment_is_kept_until_its_revision_is_whole() {
    let mut it = Script::watching();
    assert_eq!(it.take(told(vec![put("/c", 12), put("/d", 13)], true)), []);
    assert_eq!(it.take(told(vec![put("/e", 13)], true)), []);
    assert_eq!(it.position(), 10);
    let whole = [apply(vec![put("/c", 12)], 12), apply(vec![put("/d", 13), put("/e", 13), delete("/a", 13)], 13)];
    assert_eq!(it.take(told(vec![delete("/a", 13)], false)), whole);
    // a stream that breaks within takes its fragments with it
    it.take(told(vec![put("/c", 14)], true));
    it.take(Input::Ended);
    assert_eq!(it.wait(), [watch(14)]);
}

#[test]
fn a_compacted_watch_lists_again_at_once_but_not_twice_in_a_row() {
    let mut it = Script::watching();
    assert_eq!(it.take(Input::Cancelled { compacted: true }), relist(Reason::Compacted));
    it.take(page(&[("/a", 3)], 20));
    assert_eq!(it.take(Input::Cancelled { compacted: true }), [Output::CloseWatch, Output::Resync(Reason::Compacted)]);
    assert!(it.due().unwrap() - it.now <= Duration::from_millis(200));
    assert_eq!(it.wait(), [LIST]);
    it.take(page(&[("/a", 3)], 30));
    it.take(Input::Created);
    it.after(S(5));
    assert_eq!(it.take(Input::Cancelled { compacted: true }), relist(Reason::Compacted), "a watch that lived ends the row");
}

#[test]
fn a_watch_that_is_cancelled_for_another_reason_lists_again_after_a_wait() {
    for refused_at_create in [true, false] {
        let mut it = Script::watching();
        if refused_at_create {
            it.take(Input::Ended);
            it.wait();
        }
        let outputs = it.take(Input::Cancelled { compacted: false });
        assert_eq!(outputs[..2], [Output::CloseWatch, Output::Resync(Reason::Cancelled)]);
        assert_eq!(it.take(Input::Tick), [], "not at once");
        assert_eq!(it.wait(), [LIST]);
    }
}

#[test]
fn a_broken_stream_is_opened_again_behind_the_last_change_after_growing_waits() {
    let mut it = Script::watching();
    it.take(told(vec![put("/c", 12)], false));
    assert_eq!(it.take(Input::Ended), [Output::CloseWatch, health(false, 0)]);
    let mut waits = vec![it.due().unwrap() - it.now];
    for _ in 0..10 {
        assert_eq!(it.wait(), [watch(13)]);
        assert_eq!(it.take(Input::Failed(Failure::Unavailable)), [Output::CloseWatch]);
        waits.push(it.due().unwrap() - it.now);
    }
    assert!(waits[0] <= Duration::from_millis(100) && waits[10] > S(2) && waits[10] <= S(5), "{waits:?}");
}

#[test]
fn what_comes_on_any_new_stream_waits_until_the_store_was_seen_to_be_the_same() {
    let mut it = Script::vetting();
    assert_eq!(it.take(told(vec![put("/c", 12)], false)), []);
    assert_eq!(it.take(told(vec![put("/d", 13)], true)), []);
    assert_eq!(it.take(audited(BOTH, 30)), [apply(vec![put("/c", 12)], 12), health(true, 0)]);
    assert_eq!(it.take(told(vec![put("/e", 13)], false)), [apply(vec![put("/d", 13), put("/e", 13)], 13)]);
}

#[test]
fn a_restored_store_is_listed_again_whether_it_is_behind_us_or_has_overtaken_us() {
    for (answer, why) in [
        (Input::Failed(Failure::Future), "it has not come to our revision"),
        (audited(&[("/b", 9)], 30), "it held another number of keys at our revision"),
        (audited(&[("/a", 3), ("/b", 8)], 30), "it held other values at our revision"),
        (Input::Audited { tally: tally(BOTH), header: Header { term: 4, ..header(30) } }, "its members elected less"),
        (Input::Audited { tally: tally(BOTH), header: Header { cluster: 2, ..header(30) } }, "it is another cluster"),
    ] {
        let mut it = Script::vetting();
        it.take(told(vec![put("/c", 12)], false));
        assert_eq!(it.take(answer), relist(Reason::Rewound), "{why}");
        let back = it.take(page(&[("/z", 4)], 5));
        assert_eq!(back[..2], [reset(&[("/z", 4)], 5), watch(6)], "{why}");
        assert_eq!(it.position(), 5, "{why}");
    }
    let mut it = Script::vetting();
    assert_eq!(it.take(Input::Failed(Failure::Compacted)), relist(Reason::Compacted), "our revision cannot be asked about any more");
}

#[test]
fn a_header_below_our_revision_is_a_hint_that_is_looked_into() {
    let mut it = Script::watching();
    assert_eq!(it.take(Input::Progress(header(7))), [audit(Some(10))]);
    assert_eq!(it.take(Input::Progress(header(7))), [], "once at a time");
    assert_eq!(it.take(Input::Failed(Failure::Future)), [vec![Output::CloseWatch, Output::Resync(Reason::Rewound)], vec![LIST]].concat());
    let mut it = Script::watching();
    assert_eq!(it.take(Input::Progress(Header { cluster: 9, ..header(10) })), [audit(Some(10))]);
    assert_eq!(it.take(audited(BOTH, 10)), [], "only a lost member");
}

#[test]
fn a_quiet_stream_is_asked_and_a_silent_one_is_dead() {
    let mut it = Script::watching();
    assert_eq!(it.wait(), [Output::AskProgress]);
    assert_eq!(it.now, S(105));
    assert_eq!(it.take(Input::Progress(header(10))), []);
    assert_eq!(it.wait(), [Output::AskProgress]);
    assert_eq!(it.wait(), [Output::AskProgress]);
    assert_eq!(it.now, S(115));
    assert_eq!(it.wait(), [Output::CloseWatch, health(false, 0)]);
    assert_eq!(it.now, S(120), "15 s after the last sign of life");
    assert_eq!(it.wait(), [watch(11)]);
    // and one that never comes to life
    it.now += S(14);
    assert_eq!(it.take(Input::Tick), []);
    assert_eq!(it.after(S(1)), [Output::CloseWatch]);
}

/// Signs of life until an audit is due.
fn to_the_audit(it: &mut Script) {
    loop {
        let outputs = it.wait();
        if outputs.contains(&audit(None)) {
            return;
        }
        it.take(Input::Progress(header(10)));
    }
}

#[test]
fn every_60_seconds_the_store_is_compared() {
    let mut it = Script::watching();
    to_the_audit(&mut it);
    assert_eq!(it.now, S(160));
    assert_eq!(it.take(audited(BOTH, 10)), []);
    to_the_audit(&mut it);
    assert_eq!(it.now, S(220));
    assert_eq!(it.take(audited(&[("/a", 3), ("/b", 9), ("/c", 2)], 10)), relist(Reason::Audit), "no change can be under way");
    let mut it = Script::watching();
    to_the_audit(&mut it);
    assert_eq!(it.take(audited(BOTH, 9)), relist(Reason::Rewound));
}

#[test]
fn a_difference_that_changes_under_way_explain_is_none() {
    let mut it = Script::watching();
    to_the_audit(&mut it);
    assert_eq!(it.take(audited(&[("/a", 3), ("/b", 9), ("/c", 12)], 12)), [audit(Some(10))], "was it the same at our own revision?");
    assert_eq!(it.take(told(vec![put("/c", 12)], false)), [apply(vec![put("/c", 12)], 12)]);
    assert_eq!(it.take(audited(BOTH, 12)), [], "it was");
    assert_eq!(it.after(S(2)), [audit(None)]);
    assert_eq!(it.take(audited(&[("/a", 3), ("/b", 9), ("/c", 12)], 12)), []);
}

#[test]
fn a_difference_that_stays_lists_again() {
    // the watch misses what the store has
    let mut it = Script::watching();
    to_the_audit(&mut it);
    it.take(audited(&[("/a", 3), ("/b", 9), ("/c", 12)], 12));
    it.take(audited(BOTH, 12));
    assert_eq!(it.after(S(2)), [audit(None)]);
    assert_eq!(it.take(audited(&[("/a", 3), ("/b", 9), ("/c", 12)], 12)), relist(Reason::Audit));
    // it goes on, but our own revision is not what it was
    let mut it = Script::watching();
    to_the_audit(&mut it);
    it.take(audited(&[("/c", 12)], 12));
    it.take(told(vec![put("/c", 12)], false));
    assert_eq!(it.take(audited(&[("/b", 9)], 12)), relist(Reason::Rewound));
}

#[test]
fn an_audit_that_fails_opens_the_watch_again() {
    let mut it = Script::watching();
    to_the_audit(&mut it);
    assert_eq!(it.take(Input::Failed(Failure::Unavailable)), [Output::CloseWatch, health(false, 0)]);
    assert_eq!(it.wait(), [watch(11)]);
}

#[test]
fn most_deletes_of_a_listing_wait_until_they_are_accepted() {
    let names: Vec<String> = (0..30).map(|n| format!("/{n:02}")).collect();
    let keys: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 3)).collect();
    let mut it = Script::new();
    it.take(page(&keys, 10));
    it.take(Input::Cancelled { compacted: true });
    let outputs = it.take(page(&[("/00", 12), ("/new", 11)], 20));
    assert_eq!(outputs, [apply(vec![put("/new", 11), put("/00", 12)], 20), watch(21), health(true, 29)]);
    assert_eq!(it.take(Input::Created), [audit(Some(20))]);
    assert_eq!(it.take(audited(&[("/00", 12), ("/new", 11)], 20)), []);
    assert_eq!(it.take(told(vec![put("/07", 21)], false)), [apply(vec![put("/07", 21)], 21), health(true, 28)]);
    let outputs = it.take(Input::Accept);
    let [Output::Emit(Event::Apply { changes, at: 21 }), Output::Health(Health { up: true, held: 0 })] = &outputs[..] else {
        panic!("{outputs:?}")
    };
    assert_eq!(changes.len(), 28);
    assert_eq!(it.take(Input::Accept), [], "nothing is left to accept");
}

#[test]
fn a_store_that_comes_back_whole_needs_no_acceptance() {
    let names: Vec<String> = (0..30).map(|n| format!("/{n:02}")).collect();
    let keys: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 3)).collect();
    let mut it = Script::new();
    it.take(page(&keys, 10));
    it.take(Input::Cancelled { compacted: true });
    it.take(page(&[], 4));
    it.take(Input::Cancelled { compacted: true });
    it.wait();
    let outputs = it.take(page(&keys, 10));
    assert_eq!(outputs, [reset(&keys, 10), watch(11), health(true, 0)]);
}

#[test]
fn what_does_not_fit_the_state_changes_nothing() {
    let strays = || {
        vec![
            page(&[], 99),
            Input::Created,
            told(vec![put("/x", 99)], false),
            Input::Progress(header(1)),
            Input::Cancelled { compacted: true },
            Input::Ended,
            audited(&[], 99),
        ]
    };
    let mut it = Script::watching();
    for stray in [page(&[], 99), Input::Created, audited(&[], 99)] {
        assert_eq!(it.take(stray), []);
    }
    it.take(Input::Ended);
    for stray in strays() {
        assert_eq!(it.take(stray), [], "while it waits");
    }
    let mut it = Script::new();
    for stray in strays().into_iter().skip(1) {
        assert_eq!(it.take(stray), [], "while it lists");
    }
    assert_eq!(it.position(), 0);
    // changes of a stream that does not stand yet are not lost: it is opened again
    let mut it = Script::new();
    it.take(page(&[], 10));
    assert_eq!(it.take(told(vec![put("/x", 11)], false)), [Output::CloseWatch, health(false, 0)]);
    assert_eq!(it.wait(), [watch(11)]);
}

#[test]
fn whatever_the_store_does_what_is_told_is_a_state_that_it_had() {
    if let Ok(seed) = std::env::var("SLUICE_SIM_SEED") {
        let seed = seed.trim_start_matches("0x");
        let seed = u64::from_str_radix(seed, 16).expect("SLUICE_SIM_SEED is a hexadecimal number");
        eprintln!("{:#?}", model::run(seed, model::STEPS, true));
        return;
    }
    let mut total = model::Seen::default();
    for seed in 0..256 {
        let seen = std::panic::catch_unwind(|| model::run(seed, model::STEPS, false));
        total.add(&seen.unwrap_or_else(|_| panic!("replay with SLUICE_SIM_SEED={seed:x}")));
    }
    eprintln!("{total:?}");
    assert!(total.is_broad(), "every fault happened, and often: {total:?}");
}
