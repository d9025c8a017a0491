//! The file that tells the next process what this one has found.
//!
//! It is replaced as a whole, so it is never half of anything. One that cannot be read is set aside and
//! said to be; the sources tell the same again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::runtime::Clock;
use crate::settings::{KeptBackend, read_kept, write_kept};

/// Nobody but the owner needs to read it.
const FILE_MODE: u32 = 0o600;

/// The file and what stands in it.
#[derive(Debug)]
pub(super) struct Notes {
    path: PathBuf,
    /// As it was last written; `None` if that is not known, or failed.
    text: Option<String>,
    /// Whether it was told that it cannot be written.
    is_failing: bool,
}

impl Notes {
    /// The file at `path`, which need not be there.
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path, text: None, is_failing: false }
    }

    /// What a process before has noted; nothing if there is none, or nothing that can be read.
    pub(super) fn read(&self) -> Vec<KeptBackend> {
        if !self.path.exists() {
            return Vec::new();
        }
        let mistakes = match read_kept(&self.path) {
            Ok(kept) => return kept,
            Err(mistakes) => mistakes,
        };
        for mistake in &mistakes {
            tracing::error!(%mistake, "the backends that were found before cannot be read");
        }
        let aside =
            PathBuf::from(format!("{}.unusable-{}", self.path.display(), Clock::unix_seconds()));
        match fs::rename(&self.path, &aside) {
            Ok(()) => tracing::warn!(aside = %aside.display(), "that file is set aside"),
            Err(error) => tracing::error!(%error, "that file cannot be set aside"),
        }
        Vec::new()
    }

    /// Writes `backends`, unless they stand there already. Blocks.
    pub(super) fn write(&mut self, backends: &[KeptBackend]) {
        let text = write_kept(backends);
        if self.text.as_ref() == Some(&text) {
            return;
        }
        match replace(&self.path, &text) {
            Ok(()) => (self.text, self.is_failing) = (Some(text), false),
            Err(error) => {
                if !self.is_failing {
                    let path = self.path.display();
                    tracing::error!(%path, %error, "the backends that were found are not noted; \
                        a restart would have to find them again");
                }
                (self.text, self.is_failing) = (None, true);
            }
        }
    }
}

/// Puts a file with `text` in the place of `path`, so that a power cut leaves one or the other.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(FILE_MODE);
    let mut file = options.open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::roster::Source;
    use crate::settings::parse_backend;

    fn dir(name: &str) -> PathBuf {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tmp/notes").join(name);
        let _ = fs::remove_dir_all(&dir); // it may not be there
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    fn kept() -> Vec<KeptBackend> {
        let backend = parse_backend(r#"{"id": "a", "url": "ws://10.0.0.5"}"#).unwrap();
        vec![KeptBackend { source: Source::Registrar, found_as: None, backend }]
    }

    #[test]
    fn what_is_written_is_read_by_the_next() {
        let path = dir("next").join("backends.json");
        let mut notes = Notes::new(path.clone());
        assert!(notes.read().is_empty());
        notes.write(&kept());
        assert_eq!(Notes::new(path.clone()).read(), kept());
        fs::remove_file(&path).unwrap();
        notes.write(&kept());
        assert!(!path.exists(), "the same is not written twice");
        notes.write(&[]);
        assert!(Notes::new(path).read().is_empty());
    }

    #[test]
    fn a_damaged_file_is_set_aside() {
        let dir = dir("damaged");
        let path = dir.join("backends.json");
        for damage in ["", "{\"backends\": [{\"id\": 5}]}", "\u{0}", "{\"backends\": ["] {
            fs::write(&path, damage).unwrap();
            assert!(Notes::new(path.clone()).read().is_empty(), "{damage:?}");
            assert!(!path.exists(), "{damage:?}");
        }
        let names = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(
            names.map(|name| name.into_string().unwrap()).all(|name| name.contains("unusable"))
        );
    }

    #[test]
    fn a_directory_that_is_not_there_costs_a_log_line_only() {
        let path = dir("away").join("gone/backends.json");
        let mut notes = Notes::new(path.clone());
        notes.write(&kept());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        notes.write(&kept());
        assert_eq!(Notes::new(path).read(), kept(), "it is made good");
    }
}
