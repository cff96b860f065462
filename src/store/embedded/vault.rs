//! The redb file: what is in it, how a step gets into it, and how it is opened again after a fault. Blocks; publishes nothing.
//!
//! What a failed commit leaves in the file is not known: a commit whose fsync failed may be there in full, and the kernel may count
//! pages as written that never reached the disk. So after any failure the file is closed, and before it is used again
//!
//! 1. every block of it is written back to where it is and synced, so that what is read is what is on the disk,
//! 2. redb verifies all checksums,
//! 3. the content is compared with what was acknowledged, and every difference is undone in one transaction.
//!
//! A process that ends between a refused write and step 3 may find the refused write in the file at its next start: whole, and with
//! the revision that it would have had.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use redb::{Builder, Database, ReadableDatabase, ReadableTable, StorageBackend, Table, TableDefinition, TableError, TableHandle};

use crate::store::clock::Wall;
use crate::store::image::{Image, Slot, Step};

/// A key's revisions of creation and change, its lease's end in nanoseconds since 1970, its value.
type Record = (u64, u64, Option<u64>, &'static [u8]);

const ENTRIES: TableDefinition<'static, &str, Record> = TableDefinition::new("sluice.entries");
/// Holds `format` and `revision`.
const META: TableDefinition<'static, &str, u64> = TableDefinition::new("sluice.meta");
/// The form of the tables above.
const FORMAT: u64 = 1;

/// Reads come from memory, so redb needs room for the pages of a transaction only. In bytes.
const CACHE: usize = 8 * 1024 * 1024;
/// How much is written back at once, in bytes.
const CHUNK: usize = 256 * 1024;
/// What is skipped when it holds nothing but zeros, so that holes stay holes. In bytes.
const BLOCK: usize = 4096;

/// Why the file did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// Somebody else has it.
    #[error("in use")]
    InUse,
    /// It is a redb file, but not one of ours.
    #[error("{0}")]
    Foreign(String),
    /// redb failed.
    #[error(transparent)]
    Redb(redb::Error),
}

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Redb(error.into())
    }
}

/// Opens the database, the first time or (`true`) after a fault.
type Opener = Box<dyn Fn(bool) -> Result<Database, Fault> + Send>;

/// The file, open or not.
pub(super) struct Vault {
    opener: Opener,
    db: Option<Database>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("open", &self.is_open()).finish_non_exhaustive()
    }
}

impl Vault {
    /// A file that is opened through what `make` makes, and not open yet.
    pub(super) fn new<B: StorageBackend>(make: impl Fn() -> io::Result<B> + Send + 'static) -> Self {
        let opener = move |again: bool| {
            let backend = make()?;
            if again {
                write_back(&backend)?;
            }
            Ok(builder().set_check_integrity_on_open(true).create_with_backend(backend)?)
        };
        Self { opener: Box::new(opener), db: None }
    }

    /// Whether the file is open: after a fault it is not.
    pub(super) fn is_open(&self) -> bool {
        self.db.is_some()
    }

    /// Opens the file for the first time and reads it.
    pub(super) fn load(&mut self) -> Result<Image, Fault> {
        let db = (self.opener)(false)?;
        let image = read(&db)?;
        self.db = Some(db);
        Ok(image)
    }

    /// Opens the file again after a fault and makes it hold exactly what was acknowledged.
    pub(super) fn heal(&mut self, acknowledged: &Image) -> Result<(), Fault> {
        let db = (self.opener)(true)?;
        let found = read(&db)?;
        if found != *acknowledged {
            undo(&db, &found, acknowledged)?;
        }
        self.db = Some(db);
        Ok(())
    }

    /// Makes a step durable. After an error the file is closed, and whether it holds the step is not known until it has healed.
    pub(super) fn write(&mut self, step: &Step) -> Result<(), Fault> {
        // taken out, so that an error or a panic leaves it closed
        let db = self.db.take().ok_or(redb::Error::DatabaseClosed)?;
        put(&db, step)?;
        self.db = Some(db);
        Ok(())
    }

    /// Closes the file for good.
    pub(super) fn close(&mut self) {
        self.db = None;
        self.opener = Box::new(|_| Err(redb::Error::DatabaseClosed.into()));
    }
}

/// Makes an empty store in an empty backend, and closes it.
pub(super) fn create_empty(backend: impl StorageBackend) -> Result<(), redb::Error> {
    initialise(&builder().create_with_backend(backend)?)
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    builder
}

