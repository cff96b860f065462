//! A timer that is made when it is first set: most requests find a connection and need none.

use std::pin::Pin;

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer, or none yet.
#[derive(Debug, Default)]
pub struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Sets it.
    pub fn set(&mut self, at: Instant) {
        self.until(at);
    }

    /// Sets it, and gives it to be waited for.
    pub fn until(&mut self, at: Instant) -> Pin<&mut Sleep> {
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep_until(at)));
        timer.as_mut().reset(at);
        timer.as_mut()
    }

    /// The timer, if it was ever set.
    pub fn get(&mut self) -> Option<Pin<&mut Sleep>> {
        self.0.as_mut().map(Pin::as_mut)
    }
}
