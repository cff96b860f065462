//! The process's file descriptor limit: raised at start, and asked by whoever shares descriptors out.

use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limit when the system says that there is none.
const PLENTY: usize = 1 << 20;

static LIMIT: AtomicUsize = AtomicUsize::new(0);

/// Raises the soft limit to the hard one, and returns what holds then.
pub fn raise_descriptors() -> usize {
    let now = getrlimit(Resource::Nofile);
    // refused raises leave the soft limit, which is read back below
    let _ = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum });
    let limit = read();
    LIMIT.store(limit, Ordering::Relaxed);
    limit
}

/// How many descriptors the process may have.
pub fn descriptors() -> usize {
    match LIMIT.load(Ordering::Relaxed) {
        0 => raise_descriptors(),
        known => known,
    }
}

fn read() -> usize {
    getrlimit(Resource::Nofile).current.and_then(|n| usize::try_from(n).ok()).unwrap_or(PLENTY)
}
