//! Waiting for a fact with a deadline. The only place of the tests that lets time pass: it parks for a few milliseconds between two
//! looks, so that a test is as fast as the fact that it waits for.

use std::time::{Duration, Instant};

/// The deadline of most facts: far beyond what a healthy gateway needs, on a machine that does other things too.
pub const SOON: Duration = Duration::from_secs(15);

const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// Looks until there is something, and returns it. Panics with `what` at the deadline.
pub fn until<T>(deadline: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < deadline, "not within {deadline:?}: {what}");
        std::thread::park_timeout(BETWEEN_LOOKS);
    }
}

/// [`until`] for a condition, with the usual deadline.
pub fn soon(what: &str, mut holds: impl FnMut() -> bool) {
    until(SOON, what, || holds().then_some(()));
}

/// Asserts that a condition holds for the whole time.
pub fn throughout(time: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        assert!(holds(), "did not hold for {time:?}: {what}");
        std::thread::park_timeout(BETWEEN_LOOKS);
    }
}

/// Waits for a moment: the pace of a load that has one.
pub fn not_before(moment: Instant) {
    while let Some(left) = moment.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}

mod tests {
    use super::*;

    #[test]
    fn what_is_true_already_is_not_waited_for() {
        assert_eq!(until(Duration::ZERO, "a fact", || Some(7)), 7);
    }

    #[test]
    #[should_panic(expected = "not within 0ns: a wonder")]
    fn what_never_comes_fails_with_its_name() {
        until(Duration::ZERO, "a wonder", || None::<()>);
    }
}
