//! A database whose file may be replaced.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::database::Database;
use crate::error::DatabaseError;

/// What a look at the file brought.
#[derive(Clone, Debug)]
pub enum Change {
    /// The file is the one last looked at, good or bad.
    Unchanged,
    /// A new file is in use: this one.
    Reloaded(Arc<Database>),
}

/// A database read from a file, which is read again when it was replaced.
///
/// It has no clock and no task: whoever owns it calls [`Watched::check`] from time to time, on a
/// thread that may block. Who still holds the old database keeps it.
#[derive(Debug)]
pub struct Watched {
    path: PathBuf,
    database: Arc<Database>,
    /// The file last read, whether it could be used or not.
    last: Fingerprint,
}

impl Watched {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub fn open(path: PathBuf) -> Result<Self, DatabaseError> {
        let (last, database) = load(&path)?;
        Ok(Self { path, database: Arc::new(database?), last })
    }

    /// The database in use.
    #[must_use]
    pub fn database(&self) -> Arc<Database> {
        Arc::clone(&self.database)
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks whether the file was replaced or changed, and if so reads it; about a second for 100
    /// MB.
    ///
    /// # Errors
    /// See [`DatabaseError`]. The database in use stays. A bad file is an error once, then
    /// `Unchanged`; one that is missing or cannot be read, or that changes while it is read, is an
    /// error each time.
    pub fn check(&mut self) -> Result<Change, DatabaseError> {
        if self.last == Fingerprint::of_path(&self.path)? {
            return Ok(Change::Unchanged);
        }
        let (last, database) = load(&self.path)?;
        self.last = last;
        self.database = Arc::new(database?);
        Ok(Change::Reloaded(self.database()))
    }
}

/// Reads the file at `path`: what it was, and the database, if it is one.
fn load(path: &Path) -> Result<(Fingerprint, Result<Database, DatabaseError>), DatabaseError> {
    let mut file = File::open(path)?;
    let before = Fingerprint::of(&file.metadata()?);
    let database = Database::read(&mut file);
    if let Err(error @ DatabaseError::Io(_)) = database {
        return Err(error);
    }
    // One that is still being written is never taken for a bad one, nor for the finished one.
    if Fingerprint::of(&file.metadata()?) != before {
        return Err(DatabaseError::Changed);
    }
    Ok((before, database))
}

/// Tells one file from another, and from what it was before it was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fingerprint {
    device: u64,
    inode: u64,
    bytes_len: u64,
    /// Seconds and nanoseconds of the last change of its content.
    modified: (i64, i64),
    /// The same for its owner and names too, which nobody can set back.
    changed: (i64, i64),
}

impl Fingerprint {
    fn of_path(path: &Path) -> Result<Self, DatabaseError> {
        Ok(Self::of(&std::fs::metadata(path)?))
    }

    fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes_len: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}
