//! A point on the Earth.

mod unit;

/// Mean radius of the Earth, in kilometres. Source: IUGG, R1.
const EARTH_RADIUS_KM: f64 = 6_371.008_8;

/// Below this length the mean of unit vectors has no direction worth the name.
const MEAN_LEN_MIN: f64 = 1e-9;

/// A point on the Earth, kept as a unit vector so that a distance is one dot product.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place([f64; 3]);

impl Place {
    /// The place at `latitude` and `longitude`, in degrees; `None` outside ±90 and ±180, and for
    /// NaN.
    #[must_use]
    pub fn from_degrees(latitude: f64, longitude: f64) -> Option<Self> {
        if !(-90.0..=90.0).contains(&latitude) || !(-180.0..=180.0).contains(&longitude) {
            return None;
        }
        let (sin_lat, cos_lat) = latitude.to_radians().sin_cos();
        let (sin_lon, cos_lon) = longitude.to_radians().sin_cos();
        Some(Self([cos_lat * cos_lon, cos_lat * sin_lon, sin_lat]))
    }

    /// The place in the middle of `places`, each with its weight.
    ///
    /// `None` if there is no middle: no place, no weight above zero, or places that cancel out,
    /// such as two opposite points. A weight that is negative, infinite or NaN counts as zero.
    #[must_use]
    pub fn mean(places: impl IntoIterator<Item = (Self, f64)>) -> Option<Self> {
        let mut sum = [0.0; 3];
        let mut weight_sum = 0.0;
        for (place, weight) in places {
            if weight.is_finite() && weight > 0.0 {
                weight_sum += weight;
                for (to, of) in sum.iter_mut().zip(place.0) {
                    *to += of * weight;
                }
            }
        }
        let len = sum.iter().map(|part| part * part).sum::<f64>().sqrt();
        let has_middle = len.is_finite() && weight_sum > 0.0 && len / weight_sum > MEAN_LEN_MIN;
        has_middle.then(|| Self(sum.map(|part| part / len)))
    }

    /// Degrees north of the equator, -90 to 90.
    #[must_use]
    pub fn latitude(self) -> f64 {
        let [x, y, z] = self.0;
        z.atan2(x.hypot(y)).to_degrees()
    }

    /// Degrees east of Greenwich, -180 to 180. At the poles: any.
    #[must_use]
    pub fn longitude(self) -> f64 {
        let [x, y, _] = self.0;
        y.atan2(x).to_degrees()
    }

    /// Its parts: through 0° N 0° E, through 0° N 90° E, through the north pole. Squared, they add
    /// up to 1.
    #[must_use]
    pub fn unit_vector(self) -> [f64; 3] {
        self.0
    }

    /// Great-circle distance to `other`, in kilometres. Places less than about 100 m apart may
    /// count as one.
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
        assert!(paris.distance_km(paris) < 0.1);
    }

    #[test]
    fn no_place_lies_off_the_globe() {
        assert_eq!(Place::from_degrees(90.1, 0.0), None);
        assert_eq!(Place::from_degrees(0.0, f64::NAN), None);
    }

    #[test]
    fn the_mean_leans_towards_the_weight() {
        let (west, east) = (place(0.0, -10.0), place(0.0, 10.0));
        let mean = Place::mean([(west, 1.0), (east, 1.0)]).unwrap();
        assert!(mean.distance_km(place(0.0, 0.0)) < 0.1);
        let mean = Place::mean([(west, 1.0), (east, 3.0)]).unwrap();
        assert!(mean.longitude() > 4.0 && mean.longitude() < 6.0, "{}", mean.longitude());
    }

    #[test]
    fn the_mean_over_the_date_line_is_not_in_africa() {
        let mean = Place::mean([(place(10.0, 179.0), 1.0), (place(10.0, -179.0), 1.0)]).unwrap();
        assert!(mean.longitude().abs() > 179.9);
    }

    #[test]
    fn what_has_no_middle_has_no_mean() {
        let here = place(0.0, 0.0);
        assert_eq!(Place::mean([]), None);
        assert_eq!(Place::mean([(here, 0.0), (here, -1.0), (here, f64::NAN)]), None);
        assert_eq!(Place::mean([(here, f64::INFINITY)]), None);
        assert_eq!(Place::mean([(here, 1.0), (place(0.0, 180.0), 1.0)]), None);
        assert_eq!(Place::mean([(here, f64::MAX), (here, f64::MAX)]), None);
    }

    fn place(latitude: f64, longitude: f64) -> Place {
        Place::from_degrees(latitude, longitude).unwrap()
    }
}
