//! How long a session has been quiet, without a clock on the path of the bytes: time is cut into slices, and a session is idle
//! when so many slices in a row saw the same byte count.

use std::time::Duration;

/// Slices of an idle time. A session ends between one and one and an eighth of its idle time after its last byte.
const SLICES: u8 = 8;

/// The idle watch of one session.
#[derive(Debug)]
pub struct Idle {
    open: Duration,
    half: Duration,
    half_closed: bool,
    seen: u64,
    quiet: u8,
}

impl Idle {
    /// A watch with the idle time of an open session, and of one whose one side has sent FIN.
    pub const fn new(open: Duration, half: Duration) -> Self {
        Self { open, half, half_closed: false, seen: 0, quiet: 0 }
    }

    /// How long to wait until the next [`Idle::tick`].
    pub fn slice(&self) -> Duration {
        let whole = if self.half_closed { self.half } else { self.open };
        (whole / u32::from(SLICES)).max(Duration::from_millis(1))
    }

    /// A slice has passed, and the session has moved so many bytes in all. True: it is idle.
    #[must_use]
    pub fn tick(&mut self, moved: u64) -> bool {
        if moved == self.seen {
            self.quiet = self.quiet.saturating_add(1);
        } else {
            (self.seen, self.quiet) = (moved, 0);
        }
        self.quiet >= SLICES
    }

    /// One side has sent FIN. True the first time: the wait begins again, with the other idle time.
    #[must_use]
    pub fn half_close(&mut self) -> bool {
        let first = !self.half_closed;
        if first {
            (self.half_closed, self.quiet) = (true, 0);
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the watch against a byte count that changes at the given slices; the slice in which it was found idle.
    fn idle_after(changes: &[u32]) -> u32 {
        let mut idle = Idle::new(Duration::from_secs(8), Duration::from_secs(4));
        let mut moved = 0;
        (1..100)
            .find(|slice| {
                moved += u64::from(changes.contains(slice));
                idle.tick(moved)
            })
            .unwrap()
    }

    #[test]
    fn a_session_is_idle_between_one_and_one_and_an_eighth_of_its_time() {
        assert_eq!(idle_after(&[]), 8);
        assert_eq!(idle_after(&[1]), 9);
        assert_eq!(idle_after(&[3, 10]), 18);
    }

    #[test]
    fn a_half_closed_session_has_its_own_time() {
        let mut idle = Idle::new(Duration::from_secs(8), Duration::from_secs(4));
        assert!((0..7).all(|_| !idle.tick(0)));
        assert!(idle.half_close());
        assert!(!idle.half_close());
        assert_eq!(idle.slice(), Duration::from_millis(500));
        assert!((0..7).all(|_| !idle.tick(0)) && idle.tick(0));
    }
}
