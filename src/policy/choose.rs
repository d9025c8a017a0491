//! Chooses the backend a new meeting is pinned to.
//!
//! Pure: fleet and random draw are arguments, so a choice seen in production can be repeated from its
//! log line. The rule in order: may take pins, has room for the reserve, is among the least loaded,
//! is the less loaded of two drawn. Distance is to become a term of the same score, beside the load.
//! Not here: who is healthy (`policy::health`), which meeting is already pinned (`pins`).

use crate::model::Legs;

/// What a choice needs to know of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Whether it is healthy and may get new meetings.
    pub takes_pins: bool,
    /// Legs promised to the meetings it has.
    pub load: Legs,
    /// Legs it can hold.
    pub capacity: Legs,
}

/// Why no backend can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoBackend {
    /// None takes pins.
    #[error("no media server is healthy; operator: see the health of the backends")]
    NoneHealthy,
    /// Those that take pins have no room for the reserve.
    #[error("every media server is full; operator: add backends or raise their capacity")]
    AllFull,
}

/// Chooses among `fleet` and returns the index; `reserve` is what the new meeting will need.
///
/// Backends whose load after the choice would be within `near` (a fraction of capacity) of the least
/// count as equal. Two of these are drawn, one by each half of `draw`, and the less loaded is taken:
/// several edges that decide at the same time then do not all take the same one.
///
/// # Errors
/// What keeps every backend out.
///
/// Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001.
pub fn choose(
    fleet: &[Candidate],
    reserve: Legs,
    near: f64,
    draw: u64,
) -> Result<usize, NoBackend> {
    let score = |candidate: &Candidate| candidate.score(reserve);
    let least = fleet.iter().filter_map(score).fold(f64::INFINITY, f64::min);
    if least.is_infinite() {
        let is_full = fleet.iter().any(|candidate| candidate.takes_pins);
        return Err(if is_full { NoBackend::AllFull } else { NoBackend::NoneHealthy });
    }
    let is_near = |candidate: &Candidate| score(candidate).is_some_and(|s| s <= least + near);
    let near_count = fleet.iter().filter(|candidate| is_near(candidate)).count();
    let pick = |half: u64| {
        let nth = usize::try_from((half * near_count as u64) >> 32).expect("below near_count");
        let mut near = fleet.iter().enumerate().filter(|(_, candidate)| is_near(candidate));
        near.nth(nth).expect("nth is below their count").0
    };
    let (a, b) = (pick(draw & 0xffff_ffff), pick(draw >> 32));
    Ok(if score(&fleet[b]) < score(&fleet[a]) { b } else { a })
}

impl Candidate {
    /// Load after taking `reserve` as a fraction of capacity, lower is better; `None` if it cannot.
    fn score(&self, reserve: Legs) -> Option<f64> {
        let after = Legs(self.load.0.saturating_add(reserve.0));
        (self.takes_pins && after <= self.capacity).then(|| after.fraction_of(self.capacity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Draws;
    use proptest::prelude::*;

    fn open(load: u32, capacity: u32) -> Candidate {
        Candidate { takes_pins: true, load: Legs(load), capacity: Legs(capacity) }
    }

    #[test]
    fn the_least_loaded_part_of_its_capacity_wins() {
        let fleet = [open(50, 100), open(60, 400), open(90, 100)];
        for draw in [0, u64::MAX, 7 << 40] {
            assert_eq!(choose(&fleet, Legs(4), 0.05, draw), Ok(1));
        }
    }

    #[test]
    fn one_that_takes_no_pins_or_has_no_room_is_passed_over() {
        let closed = Candidate { takes_pins: false, ..open(0, 100) };
        assert_eq!(choose(&[closed, open(99, 100)], Legs(1), 0.05, 0), Ok(1));
        assert_eq!(choose(&[closed, open(99, 100)], Legs(2), 0.05, 0), Err(NoBackend::AllFull));
        assert_eq!(choose(&[closed], Legs(1), 0.05, 0), Err(NoBackend::NoneHealthy));
        assert_eq!(choose(&[], Legs(1), 0.05, 0), Err(NoBackend::NoneHealthy));
        assert_eq!(choose(&[open(0, 0)], Legs(1), 0.05, 0), Err(NoBackend::AllFull));
    }

    /// 100 meetings at once over 10 equal backends: nobody gets much more than his share.
    #[test]
    fn a_herd_spreads() {
        for seed in 0..500 {
            let mut draws = Draws::seeded(seed);
            let mut fleet = [open(0, 400); 10];
            for _ in 0..100 {
                let chosen = choose(&fleet, Legs(4), 0.05, draws.next()).unwrap();
                fleet[chosen].load.0 += 4;
            }
            let max = fleet.iter().map(|c| c.load.0 / 4).max().unwrap();
            assert!(max <= 13, "seed {seed}: {max} of 100 on one of ten");
        }
    }

    fn any_fleet() -> impl Strategy<Value = Vec<Candidate>> {
        let one = (any::<bool>(), 0u32..500, 0u32..500).prop_map(|(takes_pins, load, capacity)| {
            Candidate { takes_pins, load: Legs(load), capacity: Legs(capacity) }
        });
        proptest::collection::vec(one, 0..12)
    }

    proptest! {
        #[test]
        fn a_choice_never_breaks_a_filter(fleet in any_fleet(), reserve in 0u32..50, draw: u64) {
            if let Ok(chosen) = choose(&fleet, Legs(reserve), 0.05, draw) {
                let chosen = fleet[chosen];
                prop_assert!(chosen.takes_pins && chosen.load.0 + reserve <= chosen.capacity.0);
            }
        }

        #[test]
        fn more_load_never_makes_a_backend_more_likely(
            fleet in any_fleet(), which: prop::sample::Index, more in 1u32..100, seed: u64,
        ) {
            prop_assume!(!fleet.is_empty());
            let which = which.index(fleet.len());
            let mut loaded = fleet.clone();
            loaded[which].load.0 += more;
            let wins = |fleet: &[Candidate]| {
                let mut draws = Draws::seeded(seed);
                let chosen = |_| choose(fleet, Legs(4), 0.0, draws.next()) == Ok(which);
                (0..64).map(chosen).filter(|&won| won).count()
            };
            prop_assert!(wins(&loaded) <= wins(&fleet));
        }
    }
}
