//! Placement in a made-up world: `pinfold simulate placement`.
//!
//! The choice, the promises and the history are those of the edge; backends, people and clocks are
//! made up. Backends tell their load every ten seconds; between that, an edge knows only of its own
//! meetings and promises: edges do not talk. The other strategies see the samples alone, as it is
//! usual elsewhere.

mod measure;
mod trace;
mod world;

#[cfg(test)]
mod tests;

use crate::policy::choose::{Rules, Strategy};

pub use measure::{Measures, table};
use trace::{CITIES, Meeting};
use world::World;

/// Edges that place meetings.
const EDGES: usize = 3;

/// Seconds between two samples of a backend.
const SAMPLE_SECONDS: f64 = 10.0;

/// A fleet and the meetings that come to it.
#[derive(Clone, Debug)]
pub struct Case {
    meetings: Vec<Meeting>,
    /// Backends by city.
    backends: [usize; 8],
    /// Legs that each backend carries anyway; none beyond the end.
    base: Vec<u32>,
}

impl Case {
    /// `hours` from 13:00 UTC, which is the busiest, with 50 backends in eight cities.
    #[must_use]
    pub fn day(seed: u64, hours: u32) -> Self {
        let meetings = trace::day(seed, hours, 1.0);
        Self { meetings, backends: CITIES.map(|city| city.backends), base: Vec::new() }
    }

    /// Empty rooms that fill ten minutes after they were made, on ten backends of one city, half of
    /// which are half full.
    #[must_use]
    pub fn early_teachers() -> Self {
        let base = (0..10).map(|nth| if nth % 2 == 0 { 500 } else { 0 }).collect();
        Self { meetings: trace::early_teachers(), backends: [0, 0, 0, 0, 10, 0, 0, 0], base }
    }

    /// 100 rooms in ten seconds, on ten backends of one city that are almost equally loaded.
    #[must_use]
    pub fn class_start() -> Self {
        let base = (0..10).map(|nth| 300 + nth * 2).collect();
        Self { meetings: trace::class_start(), backends: [0, 0, 0, 0, 10, 0, 0, 0], base }
    }

    /// Meetings it has.
    #[must_use]
    pub fn meetings(&self) -> usize {
        self.meetings.len()
    }

    /// What comes of it with `rules`.
    #[must_use]
    pub fn run(&self, rules: &Rules) -> Measures {
        World::new(self, *rules).run()
    }

    /// What comes of it with `strategy` and else the defaults.
    #[must_use]
    pub fn run_strategy(&self, strategy: Strategy) -> Measures {
        self.run(&Rules { strategy, ..Rules::default() })
    }
}
