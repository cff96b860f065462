//! How long an HTTP/1 connection may wait for a request: one timer, set when it has to be and otherwise only looked at when it
//! fires. What a request may take once its head has come is the route's affair.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// How long a connection may wait for the first byte of a request.
pub(super) const IDLE: Duration = Duration::from_secs(75);
/// How long a head may take from its first byte.
pub(super) const HEAD: Duration = Duration::from_secs(10);

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// Nothing that has a limit here.
    Nothing,
    /// Something to move of an answer whose route has this time limit. It is the route's own watch that tells a client of a slow node;
    /// but that is not looked at while the client takes nothing.
    Answer(Duration),
    /// The first byte of a request, after so many were answered.
    Request(u64),
    /// The rest of a head, after so many requests were answered.
    Head(u64),
}

impl For {
    const fn limit(self) -> Option<Duration> {
        match self {
            Self::Nothing | Self::Answer(_) => None,
            Self::Request(_) => Some(IDLE),
            Self::Head(_) => Some(HEAD),
        }
    }
}

/// The wait of one connection.
#[derive(Debug)]
pub(super) struct Waiting {
    timer: Pin<Box<Sleep>>,
    what: For,
    /// When the wait that began last is over; for an answer, once `seen` is known.
    deadline: Instant,
    /// How much had moved when the timer fired last during an answer.
    seen: Option<u64>,
}

impl Waiting {
    /// A connection of which nothing has come yet.
    pub(super) fn new(now: Instant) -> Self {
        let deadline = now + IDLE;
        Self { timer: Box::pin(sleep_until(deadline)), what: For::Request(0), deadline, seen: None }
    }

    /// Ready when what is waited for has not come in time; tells what it was. To be polled whenever the connection was.
    pub(super) fn poll(&mut self, what: For, moved: impl Fn() -> u64, cx: &mut Context<'_>) -> Poll<For> {
        if what != self.what {
            (self.what, self.seen) = (what, None);
            if let Some(limit) = what.limit() {
                self.deadline = Instant::now() + limit;
            }
            if what.limit().is_some() && self.deadline < self.timer.deadline() {
                self.timer.as_mut().reset(self.deadline);
            }
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let late = now >= self.deadline;
            match what {
                For::Nothing => self.deadline = now + IDLE,
                For::Answer(limit) => {
                    let moved = moved();
                    if self.seen == Some(moved) && late {
                        return Poll::Ready(what);
                    }
                    if self.seen != Some(moved) {
                        // a little more, so that the route's own watch is first where it can be
                        (self.seen, self.deadline) = (Some(moved), now + limit + limit / 4 + Duration::from_secs(1));
                    }
                }
                For::Request(_) | For::Head(_) if late => return Poll::Ready(what),
                For::Request(_) | For::Head(_) => {}
            }
            self.timer.as_mut().reset(self.deadline);
        }
        Poll::Pending
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
        assert_eq!(late(&mut waiting, For::Request(2), 2).await, Some(For::Request(2)));
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
        let what = For::Answer(Duration::from_secs(20));
        let begun = Instant::now();
        assert_eq!(late(&mut waiting, what, 1000).await, Some(what));
        assert!((26..=101).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
        let mut waiting = Waiting::new(Instant::now());
        let begun = Instant::now();
        let moving = poll_fn(|cx| waiting.poll(what, || begun.elapsed().as_secs(), cx));
        assert!(tokio::time::timeout(Duration::from_secs(1000), moving).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_came_in_time_leaves_the_timer_to_the_next_wait() {
        let mut waiting = Waiting::new(Instant::now());
        assert_eq!(late(&mut waiting, For::Head(0), 9).await, None);
        assert_eq!(late(&mut waiting, For::Nothing, 5).await, None);
        let begun = Instant::now();
        assert_eq!(late(&mut waiting, For::Request(1), 100).await, Some(For::Request(1)));
        assert_eq!(begun.elapsed().as_secs(), 75);
    }
}
