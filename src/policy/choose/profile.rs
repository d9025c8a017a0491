//! What the config says of a backend, as far as a choice needs it.

use geoip::Place;
use serde::{Deserialize, Serialize};

use super::draw::key_of;
use super::spot;
use crate::model::{BackendId, Labels};

/// Highest weight of a backend; see [`Profile::weight`].
pub const WEIGHT_MAX: u8 = 16;

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
