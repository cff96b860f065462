//! A store that lives in memory only: the full contract without durability, for what need not outlive the process. Touches no disk.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;

use super::clock::Clock;
use super::feed::Feed;
use super::image::Image;
use super::sweep;
use super::{Entry, Listing, Op, Revision, Store, StoreError, Subscription, Txn};
use crate::base::task;

/// Keys in memory. They are gone with it.
#[derive(Debug)]
pub struct Memory {
    shared: Arc<Shared>,
    sweeper: OnceLock<()>,
}

#[derive(Debug)]
struct Shared {
    feed: Feed,
    clock: Clock,
    turn: Mutex<()>,
}

impl Memory {
    /// An empty store. Needs no runtime until it is used.
    pub fn new() -> Self {
        let shared = Shared { feed: Feed::new(Image::default()), clock: Clock::start(), turn: Mutex::new(()) };
        Self { shared: Arc::new(shared), sweeper: OnceLock::new() }
    }

    /// Ends leases from now on; nothing happens if that is so already.
    fn sweep(&self) {
        self.sweeper.get_or_init(|| {
            let weak = Arc::downgrade(&self.shared);
            task::spawn(sweep::run(self.shared.clock, self.shared.feed.due(), move || {
                if let Some(shared) = weak.upgrade() {
                    shared.expire();
                }
                std::future::ready(true)
            }));
        });
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Shared {
    fn commit(&self, txn: Txn) -> Result<Revision, StoreError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (step, newest) = {
            let image = self.feed.image();
            (image.plan(txn, self.clock.now())?, image.revision())
        };
        let Some(step) = step else { return Ok(newest) };
        let at = step.at;
        self.feed.publish(step);
        Ok(at)
    }

    fn expire(&self) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let step = self.feed.image().plan_expiry(self.clock.now());
        if let Some(step) = step {
            self.feed.publish(step);
        }
    }
}

#[async_trait]
impl Store for Memory {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        Ok(self.shared.feed.get(key))
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        Ok(self.shared.feed.list(prefix))
    }

    async fn commit(&self, txn: Txn) -> Result<Revision, StoreError> {
        if txn.ops.iter().any(|op| matches!(op, Op::Put { ttl: Some(_), .. })) {
            self.sweep();
        }
        self.shared.commit(txn)
    }

    async fn subscribe(&self, prefix: &str) -> Result<Box<dyn Subscription>, StoreError> {
        Ok(Box::new(self.shared.feed.subscribe(prefix)))
    }
}
