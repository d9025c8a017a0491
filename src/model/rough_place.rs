//! A place as far as it is shown to people.

use std::fmt;

use geoip::Place;

/// A place to a tenth of a degree, some 10 km: enough to see why a backend was near, and nobody's
/// address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoughPlace {
    latitude_tenths: i16,
    longitude_tenths: i16,
}

impl RoughPlace {
    /// Degrees north.
    #[must_use]
    pub fn latitude(self) -> f64 {
        f64::from(self.latitude_tenths) / 10.0
    }

    /// Degrees east.
    #[must_use]
    pub fn longitude(self) -> f64 {
        f64::from(self.longitude_tenths) / 10.0
    }
}

impl RoughPlace {
    /// The direction it is in, as a unit vector.
    #[must_use]
    pub fn unit_vector(self) -> [f64; 3] {
        let place = Place::from_degrees(self.latitude(), self.longitude());
        place.expect("tenths of a place's degrees are one's too").unit_vector()
    }
}

impl From<Place> for RoughPlace {
    fn from(place: Place) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "degrees of a place: within ±1,800")]
        let tenths = |degrees: f64| (degrees * 10.0).round() as i16;
        Self {
            latitude_tenths: tenths(place.latitude()),
            longitude_tenths: tenths(place.longitude()),
        }
    }
}

impl fmt::Display for RoughPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1},{:.1}", self.latitude(), self.longitude())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_tenth_of_a_degree_is_kept() {
        for (latitude, longitude, shown) in [
            (48.8566, 2.3522, "48.9,2.4"),
            (-33.8688, 151.2093, "-33.9,151.2"),
            (90.0, 0.0, "90.0,0.0"),
            (0.01, -179.99, "0.0,-180.0"),
        ] {
            let place = Place::from_degrees(latitude, longitude).unwrap();
            assert_eq!(RoughPlace::from(place).to_string(), shown);
        }
    }
}
