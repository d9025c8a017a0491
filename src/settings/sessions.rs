//! `[sessions]`: clients that go away and come back.

use std::time::Duration;

use super::declare::{Keys, Section};

/// What becomes of a session whose client is away: `[sessions]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSettings {
    /// Time its links stay open.
    pub hold: Duration,
    /// Time it is remembered, so that the fleet need not be asked.
    pub keep: Duration,
    /// Sessions remembered at once.
    pub away_max: usize,
    /// Questions to the fleet in a second, for sessions and objects this edge does not know.
    pub questions_per_second: u32,
}

impl Section for SessionSettings {
    fn example() -> Self {
        Self {
            hold: Duration::from_secs(5),
            keep: Duration::from_secs(480),
            away_max: 100_000,
            questions_per_second: 500,
        }
    }

    fn keys(&mut self, keys: &mut impl Keys) {
        keys.integer(
            "hold_ms",
            &mut self.hold,
            ("ms", 0..=300_000),
            "Time the links of a client that vanished stay open, so that it misses nothing if it \
             comes back. After that its backends keep its session for 4 to 8 minutes.",
        );
        keys.integer(
            "keep_ms",
            &mut self.keep,
            ("ms", 0..=3_600_000),
            "Time a session is remembered whose client is away. Then the fleet is asked for it.",
        );
        keys.integer(
            "away_max",
            &mut self.away_max,
            ("sessions", 1..=10_000_000),
            "Sessions remembered at once whose client is away; the oldest is forgotten.",
        );
        keys.integer(
            "questions_per_second",
            &mut self.questions_per_second,
            ("questions", 1..=100_000),
            "Sessions and objects unknown here that the fleet is asked for in a second. Beyond \
             that they wait for their turn, 10 s at most; what this edge has noted on disk does not.",
        );
    }
}
