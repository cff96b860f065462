//! How long a session has been quiet, without a clock on the path of the bytes: time is cut into slices, and a session is idle
//! when so many slices in a row saw the same byte count.

use std::time::Duration;

/// Slices of the shorter idle time. A session ends at most one slice after its idle time.
const SLICES: u32 = 8;
/// The shortest slice.
const SHORTEST: Duration = Duration::from_millis(1);

/// The idle watch of one session.
#[derive(Debug)]
pub struct Idle {
    slice: Duration,
    /// Quiet slices that end an open session, and one whose one side has sent FIN.
    open: u32,
    half: u32,
    half_closed: bool,
    quiet: u32,
    seen: u64,
}

impl Idle {
    /// A watch with the idle time of an open session, and of one whose one side has sent FIN.
    pub fn new(open: Duration, half: Duration) -> Self {
        let slice = (open.min(half) / SLICES).max(SHORTEST);
        let slices = |time: Duration| u32::try_from(time.as_nanos().div_ceil(slice.as_nanos())).unwrap_or(u32::MAX).max(1);
        Self { slice, open: slices(open), half: slices(half), half_closed: false, quiet: 0, seen: 0 }
    }

    /// How long to wait until the next [`Idle::tick`]; always the same, so that a session needs its timer set only once.
    pub const fn slice(&self) -> Duration {
        self.slice
    }

    /// Something moved: quiet slices count from now.
    pub const fn begin(&mut self) {
        self.quiet = 0;
    }

    /// A slice has passed, and the session has moved so many bytes in all. True: it is idle.
    #[must_use]
    pub fn tick(&mut self, moved: u64, half_closed: bool) -> bool {
        if moved != self.seen || half_closed != self.half_closed {
            (self.seen, self.half_closed, self.quiet) = (moved, half_closed, 0);
            return false;
        }
        self.quiet = self.quiet.saturating_add(1);
        self.quiet >= if half_closed { self.half } else { self.open }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the watch against a byte count that changes at the given slices; the slice in which it was found idle.
    fn idle_after(changes: &[u32], half_closed_from: u32) -> u32 {
        let mut idle = Idle::new(Duration::from_secs(8), Duration::from_secs(4));
        assert_eq!(idle.slice(), Duration::from_millis(500));
        let mut moved = 0;
        (1..100)
            .find(|slice| {
                moved += u64::from(changes.contains(slice));
                idle.tick(moved, *slice >= half_closed_from)
            })
            .unwrap()
    }

    #[test]
    fn a_session_is_idle_when_all_slices_of_its_time_were_quiet() {
        assert_eq!(idle_after(&[], 100), 16);
        assert_eq!(idle_after(&[1], 100), 17);
        assert_eq!(idle_after(&[3, 10], 100), 26);
    }

    #[test]
    fn a_half_closed_session_has_its_own_time_from_its_fin_on() {
        assert_eq!(idle_after(&[], 10), 18);
        assert_eq!(idle_after(&[12], 10), 20);
    }
}
