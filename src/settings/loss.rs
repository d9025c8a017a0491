//! `[drain]` and `[loss]`: meetings that leave their backend, and backends that leave their meetings.

use std::time::Duration;

use super::declare::{Keys, Section};

/// How a backend is drained: `[drain]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DrainSettings {
    /// Meetings that are let go in a second once the deadline of a drain is over, on average. Above
    /// zero.
    pub moves_per_second: f64,
}

impl Section for DrainSettings {
    fn example() -> Self {
        Self { moves_per_second: 2.0 }
    }

    fn keys(&mut self, keys: &mut impl Keys) {
        keys.decimal(
            "moves_per_second",
            &mut self.moves_per_second,
            ("meetings", 0.01..=1_000.0),
            "Meetings let go in a second once the deadline of a drain is over, on average, those with \
             the fewest people first. Drains of several backends share it.",
        );
    }
}

/// How clients are told that a backend is lost: `[loss]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossSettings {
    /// Over which time its clients are told.
    pub spread: Duration,
}

impl Section for LossSettings {
    fn example() -> Self {
        Self { spread: Duration::from_millis(500) }
    }

    fn keys(&mut self, keys: &mut impl Keys) {
        keys.integer(
            "spread_ms",
            &mut self.spread,
            ("ms", 0..=60_000),
            "Time over which the clients of a backend that is lost are told, each at a random moment, \
             so that they do not all come back to the others at once. One that asks for anything \
             meanwhile is told at once.",
        );
    }
}
