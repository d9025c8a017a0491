//! Chooses the backend a new meeting is pinned to.
//!
//! Pure: candidates, request and rules are arguments, and all of them together are a [`Scene`], so a
//! choice seen in production can be repeated. The rule in order: what must not be is filtered out
//! (not open, draining, labels, no report, no room); the rest have a cost, one number; those within a
//! small band of the lowest count as equal; two of these are drawn by the meeting's name, and the
//! cheaper of the two is taken. Several edges that see the same then choose the same without talking,
//! and those that see a fleet some seconds ago do not all take the one that looked best.
//! Not here: who is healthy (`policy::health`), how loaded one is (`policy::load`), which meeting is
//! already pinned (`pins`).
//!
//! Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001.

mod draw;
mod profile;
mod rules;
mod scene;
mod score;
mod spot;

use geoip::Place;
use serde::{Deserialize, Serialize};

use crate::model::{Labels, Legs};
use crate::policy::load::Load;

pub use draw::key_of;
pub use profile::{Profile, WEIGHT_MAX};
pub use rules::{Rules, Strategy, WhenFull};
pub use scene::{Decision, Fallen, ROWS_MAX, Row, Scene, Stand};
pub use score::{SOFT_LIMIT_KM, Terms, UNPLACED_KM};

use score::Scale;

/// Whether a backend may get new meetings at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It may.
    Open,
    /// It is not healthy.
    Unhealthy,
    /// It is to run empty.
    Draining,
    /// This one meeting may not go there: it could not be reached a moment ago, or a transaction
    /// touches something elsewhere.
    PassedOver,
}

/// What a choice needs to know of a backend.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// What the config says of it.
    pub profile: &'a Profile,
    /// Whether it may get new meetings.
    pub standing: Standing,
    /// How loaded it is.
    pub load: Load,
}

/// What is to be placed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Decides the draw: [`key_of`] the meeting's name, or a random number if it has none.
    pub key: u64,
    /// Where its people are, as far as that is known.
    #[serde(with = "spot")]
    pub place: Option<Place>,
    /// What it will need.
    pub reserve: Legs,
    /// Labels its backend must have: where its data may be, say.
    pub demands: Labels,
    /// Counts the choices; only `round-robin` asks for it.
    pub turn: u64,
}

/// Why a backend cannot be chosen: the first of these, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filter {
    /// [`Standing::PassedOver`].
    PassedOver,
    /// [`Standing::Unhealthy`].
    Unhealthy,
    /// [`Standing::Draining`].
    Draining,
    /// It lacks a label that is demanded.
    Labels,
    /// A dimension that is sampled was never reported.
    Unreported,
    /// The reserve does not fit.
    Room,
}

/// Why there is no backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoBackend {
    /// None takes pins.
    #[error("no media server is healthy; operator: see the health of the backends")]
    NoneHealthy,
    /// None of those that take pins has the labels.
    #[error(
        "no healthy media server has the labels that are required; client: require others; operator: see \
         labels of [[backends]]"
    )]
    NoneLabelled,
    /// Those that take pins have no room for the reserve.
    #[error("every media server is full; operator: add backends or raise their capacity")]
    AllFull,
}

/// What comes of a choice. Backends are indices of the candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There it goes.
    Placed {
        /// The chosen one.
        chosen: usize,
        /// The two it was drawn from; twice the same if the draw had one, or was none.
        drawn: [usize; 2],
    },
    /// All were full, and it goes to the least bad of these.
    Overflowed(usize),
    /// All were full, and it is to wait.
    Queued,
    /// It goes nowhere.
    Refused(NoBackend),
}

/// A candidate as the choice saw it.
#[derive(Clone, Copy, Debug)]
struct Scored {
    terms: Terms,
    fell: Option<Filter>,
}

/// Makes choices. Keeps its memory from one to the next, so that a choice allocates
/// nothing (`round-robin` does).
#[derive(Clone, Debug, Default)]
pub struct Chooser {
    scored: Vec<Scored>,
    order: Vec<usize>,
}

