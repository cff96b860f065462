//! Runtimes: one thread for control, one for each data worker.

use std::io;

use tokio::runtime::{Builder, Runtime};

use crate::listen::Worker;

/// The control runtime: store, builds, Admin, metrics, names.
pub(super) fn control() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// How many workers: as told, else one for each processor that this process may use.
pub(super) fn worker_count(told: Option<usize>) -> usize {
    told.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1)
}

/// Starts a data worker on a thread of its own. It ends with its last handle, or with the process.
pub(super) fn start(index: usize, worker: Worker) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || runtime.block_on(worker.run()))?;
    Ok(())
}
