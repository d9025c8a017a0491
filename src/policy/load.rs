//! How loaded a backend is going to be: what was measured, and what was promised on top.
//!
//! Every dimension is a fraction of what the backend can bear; the highest one counts. Capacity is
//! declared in legs, so what is promised (legs of people who have not come yet) is a fraction too, and
//! is added to each dimension. A measurement grows old: it is believed for a while, then less and less,
//! and what is not known counts as full. It does so only in the cost: whether there is *room* is
//! judged by the last measurement itself, so that a sampler which stops everywhere makes all backends
//! equally dear and does not close the fleet.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Legs, Time};

/// What can run out on a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dimension {
    /// Legs, counted by the edge itself; always known.
    Legs,
    /// Processors.
    Cpu,
    /// Memory.
    Memory,
    /// Network.
    Network,
}

/// One measurement that a backend, or an agent beside it, made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Part in use: `0.0` idle, `1.0` full.
    pub used: f64,
    /// When.
    pub at: Time,
}

/// What is known of one sampled dimension.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Sampled {
    /// Nobody samples it for this backend; it counts for nothing.
    #[default]
    Undeclared,
    /// It is to be sampled and was not yet: the backend gets no new meeting.
    Awaited,
    /// The last measurement.
    Last(Sample),
}

/// What is known of a backend's load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// Legs it can bear.
    pub capacity: Legs,
    /// Legs it carries now, as the edge counts them.
    pub carried: Legs,
    /// Legs promised to its meetings beyond those they have.
    pub promised: Legs,
    /// Processors.
    pub cpu: Sampled,
    /// Memory.
    pub memory: Sampled,
    /// Network.
    pub network: Sampled,
    /// When it was admitted, if it has to start slowly: it is new, or was away.
    pub admitted: Option<Time>,
}

impl Measured {
    /// An idle backend that is not sampled and needs no slow start.
    #[must_use]
    pub const fn idle(capacity: Legs) -> Self {
        let none = Sampled::Undeclared;
        let (carried, promised) = (Legs(0), Legs(0));
        Self { capacity, carried, promised, cpu: none, memory: none, network: none, admitted: None }
    }
}

/// How measurements are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// Age up to which a sample is believed as it is.
    pub fresh: Duration,
    /// Beyond that, the time in which half of what it left free is no longer believed in.
    pub doubt_half_life: Duration,
    /// Time a newly admitted backend takes to count with all of its capacity. Zero: at once.
    pub slow_start: Duration,
    /// Edges that place meetings on these backends. One sees only its own promises: the others are
    /// taken to have promised as much, each, until the samples tell.
    pub edges: u32,
}

impl Default for Outlook {
    fn default() -> Self {
        Self {
            fresh: Duration::from_secs(30),
            doubt_half_life: Duration::from_secs(30),
            slow_start: Duration::from_secs(60),
            edges: 1,
        }
    }
}

/// Part of its capacity that a newly admitted backend counts with at first.
pub const RAMP_MIN: f64 = 0.1;

/// The load of a backend as a choice sees it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Legs it can bear.
    pub capacity: Legs,
    /// Highest dimension as last measured, with what is promised; a fraction of capacity.
    pub measured: f64,
    /// The same with old samples doubted; never less.
    pub feared: f64,
    /// Which dimension that is.
    pub dimension: Dimension,
    /// Part of its capacity that it counts with: [`RAMP_MIN`] to `1.0`.
    pub ramp: f64,
    /// Whether every declared dimension was reported at least once.
    pub is_reported: bool,
}

impl Load {
    /// What `known` adds up to at `now`.
    #[must_use]
    pub fn predict(known: &Measured, outlook: &Outlook, now: Time) -> Self {
        let part = |legs: Legs| part(legs, known.capacity);
        let legs = part(Legs(known.carried.0.saturating_add(known.promised.0)));
        let mut load = Self {
            capacity: known.capacity,
            measured: legs,
            feared: legs,
            dimension: Dimension::Legs,
            ramp: ramp(known.admitted, outlook, now),
            is_reported: true,
        };
        let sampled = [
            (Dimension::Cpu, known.cpu),
            (Dimension::Memory, known.memory),
            (Dimension::Network, known.network),
        ];
        for (dimension, sampled) in sampled {
            match sampled {
                Sampled::Undeclared => {}
                Sampled::Awaited => load.is_reported = false,
                Sampled::Last(sample) => {
                    let of_all = known.promised.0.saturating_mul(outlook.edges.max(1));
                    let promised = part(Legs(of_all));
                    load.measured = load.measured.max(sample.used + promised);
                    let feared = sample.feared(outlook, now) + promised;
                    if feared > load.feared {
                        (load.feared, load.dimension) = (feared, dimension);
                    }
                }
            }
        }
        load
    }

    /// A backend of which only the legs charged to it are known, with all of its capacity.
    #[must_use]
    pub fn of_legs(charged: Legs, capacity: Legs) -> Self {
        let known = Measured { promised: charged, ..Measured::idle(capacity) };
        Self::predict(&known, &Outlook::default(), Time::ZERO)
    }

