//! Notices that files have changed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::settings::Settings;

/// What tells a file from what it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    /// A file that was put in the place of another is another.
    inode: u64,
    len: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    /// Of the file at `path`; `None` if there is none, or it cannot be looked at.
    fn of(path: &Path) -> Option<Self> {
        let about = fs::metadata(path).ok()?;
        let modified = about.modified().ok();
        Some(Self { inode: about.ino(), len: about.len(), modified })
    }
}

/// The files that a config is made of, as they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Files(Vec<(PathBuf, Option<Stamp>)>);

impl Files {
    /// The config file, as it is now.
    pub(super) fn only(config: &Path) -> Self {
        Self(vec![(config.to_owned(), Stamp::of(config))])
    }

    /// The same, and the certificates and keys that `settings` name, as they are now. Databases of
    /// places are not among them: they are renewed on their own.
    pub(super) fn with_those_of(mut self, settings: &Settings) -> Self {
        self.0.truncate(1);
        for tls in settings.listeners.iter().filter_map(|listener| listener.tls.as_ref()) {
            for path in [&tls.cert, &tls.key] {
                self.0.push((path.clone(), Stamp::of(path)));
            }
        }
        self
    }

    /// The same files, as they are now.
    pub(super) fn now(&self) -> Self {
        Self(self.0.iter().map(|(path, _)| (path.clone(), Stamp::of(path))).collect())
    }
}

/// Tells when files have changed and stay so: who writes them in several steps gets time for it.
#[derive(Debug)]
pub(super) struct Watch {
    /// As they were when they were last read.
    read: Files,
    /// As they were at the last look.
    seen: Files,
}

impl Watch {
    /// Files that were read as they were then.
    pub(super) fn new(read: Files) -> Self {
        Self { seen: read.clone(), read }
    }

    /// Which to look at.
    pub(super) const fn files(&self) -> &Files {
        &self.read
    }

    /// That is how they are now. Says whether they are to be read again: they are not as they were
    /// read, and as they were at the last look.
    pub(super) fn look(&mut self, now: Files) -> bool {
        let is_still = self.seen == now;
        let is_due = is_still && self.read != now;
        self.seen = now;
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(len: u64) -> Files {
        let stamp = Stamp { inode: 1, len, modified: None };
        Files(vec![("a".into(), Some(stamp))])
    }

    #[test]
    fn files_are_read_again_when_they_have_changed_and_stand_still() {
        let mut watch = Watch::new(files(1));
        assert!(!watch.look(files(1)));
        assert!(!watch.look(files(2)), "somebody may still write it");
        assert!(!watch.look(files(3)), "and does");
        assert!(watch.look(files(3)));
        watch = Watch::new(files(3));
        assert!(!watch.look(files(3)));
        assert!(
            !watch.look(files(4)) && !watch.look(files(3)) && !watch.look(files(3)),
            "as it was"
        );
    }
}
