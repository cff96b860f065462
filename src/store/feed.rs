//! The published image: readers, subscribers, and the time of the next lease's end. Makes nothing durable and decides nothing.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use async_trait::async_trait;
use tokio::sync::{broadcast, watch};

use super::clock::Wall;
use super::image::{Image, Step};
use super::{Change, Entry, Event, Listing, Revision, Subscription};

/// How many revisions a subscriber may be behind before it is given a fresh listing in their place.
pub const BACKLOG: usize = 256;

/// The changes of one revision.
#[derive(Debug)]
struct Published {
    changes: Vec<Change>,
    at: Revision,
}

/// An image that others read and follow. Steps are published by one at a time.
#[derive(Debug)]
pub(super) struct Feed {
    image: Arc<RwLock<Image>>,
    sender: broadcast::Sender<Arc<Published>>,
    due: watch::Sender<Option<Wall>>,
}

impl Feed {
    /// Publishes an image; nobody follows it yet.
    pub(super) fn new(image: Image) -> Self {
        let due = watch::Sender::new(image.next_due());
        Self { image: Arc::new(RwLock::new(image)), sender: broadcast::Sender::new(BACKLOG), due }
    }

    /// The image. Publishing waits for the guard: hold it briefly.
    pub(super) fn image(&self) -> RwLockReadGuard<'_, Image> {
        self.image.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// One key.
    pub(super) fn get(&self, key: &str) -> Option<Entry> {
        self.image().get(key)
    }

    /// All keys that start with the prefix.
    pub(super) fn list(&self, prefix: &str) -> Listing {
        self.image().list(prefix)
    }

    /// When the next key is due to be deleted by itself, followed. Ends with the feed.
    pub(super) fn due(&self) -> watch::Receiver<Option<Wall>> {
        self.due.subscribe()
    }

    /// Takes the next step and tells everybody. Readers and subscribers see all of it or nothing.
    pub(super) fn publish(&self, step: Step) {
        let at = step.at;
        let mut image = self.image.write().unwrap_or_else(PoisonError::into_inner);
        let changes = image.apply(step);
        let next = image.next_due();
        // sent under the lock, so that a listing and what follows it have no gap; an error means that nobody listens
        let _ = self.sender.send(Arc::new(Published { changes, at }));
        drop(image);
        self.due.send_if_modified(|due| std::mem::replace(due, next) != next);
    }

    /// Follows the keys that start with the prefix.
    pub(super) fn subscribe(&self, prefix: &str) -> Follower {
        let image = self.image();
        let receiver = self.sender.subscribe();
        Follower { first: Some(image.list(prefix)), prefix: prefix.to_owned(), image: self.image.clone(), receiver }
    }
}

/// A subscription of a feed. Does not keep the store alive.
#[derive(Debug)]
pub(super) struct Follower {
    prefix: String,
    first: Option<Listing>,
    image: Arc<RwLock<Image>>,
    receiver: broadcast::Receiver<Arc<Published>>,
}

impl Follower {
    fn inside(&self, change: &Change) -> bool {
        match change {
            Change::Put(entry) => entry.key.starts_with(&self.prefix),
            Change::Delete { key, .. } => key.starts_with(&self.prefix),
        }
    }

    /// Starts again from now.
    fn catch_up(&mut self) -> Listing {
        let image = self.image.read().unwrap_or_else(PoisonError::into_inner);
        self.receiver = self.receiver.resubscribe();
        image.list(&self.prefix)
    }
}

#[async_trait]
impl Subscription for Follower {
    async fn next(&mut self) -> Option<Event> {
        if let Some(listing) = self.first.take() {
            return Some(Event::Reset(listing));
        }
        loop {
            match self.receiver.recv().await {
                Ok(news) => {
                    let changes: Vec<Change> = news.changes.iter().filter(|change| self.inside(change)).cloned().collect();
                    if !changes.is_empty() {
                        return Some(Event::Apply { changes, at: news.at });
                    }
                }
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    let listing = self.catch_up();
                    tracing::debug!(missed, at = listing.at, "a subscriber was too slow and starts again from a listing");
                    return Some(Event::Reset(listing));
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Op, Txn};

    fn publish(feed: &Feed, key: &str) {
        let put = Op::Put { key: key.into(), value: bytes::Bytes::new(), ttl: None };
        let step = feed.image().plan(Txn { guards: vec![], ops: vec![put] }, Wall(0)).unwrap().unwrap();
        feed.publish(step);
    }

    #[tokio::test]
    async fn a_slow_subscriber_is_given_a_listing_and_then_what_follows_it() {
        let feed = Feed::new(Image::default());
        let mut slow = feed.subscribe("/a/");
        for n in 0..=BACKLOG {
            publish(&feed, &format!("/a/{n}"));
        }
        assert!(matches!(slow.next().await, Some(Event::Reset(l)) if l.at == 0));
        assert!(matches!(slow.next().await, Some(Event::Reset(l)) if l.entries.len() == BACKLOG + 1));
        publish(&feed, "/a/last");
        assert!(matches!(slow.next().await, Some(Event::Apply { changes, .. }) if changes.len() == 1));
    }

    #[tokio::test]
    async fn a_subscription_ends_with_the_store_after_what_was_published() {
        let feed = Feed::new(Image::default());
        let mut follower = feed.subscribe("");
        publish(&feed, "a");
        drop(feed);
        assert!(matches!(follower.next().await, Some(Event::Reset(_))));
        assert!(matches!(follower.next().await, Some(Event::Apply { at: 1, .. })));
        assert_eq!(follower.next().await, None);
    }
}
