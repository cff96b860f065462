//! Worked timelines of the four policies, replayed on paused time through the limiter that serves. A line is
//! `time | event | result | permits left / waiting`. Only for tests.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::policy::tests::{limit, secs};
use super::{Decision, LimitKey, Limiter, Permit, Registry};
use crate::base::task;
use crate::model::{By, KeySource, Limit, Pace};
use crate::telemetry::{LimitSeries, Metrics};

const CLIENT: LimitKey<'static> = LimitKey::Client(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

pub(super) fn series() -> Arc<LimitSeries> {
    let metrics = Metrics::new().unwrap();
    metrics
        .route(crate::base::id::Kind::StreamRoute, None)
        .limit(crate::base::quota::Policy::Concurrency, crate::base::quota::Scope::Instance)
}

pub(super) fn limiter(spec: Limit) -> Arc<Limiter> {
    Registry::default().limiter("stream_routes/1", &Arc::new(spec))
}

/// What became of those who asked.
#[derive(Default)]
struct Seen {
    running: Vec<(String, Permit)>,
    admitted: Vec<String>,
    refused: Vec<String>,
}

struct Stage {
    limiter: Arc<Limiter>,
    series: Arc<LimitSeries>,
    seen: Arc<Mutex<Seen>>,
    patience: Option<Duration>,
}

impl Stage {
    fn new(spec: Limit, patience: Option<Duration>) -> Self {
        Self { limiter: limiter(spec), series: series(), seen: Arc::default(), patience }
    }

    fn ask(&self, name: &str) -> String {
        let waiting = match self.limiter.ask(&CLIENT, Instant::now(), &self.series) {
            Decision::Granted(permit) => {
                self.seen.lock().unwrap().running.push((name.to_owned(), permit));
                return "200".to_owned();
            }
            Decision::Refused(refused) => {
                return refused.retry_after.map_or("429".to_owned(), |t| format!("429 {}", t.as_secs()));
            }
            Decision::Queued(waiting) => waiting,
        };
        let waiting = match self.patience {
            Some(patience) => waiting.until(Instant::now() + patience),
            None => waiting,
        };
        let (seen, name) = (self.seen.clone(), name.to_owned());
        task::spawn(async move {
            let got = waiting.await;
            let mut seen = seen.lock().unwrap();
            match got {
                Ok(permit) => {
                    seen.admitted.push(name.clone());
                    seen.running.push((name, permit));
                }
                Err(_) => seen.refused.push(name),
            }
        });
        "queued".to_owned()
    }

    /// Everybody who can go on at this moment does.
    async fn settle(&self) -> String {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        let mut seen = self.seen.lock().unwrap();
        let refused = std::mem::take(&mut seen.refused).into_iter().map(|name| format!("-{name}"));
        let mut all: Vec<String> = std::mem::take(&mut seen.admitted);
        all.extend(refused);
        all.join(" ")
    }

    async fn play(&self, line: &str) {
        let [at, event, result, left] = line.split('|').map(str::trim).collect::<Vec<_>>()[..] else { panic!("{line}") };
        let got = if event == "tick" {
            self.settle().await
        } else if let Some(name) = event.strip_prefix("end ") {
            let ended = {
                let mut seen = self.seen.lock().unwrap();
                let at = seen.running.iter().position(|(n, _)| n == name).unwrap_or_else(|| panic!("{line}: {name} does not run"));
                seen.running.remove(at)
            };
            drop(ended);
            self.settle().await
        } else {
            let got: Vec<String> = event.split_whitespace().map(|name| self.ask(name)).collect();
            assert_eq!(self.settle().await, "", "at {at}: somebody else was admitted");
            got.join(" ")
        };
        assert_eq!(got, result, "at {at}: {event}");
        let standing = self.limiter.standing(None, Instant::now()).unwrap();
        assert_eq!(format!("{}/{}", standing.remaining, self.limiter.queued()), left, "at {at}: {event}");
    }
}

async fn replay_with(spec: Limit, patience: Option<Duration>, timeline: &str) {
    let began = Instant::now();
    let stage = Stage::new(spec, patience);
    for line in timeline.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let at: f64 = line.split('|').next().unwrap().trim().parse().unwrap();
        sleep_until(began + Duration::from_secs_f64(at)).await;
        stage.play(line).await;
    }
}

async fn replay(spec: Limit, timeline: &str) {
    replay_with(spec, None, timeline).await;
}

fn fixed(permits: u32, queue: u32, window: u64) -> Limit {
    limit(Pace::FixedWindow { window: secs(window) }, permits, queue)
}

fn sliding(permits: u32, queue: u32, window: u64, segments: u16) -> Limit {
    limit(Pace::SlidingWindow { window: secs(window), segments }, permits, queue)
}

