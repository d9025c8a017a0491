//! What a backend may be asked for, and what a meeting demands of it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Most labels of a backend or of a demand.
pub const LABELS_MAX: usize = 32;

/// Longest label, in bytes, its `=` included.
pub const LABEL_MAX_LEN: usize = 128;

/// A set of labels, `key=value` each, one value for a key: what a backend has, or a meeting demands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Labels(BTreeMap<String, String>);

/// Why texts are no labels.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// Not of the form `key=value`, or too long.
    #[error(
        "{0:?} is not of the form key=value, at most {LABEL_MAX_LEN} bytes, neither part empty"
    )]
    Malformed(String),
    /// A key that stood before.
    #[error("{0:?} has two values")]
    Repeated(String),
    /// More than [`LABELS_MAX`].
    #[error("{0} labels; at most {LABELS_MAX}")]
    TooMany(usize),
}

impl Labels {
    /// Reads `key=value` texts; space around either part is dropped.
    ///
    /// # Errors
    /// The first text that is no label, a repeated key, or too many of them.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, LabelError> {
        if texts.len() > LABELS_MAX {
            return Err(LabelError::TooMany(texts.len()));
        }
        let mut labels = Self::default();
        for text in texts.iter().map(AsRef::as_ref) {
            let (key, value) = text.split_once('=').ok_or_else(|| malformed(text))?;
            if labels.0.contains_key(key.trim()) {
                return Err(LabelError::Repeated(key.trim().to_owned()));
            }
            labels.add(key, value)?;
        }
        Ok(labels)
    }

    /// Adds one label; space around either part is dropped.
    ///
    /// # Errors
    /// It is none, the key has another value, or there are too many.
    pub fn add(&mut self, key: &str, value: &str) -> Result<(), LabelError> {
        let (key, value) = (key.trim(), value.trim());
        let is_odd = |part: &str| part.is_empty() || part.chars().any(char::is_control);
        let is_long = key.len() + 1 + value.len() > LABEL_MAX_LEN;
        if is_odd(key) || is_odd(value) || is_long || key.contains('=') {
            return Err(malformed(&format!("{key}={value}")));
        }
        match self.0.get(key) {
            Some(known) if known == value => Ok(()),
            Some(_) => Err(LabelError::Repeated(key.to_owned())),
            None if self.0.len() >= LABELS_MAX => Err(LabelError::TooMany(LABELS_MAX + 1)),
            None => {
                self.0.insert(key.to_owned(), value.to_owned());
                Ok(())
            }
        }
    }

    /// These and those of `other`: all hold together.
    ///
    /// # Errors
    /// A key has two values, which nothing can have, or there are too many.
    pub fn and(mut self, other: &Self) -> Result<Self, LabelError> {
        for (key, value) in &other.0 {
            self.add(key, value)?;
        }
        Ok(self)
    }

    /// Whether every label of `demanded` is among these.
    #[must_use]
    pub fn satisfy(&self, demanded: &Self) -> bool {
        demanded.0.iter().all(|(key, value)| self.0.get(key) == Some(value))
    }

    /// The value of that key.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each as `key=value`, by key.
    pub fn rows(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(key, value)| format!("{key}={value}"))
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<String> = self.rows().collect();
        f.write_str(&rows.join(" "))
    }
}

fn malformed(text: &str) -> LabelError {
    LabelError::Malformed(text.chars().take(LABEL_MAX_LEN).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_satisfy_what_they_hold() {
        let backend = Labels::parse(&["residency = eu", "tier=gold"]).unwrap();
        for (demanded, is_satisfied) in [
            (vec![], true),
            (vec!["residency=eu"], true),
            (vec!["residency=eu", "tier=gold"], true),
            (vec!["residency=us"], false),
            (vec!["residency=eu", "gpu=yes"], false),
        ] {
            assert_eq!(backend.satisfy(&Labels::parse(&demanded).unwrap()), is_satisfied);
        }
        assert_eq!(backend.to_string(), "residency=eu tier=gold");
    }

    #[test]
    fn what_is_no_label_is_refused() {
        for text in ["", "eu", "=eu", "residency=", "a=\n", &format!("a={}", "b".repeat(127))] {
            assert!(matches!(Labels::parse(&[text]), Err(LabelError::Malformed(_))), "{text:?}");
        }
        assert_eq!(Labels::parse(&["a=1", "a=2"]), Err(LabelError::Repeated("a".to_owned())));
        assert_eq!(Labels::parse(&["a=1"; 33]), Err(LabelError::TooMany(33)));
    }

    #[test]
    fn demands_hold_together_or_not_at_all() {
        let labels = |texts: &[&str]| Labels::parse(texts).unwrap();
        let both = labels(&["a=1", "b=2"]).and(&labels(&["b=2", "c=3"]));
        assert_eq!(both, Ok(labels(&["a=1", "b=2", "c=3"])));
        let repeated = LabelError::Repeated("a".to_owned());
        assert_eq!(labels(&["a=1"]).and(&labels(&["a=2"])), Err(repeated));
        let many: Vec<String> = (0..LABELS_MAX).map(|n| format!("k{n}=v")).collect();
        let many = Labels::parse(&many).unwrap();
        assert_eq!(many.and(&labels(&["z=1"])), Err(LabelError::TooMany(LABELS_MAX + 1)));
        assert!(Labels::default().add("a=b", "c").is_err(), "it would read as another label");
    }
}
