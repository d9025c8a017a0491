//! The directory of what outlives the process. One process at a time has it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::StateError;
use crate::runtime::Clock;

/// Locked by whoever uses the directory, so that it stays locked while files in it are replaced.
const LOCK: &str = "lock";

/// Meeting names can be secrets, so nobody but the owner reads what is here.
const FILE_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;

/// Names tried for a file that is set aside within one second.
const NAMES_MAX: usize = 1_000;

/// A state directory that is ours until this is dropped or the process ends, however it does.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Takes the directory `path`, which is made if it is not there. One that is there keeps its mode.
    ///
    /// # Errors
    /// Another process has it, or the system refuses.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let made = DirBuilder::new().recursive(true).mode(DIR_MODE).create(path);
        made.map_err(|error| unusable("create", path, &error))?;
        let lock_path = path.join(LOCK);
        let lock = open_file(&lock_path).map_err(|error| unusable("open", &lock_path, &error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StateError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(unusable("lock", &lock_path, &error)),
        }
    }

    /// Its own path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of what is called `name` here.
    pub(super) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Opens `name` for reading and writing, and makes it if it is not there.
    pub(super) fn open_file(&self, name: &str) -> Result<File, StateError> {
        let path = self.path_of(name);
        let is_new = !path.exists();
        let opened = open_file(&path).map_err(|error| unusable("open", &path, &error))?;
        if is_new {
            // Else a power cut could take the name with it, whatever was written to the file.
            let synced = File::open(&self.path).and_then(|dir| dir.sync_all());
            synced.map_err(|error| unusable("sync", &self.path, &error))?;
        }
        Ok(opened)
    }

    /// Gives `name` another name, under which nobody looks for it; returns that.
    pub(super) fn set_aside(&self, name: &str) -> Result<PathBuf, StateError> {
        let from = self.path_of(name);
        let now = Clock::unix_seconds();
        let names = (0..NAMES_MAX).map(|n| self.path_of(&format!("{name}.unusable-{now}-{n}")));
        let to = names.into_iter().find(|to| !to.exists()).ok_or_else(|| {
            let error = io::Error::from(io::ErrorKind::AlreadyExists);
            unusable("set aside", &from, &error)
        })?;
        fs::rename(&from, &to).map_err(|error| unusable("set aside", &from, &error))?;
        Ok(to)
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
    let file = options.open(path)?;
    file.set_permissions(fs::Permissions::from_mode(FILE_MODE))?;
    Ok(file)
}

fn unusable(what: &'static str, path: &Path, error: &io::Error) -> StateError {
    StateError::Unusable { what, path: path.to_owned(), reason: error.to_string() }
}
