//! `[pacing]`: how fast costly calls go to a backend.

use std::time::Duration;

use super::declare::{Keys, Section};
use crate::policy::pacing::Pace;

/// How fast calls that make or negotiate an endpoint go to each backend: `[pacing]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacingSettings {
    /// Such calls in a second; 0: as many as come.
    pub calls_per_second: u32,
    /// Calls that may go at once after a rest.
    pub burst: u32,
    /// Time a call may wait for its turn.
    pub wait_max: Duration,
    /// Clients that may wait at one backend.
    pub waiting_max: usize,
    /// Bytes of one client's messages that may wait behind its turns.
    pub held_max_bytes: usize,
}

impl PacingSettings {
    /// The pace; `None` when there is none to be kept.
    #[must_use]
    pub fn pace(&self) -> Option<Pace> {
        let Self { calls_per_second, burst, wait_max, waiting_max, held_max_bytes } = *self;
        (calls_per_second > 0).then(|| {
            let interval = Duration::from_secs(1) / calls_per_second;
            Pace { interval, burst, wait_max, waiting_max, held_max_bytes }
        })
    }
}

impl Section for PacingSettings {
    fn example() -> Self {
        Self {
            calls_per_second: 20,
            burst: 40,
            wait_max: Duration::from_secs(10),
            waiting_max: 1_000,
            held_max_bytes: 8 * 1_024 * 1_024,
        }
    }

    fn keys(&mut self, keys: &mut impl Keys) {
        keys.integer(
            "calls_per_second",
            &mut self.calls_per_second,
            ("calls", 0..=10_000),
            "Calls that make an endpoint or negotiate for one and that go to one backend in a \
             second, over all clients. Further ones wait. With 0 all go as they come.",
        );
        keys.integer(
            "burst",
            &mut self.burst,
            ("calls", 1..=100_000),
            "Such calls that go at once when there were few before.",
        );
        keys.integer(
            "wait_max_ms",
            &mut self.wait_max,
            ("ms", 0..=60_000),
            "Time such a call may wait. One that would wait for longer is answered with an error at \
             once, which says when to try again.",
        );
        keys.integer(
            "waiting_max",
            &mut self.waiting_max,
            ("clients", 1..=1_000_000),
            "Clients that may wait at one backend. Calls of further ones are answered with that error.",
        );
        keys.integer(
            "held_max_bytes",
            &mut self.held_max_bytes,
            ("bytes", 1_024..=67_108_864),
            "Messages of one client that wait behind such a call. Further ones are answered with \
             that error.",
        );
    }
}
