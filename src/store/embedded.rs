//! The store of a single machine: a redb file behind an image in memory. Reads never touch the disk; writes answer after the fsync.
//!
//! One write at a time: it is planned on the image, made durable off the runtime, published, answered. A write whose caller is gone
//! is still finished. A write that the disk refuses changes nothing for readers and subscribers (see `vault` for what it may leave
//! in the file and how that is undone).

mod place;
mod vault;

use std::io;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use prometheus::{IntCounter, IntGauge};
use redb::StorageBackend;
use tokio::sync::{Mutex, OwnedMutexGuard};

use self::place::Place;
use self::vault::{Fault, Vault};
use super::clock::Clock;
use super::feed::Feed;
use super::image::{Image, Step};
use super::sweep;
use super::{Entry, Listing, Revision, Standing, Store, StoreError, Subscription, Txn};
use crate::base::task;
use crate::telemetry::Metrics;

/// Keys in a file on this machine. The file belongs to one process at a time.
#[derive(Debug)]
pub struct Embedded {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: String,
    feed: Feed,
    clock: Clock,
    /// Whoever holds it is the one that writes.
    vault: Arc<Mutex<Vault>>,
    health: Health,
}

/// What asks for a step: decides it on the image as it is when its turn has come.
type Decide = Box<dyn FnOnce(&Image) -> Result<Option<Step>, StoreError> + Send>;

impl Embedded {
    /// Opens the file, or makes it together with its missing directories; a `<path>.lock` beside it keeps other processes out. Reads
    /// all of it and verifies its checksums. Keys whose lease ended meanwhile are deleted at once.
    ///
    /// Errors: `InUse`, `Unusable` (damaged, foreign, not permitted), `Unavailable` (no space, I/O errors).
    pub async fn open(path: &Path, metrics: Metrics) -> Result<Self, StoreError> {
        let owned = path.to_owned();
        let taken = blocking(move || {
            let place = Place::take(&owned)?;
            place.refuse_empty()?;
            Ok(place)
        });
        let place = taken.await.and_then(|taken| taken);
        let place = place.map_err(|fault| refusal(&path.display().to_string(), &fault))?;
        Self::with_backend(path, move || place.open(), metrics).await
    }

    /// Like `open`, through the backends that `make` makes: one now, and one more after each fault, when the one before is closed.
    /// `path` is for messages only. The caller sees to it that no other process writes to what the backends write to.
    pub async fn with_backend<B, F>(path: &Path, make: F, metrics: Metrics) -> Result<Self, StoreError>
    where
        B: StorageBackend,
        F: Fn() -> io::Result<B> + Send + 'static,
    {
        let path = path.display().to_string();
        let health = Health::bind(&metrics);
        let opened = blocking(move || {
            let mut vault = Vault::new(make);
            let image = vault.load()?;
            Ok::<_, Fault>((vault, image))
        });
        let (vault, image) = opened.await.and_then(|loaded| loaded).map_err(|fault| {
            health.open.inc();
            refusal(&path, &fault)
        })?;
        tracing::info!(path, revision = image.revision(), keys = image.slots().count(), "the store is open");
        health.up.set(1);
        let vault = Arc::new(Mutex::new(vault));
        let shared = Arc::new(Shared { path, feed: Feed::new(image), clock: Clock::start(), vault, health });
        sweep(&shared, metrics);
        Ok(Self { shared })
    }

    /// Waits for the write that runs, closes the file and frees it for others. Dropping does the same as soon as no write runs, on the
    /// thread that drops.
    pub async fn close(self) {
        let mut vault = self.shared.vault.clone().lock_owned().await;
        // an error means that closing panicked; the file is no worse than after a crash
        let _ = blocking(move || vault.close()).await;
    }
}

/// Ends leases for as long as the store lives.
fn sweep(shared: &Arc<Shared>, metrics: Metrics) {
    let (clock, due, weak) = (shared.clock, shared.feed.due(), Arc::downgrade(shared));
    #[expect(clippy::disallowed_methods, reason = "bound when it happens, which should be never")]
    let hook: task::PanicHook = Arc::new(move |name| metrics.task_panics_total.with_label_values(&[name]).inc());
    task::supervise("store_leases", hook, move || {
        let weak = weak.clone();
        sweep::run(clock, due.clone(), move || {
            let shared = weak.upgrade();
            async move {
                let Some(shared) = shared else { return true };
                let clock = shared.clock;
                let expire: Decide = Box::new(move |image| Ok(image.plan_expiry(clock.now())));
                shared.write(expire, |health| &health.expire).await.is_ok()
            }
        })
    });
}

