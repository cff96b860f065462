//! The wait for a permit: a place in a queue, and a timer only where it is needed. Decides nothing itself.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

use super::bucket::Refused;
use super::keyed::Place;
use super::limiter::{Limiter, Permit};
use super::queue::Seat;
use crate::telemetry::LimitSeries;

/// Waits for a permit. Only the head of a queue watches the clock, for all behind it. Cancel safe: dropping it leaves the queue, and
/// gives back what was granted and not yet seen.
#[derive(Debug)]
#[must_use = "dropping it leaves the queue"]
pub struct Waiting {
    limiter: Arc<Limiter>,
    place: Place,
    seat: Arc<Seat>,
    series: Arc<LimitSeries>,
    deadline: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    over: bool,
}

impl Waiting {
    pub(super) const fn new(limiter: Arc<Limiter>, place: Place, seat: Arc<Seat>, series: Arc<LimitSeries>) -> Self {
        Self { limiter, place, seat, series, deadline: None, timer: None, over: false }
    }

    /// Waits no longer than until then; it is refused after that.
    pub const fn until(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Ready when the clock has to be looked at again.
    fn poll_timer(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        timer.as_mut().poll(cx)
    }
}

impl Future for Waiting {
    type Output = Result<Permit, Refused>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.seat.waker.register(cx.waker());
        loop {
            let now = Instant::now();
            let look = match this.limiter.turn(this.place, &this.seat, now) {
                Ok(standing) => {
                    this.over = true;
                    this.series.allowed();
                    return Poll::Ready(Ok(this.limiter.permit(this.place, standing)));
                }
                Err(look) => look,
            };
            if this.deadline.is_some_and(|deadline| now >= deadline) {
                this.series.rejected();
                return Poll::Ready(Err(this.limiter.refusal(this.place, now)));
            }
            let Some(at) = look.into_iter().chain(this.deadline).min() else { return Poll::Pending };
            if this.poll_timer(cx, at).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.over {
            self.limiter.leave(self.place, &self.seat);
        }
        self.limiter.waited();
    }
}
