//! Ends leases at their time: one timer, at the next one's end. What ending means is the provider's business.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;

use super::clock::{Clock, Wall};

/// The first wait after a sweep that could not be made; every further one is twice as long.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// The longest wait after a sweep that could not be made.
const RETRY_LONGEST: Duration = Duration::from_secs(60);

/// Calls `sweep` whenever a lease has ended; it answers whether it could delete the keys. Returns when the feed behind `due` is gone.
pub(super) async fn run<F, T>(clock: Clock, mut due: watch::Receiver<Option<Wall>>, sweep: F)
where
    F: Fn() -> T + Send,
    T: Future<Output = bool> + Send,
{
    let mut wait = RETRY_FIRST;
    loop {
        let next = *due.borrow_and_update();
        let came = async {
            match next {
                Some(at) => clock.reach(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            heard = due.changed() => {
                if heard.is_err() {
                    return;
                }
            }
            () = came => {
                if sweep().await {
                    wait = RETRY_FIRST;
                } else {
                    // also ended by any change of the next lease, and by the end of the feed
                    let _ = tokio::time::timeout(wait, due.changed()).await;
                    wait = RETRY_LONGEST.min(wait * 2);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[tokio::test(start_paused = true)]
    async fn a_sweep_that_fails_is_made_again_ever_more_slowly() {
        let clock = Clock::start();
        let due = watch::Sender::new(Some(clock.now().after(Duration::from_secs(10))));
        let (began, calls) = (clock.now(), Mutex::new(Vec::new()));
        let sweep = || {
            let mut calls = calls.lock().unwrap();
            calls.push(Duration::from_nanos(clock.now().0 - began.0).as_secs());
            let done = calls.len() == 4;
            if done {
                due.send_replace(None);
            }
            std::future::ready(done)
        };
        let swept = tokio::time::timeout(Duration::from_secs(1000), run(clock, due.subscribe(), sweep)).await;
        assert!(swept.is_err(), "it waits for the next lease");
        assert_eq!(*calls.lock().unwrap(), [10, 11, 13, 17]);
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_with_the_feed() {
        let due = watch::Sender::new(None);
        let receiver = due.subscribe();
        drop(due);
        run(Clock::start(), receiver, || std::future::ready(true)).await;
    }
}
