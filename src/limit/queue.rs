//! Who waits for a permit, oldest first. Knows nothing of permits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use atomic_waker::AtomicWaker;
use smallvec::SmallVec;

/// Those who have to be woken, once no lock is held: a waker may run code that comes back here.
pub(super) type Wakes = SmallVec<[Arc<Seat>; 4]>;

/// One place in a queue, shared by the queue and the one who waits.
#[derive(Debug, Default)]
pub(super) struct Seat {
    ticket: u64,
    granted: AtomicBool,
    pub(super) waker: AtomicWaker,
}

impl Seat {
    /// Whether it has got its permit. Changes only under the lock of its queue.
    pub(super) fn granted(&self) -> bool {
        self.granted.load(Ordering::Acquire)
    }
}

/// Wakes everybody in the list.
pub(super) fn wake(wakes: &Wakes) {
    for seat in wakes {
        seat.waker.wake();
    }
}

/// A queue. Tickets rise with the places, so that one is found without a walk.
#[derive(Debug, Default)]
pub(super) struct Queue {
    seats: VecDeque<Arc<Seat>>,
    next: u64,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.seats.len()
    }

    pub(super) fn push(&mut self) -> Arc<Seat> {
        let seat = Arc::new(Seat { ticket: self.next, ..Seat::default() });
        self.next = self.next.wrapping_add(1);
        self.seats.push_back(seat.clone());
        seat
    }

    /// The oldest, who watches the clock for all.
    pub(super) fn head(&self) -> Option<&Arc<Seat>> {
        self.seats.front()
    }

    /// Takes the oldest out and marks its seat as granted.
    pub(super) fn grant(&mut self) -> Option<Arc<Seat>> {
        let seat = self.seats.pop_front()?;
        seat.granted.store(true, Ordering::Release);
        Some(seat)
    }

    /// Takes one out that waits no more.
    pub(super) fn leave(&mut self, seat: &Seat) {
        if let Ok(at) = self.seats.binary_search_by_key(&seat.ticket, |s| s.ticket) {
            self.seats.remove(at);
        }
    }
}