fn initialise(db: &Database) -> Result<(), redb::Error> {
    let txn = db.begin_write()?;
    txn.open_table(ENTRIES)?;
    let mut meta = txn.open_table(META)?;
    meta.insert("format", FORMAT)?;
    meta.insert("revision", 0)?;
    drop(meta);
    Ok(txn.commit()?)
}

/// Everything in the file. An empty database becomes an empty store.
fn read(db: &Database) -> Result<Image, Fault> {
    let txn = db.begin_read()?;
    let meta = match txn.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::TableDoesNotExist(_)) => {
            if let Some(table) = txn.list_tables()?.next() {
                return Err(Fault::Foreign(format!("it is another program's database, with a table {}", table.name())));
            }
            initialise(db)?;
            return Ok(Image::default());
        }
        Err(other) => return Err(other.into()),
    };
    let number = |name: &str| -> Result<u64, Fault> {
        let found = meta.get(name)?.map(|guard| guard.value());
        found.ok_or_else(|| Fault::Foreign(format!("it does not say its {name}")))
    };
    let format = number("format")?;
    if format != FORMAT {
        return Err(Fault::Foreign(format!("its format is {format}; this build reads format {FORMAT}")));
    }
    let revision = number("revision")?;
    let mut stored = Vec::new();
    for record in txn.open_table(ENTRIES)?.iter()? {
        let (key, record) = record?;
        let (created, modified, expires, value) = record.value();
        let slot = Slot { value: Bytes::copy_from_slice(value), created, modified, expires: expires.map(Wall) };
        stored.push((Arc::from(key.value()), slot));
    }
    Ok(Image::restore(revision, stored))
}

fn put(db: &Database, step: &Step) -> Result<(), redb::Error> {
    // redb's default durability: the commit returns after the fsync
    let txn = db.begin_write()?;
    {
        let mut entries = txn.open_table(ENTRIES)?;
        for (key, slot) in &step.writes {
            set(&mut entries, key, slot.as_ref())?;
        }
        txn.open_table(META)?.insert("revision", step.at)?;
    }
    Ok(txn.commit()?)
}

fn undo(db: &Database, found: &Image, acknowledged: &Image) -> Result<(), redb::Error> {
    let mut wrong: BTreeMap<&str, Option<&Slot>> = BTreeMap::new();
    wrong.extend(found.slots().filter(|(key, _)| acknowledged.slot(key).is_none()).map(|(key, _)| (&**key, None)));
    let differs = |(key, slot): &(&Arc<str>, &Slot)| found.slot(key) != Some(*slot);
    wrong.extend(acknowledged.slots().filter(differs).map(|(key, slot)| (&**key, Some(slot))));
    tracing::warn!(
        keys = wrong.len(),
        found = found.revision(),
        acknowledged = acknowledged.revision(),
        "a refused write is undone in the file"
    );
    let txn = db.begin_write()?;
    {
        let mut entries = txn.open_table(ENTRIES)?;
        for (key, slot) in wrong {
            set(&mut entries, key, slot)?;
        }
        txn.open_table(META)?.insert("revision", acknowledged.revision())?;
    }
    Ok(txn.commit()?)
}

fn set(entries: &mut Table<'_, &'static str, Record>, key: &str, slot: Option<&Slot>) -> Result<(), redb::Error> {
    match slot {
        Some(slot) => entries.insert(key, (slot.created, slot.modified, slot.expires.map(|at| at.0), &*slot.value))?,
        None => entries.remove(key)?,
    };
    Ok(())
}

/// Writes every block back to where it is, so that the next sync has something to do even where an earlier one failed and the kernel
/// then took the pages for written. Only for a file that nobody else writes.
fn write_back(backend: &impl StorageBackend) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let len = backend.len()?;
    let mut offset = 0;
    while offset < len {
        let rest = usize::try_from(len - offset).unwrap_or(CHUNK);
        let Some(chunk) = buffer.get_mut(..rest.min(CHUNK)) else { break };
        backend.read(offset, chunk)?;
        for block in chunk.chunks(BLOCK) {
            if block.iter().any(|byte| *byte != 0) {
                backend.write(offset, block)?;
            }
            offset = offset.saturating_add(u64::try_from(block.len()).unwrap_or(u64::MAX));
        }
    }
    backend.sync_data()
}
