//! Runtimes: one thread for control, one for each data worker.

use std::io;

use rustix::process::{getpriority_process, nice, setpriority_process};
use tokio::runtime::{Builder, Runtime};

use crate::listen::Worker;

/// How much nicer control's threads are than the workers: a worker that wakes on a processor where control runs goes first, and
/// where nothing is left over, control still has about a tenth of a processor (sched(7), "The nice value").
const NICER: i32 = 10;

/// The control runtime: store, builds, Admin, metrics, names. Its blocking threads yield to the workers from the start; its own
/// thread does from [`yield_to_workers`] on.
pub(super) fn control() -> io::Result<Runtime> {
    // the highest niceness is what the system makes of anything above it
    let yielding = getpriority_process(None)? + NICER;
    // where it is forbidden, all threads are alike
    let on_start = move || {
        let _ = setpriority_process(None, yielding);
    };
    Builder::new_current_thread().enable_all().on_thread_start(on_start).build()
}

/// Lets the workers, and whatever else was started before, go before this thread and all that it starts from now on. A thread begins
/// as nice as its parent and may not become less so: call it when the workers have started.
pub(super) fn yield_to_workers() {
    // where it is forbidden, all threads are alike
    let _ = nice(NICER);
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
