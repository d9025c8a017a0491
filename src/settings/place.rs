//! A place on Earth, as the file says it.

use super::declare::{Key, Keys, Kind, Section};
use super::field::Decimal;

/// A place on Earth, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlaceSettings {
    /// North of the equator; negative south of it.
    pub latitude: f64,
    /// East of Greenwich; negative west of it.
    pub longitude: f64,
}

impl PlaceSettings {
    /// The place; `None` if it is not on Earth, which reading a file does not let pass.
    #[must_use]
    pub fn to_place(self) -> Option<geoip::Place> {
        geoip::Place::from_degrees(self.latitude, self.longitude)
    }
}

impl Section for PlaceSettings {
    fn example() -> Self {
        Self { latitude: 48.86, longitude: 2.35 }
    }

    fn keys(&mut self, keys: &mut impl Keys) {
        let degrees = |max: f64| Kind::Decimal { unit: "degrees", min: -max, max };
        let mut required = |name, field, max, doc| {
            keys.key(Key { name, doc, kind: degrees(max), is_required: true }, &mut Decimal(field));
        };
        required("latitude", &mut self.latitude, 90.0, "Degrees north; negative in the south.");
        required("longitude", &mut self.longitude, 180.0, "Degrees east; negative in the west.");
    }
}
