//! Room for the connections of a site: any number may come, of those that wait the one that has waited longest gives way, and so many
//! are answered at a time. Knows no sockets and nothing of what is asked.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// How much room a site has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Connections that wait: for a request, for its turn to be answered, for their client to read.
    pub(super) waiting: usize,
    /// Requests that are answered at a time.
    pub(super) answers: usize,
    /// As many more from this host alone: who sits at the machine gets an answer whatever others do.
    pub(super) local: usize,
}

/// The room of one site.
pub(super) struct Places {
    most: usize,
    line: Mutex<Line>,
    answers: Arc<Semaphore>,
    local: Arc<Semaphore>,
}

/// Those that wait, by number: the lowest has waited longest.
#[derive(Default)]
struct Line {
    next: u64,
    waiting: BTreeMap<u64, Arc<Notify>>,
}

/// A connection's place. Free again when it is dropped.
pub(super) struct Seat {
    places: Arc<Places>,
    is_local: bool,
    number: AtomicU64,
    leave: Arc<Notify>,
}

impl Places {
    pub(super) fn new(room: Room) -> Arc<Self> {
        let [answers, local] = [room.answers, room.local].map(|most| Arc::new(Semaphore::new(most)));
        Arc::new(Self { most: room.waiting, line: Mutex::default(), answers, local })
    }

    /// A place for a connection that has come, from this host or another. It waits from now on.
    pub(super) fn enter(self: &Arc<Self>, is_local: bool) -> Seat {
        let seat = Seat { places: self.clone(), is_local, number: AtomicU64::new(0), leave: Arc::default() };
        seat.wait();
        seat
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Comes back when this connection has to give way. One whose request is answered does not have to.
    pub(super) async fn sent_away(&self) {
        self.leave.notified().await;
    }

    /// Answers a request when it is its turn. Never comes back for a connection that has to give way.
    pub(super) async fn answer<T>(&self, answer: impl Future<Output = T>) -> T {
        let _turn = self.turn().await;
        if !self.rise() {
            return pending().await;
        }
        let answer = answer.await;
        self.wait();
        answer
    }

    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        let anybody = self.places.answers.clone().acquire_owned();
        if !self.is_local {
            return anybody.await.ok();
        }
        tokio::select! {
            biased;
            turn = anybody => turn.ok(),
            turn = self.places.local.clone().acquire_owned() => turn.ok(),
        }
    }

    /// Goes to the end of the line; its head gives way if there are too many.
    fn wait(&self) {
        let mut line = self.places.line();
        let number = line.next;
        line.next += 1;
        line.waiting.insert(number, self.leave.clone());
        self.number.store(number, Ordering::Relaxed);
        if line.waiting.len() > self.places.most
            && let Some((_, oldest)) = line.waiting.pop_first()
        {
            oldest.notify_one();
        }
    }

    /// Leaves the line. False: it was not there any more.
    fn rise(&self) -> bool {
        self.places.line().waiting.remove(&self.number.load(Ordering::Relaxed)).is_some()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.rise();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::ready;
    use std::time::Duration;
    use tokio::sync::oneshot;
    use tokio::time::timeout;

    const ROOM: Room = Room { waiting: 2, answers: 1, local: 1 };

    /// What it comes to without waiting.
    async fn now<T>(work: impl Future<Output = T>) -> Option<T> {
        timeout(Duration::ZERO, work).await.ok()
    }

    /// Begins an answer that is made when the sender says so.
    fn busy(seat: &Arc<Seat>) -> (oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
        let (made, making) = oneshot::channel();
        let seat = seat.clone();
        (made, crate::base::task::spawn(async move { seat.answer(async { making.await.unwrap() }).await }))
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_that_has_waited_longest_gives_way() {
        let places = Places::new(ROOM);
        let [first, second] = [places.enter(false), places.enter(false)];
        assert_eq!(now(first.answer(ready(7))).await, Some(7), "it waits for its second request from now on");
        let third = places.enter(false);
        assert!(now(second.sent_away()).await.is_some());
        assert_eq!(now(second.answer(ready(7))).await, None, "what is sent away begins nothing");
        assert!(now(first.sent_away()).await.is_none() && now(third.sent_away()).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_gone_makes_room() {
        let places = Places::new(ROOM);
        let stays = places.enter(false);
        for _ in 0..10 {
            drop(places.enter(false));
        }
        assert!(now(stays.sent_away()).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_answered_keeps_the_place() {
        let places = Places::new(ROOM);
        let seat = Arc::new(places.enter(false));
        let (made, answering) = busy(&seat);
        tokio::task::yield_now().await;
        let _others: Vec<_> = (0..10).map(|_| places.enter(true)).collect();
        assert!(now(seat.sent_away()).await.is_none());
        made.send(()).unwrap();
        answering.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn while_all_are_busy_others_wait_for_their_turn_and_this_host_does_not() {
        let places = Places::new(Room { waiting: 3, ..ROOM });
        let (made, answering) = busy(&Arc::new(places.enter(false)));
        tokio::task::yield_now().await;
        let (far, local) = (places.enter(false), places.enter(true));
        assert_eq!(now(far.answer(ready(7))).await, None);
        assert_eq!(now(local.answer(ready(7))).await, Some(7));
        made.send(()).unwrap();
        answering.await.unwrap();
        assert_eq!(now(far.answer(ready(7))).await, Some(7));
    }
}