impl Shared {
    /// One write, from its decision to its publication.
    async fn write(self: Arc<Self>, decide: Decide, op: fn(&Health) -> &IntCounter) -> Result<Revision, StoreError> {
        let vault = self.vault.clone().lock_owned().await;
        let (step, newest) = {
            let image = self.feed.image();
            (decide(&image)?, image.revision())
        };
        let Some(step) = step else { return Ok(newest) };
        let shared = self.clone();
        // published in there too, so that nothing can come between the disk and the image
        let written = match blocking(move || shared.persist(vault, step)).await {
            Ok(written) => written,
            Err(panicked) => {
                self.health.went_down(&self.path, &panicked);
                Err(panicked)
            }
        };
        written.map_err(|fault| {
            op(&self.health).inc();
            let refused = refusal(&self.path, &fault);
            if let StoreError::Unavailable { .. } = refused { refused } else { StoreError::Unavailable { reason: refused.to_string() } }
        })
    }

    /// Makes a step durable, then publishes it. Blocks.
    fn persist(&self, mut vault: OwnedMutexGuard<Vault>, step: Step) -> Result<Revision, Fault> {
        if let Err(fault) = self.keep(&mut vault, &step) {
            self.health.went_down(&self.path, &fault);
            return Err(fault);
        }
        self.health.came_up(&self.path);
        let at = step.at;
        self.feed.publish(step);
        Ok(at)
    }

    fn keep(&self, vault: &mut Vault, step: &Step) -> Result<(), Fault> {
        if !vault.is_open() {
            self.heal(vault)?;
        }
        vault.write(step).inspect_err(|_| {
            // if only this write was too much for the disk, nothing of it stays behind from now on; else the next write tries again
            let _ = self.heal(vault);
        })
    }

    /// Opens the file again with what was acknowledged in it, and nothing else. Blocks.
    fn heal(&self, vault: &mut Vault) -> Result<(), Fault> {
        let acknowledged = self.feed.image().clone();
        vault.heal(&acknowledged).inspect_err(|_| self.health.open.inc())
    }
}

#[async_trait]
impl Store for Embedded {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        Ok(self.shared.feed.get(key))
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        Ok(self.shared.feed.list(prefix))
    }

    async fn commit(&self, txn: Txn) -> Result<Revision, StoreError> {
        let clock = self.shared.clock;
        let decide: Decide = Box::new(move |image| image.plan(txn, clock.now()));
        // a task of its own, which goes on when the caller is gone
        let write = task::spawn(self.shared.clone().write(decide, |health| &health.commit));
        write.await.unwrap_or_else(|lost| Err(StoreError::Unavailable { reason: lost.to_string() }))
    }

    async fn subscribe(&self, prefix: &str) -> Result<Box<dyn Subscription>, StoreError> {
        Ok(Box::new(self.shared.feed.subscribe(prefix)))
    }

    fn standing(&self) -> Standing {
        Standing { up: self.shared.health.up.get() == 1, ..Standing::default() }
    }
}

/// Runs what blocks off the runtime. A panic in it is a fault.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|lost| Fault::Redb(redb::Error::Corrupted(format!("reading or writing it failed: {lost}"))))
}

/// What a fault is to those who asked.
fn refusal(path: &str, fault: &Fault) -> StoreError {
    let unusable = |reason: String| StoreError::Unusable { path: path.to_owned(), reason };
    let error = match fault {
        Fault::InUse => return StoreError::InUse { path: path.to_owned() },
        Fault::Foreign(reason) => return unusable(reason.clone()),
        Fault::Redb(error) => error,
    };
    #[expect(clippy::wildcard_enum_match_arm, reason = "redb's errors are open-ended; those that are not named are of the moment")]
    match error {
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => StoreError::InUse { path: path.to_owned() },
        redb::Error::Corrupted(_)
        | redb::Error::UpgradeRequired(_)
        | redb::Error::RepairAborted
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TableDoesNotExist(_)
        | redb::Error::TypeDefinitionChanged { .. } => unusable(error.to_string()),
        redb::Error::Io(io) if is_lasting(io.kind()) => unusable(io.to_string()),
        redb::Error::Io(io) => StoreError::Unavailable { reason: format!("{path}: {io}") },
        _ => StoreError::Unavailable { reason: format!("{path}: {error}") },
    }
}

/// Whether it would be the same at the next try.
fn is_lasting(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::InvalidData
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::InvalidFilename
    )
}

/// How the store is, in numbers. `store_up` is 0 from a write that failed until one that succeeds.
#[derive(Debug)]
struct Health {
    up: IntGauge,
    open: IntCounter,
    commit: IntCounter,
    expire: IntCounter,
}

impl Health {
    #[expect(clippy::disallowed_methods, reason = "bound once, when the store is opened")]
    fn bind(metrics: &Metrics) -> Self {
        let errors = |op: &str| metrics.store_errors_total.with_label_values(&[op]);
        Self { up: metrics.store_up.clone(), open: errors("open"), commit: errors("commit"), expire: errors("expire") }
    }

    fn went_down(&self, path: &str, fault: &Fault) {
        if self.up.get() == 1 {
            self.up.set(0);
            tracing::error!(path, error = %fault, "the store cannot write; reads go on");
        }
    }

    fn came_up(&self, path: &str) {
        if self.up.get() == 0 {
            self.up.set(1);
            tracing::info!(path, "the store can write again");
        }
    }
}
