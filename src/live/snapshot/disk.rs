//! What saving needs of a file system, step by step, so that a test can stop it at each.
//!
//! One directory, flat names. The real one never uses a file again whose `fsync` failed: Linux reports
//! a lost page once and then calls it clean, so a second `fsync` on it would lie.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// A directory.
pub trait Disk {
    /// A file being written.
    type File: DiskFile;

    /// How long a file is; `None` if there is none.
    ///
    /// # Errors
    /// The directory cannot be read.
    fn length(&self, name: &str) -> io::Result<Option<u64>>;

    /// A file, but no more of it than `limit` bytes.
    ///
    /// # Errors
    /// It cannot be read, or is no plain file.
    fn read(&self, name: &str, limit: u64) -> io::Result<Vec<u8>>;

    /// A new, empty file. There must be none of that name.
    ///
    /// # Errors
    /// It cannot be made.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Puts a file in the place of another, at once and as a whole.
    ///
    /// # Errors
    /// It did not happen.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// It is still there.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// All names there are.
    ///
    /// # Errors
    /// The directory cannot be read.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Makes what was created, renamed and removed outlast a power cut.
    ///
    /// # Errors
    /// It may not.
    fn sync(&self) -> io::Result<()>;
}

/// A file being written.
pub trait DiskFile {
    /// Appends.
    ///
    /// # Errors
    /// Not all of it was taken.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes what was appended outlast a power cut.
    ///
    /// # Errors
    /// It may not; the file is not to be used any more.
    fn sync(&mut self) -> io::Result<()>;
}

/// A directory of the operating system.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// The directory at `path`; it need not be there yet.
    pub fn new(path: impl Into<PathBuf>) -> Directory {
        Directory { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it, with all above it, for this user alone. One that is there stays as it is.
    ///
    /// # Errors
    /// It is not there and cannot be made.
    pub fn make(&self) -> io::Result<()> {
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(&self.path)
    }
}

impl Disk for Directory {
    type File = File;

    fn length(&self, name: &str) -> io::Result<Option<u64>> {
        match std::fs::metadata(self.path.join(name)) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        let path = self.path.join(name);
        // Opening a pipe would wait for somebody to write to it.
        if !std::fs::metadata(&path)?.is_file() {
            return Err(io::Error::other("it is not a plain file"));
        }
        let mut bytes = Vec::new();
        File::open(path)?.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn create(&self, name: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.write(true).create_new(true).open(self.path.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match std::fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            // A name that is not text is none of ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl DiskFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// The right to save in a directory; the system takes it back when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _directory: File,
}

/// Why a directory was not locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("another process uses it")]
    Taken,
    /// It cannot be told.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Lock {
    /// Locks a directory, which works on one that cannot be written to as well: no file is made.
    ///
    /// # Errors
    /// It is taken, is not there, or lies on a file system that has no locks.
    pub fn take(directory: &Directory) -> Result<Lock, LockError> {
        let file = File::open(directory.path())?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _directory: file }),
            Err(std::fs::TryLockError::WouldBlock) => Err(LockError::Taken),
            Err(std::fs::TryLockError::Error(error)) => Err(LockError::Io(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> (tempfile::TempDir, Directory) {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::new(place.path());
        (place, directory)
    }

    #[test]
    fn a_file_is_read_back_up_to_the_limit() {
        let (_place, directory) = directory();
        assert_eq!(directory.length("a").unwrap(), None);
        let mut file = directory.create("a").unwrap();
        file.append(b"0123456789").unwrap();
        DiskFile::sync(&mut file).unwrap();
        assert_eq!(directory.length("a").unwrap(), Some(10));
        assert_eq!(directory.read("a", 4).unwrap(), b"0123");
        assert!(directory.create("a").is_err(), "there is one");
        directory.rename("a", "b").unwrap();
        directory.sync().unwrap();
        assert_eq!(directory.names().unwrap(), ["b"]);
        directory.remove("b").unwrap();
        directory.remove("b").unwrap();
        assert!(directory.names().unwrap().is_empty());
    }

    #[test]
    fn what_is_no_plain_file_is_not_read() {
        let (place, directory) = directory();
        std::fs::create_dir(place.path().join("a")).unwrap();
        assert!(directory.read("a", 10).is_err());
    }

    #[test]
    fn a_directory_is_locked_once_and_free_again_after() {
        let (_place, directory) = directory();
        let lock = Lock::take(&directory).unwrap();
        assert!(matches!(Lock::take(&directory), Err(LockError::Taken)));
        drop(lock);
        Lock::take(&directory).unwrap();
        let missing = Directory::new(directory.path().join("missing"));
        assert!(matches!(Lock::take(&missing), Err(LockError::Io(_))));
        missing.make().unwrap();
        Lock::take(&missing).unwrap();
    }
}
