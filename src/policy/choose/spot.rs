//! A place in a scene's JSON: its unit vector, so that a replay computes with the very same numbers.

use geoip::Place;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(super) fn serialize<S: Serializer>(
    place: &Option<Place>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    place.map(Place::unit_vector).serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Place>, D::Error> {
    let unit = Option::<[f64; 3]>::deserialize(deserializer)?;
    let place = |unit| Place::from_unit(unit).ok_or(D::Error::custom("no unit vector"));
    unit.map(place).transpose()
}
