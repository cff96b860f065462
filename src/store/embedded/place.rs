//! The file's place on disk: its directories, its lock, and its first creation. Knows no keys.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;

use super::vault::{Fault, create_empty};
use crate::store::disk::{beside, dir_of, lock, make_dirs, sync_dir};

/// A path that this process alone may use as a store, for as long as this lives.
///
/// The lock is on a file of its own (`<path>.lock`, empty, never deleted), since the store's own file is closed for a moment when it
/// is opened again after a fault, and nobody else may get in between.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    _lock: File,
}

impl Place {
    /// Makes the missing directories and takes the lock. Everything is made for the owner's eyes only.
    pub(super) fn take(path: &Path) -> Result<Self, Fault> {
        make_dirs(dir_of(path))?;
        match lock(path)? {
            Some(lock) => Ok(Self { path: path.to_owned(), _lock: lock }),
            None => Err(Fault::InUse),
        }
    }

    /// Refuses a file without a byte in it: a store is made whole under another name, so this one was one, or will never be. Not for
    /// an opening after a fault, where what was acknowledged is known and written back.
    pub(super) fn refuse_empty(&self) -> Result<(), Fault> {
        match std::fs::metadata(&self.path) {
            Ok(found) if found.is_file() && found.len() == 0 => {
                Err(Fault::Foreign("it is empty, which a store never is: restore a copy, or remove it to begin with none".to_owned()))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Opens the file; one that is not there is made first, whole or not at all.
    pub(super) fn open(&self) -> io::Result<FileBackend> {
        let file = match self.file() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.create()?;
                self.file()?
            }
            found => found?,
        };
        FileBackend::new(file).map_err(io::Error::other)
    }

    fn file(&self) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(&self.path)
    }

    /// A process that is killed here leaves a `<path>.new`, which the next start overwrites, and never half a store.
    fn create(&self) -> io::Result<()> {
        let fresh = beside(&self.path, ".new");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        let made = FileBackend::new(file).map_err(redb::Error::from).and_then(create_empty);
        made.map_err(|error| if let redb::Error::Io(error) = error { error } else { io::Error::other(error) })?;
        std::fs::rename(&fresh, &self.path)?;
        sync_dir(dir_of(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_for_one_and_free_again_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/store.redb");
        let first = Place::take(&path).unwrap();
        assert!(matches!(Place::take(&path), Err(Fault::InUse)));
        drop(first);
        assert!(Place::take(&path).is_ok());
    }

    #[test]
    fn a_creation_that_was_broken_off_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.redb");
        std::fs::write(dir.path().join("store.redb.new"), [0; 5000]).unwrap();
        Place::take(&path).unwrap().open().unwrap();
        assert!(path.exists() && !dir.path().join("store.redb.new").exists());
    }
}
