//! The last good set: a file with everything that a store far away held when it was last heard of, so that a process can start while
//! that store is down. Written whole or not at all; a file that is not exactly what was written is never used.

mod form;
mod keeper;

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Listing;
use super::disk;

pub(super) use self::keeper::Keeper;

/// What is in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// The cluster that it came from.
    pub(super) cluster: u64,
    /// When it was written, to the second.
    pub(super) saved_at: SystemTime,
    /// All of it.
    pub(super) listing: Listing,
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is not whole, or was changed.
    #[error("it is damaged")]
    Damaged,
    /// It was written by another version.
    #[error("it has the form of another version")]
    Form,
    /// It is of another prefix.
    #[error("it is of the prefix {found}")]
    Prefix {
        /// Of which.
        found: String,
    },
    /// It is something else, which is not ours to overwrite.
    #[error("it is not a last good set, and is left as it is")]
    Foreign,
}

/// The file's place, which this process alone writes to.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    prefix: String,
    _lock: File,
}

impl Place {
    /// Takes the place, with its missing directories. Fails where another process has it, or where the disk refuses. Blocks.
    pub(super) fn take(path: &Path, prefix: &str) -> io::Result<Self> {
        disk::make_dirs(disk::dir_of(path))?;
        let lock = disk::lock(path)?.ok_or_else(|| io::Error::other("another process writes it"))?;
        Ok(Self { path: path.to_owned(), prefix: prefix.to_owned(), _lock: lock })
    }

    /// Replaces the file. After an error it is as it was. Blocks until the disk has it.
    pub(super) fn write(&self, kept: &Kept) -> io::Result<()> {
        let bytes = form::encode(&self.prefix, kept).ok_or_else(|| io::Error::other("a value is too long"))?;
        let fresh = disk::beside(&self.path, ".new");
        let written = write_to(&fresh, &bytes).and_then(|()| std::fs::rename(&fresh, &self.path));
        if written.is_err() {
            // what is left of it helps nobody, and the disk may be full
            let _ = std::fs::remove_file(&fresh);
        }
        written.and_then(|()| disk::sync_dir(disk::dir_of(&self.path)))
    }
}

fn write_to(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Reads the file; `None`: there is none. Blocks.
pub(super) fn read(path: &Path, prefix: &str) -> Result<Option<Kept>, Refusal> {
    match std::fs::read(path) {
        Ok(bytes) => form::decode(prefix, &bytes.into()).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Entry;
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, UNIX_EPOCH};

    fn kept(at: u64) -> Kept {
        let entry = Entry { key: "/s/a".into(), value: "v".into(), created: 1, modified: at };
        Kept { cluster: 7, saved_at: UNIX_EPOCH + Duration::from_secs(5), listing: Listing { entries: vec![entry], at } }
    }

    #[test]
    fn a_set_is_replaced_whole_and_is_for_the_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/set");
        assert!(matches!(read(&path, "/s"), Ok(None)));
        let place = Place::take(&path, "/s").unwrap();
        for at in [1, 2] {
            place.write(&kept(at)).unwrap();
            assert_eq!(read(&path, "/s").unwrap(), Some(kept(at)));
        }
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(read(&path, "/t"), Err(Refusal::Prefix { .. })));
    }

    #[test]
    fn a_write_that_fails_leaves_the_set_from_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("set");
        let place = Place::take(&path, "/s").unwrap();
        place.write(&kept(1)).unwrap();
        // nothing can be opened for writing under this name
        std::fs::create_dir(dir.path().join("set.new")).unwrap();
        assert!(place.write(&kept(2)).is_err());
        assert_eq!(read(&path, "/s").unwrap(), Some(kept(1)));
    }

    #[test]
    fn a_write_that_was_broken_off_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("set");
        let place = Place::take(&path, "/s").unwrap();
        place.write(&kept(1)).unwrap();
        let whole = form::encode("/s", &kept(2)).unwrap();
        for end in 0..=whole.len() {
            std::fs::write(dir.path().join("set.new"), &whole[..end]).unwrap();
            assert_eq!(read(&path, "/s").unwrap(), Some(kept(1)), "killed after {end} bytes");
        }
        place.write(&kept(3)).unwrap();
        assert_eq!(read(&path, "/s").unwrap(), Some(kept(3)));
    }

    #[test]
    fn a_place_is_for_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("set");
        let _first = Place::take(&path, "/s").unwrap();
        assert_eq!(Place::take(&path, "/s").unwrap_err().to_string(), "another process writes it");
    }
}