    /// Whether `reserve` fits below `hard`, a fraction of capacity, in every dimension.
    #[must_use]
    pub fn has_room(&self, reserve: Legs, hard: f64) -> bool {
        self.measured + part(reserve, self.capacity) <= hard + ROUNDING
    }

    /// Part in use once `reserve` is there, as it is feared to be, of the capacity it counts with.
    #[must_use]
    pub fn after(&self, reserve: Legs) -> f64 {
        (self.feared + part(reserve, self.capacity)) / self.ramp.max(RAMP_MIN)
    }
}

/// Sums of fractions may be this much off: legs are whole numbers, 1,000,000 at most.
const ROUNDING: f64 = 1e-9;

/// Stands for the infinite fraction of no capacity, because JSON has no infinity.
const OVERFULL: f64 = 1e9;

fn part(legs: Legs, capacity: Legs) -> f64 {
    legs.fraction_of(capacity).min(OVERFULL)
}

impl Sample {
    /// What is to be feared at `now`: the sample while it is fresh, then ever more of what it left free.
    #[must_use]
    pub fn feared(&self, outlook: &Outlook, now: Time) -> f64 {
        let age = now.since(self.at).saturating_sub(outlook.fresh);
        let believed = half_life(age, outlook.doubt_half_life);
        let free = (1.0 - self.used).max(0.0);
        self.used + free * (1.0 - believed)
    }
}

/// What is left of one after `age`, if half goes in each `half`.
#[must_use]
pub fn half_life(age: Duration, half: Duration) -> f64 {
    if age.is_zero() {
        return 1.0;
    }
    (-age.as_secs_f64() / half.as_secs_f64().max(f64::MIN_POSITIVE)).exp2()
}

fn ramp(admitted: Option<Time>, outlook: &Outlook, now: Time) -> f64 {
    let Some(admitted) = admitted.filter(|_| !outlook.slow_start.is_zero()) else { return 1.0 };
    let part = now.since(admitted).as_secs_f64() / outlook.slow_start.as_secs_f64();
    part.clamp(RAMP_MIN, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    fn load(known: &Measured, now: Time) -> Load {
        Load::predict(known, &Outlook::default(), now)
    }

    fn is_near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn the_highest_dimension_counts_and_a_promise_adds_to_each() {
        let cpu = Sampled::Last(Sample { used: 0.5, at: at(100) });
        let known =
            Measured { carried: Legs(100), promised: Legs(40), cpu, ..Measured::idle(Legs(400)) };
        let seen = load(&known, at(110));
        assert!(is_near(seen.measured, 0.6) && is_near(seen.feared, 0.6));
        assert_eq!(seen.dimension, Dimension::Cpu);
        let seen = load(&Measured { carried: Legs(300), ..known }, at(110));
        assert!(is_near(seen.measured, 0.85));
        assert_eq!(seen.dimension, Dimension::Legs);
    }

    #[test]
    fn an_old_sample_is_feared_to_be_full_but_leaves_room() {
        let cpu = Sampled::Last(Sample { used: 0.2, at: at(0) });
        let known = Measured { cpu, ..Measured::idle(Legs(400)) };
        assert!(is_near(load(&known, at(30)).feared, 0.2));
        assert!(is_near(load(&known, at(60)).feared, 0.6));
        let old = load(&known, at(100_000));
        assert!(is_near(old.feared, 1.0) && is_near(old.measured, 0.2));
        assert!(old.has_room(Legs(320), 1.0) && !old.has_room(Legs(321), 1.0));
    }

    #[test]
    fn a_backend_without_its_first_report_is_known_as_such() {
        let known = Measured { memory: Sampled::Awaited, ..Measured::idle(Legs(400)) };
        assert!(!load(&known, at(5)).is_reported);
        assert!(Load::of_legs(Legs(0), Legs(400)).is_reported);
    }

    #[test]
    fn a_new_backend_counts_with_a_growing_part_of_its_capacity() {
        let known = Measured { admitted: Some(at(60)), ..Measured::idle(Legs(400)) };
        for (now, ramp) in [(60, 0.1), (66, 0.1), (90, 0.5), (120, 1.0), (500, 1.0)] {
            let load = load(&known, at(now));
            assert!(is_near(load.ramp, ramp), "{now}");
            assert!(is_near(load.after(Legs(4)), 0.01 / ramp), "{now}");
            assert!(load.has_room(Legs(400), 1.0), "the filter knows no slow start");
        }
    }

    #[test]
    fn no_capacity_is_no_room() {
        assert!(!Load::of_legs(Legs(0), Legs(0)).has_room(Legs(0), 1.0));
    }

    proptest! {
        #[test]
        fn a_sample_only_gets_worse_with_age(used in 0.0..1.5f64, age in 0u64..1_000, more in 0u64..1_000) {
            let sample = Sample { used, at: at(0) };
            let outlook = Outlook::default();
            let (young, old) = (sample.feared(&outlook, at(age)), sample.feared(&outlook, at(age + more)));
            prop_assert!(used <= young && young <= old && old <= used.max(1.0));
        }
    }
}
