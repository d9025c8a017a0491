//! A place as the numbers it is made of, and the distance that costs least.

use super::{EARTH_RADIUS_KM, Place};

/// How far from length one a vector may be to count as a place.
const LENGTH_TOLERANCE: f64 = 1e-9;

/// Coefficients of `acos(x) / sqrt(1 - x)` for `x` from 0 to 1, constant term first; the error is at
/// most 2e-8. Source: Abramowitz and Stegun, "Handbook of Mathematical Functions", 4.4.46.
const ACOS: [f64; 8] = [
    1.570_796_305_0,
    -0.214_598_801_6,
    0.088_978_987_4,
    -0.050_174_304_6,
    0.030_891_881_0,
    -0.017_088_125_6,
    0.006_670_090_1,
    -0.001_262_491_1,
];

impl Place {
    /// The place that [`unit_vector`](Self::unit_vector) gave, bit for bit; `None` if the length is not one.
    #[must_use]
    pub fn from_unit(unit: [f64; 3]) -> Option<Self> {
        let square: f64 = unit.iter().map(|part| part * part).sum();
        ((square - 1.0).abs() < LENGTH_TOLERANCE).then_some(Self(unit))
    }

    /// The place in the direction of `vector`, such as the sum of several places; `None` if it points
    /// nowhere.
    #[must_use]
    pub fn towards(vector: [f64; 3]) -> Option<Self> {
        let length = vector.iter().map(|part| part * part).sum::<f64>().sqrt();
        if !length.is_finite() || length < LENGTH_TOLERANCE {
            return None;
        }
        Some(Self(vector.map(|part| part / length)))
    }

    /// [`distance_km`](Self::distance_km) to within a metre, in a fraction of the time.
    ///
    /// Only additions, multiplications, divisions and square roots, which are exact by IEEE 754: the
    /// result is the same on every machine, so that several that compare distances agree.
    #[must_use]
    pub fn roughly_km(self, other: Self) -> f64 {
        let [x, y, z] = [0, 1, 2].map(|axis| self.0[axis] - other.0[axis]);
        // 1 - cos, from the chord: exact for neighbours too, where the dot product is not.
        let versine = (x * x + y * y + z * z) / 2.0;
        let (near, is_far) = if versine > 1.0 { (2.0 - versine, true) } else { (versine, false) };
        let near = near.max(0.0);
        let cosine = 1.0 - near;
        let factor = ACOS.iter().rev().fold(0.0, |sum, coefficient| sum * cosine + coefficient);
        let angle = near.sqrt() * factor;
        EARTH_RADIUS_KM * if is_far { std::f64::consts::PI - angle } else { angle }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quick_distance_is_the_exact_one_to_within_a_metre() {
        let at = |latitude: i32, longitude: i32| {
            Place::from_degrees(f64::from(latitude), f64::from(longitude)).unwrap()
        };
        for (a, b) in [(0, 0), (48, 2), (-90, 0), (-33, 151), (90, 180)] {
            for latitude in (-90..=90).step_by(5) {
                for longitude in (-180..=180).step_by(5) {
                    let (here, there) = (at(a, b), at(latitude, longitude));
                    let off = here.roughly_km(there) - here.distance_km(there);
                    assert!(off.abs() < 0.001, "{here:?} {there:?}: {off} km");
                }
            }
        }
    }

    #[test]
    fn a_place_is_its_unit_vector() {
        let paris = Place::from_degrees(48.8566, 2.3522).unwrap();
        assert_eq!(Place::from_unit(paris.unit_vector()), Some(paris));
        assert_eq!(Place::from_unit([1.0, 1.0, 0.0]), None);
        assert_eq!(Place::from_unit([f64::NAN, 1.0, 0.0]), None);
        assert!(
            Place::towards(paris.unit_vector().map(|part| part * 7.0)).unwrap().roughly_km(paris)
                < 1e-6
        );
        assert_eq!(Place::towards([0.0; 3]), None);
        assert_eq!(Place::towards([f64::INFINITY, 0.0, 0.0]), None);
    }
}
