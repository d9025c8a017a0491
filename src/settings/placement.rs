//! `[pins]` and `[placement]`: where meetings go and how long they stay.

use std::time::Duration;

use crate::model::Legs;

use super::declare::{Keys, Section};

/// How long meetings stay pinned: `[pins]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinSettings {
    /// Time a pin outlives the last socket and pipeline of its meeting.
    pub grace: Duration,
    /// Pins kept at most; beyond it no meeting is placed.
    pub pins_max: usize,
}

impl Section for PinSettings {
    fn example() -> Self {
        Self { grace: Duration::from_secs(60), pins_max: 2_000_000 }
    }

    fn keys(&mut self, keys: &mut impl Keys) {
        keys.integer(
            "grace_ms",
            &mut self.grace,
            ("ms", 0..=3_600_000),
            "Time a meeting stays on its backend after its last socket closed and its last \
             pipeline went.",
        );
        keys.integer(
            "pins_max",
            &mut self.pins_max,
            ("pins", 1..=100_000_000),
            "Meetings pinned at once. At the bound a new one is refused with error 40009.",
        );
    }
}

/// How a backend is chosen for a new meeting: `[placement]`.
#[derive(Clone, Debug, PartialEq)]
pub struct PlacementSettings {
    /// Load a new meeting is charged before anybody is seen in it.
    pub reserve: Legs,
    /// Load a meeting is charged at most in advance, whatever size it announces.
    pub reserve_max: Legs,
    /// Backends whose load is within this fraction of capacity of the least are equal: `0.05`.
    pub near: f64,
    /// Time a frame may wait for a place.
    pub wait: Duration,
}

impl Section for PlacementSettings {
    fn example() -> Self {
        Self { reserve: Legs(4), reserve_max: Legs(400), near: 0.05, wait: Duration::from_secs(10) }
    }

    fn keys(&mut self, keys: &mut impl Keys) {
        keys.integer(
            "reserve_legs",
            &mut self.reserve,
            ("legs", 1..=1_000_000),
            "Load that a new meeting is charged at once, before anybody is seen in it.",
        );
        keys.integer(
            "reserve_max_legs",
            &mut self.reserve_max,
            ("legs", 1..=1_000_000),
            "Load that a meeting is charged at most in advance, whatever size it announces. Not \
             below reserve_legs.",
        );
        keys.integer(
            "near_percent",
            &mut self.near,
            ("percent of capacity", 0..=100),
            "Backends whose load is this near to the least loaded one's count as equal; the less \
             loaded of two drawn from them is chosen.",
        );
        keys.integer(
            "wait_ms",
            &mut self.wait,
            ("ms", 0..=60_000),
            "Time a frame may wait for its meeting to be placed. Then it is answered with an error.",
        );
    }
}
