//! Long-lived tasks by name: a panic in one is logged and counted, and the task is started again.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::JoinHandle;

/// Called with the task's name when it panicked. `app` passes in what counts it.
pub type PanicHook = Arc<dyn Fn(&'static str) + Send + Sync>;

/// A future that turns a panic of the one inside into `None`.
struct Caught<F>(F);

impl<F: Future + Unpin> Future for Caught<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let inner = Pin::new(&mut self.0);
        match std::panic::catch_unwind(AssertUnwindSafe(|| inner.poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(out)) => Poll::Ready(Some(out)),
            Err(_) => Poll::Ready(None),
        }
    }
}

/// Runs a task until it returns; after a panic it is made and run again, a second later.
///
/// Aborting the handle ends the task at its next wait.
#[expect(clippy::disallowed_methods, reason = "the one place that spawns long-lived tasks")]
pub fn supervise<F, T>(name: &'static str, hook: PanicHook, mut make: F) -> JoinHandle<()>
where
    F: FnMut() -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(async move {
        while Caught(Box::pin(make())).await.is_none() {
            tracing::error!(task = name, "task panicked and is started again");
            hook(name);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    })
}

/// Runs a task once, under no supervision: its end, by a panic too, concerns nobody else.
#[expect(clippy::disallowed_methods, reason = "the one place that spawns short-lived tasks")]
pub fn spawn<T>(task: T) -> JoinHandle<T::Output>
where
    T: Future + Send + 'static,
    T::Output: Send + 'static,
{
    tokio::spawn(task)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test(start_paused = true)]
    async fn a_panicking_task_is_counted_and_started_again() {
        let runs = Arc::new(AtomicU32::new(0));
        let panics = Arc::new(AtomicU32::new(0));
        let (r, p) = (runs.clone(), panics.clone());
        let hook: PanicHook = Arc::new(move |_| {
            p.fetch_add(1, Ordering::Relaxed);
        });
        supervise("test", hook, move || {
            let r = r.clone();
            async move {
                assert!(r.fetch_add(1, Ordering::Relaxed) > 1, "not yet");
            }
        })
        .await
        .unwrap();
        assert_eq!((runs.load(Ordering::Relaxed), panics.load(Ordering::Relaxed)), (3, 2));
    }
}
