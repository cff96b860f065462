//! Connections of one node that wait for their next request, and those of HTTP/2 that requests share. Each worker has its own stack,
//! so that a connection stays where its socket is watched, and no lock is ever waited for.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::h1::H1;
use super::h2::{H2, Shared};
use super::kind::Wanted;
use crate::model::Keepalive;

/// Stacks of one node; workers beyond that many share.
const STACKS: usize = 16;

/// The waiting connections of one node.
#[derive(Debug)]
pub struct Pool {
    stacks: [Mutex<Vec<Waiting>>; STACKS],
    shared: [Mutex<Vec<Shared>>; STACKS],
    /// One dial of HTTP/2 at a time on each worker: whoever waits for it may find room on what it opened.
    dials: [Arc<tokio::sync::Mutex<()>>; STACKS],
}

#[derive(Debug)]
struct Waiting {
    h1: Box<H1>,
    since: Instant,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            stacks: std::array::from_fn(|_| Mutex::default()),
            shared: std::array::from_fn(|_| Mutex::default()),
            dials: std::array::from_fn(|_| Arc::default()),
        }
    }
}

impl Pool {
    /// The connection of a kind that waits for the shortest time and is still open.
    pub fn take(&self, wanted: Wanted<'_>) -> Option<Box<H1>> {
        let mut stack = self.stack();
        loop {
            let at = stack.iter().rposition(|waiting| wanted.is(waiting.h1.kind()))?;
            let mut h1 = stack.remove(at).h1;
            if h1.is_quiet() {
                return Some(h1);
            }
        }
    }

    /// Gives a connection back that is free. It is closed if enough are waiting, or if it has carried enough.
    pub fn give(&self, mut h1: Box<H1>, keep: &Keepalive, now: Instant) {
        let mut stack = self.stack();
        if h1.requests() < keep.requests && stack.len() < keep.size {
            h1.rest();
            stack.push(Waiting { h1, since: now });
        } else {
            drop(stack);
            h1.say_end();
        }
    }

    /// Closes what waited for longer than `idle`, and what the node has closed.
    pub fn sweep(&self, idle: Duration, now: Instant) {
        for stack in &self.stacks {
            lock(stack).retain_mut(|waiting| {
                let is_wanted = now.saturating_duration_since(waiting.since) < idle && waiting.h1.is_quiet();
                if !is_wanted {
                    waiting.h1.say_end();
                }
                is_wanted
            });
        }
        for stack in &self.shared {
            lock(stack).retain(|shared| shared.is_wanted(idle, now));
        }
    }

    /// A stream of a shared connection of a kind that has room.
    pub fn stream(&self, wanted: Wanted<'_>, now: Instant) -> Option<H2> {
        let mut stack = lock(mine(&self.shared));
        stack.retain(Shared::is_open);
        stack.iter_mut().filter(|shared| wanted.is(shared.kind())).find_map(|shared| shared.stream(now))
    }

    /// Lets requests of this worker share a connection; the first stream of it.
    pub fn share(&self, mut shared: Shared, now: Instant) -> Option<H2> {
        let stream = shared.stream(now);
        lock(mine(&self.shared)).push(shared);
        stream
    }

    /// The turn to dial for HTTP/2. Cancel safe: who stops waiting leaves the turn to the next.
    pub async fn turn(&self) -> tokio::sync::OwnedMutexGuard<()> {
        mine(&self.dials).clone().lock_owned().await
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.stacks.iter().map(|stack| lock(stack).len()).sum()
    }

    fn stack(&self) -> MutexGuard<'_, Vec<Waiting>> {
        lock(mine(&self.stacks))
    }
}

/// What of these is this worker's.
fn mine<T>(all: &[T; STACKS]) -> &T {
    let [first, ..] = all;
    all.get(place()).unwrap_or(first)
}

fn lock<T>(stack: &Mutex<T>) -> MutexGuard<'_, T> {
    stack.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The stack of this thread.
fn place() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static PLACE: Cell<usize> = Cell::new(THREADS.fetch_add(1, Ordering::Relaxed) % STACKS);
    }
    PLACE.get()
}
