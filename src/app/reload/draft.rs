//! A config that is about to be taken up: read, checked, and all that it needs at hand.

use std::path::Path;
use std::sync::Arc;

use super::files::Files;
use crate::app::listeners::{TermsOf, load_terms, recertified};
use crate::geo::{AtlasError, Maps};
use crate::settings::{self, Change, ConfigFile, Settings, SettingsError, diff};

/// Keys that hold from the start of a process to its end, and why.
const FIXED: [(&str, &str); 3] = [
    ("pins.store", "every pin of the process is there"),
    ("pins.state_dir", "every pin of the process is there"),
    ("log.format", "tasks that run have begun in it"),
];

/// A config read from its file, with all that can be made of it without touching what runs.
pub(super) struct Draft {
    pub(super) file: ConfigFile,
    /// What it changes; nothing if this is empty.
    pub(super) changes: Vec<Change>,
    /// Where the files stood when they were read.
    pub(super) files: Files,
    pub(super) terms: TermsOf,
    /// Opened only if something about them is new.
    pub(super) maps: Option<Maps>,
}

/// What is in use.
pub(super) struct InUse {
    pub(super) settings: Arc<Settings>,
    pub(super) terms: TermsOf,
}

impl Draft {
    /// Reads the config at `path`. Blocks.
    ///
    /// # Errors
    /// The file cannot be used, with every mistake; or what it names cannot.
    pub(super) fn read(path: &Path, old: &InUse) -> Result<Self, (Files, Vec<SettingsError>)> {
        // First, so that whoever writes meanwhile is noticed.
        let files = Files::only(path);
        let file = match settings::open(path) {
            Ok(file) => file,
            // What it names is not known: those of the config in use are watched on.
            Err(mistakes) => return Err((files.with_those_of(&old.settings), mistakes)),
        };
        let files = files.with_those_of(&file.settings);
        match Self::make(file, files.clone(), old) {
            Ok(draft) => Ok(draft),
            Err(mistakes) => Err((files, mistakes)),
        }
    }

    fn make(file: ConfigFile, files: Files, old: &InUse) -> Result<Self, Vec<SettingsError>> {
        let new = &file.settings;
        let mut changes = diff(&old.settings, new);
        let fixed = fixed(&changes, &file);
        if !fixed.is_empty() {
            return Err(fixed);
        }
        let terms = load_terms(&new.listeners, &old.terms).map_err(|(index, error)| {
            let key = format!("listeners[{index}].tls");
            vec![file.mistake(&key, "files", &format!("others ({error})"))]
        })?;
        for addr in recertified(&old.terms, &terms) {
            let key = format!("listeners[{addr}].tls.cert");
            // A file of another name is a change already.
            if !changes.iter().any(|change| change.key == key) {
                let told = |text: &str| Some(text.to_owned());
                let (before, after) = (told("a certificate"), told("another in the same file"));
                changes.push(Change { key, before, after });
            }
        }
        let has_other_maps = new.geoip != old.settings.geoip;
        let maps = has_other_maps.then(|| Maps::open(&new.geoip)).transpose();
        let maps = maps.map_err(|error| vec![in_geoip(&file, &error)])?;
        Ok(Self { file, changes, files, terms, maps })
    }
}

/// A mistake for each change that needs a restart.
fn fixed(changes: &[Change], file: &ConfigFile) -> Vec<SettingsError> {
    let fixed = changes.iter().filter_map(|Change { key, before, after }| {
        let (_, why) = FIXED.iter().find(|(fixed, _)| key == fixed)?;
        let before = before.as_deref().unwrap_or_default();
        let expected = format!("{before} as before, or a restart: {why}");
        Some(file.mistake(key, after.as_deref().unwrap_or("nothing"), &expected))
    });
    fixed.collect()
}

fn in_geoip(file: &ConfigFile, error: &AtlasError) -> SettingsError {
    match error {
        AtlasError::Database { path, source } => {
            let found = format!("\"{}\"", path.display());
            let expected = format!("a City or Country database in MaxMind DB form ({source})");
            file.mistake("geoip.databases", &found, &expected)
        }
        AtlasError::Overrides(error) => {
            file.mistake("geoip.overrides", &error.to_string(), "each range once")
        }
    }
}
