//! Places on Earth and how far they are from one another.
//!
//! Knows nothing of the router: it turns numbers into places, and places into distances.

mod unit;

/// Mean radius of the Earth, in kilometres. Source: IUGG, R1.
const EARTH_RADIUS_KM: f64 = 6_371.008_8;

/// A point on the Earth, kept as a unit vector so that a distance is one dot product.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place([f64; 3]);

impl Place {
    /// The place at `latitude` and `longitude`, in degrees; `None` outside ±90 and ±180, and for NaN.
    #[must_use]
    pub fn from_degrees(latitude: f64, longitude: f64) -> Option<Self> {
        if !(-90.0..=90.0).contains(&latitude) || !(-180.0..=180.0).contains(&longitude) {
            return None;
        }
        let (sin_lat, cos_lat) = latitude.to_radians().sin_cos();
        let (sin_lon, cos_lon) = longitude.to_radians().sin_cos();
        Some(Self([cos_lat * cos_lon, cos_lat * sin_lon, sin_lat]))
    }

    /// Great-circle distance to `other`, in kilometres.
    #[must_use]
    pub fn distance_km(self, other: Self) -> f64 {
        let dot: f64 = self.0.iter().zip(other.0).map(|(a, b)| a * b).sum();
        dot.clamp(-1.0, 1.0).acos() * EARTH_RADIUS_KM
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paris_is_344_km_from_london() {
        let paris = Place::from_degrees(48.8566, 2.3522).unwrap();
        let london = Place::from_degrees(51.5074, -0.1278).unwrap();
        assert!((paris.distance_km(london) - 343.6).abs() < 1.0);
        assert!(paris.distance_km(paris) < 0.001);
    }

    #[test]
    fn no_place_lies_off_the_globe() {
        assert_eq!(Place::from_degrees(90.1, 0.0), None);
        assert_eq!(Place::from_degrees(0.0, f64::NAN), None);
    }
}
