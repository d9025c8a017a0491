//! What the config says of a backend, as far as a choice needs it.

use std::collections::BTreeMap;
use std::fmt;

use geoip::Place;
use serde::{Deserialize, Serialize};

use super::draw::key_of;
use super::spot;
use crate::model::BackendId;

/// Highest weight of a backend; see [`Profile::weight`].
pub const WEIGHT_MAX: u8 = 16;

/// Most labels of a backend or of a demand.
pub const LABELS_MAX: usize = 32;

/// Longest label, in bytes, its `=` included.
pub const LABEL_MAX_LEN: usize = 128;

/// What does not change from choice to choice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "ProfileParts")]
pub struct Profile {
    /// Its name.
    pub id: BackendId,
    /// Where it stands; `None` if the config does not say.
    #[serde(with = "spot")]
    pub place: Option<Place>,
    /// How many tickets it has in the draw among equals: 1 to [`WEIGHT_MAX`].
    pub weight: u8,
    /// What it costs, in units of the operator's choice.
    pub price: f64,
    /// What it may be asked for.
    pub labels: Labels,
    /// The hash of its id.
    #[serde(skip)]
    pub(super) key: u64,
}

/// [`Profile`] without what is derived.
#[derive(Deserialize)]
struct ProfileParts {
    id: BackendId,
    #[serde(with = "spot")]
    place: Option<Place>,
    weight: u8,
    price: f64,
    labels: Labels,
}

impl Profile {
    /// A backend of which only its id is known: no place, weight 1, no price, no labels.
    #[must_use]
    pub fn new(id: BackendId) -> Self {
        let key = key_of(id.as_str());
        Self { id, place: None, weight: 1, price: 0.0, labels: Labels::default(), key }
    }
}

impl From<ProfileParts> for Profile {
    fn from(parts: ProfileParts) -> Self {
        let ProfileParts { id, place, weight, price, labels } = parts;
        Self { place, weight, price, labels, ..Self::new(id) }
    }
}

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
        let mut labels = BTreeMap::new();
        for text in texts.iter().map(AsRef::as_ref) {
            let malformed = || LabelError::Malformed(text.chars().take(LABEL_MAX_LEN).collect());
            let (key, value) = text.split_once('=').ok_or_else(malformed)?;
            let (key, value) = (key.trim(), value.trim());
            let is_odd = text.len() > LABEL_MAX_LEN || text.chars().any(char::is_control);
            if key.is_empty() || value.is_empty() || is_odd {
                return Err(malformed());
            }
            if labels.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(LabelError::Repeated(key.to_owned()));
            }
        }
        Ok(Self(labels))
    }

    /// Whether every label of `demanded` is among these.
    #[must_use]
    pub fn satisfy(&self, demanded: &Self) -> bool {
        demanded.0.iter().all(|(key, value)| self.0.get(key) == Some(value))
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
}
