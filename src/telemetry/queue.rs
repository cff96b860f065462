//! What the queues of the logs have in common: waiting until their writers have caught up. Knows nothing of what is written.

use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tokio::time::Instant;

/// How long a queue that is full is left alone before it is asked again.
const AGAIN: Duration = Duration::from_millis(1);

/// Puts a message behind all that waits, made of the sender by which the writer tells that it has come to it, and waits for that, at
/// most this long. False if it took longer, or if the writer is gone. Blocks the thread: it is for the end of the process.
pub(super) fn flush<M>(queue: &SyncSender<M>, message: impl FnOnce(SyncSender<()>) -> M, within: Duration) -> bool {
    let (done, told) = sync_channel(1);
    let deadline = Instant::now() + within;
    let mut message = message(done);
    while let Err(TrySendError::Full(back)) = queue.try_send(message) {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::park_timeout(AGAIN);
        message = back;
    }
    told.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok()
}
