//! How long a request may go on without anything moving: the route's timeout. A connection that serves one request at a time watches
//! for it, with the timer that it has; others need one each, that is only ever put off.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::serve::Front;
use crate::proxy::idle::Idle;
use crate::upstream::Timer;

/// The watch over one request.
#[derive(Debug)]
pub(super) struct Patience {
    timer: Timer,
    idle: Idle,
    /// The connection that watches instead.
    watch: Option<Arc<Front>>,
}

impl Patience {
    /// A watch with a timer of its own. It begins with [`Self::begin`].
    pub(super) fn new(limit: Duration) -> Self {
        Self { timer: Timer::default(), idle: Idle::new(limit, limit), watch: None }
    }

    /// The watch over a request of a connection, which watches itself where it can.
    pub(super) fn of(front: &Arc<Front>, limit: Duration) -> Self {
        Self { watch: front.watches().then(|| front.clone()), ..Self::new(limit) }
    }

    /// The same where the connection is no longer HTTP's.
    pub(super) fn alone(self) -> Self {
        Self { watch: None, ..self }
    }

    /// A timer for steps that have a time limit of their own. [`Self::begin`] has to be called after them.
    pub(super) const fn timer(&mut self) -> &mut Timer {
        &mut self.timer
    }

    /// Something moved: the time begins anew.
    pub(super) fn begin(&mut self) {
        if let Some(front) = &self.watch {
            return front.renew();
        }
        self.timer.set(Instant::now() + self.idle.slice());
        self.idle.begin();
    }

    /// Ready when nothing has moved for the limit. `moved` is how many bytes have moved in all.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, moved: impl Fn() -> u64) -> Poll<()> {
        if let Some(front) = &self.watch {
            return if front.is_late() { Poll::Ready(()) } else { Poll::Pending };
        }
        let Some(mut timer) = self.timer.get() else { return Poll::Pending };
        while timer.as_mut().poll(cx).is_ready() {
            if self.idle.tick(moved(), false) {
                return Poll::Ready(());
            }
            timer.as_mut().reset(Instant::now() + self.idle.slice());
        }
        Poll::Pending
    }
}