fn tokens(permits: u32, queue: u32, period: u64, tokens: u32) -> Limit {
    limit(Pace::TokenBucket { period: secs(period), tokens }, permits, queue)
}

#[tokio::test(start_paused = true)]
async fn a_fixed_window_serves_its_queue_with_the_next_window() {
    replay(
        fixed(3, 2, 10),
        "0  | r1   | 200    | 2/0
         1  | r2   | 200    | 1/0
         2  | r3   | 200    | 0/0
         3  | r4   | queued | 0/1
         4  | r5   | queued | 0/2
         5  | r6   | 429 10 | 0/2
         10 | tick | r4 r5  | 1/0
         11 | r7   | 200    | 0/0
         12 | r8   | queued | 0/1
         13 | r9   | queued | 0/2
         14 | r10  | 429 10 | 0/2
         20 | tick | r8 r9  | 1/0
         25 | r11  | 200    | 0/0
         30 | tick |        | 3/0",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_burst_over_the_boundary_of_fixed_windows_passes() {
    replay(
        fixed(3, 0, 10),
        "9    | r1   | 200    | 2/0
         9.5  | r2   | 200    | 1/0
         9.9  | r3   | 200    | 0/0
         10   | tick |        | 3/0
         10.1 | r4   | 200    | 2/0
         10.2 | r5   | 200    | 1/0
         10.3 | r6   | 200    | 0/0
         10.4 | r7   | 429 10 | 0/0",
    )
    .await;
}

const ONE_AND_FIVE: &str = "0  | r1   | 200    | 0/0
     1  | r2   | queued | 0/1
     2  | r3   | queued | 0/2
     3  | r4   | queued | 0/3
     4  | r5   | queued | 0/4
     5  | r6   | queued | 0/5
     6  | r7   | 429 60 | 0/5
     10 | tick | r2     | 0/4
     20 | tick | r3     | 0/3
     30 | tick | r4     | 0/2";

#[tokio::test(start_paused = true)]
async fn a_long_queue_is_served_one_window_after_the_other() {
    let rest = "
     40 | tick | r5     | 0/1
     50 | tick | r6     | 0/0";
    replay(fixed(1, 5, 10), &format!("{ONE_AND_FIVE}{rest}")).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_has_waited_too_long_is_refused_and_leaves_the_queue() {
    let rest = "
     34 | tick | -r5    | 0/1
     35 | tick | -r6    | 0/0
     40 | tick |        | 1/0";
    replay_with(fixed(1, 5, 10), Some(secs(30)), &format!("{ONE_AND_FIVE}{rest}")).await;
}

#[tokio::test(start_paused = true)]
async fn a_sliding_window_gives_back_what_is_a_window_old() {
    replay(
        sliding(4, 1, 10, 2),
        "1   | r1   | 200    | 3/0
         2   | r2   | 200    | 2/0
         5   | tick |        | 2/0
         6   | r3   | 200    | 1/0
         7   | r4   | 200    | 0/0
         8   | r5   | queued | 0/1
         8.5 | r6   | 429    | 0/1
         10  | tick | r5     | 1/0
         11  | r7   | 200    | 0/0
         12  | r8   | queued | 0/1
         15  | tick | r8     | 1/0
         16  | r9   | 200    | 0/0
         20  | tick |        | 2/0
         25  | tick |        | 4/0",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_sliding_window_of_three_segments() {
    replay(
        sliding(10, 2, 30, 3),
        "1  | a b c d | 200 200 200 200 | 6/0
         11 | e f g   | 200 200 200     | 3/0
         21 | h i j   | 200 200 200     | 0/0
         21 | k l     | queued queued   | 0/2
         22 | m       | 429             | 0/2
         30 | tick    | k l             | 2/0
         40 | tick    |                 | 5/0
         50 | tick    |                 | 8/0
         60 | tick    |                 | 10/0",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_sliding_window_of_a_hundred_that_everybody_cites() {
    let stage = Stage::new(sliding(100, 0, 30, 3), None);
    let began = Instant::now();
    for (at, ask, pass) in [(1, 20, 20), (11, 30, 30), (21, 40, 40), (29, 11, 10), (31, 21, 20), (41, 31, 30)] {
        sleep_until(began + secs(at)).await;
        let passed = (0..ask).filter(|n| stage.ask(&n.to_string()) == "200").count();
        assert_eq!(passed, pass, "at {at}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_bucket_serves_its_queue_first() {
    replay(
        tokens(5, 2, 10, 2),
        "0  | a b c d e f g h i | 200 200 200 200 200 queued queued 429 10 429 10 | 0/2
         10 | tick | f g    | 0/0
         11 | j    | queued | 0/1
         12 | k    | queued | 0/2
         20 | tick | j k    | 0/0
         21 | l    | queued | 0/1
         30 | tick | l      | 1/0
         35 | m    | 200    | 0/0
         36 | n    | queued | 0/1
         37 | o    | queued | 0/2
         40 | tick | n o    | 0/0
         50 | tick |        | 2/0",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_token_bucket_never_holds_more_than_its_size() {
    replay(
        tokens(2, 0, 1, 5),
        "0   | a b c | 200 200 429 1 | 0/0
         1   | tick  |               | 2/0
         1.5 | d     | 200           | 1/0
         1.6 | e     | 200           | 0/0
         1.7 | f     | 429 1         | 0/0",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn so_many_at_once_and_the_next_when_one_ends() {
    replay(
        limit(Pace::Concurrency, 2, 1),
        "0 | a     | 200    | 1/0
         0 | b     | 200    | 0/0
         0 | c     | queued | 0/1
         0 | d     | 429    | 0/1
         1 | end a | c      | 0/0
         2 | end b |        | 1/0
         2 | end c |        | 2/0",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_a_queue_nobody_waits() {
    for spec in [fixed(1, 0, 10), sliding(1, 0, 10, 2), tokens(1, 0, 10, 1), limit(Pace::Concurrency, 1, 0)] {
        let stage = Stage::new(spec, None);
        assert_eq!(stage.ask("a"), "200");
        assert!((0..100).all(|n| stage.ask(&n.to_string()).starts_with("429")));
        assert_eq!(stage.limiter.queued(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_who_waits_is_overtaken() {
    let stage = Stage::new(limit(Pace::Concurrency, 1, 2), None);
    stage.play("0 | a | 200 | 0/0").await;
    stage.play("0 | b | queued | 0/1").await;
    drop(stage.seen.lock().unwrap().running.remove(0));
    // b has its permit from this moment on, though it has not looked yet
    assert_eq!(stage.ask("c"), "queued");
    assert!(stage.limiter.try_ask(&CLIENT, Instant::now(), &stage.series).is_err());
    assert_eq!(stage.settle().await, "b");
}

#[tokio::test(start_paused = true)]
async fn a_whole_window_is_the_default_answer_to_when() {
    replay(fixed(1, 0, 600), "0 | a | 200 | 0/0\n 1 | b | 429 600 | 0/0").await;
}

fn by(source: KeySource) -> Limit {
    Limit { by: By::Key(source), ..fixed(1, 0, 10) }
}

#[tokio::test(start_paused = true)]
async fn keys_are_counted_apart() {
    let (limiter, series) = (limiter(by(KeySource::Header("x-forwarded-for".into()))), series());
    let ask = |line: Option<&'static str>| {
        let key = LimitKey::of(limiter.by(), [127, 0, 0, 1].into(), |_| line.map(str::as_bytes), |_| None);
        match limiter.ask(&key, Instant::now(), &series) {
            Decision::Granted(_) => 200,
            Decision::Queued(_) | Decision::Refused(_) => 429,
        }
    };
    assert_eq!([ask(Some("1.1.1.1, 9.9.9.9")), ask(Some("1.1.1.1")), ask(Some("1.1.1.2"))], [200, 429, 200]);
    assert_eq!([ask(None), ask(None), ask(Some("127.0.0.1"))], [200, 429, 429]);
    tokio::time::advance(secs(10)).await;
    assert_eq!([ask(None), ask(Some("1.1.1.1"))], [200, 200]);
}

#[tokio::test(start_paused = true)]
async fn a_cookie_is_a_key_without_case_and_the_client_where_there_is_none() {
    let (limiter, series) = (limiter(by(KeySource::Cookie("sid".into()))), series());
    let ask = |value: Option<&'static str>| {
        let key = LimitKey::of(limiter.by(), [127, 0, 0, 1].into(), |_| None, |_| value.map(str::as_bytes));
        matches!(limiter.ask(&key, Instant::now(), &series), Decision::Granted(_))
    };
    assert_eq!([ask(Some("a")), ask(Some("a")), ask(Some("A")), ask(None), ask(None)], [true, false, false, true, false]);
}

#[tokio::test(start_paused = true)]
async fn without_header_and_cookie_the_client_is_the_key() {
    let (limiter, series) = (limiter(by(KeySource::Client)), series());
    let passed = (0..5).filter(|_| matches!(limiter.ask(&CLIENT, Instant::now(), &series), Decision::Granted(_))).count();
    assert_eq!(passed, 1);
    let other = LimitKey::Client([127, 0, 0, 2].into());
    assert!(matches!(limiter.ask(&other, Instant::now(), &series), Decision::Granted(_)));
}
