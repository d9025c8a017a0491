//! Everything a choice depends on, and everything it came to, as plain data: to be kept, shown and
//! made again.

use serde::{Deserialize, Serialize};

use super::{
    Candidate, Chooser, Filter, NoBackend, Outcome, Profile, Request, Rules, Standing, Strategy,
    Terms,
};
use crate::model::{BackendId, Legs};
use crate::policy::load::{Dimension, Load};

/// Candidates that a decision tells of one by one; the rest are counted.
pub const ROWS_MAX: usize = 16;

/// All inputs of one choice. Written as JSON and read again, it gives the same [`Decision`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scene {
    /// Counts the configs: which one these rules and profiles are from.
    pub config: u64,
    /// What is to be placed.
    pub request: Request,
    /// How.
    pub rules: Rules,
    /// Among which backends, in any order.
    pub backends: Vec<Stand>,
}

/// One backend of a scene.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stand {
    /// What the config says of it.
    pub profile: Profile,
    /// Whether it takes new meetings.
    pub standing: Standing,
    /// How loaded it is.
    pub load: Load,
}

/// What a choice came to, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Of the scene.
    pub config: u64,
    /// The request's key.
    pub key: u64,
    /// The request's reserve.
    pub reserve: Legs,
    /// What was compared.
    pub strategy: Strategy,
    /// Whether the place of the meeting was known.
    pub is_placed: bool,
    /// The backend; `None` if there is none.
    pub chosen: Option<BackendId>,
    /// Those that were drawn, the higher ticket first: two, one if there was no other, or none.
    pub drawn: Vec<BackendId>,
    /// Whether all were full and `chosen` is the least bad.
    pub is_overflow: bool,
    /// Why there is no backend; `None` if there is one, or the meeting is to wait.
    pub refused: Option<NoBackend>,
    /// Backends there are.
    pub candidates: usize,
    /// How many fell by each filter that any fell by, in the order of the filters.
    pub fell: Vec<Fallen>,
    /// Those that mattered most, [`ROWS_MAX`] at most: the drawn, then the open by cost, then those
    /// that fell, by id.
    pub rows: Vec<Row>,
}

/// How many fell by one filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallen {
    /// The filter.
    pub by: Filter,
    /// How many.
    pub count: usize,
}

/// One candidate of a decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub backend: BackendId,
    /// Its cost, term by term.
    #[serde(flatten)]
    pub terms: Terms,
    /// What its load is the load of.
    pub dimension: Dimension,
    /// The filter it fell by; `None` if it could have been chosen.
    pub fell: Option<Filter>,
    /// Whether it cost no more than the band allows.
    pub in_band: bool,
}

impl Stand {
    /// The backend as a choice sees it.
    #[must_use]
    pub const fn candidate(&self) -> Candidate<'_> {
        Candidate { profile: &self.profile, standing: self.standing, load: self.load }
    }
}

impl Scene {
    /// The candidates of the scene.
    pub fn candidates(&self) -> impl Iterator<Item = Candidate<'_>> + Clone {
        self.backends.iter().map(Stand::candidate)
    }

    /// Makes the choice, and says why.
    #[must_use]
    pub fn decide(&self) -> Decision {
        let mut chooser = Chooser::default();
        let outcome = chooser.choose(&self.request, &self.rules, self.candidates());
        chooser.explain((self.config, &self.request, &self.rules), self.candidates(), outcome)
    }
}

impl Chooser {
    /// Tells why the last choice came to `outcome`; arguments are those it was made with.
    #[must_use]
    pub fn explain<'a>(
        &self,
        (config, request, rules): (u64, &Request, &Rules),
        candidates: impl Iterator<Item = Candidate<'a>> + Clone,
        outcome: Outcome,
    ) -> Decision {
        let (chosen, drawn, refused) = match outcome {
            Outcome::Placed { chosen, drawn } => (Some(chosen), Some(drawn), None),
            Outcome::Overflowed(chosen) => (Some(chosen), None, None),
            Outcome::Queued => (None, None, None),
            Outcome::Refused(why) => (None, None, Some(why)),
        };
        let drawn: Vec<usize> = match drawn {
            Some([first, second]) if first == second => vec![first],
            Some(two) => two.to_vec(),
            None => Vec::new(),
        };
        let all: Vec<Candidate<'a>> = candidates.collect();
        let id = |index: usize| all[index].profile.id.clone();
        Decision {
            config,
            key: request.key,
            reserve: request.reserve,
            strategy: rules.strategy,
            is_placed: request.place.is_some(),
            chosen: chosen.map(id),
            drawn: drawn.iter().map(|&index| id(index)).collect(),
            is_overflow: matches!(outcome, Outcome::Overflowed(_)),
            refused,
            candidates: all.len(),
            fell: self.fallen(),
            rows: self.rows(&all, &drawn, rules),
        }
    }

    fn fallen(&self) -> Vec<Fallen> {
        let filters = [
            Filter::PassedOver,
            Filter::Unhealthy,
            Filter::Draining,
            Filter::Labels,
            Filter::Unreported,
            Filter::Room,
        ];
        let count = |by| self.scored.iter().filter(|scored| scored.fell == Some(by)).count();
        let fallen = filters.map(|by| Fallen { by, count: count(by) });
        fallen.into_iter().filter(|fallen| fallen.count > 0).collect()
    }

    fn rows(&self, all: &[Candidate<'_>], drawn: &[usize], rules: &Rules) -> Vec<Row> {
        let least = self.open().map(|(_, terms)| terms.cost).min_by(f64::total_cmp);
        let mut order: Vec<usize> = (0..self.scored.len()).collect();
        let compare = |&a: &usize, &b: &usize| {
            let (one, other) = (&self.scored[a], &self.scored[b]);
            let rank = |index: usize| (self.scored[index].fell.is_some(), !drawn.contains(&index));
            let cost = || one.terms.cost.total_cmp(&other.terms.cost);
            let by_cost = || if one.fell.is_none() { cost() } else { std::cmp::Ordering::Equal };
            let by_id = || all[a].profile.id.cmp(&all[b].profile.id);
            rank(a).cmp(&rank(b)).then_with(by_cost).then_with(by_id)
        };
        if order.len() > ROWS_MAX {
            order.select_nth_unstable_by(ROWS_MAX, compare);
            order.truncate(ROWS_MAX);
        }
        order.sort_unstable_by(compare);
        let row = |index: usize| {
            let scored = self.scored[index];
            let is_cheap = least.is_some_and(|least| scored.terms.cost <= least + rules.band());
            Row {
                backend: all[index].profile.id.clone(),
                terms: scored.terms,
                dimension: all[index].load.dimension,
                fell: scored.fell,
                in_band: scored.fell.is_none() && is_cheap,
            }
        };
        order.into_iter().map(row).collect()
    }
}
