//! Which revision the data workers use. Written by the listening side, read by Admin, status and readiness.

use tokio::sync::watch;

/// The writing end: one in the process.
#[derive(Debug)]
pub struct AppliedWriter(watch::Sender<Option<u64>>);

/// The reading end.
#[derive(Clone, Debug)]
pub struct Applied(watch::Receiver<Option<u64>>);

/// Both ends; nothing is applied yet.
pub fn applied() -> (AppliedWriter, Applied) {
    let (tx, rx) = watch::channel(None);
    (AppliedWriter(tx), Applied(rx))
}

impl AppliedWriter {
    /// Every worker uses the snapshot of this revision, and each of its listeners is bound or visibly failed.
    pub fn set(&self, revision: u64) {
        self.0.send_replace(Some(revision));
    }
}

impl Applied {
    /// The applied revision; `None` before the first.
    pub fn revision(&self) -> Option<u64> {
        *self.0.borrow()
    }

    /// Waits until at least this revision is applied. Cancel safe; for ever if the process is ending.
    pub async fn reached(&mut self, revision: u64) {
        if self.0.wait_for(|now| now.is_some_and(|n| n >= revision)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
