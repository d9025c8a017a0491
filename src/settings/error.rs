//! What is wrong with a config file, and where.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One mistake in a config file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The file could not be opened or is not UTF-8.
    #[error("{}: cannot be read: {reason}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// Not TOML.
    #[error("{place}: {message}")]
    Syntax {
        /// Where reading failed.
        place: Place,
        /// What the parser said.
        message: String,
    },
    /// TOML, but not a setting that can be.
    #[error("{place}: {key}: found {found}, expected {expected}")]
    Value {
        /// Where the value stands; for a missing key its table.
        place: Place,
        /// The key with the tables around it: `backends[1].url`.
        key: String,
        /// What stands there, shortened.
        found: String,
        /// What may stand there.
        expected: String,
    },
}

/// A place in a config file, written `file:line:column`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, as it was named.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Character in the line, from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

impl SettingsError {
    /// Where the mistake is; `None` if the file could not even be read.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Unreadable { .. } => None,
            Self::Syntax { place, .. } | Self::Value { place, .. } => Some(place),
        }
    }
}

/// A config file's name and text, to turn byte positions into places.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    /// The name to show.
    pub(super) file: &'a Path,
    /// The whole text.
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// The place where `span`, in bytes, begins.
    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        let before = &self.text[..self.text.floor_char_boundary(span.start)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_lines_and_characters_from_one() {
        let source = Source { file: Path::new("x.toml"), text: "a\né = 1\n" };
        assert_eq!(source.place(&(0..1)).to_string(), "x.toml:1:1");
        assert_eq!(source.place(&(7..8)).to_string(), "x.toml:2:5");
        assert_eq!(source.place(&(99..99)).to_string(), "x.toml:3:1");
    }
}
