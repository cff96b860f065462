//! How long an HTTP/1 connection may wait, for a request, for its head, for its answer: one timer that ticks a few times in the
//! shortest of these, is set where it has to be, and otherwise only looked at when it fires. No request sets it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// How long a connection may wait for the first byte of a request.
pub(super) const IDLE: Duration = Duration::from_secs(75);
/// How long a head may take from its first byte.
pub(super) const HEAD: Duration = Duration::from_secs(10);
/// Looks in the time for an answer or a request.
const LOOKS: u32 = 8;
/// The shortest time between two.
const SHORTEST: Duration = Duration::from_millis(1);

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// Nothing that has a limit here.
    Nothing,
    /// Something to move of the answer to this request, whose route has this time limit.
    Answer(u64, Duration),
    /// The first byte of a request, after so many.
    Request(u64),
    /// The rest of a head, after so many requests.
    Head(u64),
}

impl For {
    const fn limit(self) -> Duration {
        match self {
            Self::Nothing | Self::Request(_) => IDLE,
            Self::Answer(_, limit) => limit,
            Self::Head(_) => HEAD,
        }
    }

    /// The time between two looks. A head is looked at once.
    fn period(self) -> Duration {
        match self {
            Self::Head(_) => HEAD,
            Self::Nothing | Self::Answer(..) | Self::Request(_) => (self.limit() / LOOKS).max(SHORTEST),
        }
    }
}

/// The wait of one connection.
#[derive(Debug)]
pub(super) struct Waiting {
    timer: Pin<Box<Sleep>>,
    what: For,
    /// What the timer was set to when it was set last.
    period: Duration,
    /// How long nothing was seen to move; `None` until the first look at what is waited for now.
    quiet: Option<Duration>,
    seen: u64,
    /// Whom the timer wakes.
    woken: Option<Waker>,
}

impl Waiting {
    /// A connection of which nothing has come yet.
    pub(super) fn new(now: Instant) -> Self {
        let what = For::Request(0);
        let period = what.period();
        Self { timer: Box::pin(sleep_until(now + period)), what, period, quiet: Some(Duration::ZERO), seen: 0, woken: None }
    }

    /// Ready when what is waited for has not come in time, at most an eighth of that time late; tells what it was. To be polled
    /// whenever the connection was.
    pub(super) fn poll(&mut self, what: For, moved: impl Fn() -> u64, cx: &mut Context<'_>) -> Poll<For> {
        if what != self.what {
            (self.what, self.quiet) = (what, None);
            if what.period() < self.period || matches!(what, For::Head(_)) {
                self.set(what.period());
            }
        }
        // the timer that was set goes on: to poll it costs more than all else here
        if !self.timer.is_elapsed() && self.woken.as_ref().is_some_and(|woken| woken.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            let late = match what {
                For::Nothing => false,
                For::Head(_) => true,
                For::Request(_) => self.look(0),
                For::Answer(..) => self.look(moved()),
            };
            self.set(what.period());
            if late {
                self.quiet = Some(Duration::ZERO);
                return Poll::Ready(what);
            }
        }
        self.woken = Some(cx.waker().clone());
        Poll::Pending
    }

    /// True: nothing has moved for the limit.
    fn look(&mut self, moved: u64) -> bool {
        let before = self.quiet.filter(|_| moved == self.seen).map(|quiet| quiet + self.period);
        self.seen = moved;
        self.quiet = Some(before.unwrap_or_default());
        before.is_some_and(|quiet| quiet >= self.what.limit())
    }

    fn set(&mut self, period: Duration) {
        self.period = period;
        self.woken = None;
        self.timer.as_mut().reset(Instant::now() + period);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    /// Waits for one thing for so long; what was late, if anything.
    async fn late(waiting: &mut Waiting, what: For, secs: u64) -> Option<For> {
        let over = poll_fn(|cx| waiting.poll(what, || 0, cx));
        tokio::time::timeout(Duration::from_secs(secs), over).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_waits_for_a_request_anew_after_each() {
        let mut waiting = Waiting::new(Instant::now());
        assert_eq!(late(&mut waiting, For::Request(0), 70).await, None);
        assert_eq!(late(&mut waiting, For::Request(1), 70).await, None);
        assert_eq!(late(&mut waiting, For::Nothing, 500).await, None);
        assert_eq!(late(&mut waiting, For::Request(2), 74).await, None);
        assert_eq!(late(&mut waiting, For::Request(2), 11).await, Some(For::Request(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_is_late_ten_seconds_after_its_first_byte_and_not_after_its_last() {
        let mut waiting = Waiting::new(Instant::now());
        assert_eq!(late(&mut waiting, For::Request(0), 3).await, None);
        let begun = Instant::now();
        assert_eq!(late(&mut waiting, For::Head(0), 6).await, None);
        assert_eq!(late(&mut waiting, For::Head(0), 60).await, Some(For::Head(0)));
        assert_eq!(begun.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_of_which_nothing_moves_is_late_and_one_that_moves_is_not() {
        let mut waiting = Waiting::new(Instant::now());
        let what = For::Answer(1, Duration::from_secs(20));
        let begun = Instant::now();
        assert_eq!(late(&mut waiting, what, 1000).await, Some(what));
        assert!((20..=23).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
        assert_eq!(late(&mut waiting, what, 1000).await, Some(what), "and is again, if nobody minds");
        let begun = Instant::now();
        let moving = poll_fn(|cx| waiting.poll(what, || begun.elapsed().as_secs(), cx));
        assert!(tokio::time::timeout(Duration::from_secs(1000), moving).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn each_answer_has_its_own_time() {
        let mut waiting = Waiting::new(Instant::now());
        for request in 1..50 {
            assert_eq!(late(&mut waiting, For::Answer(request, Duration::from_secs(8)), 7).await, None);
        }
        assert_eq!(late(&mut waiting, For::Answer(50, Duration::from_secs(1)), 2).await, Some(For::Answer(50, Duration::from_secs(1))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_came_in_time_leaves_the_timer_to_the_next_wait() {
        let mut waiting = Waiting::new(Instant::now());
        assert_eq!(late(&mut waiting, For::Head(0), 9).await, None);
        assert_eq!(late(&mut waiting, For::Nothing, 5).await, None);
        let begun = Instant::now();
        assert_eq!(late(&mut waiting, For::Request(1), 100).await, Some(For::Request(1)));
        assert!((75..=94).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    }
}