impl Chooser {
    /// Chooses among `candidates`, whose order does not matter, but must be the same for each clone
    /// of the iterator.
    pub fn choose<'a>(
        &mut self,
        request: &Request,
        rules: &Rules,
        candidates: impl Iterator<Item = Candidate<'a>> + Clone,
    ) -> Outcome {
        let scale = Scale::new(rules);
        let scored = |candidate: Candidate<'_>| Scored {
            terms: scale.terms(request, &candidate),
            fell: candidate.falls_by(request, rules.hard),
        };
        self.scored.clear();
        self.scored.extend(candidates.clone().map(scored));
        let least = self.open().map(|(_, terms)| terms.cost).min_by(f64::total_cmp);
        let Some(least) = least else { return self.when_none_is_open(rules, candidates) };
        if rules.strategy == Strategy::RoundRobin {
            let chosen = self.in_turn(request.turn, candidates);
            return Outcome::Placed { chosen, drawn: [chosen; 2] };
        }
        let drawn = self.draw(request.key, least + rules.band(), candidates);
        let [first, second] = drawn.map(|index| self.scored[index].terms.cost);
        Outcome::Placed { chosen: drawn[usize::from(second < first)], drawn }
    }

    /// Those that fell by no filter.
    fn open(&self) -> impl Iterator<Item = (usize, &Terms)> {
        let scored = self.scored.iter().enumerate();
        scored.filter(|(_, scored)| scored.fell.is_none()).map(|(index, s)| (index, &s.terms))
    }

    /// The two of the highest tickets among those that cost `most` or less, the highest first.
    fn draw<'a>(
        &self,
        key: u64,
        most: f64,
        candidates: impl Iterator<Item = Candidate<'a>>,
    ) -> [usize; 2] {
        let mut two: [Option<(u64, &Profile, usize)>; 2] = [None; 2];
        for (index, (candidate, scored)) in candidates.zip(&self.scored).enumerate() {
            if scored.fell.is_some() || scored.terms.cost > most {
                continue;
            }
            let profile = candidate.profile;
            let ticket = draw::ticket(profile, key);
            let beats = |other: Option<(u64, &Profile, usize)>| {
                other.is_none_or(|(best, other, _)| (ticket, &profile.id) > (best, &other.id))
            };
            if beats(two[0]) {
                two = [Some((ticket, profile, index)), two[0]];
            } else if beats(two[1]) {
                two[1] = Some((ticket, profile, index));
            }
        }
        let first = two[0].expect("the cheapest is within the band").2;
        [first, two[1].map_or(first, |(_, _, index)| index)]
    }

    /// The open one whose turn it is, in the order of their ids.
    fn in_turn<'a>(
        &mut self,
        turn: u64,
        candidates: impl Iterator<Item = Candidate<'a>> + Clone,
    ) -> usize {
        let Self { scored, order } = self;
        order.clear();
        order.extend((0..scored.len()).filter(|&index| scored[index].fell.is_none()));
        let ids: Vec<_> = candidates.map(|candidate| &candidate.profile.id).collect();
        let nth = usize::try_from(turn % order.len() as u64).expect("below a length");
        *order.select_nth_unstable_by_key(nth, |&index| ids[index]).1
    }

    fn when_none_is_open<'a>(
        &self,
        rules: &Rules,
        candidates: impl Iterator<Item = Candidate<'a>>,
    ) -> Outcome {
        let fell_by = |filter| self.scored.iter().any(|scored| scored.fell == Some(filter));
        if !fell_by(Filter::Room) {
            let is_labels = fell_by(Filter::Labels);
            let why = if is_labels { NoBackend::NoneLabelled } else { NoBackend::NoneHealthy };
            return Outcome::Refused(why);
        }
        match rules.when_full {
            WhenFull::Reject => Outcome::Refused(NoBackend::AllFull),
            WhenFull::Queue => Outcome::Queued,
            WhenFull::Overflow => {
                let full = candidates.zip(&self.scored).enumerate();
                let full = full.filter(|(_, (_, scored))| scored.fell == Some(Filter::Room));
                let least = full.min_by(|(_, (a, one)), (_, (b, other))| {
                    let by_load = one.terms.used.total_cmp(&other.terms.used);
                    by_load.then_with(|| a.profile.id.cmp(&b.profile.id))
                });
                Outcome::Overflowed(least.expect("one fell by room").0)
            }
        }
    }
}

impl Candidate<'_> {
    /// The first filter it falls by; `None` if it may be chosen.
    fn falls_by(&self, request: &Request, hard: f64) -> Option<Filter> {
        match self.standing {
            Standing::Open => {}
            Standing::PassedOver => return Some(Filter::PassedOver),
            Standing::Unhealthy => return Some(Filter::Unhealthy),
            Standing::Draining => return Some(Filter::Draining),
        }
        if !self.profile.labels.satisfy(&request.demands) {
            return Some(Filter::Labels);
        }
        if !self.load.is_reported {
            return Some(Filter::Unreported);
        }
        (!self.load.has_room(request.reserve, hard)).then_some(Filter::Room)
    }
}

#[cfg(test)]
mod tests;
