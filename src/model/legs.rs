//! The unit of load and capacity.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A number of legs: one WebRTC endpoint's media in one direction each.
///
/// Load and capacity of a backend are both counted in legs, so that they can be divided.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Legs(pub u32);

impl Legs {
    /// Legs of a meeting of `participants` people who all publish and all watch: n x n.
    #[must_use]
    pub const fn of_meeting(participants: u32) -> Self {
        Self(participants.saturating_mul(participants))
    }

    /// This many as a fraction of `capacity`: `0.0` idle, `1.0` full, infinite if there is none.
    #[must_use]
    pub fn fraction_of(self, capacity: Self) -> f64 {
        if capacity.0 == 0 { f64::INFINITY } else { f64::from(self.0) / f64::from(capacity.0) }
    }
}

impl fmt::Display for Legs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meeting_of_four_has_sixteen_legs() {
        assert_eq!(Legs::of_meeting(4), Legs(16));
        assert_eq!(Legs::of_meeting(u32::MAX), Legs(u32::MAX));
    }

    #[test]
    fn no_capacity_is_always_overfull() {
        assert!(Legs(0).fraction_of(Legs(0)) > 1.0);
        assert!((Legs(5).fraction_of(Legs(10)) - 0.5).abs() < f64::EPSILON);
    }
}
