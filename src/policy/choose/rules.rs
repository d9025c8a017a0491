//! How choices are made: what the operator sets.

use serde::{Deserialize, Serialize};

/// What is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Distance, load and price in one number.
    #[default]
    Score,
    /// Distance alone.
    Nearest,
    /// Load alone.
    LeastLoad,
    /// Nothing: one after the other.
    RoundRobin,
    /// Nothing: the draw alone.
    Rendezvous,
}

impl Strategy {
    /// All there are.
    pub const ALL: [Self; 5] =
        [Self::Score, Self::Nearest, Self::LeastLoad, Self::RoundRobin, Self::Rendezvous];

    /// The name in the config file and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Score => "score",
            Self::Nearest => "nearest",
            Self::LeastLoad => "least-load",
            Self::RoundRobin => "round-robin",
            Self::Rendezvous => "rendezvous",
        }
    }
}

/// What becomes of a meeting when every backend it could go to is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenFull {
    /// It is refused.
    #[default]
    Reject,
    /// It waits.
    Queue,
    /// It goes to the least loaded of those that are only full.
    Overflow,
}

/// How choices are made.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// What is compared.
    pub strategy: Strategy,
    /// What a kilometre of distance costs, in kilometres of cost.
    pub km_weight: f64,
    /// What one unit of price costs, in kilometres.
    pub price_weight_km: f64,
    /// Backends that cost this much more than the cheapest count as equal to it, in kilometres.
    pub band_km: f64,
    /// Part of the capacity in use at which a backend costs 1,000 km more than an idle one.
    pub soft: f64,
    /// Part of the capacity that is never promised beyond, above `soft`.
    pub hard: f64,
    /// What becomes of a meeting when all are full.
    pub when_full: WhenFull,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            strategy: Strategy::Score,
            km_weight: 1.0,
            price_weight_km: 100.0,
            band_km: 200.0,
            soft: 0.7,
            hard: 1.0,
            when_full: WhenFull::Reject,
        }
    }
}

impl Rules {
    /// The width of the band in what the strategy compares. Only `score` has one: the others are
    /// there for comparison, and do what their names say.
    pub(super) const fn band(&self) -> f64 {
        match self.strategy {
            Strategy::Score => self.band_km,
            Strategy::Nearest
            | Strategy::LeastLoad
            | Strategy::RoundRobin
            | Strategy::Rendezvous => 0.0,
        }
    }
}
