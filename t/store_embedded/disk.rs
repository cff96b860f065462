//! Disks that fail on purpose, and remember that they did.

use std::collections::BTreeSet;
use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};
use tokio::sync::Notify;
use tokio::time::timeout;

/// What the disk does from now on, and what it did.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// How many syncs are yet to fail.
    failing_syncs: AtomicU32,
    pub(crate) panics_in_syncs: AtomicBool,
    pub(crate) is_full: AtomicBool,
    faults: AtomicU32,
    syncs: Notify,
    holds_syncs: Mutex<bool>,
    released: Condvar,
}

impl Disk {
    pub(crate) fn set(flag: &AtomicBool, to: bool) {
        flag.store(to, Ordering::SeqCst);
    }

    pub(crate) fn faults(&self) -> u32 {
        self.faults.load(Ordering::SeqCst)
    }

    /// Whether syncs wait.
    pub(crate) fn hold(&self, to: bool) {
        *self.holds_syncs.lock().unwrap() = to;
        self.released.notify_all();
    }

    /// Lets that many syncs fail.
    pub(crate) fn fail_syncs(&self, times: u32) {
        self.failing_syncs.store(times, Ordering::SeqCst);
    }

    /// Returns when a sync has begun since the last call.
    pub(crate) async fn reaches_sync(&self) {
        timeout(Duration::from_secs(60), self.syncs.notified()).await.expect("a sync in time");
    }

    /// Forgets the syncs until now.
    pub(crate) async fn forget_syncs(&self) {
        let _ = timeout(Duration::ZERO, self.syncs.notified()).await;
    }

    fn fault<T>(&self, error: rustix::io::Errno) -> io::Result<T> {
        self.faults.fetch_add(1, Ordering::SeqCst);
        Err(error.into())
    }

    fn sync(&self) -> io::Result<()> {
        self.syncs.notify_one();
        drop(self.released.wait_while(self.holds_syncs.lock().unwrap(), |held| *held).unwrap());
        if self.panics_in_syncs.swap(false, Ordering::SeqCst) {
            self.faults.fetch_add(1, Ordering::SeqCst);
            panic!("a panic on purpose");
        }
        match self.failing_syncs.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => self.fault(rustix::io::Errno::IO),
            Err(_) => Ok(()),
        }
    }
}

/// A file on such a disk.
#[derive(Debug)]
pub(crate) struct OnDisk(pub(crate) FileBackend, pub(crate) Arc<Disk>);

impl StorageBackend for OnDisk {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.1.sync()?;
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.1.is_full.load(Ordering::SeqCst) {
            return self.1.fault(rustix::io::Errno::NOSPC);
        }
        self.0.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.0.close()
    }
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }
    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }
}

/// A disk behind a page cache. As on Linux, a failed sync leaves the pages in the cache, counted as written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cached(Arc<Mutex<Pages>>);

#[derive(Clone, Debug, Default)]
struct Pages {
    cache: Vec<u8>,
    disk: Vec<u8>,
    dirty: BTreeSet<usize>,
    failing_syncs: u32,
    lost: usize,
}

impl Cached {
    const PAGE: usize = 4096;

    /// Lets that many syncs fail.
    pub(crate) fn fail_syncs(&self, times: u32) {
        self.0.lock().unwrap().failing_syncs = times;
    }

    /// How many pages were in syncs that failed.
    pub(crate) fn lost(&self) -> usize {
        self.0.lock().unwrap().lost
    }

    /// The disk as it is found after a power cut now.
    pub(crate) fn after_power_cut(&self) -> Self {
        let disk = self.0.lock().unwrap().disk.clone();
        Self(Arc::new(Mutex::new(Pages { cache: disk.clone(), disk, ..Pages::default() })))
    }
}

impl StorageBackend for Cached {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().cache.len().try_into().unwrap())
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).unwrap();
        let pages = self.0.lock().unwrap();
        out.copy_from_slice(pages.cache.get(from..from + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().unwrap().cache.resize(len.try_into().unwrap(), 0);
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let from = usize::try_from(offset).unwrap();
        let mut pages = self.0.lock().unwrap();
        pages.cache[from..from + data.len()].copy_from_slice(data);
        pages.dirty.extend(from / Self::PAGE..=(from + data.len() - 1) / Self::PAGE);
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        let pages = &mut *self.0.lock().unwrap();
        let dirty = std::mem::take(&mut pages.dirty);
        if pages.failing_syncs > 0 {
            pages.failing_syncs -= 1;
            pages.lost += dirty.len();
            return Err(rustix::io::Errno::IO.into());
        }
        pages.disk.resize(pages.cache.len(), 0);
        for page in dirty {
            let end = pages.cache.len().min((page + 1) * Self::PAGE);
            if let Some(from) = pages.cache.get(page * Self::PAGE..end) {
                pages.disk[page * Self::PAGE..end].copy_from_slice(from);
            }
        }
        Ok(())
    }
}
