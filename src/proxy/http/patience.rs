//! How long a request may go on without anything moving: the route's timeout, on one timer that is only ever put off.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::proxy::idle::Idle;

/// The timer of one request.
#[derive(Debug)]
pub(super) struct Patience {
    timer: Pin<Box<Sleep>>,
    idle: Idle,
}

impl Patience {
    /// A timer for a request that began now. It is not yet set for anything.
    pub(super) fn new(began: Instant, limit: Duration) -> Self {
        Self { timer: Box::pin(sleep_until(began)), idle: Idle::new(limit, limit) }
    }

    /// The timer, for steps that have a time limit of their own. [`Patience::begin`] has to be called after them.
    pub(super) fn timer(&mut self) -> Pin<&mut Sleep> {
        self.timer.as_mut()
    }

    /// Something moved: the time begins anew.
    pub(super) fn begin(&mut self, now: Instant) {
        self.timer.as_mut().reset(now + self.idle.slice());
        self.idle.begin();
    }

    /// Ready when nothing has moved for the limit. `moved` is how many bytes have moved in all.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, moved: impl Fn() -> u64) -> Poll<()> {
        while self.timer.as_mut().poll(cx).is_ready() {
            if self.idle.tick(moved(), false) {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(Instant::now() + self.idle.slice());
        }
        Poll::Pending
    }
}
