//! What a backend costs a meeting: distance, load and price in one unit, kilometres.

use geoip::Place;
use serde::{Deserialize, Serialize};

use super::{Candidate, Request, Rules, Strategy};

/// What a backend costs more at its soft limit than idle, in kilometres: the exchange rate between
/// load and distance. All else follows from the curve:
///
/// | in use | 20 % | 50 % | 60 % | 70 % (soft) | 80 % | 90 % | 95 % |
/// |---|---|---|---|---|---|---|---|
/// | km | 2 | 156 | 405 | 1,000 | 2,559 | 8,198 | 20,355 |
/// | km for one percent more | 0.5 | 16 | 37 | 91 | 256 | 1,184 | 4,928 |
pub const SOFT_LIMIT_KM: f64 = 1_000.0;

/// Distance of a backend whose place is not known from a meeting whose place is: a quarter around the
/// Earth, the mean distance of two points on it. Not less, or a place left out of the config would
/// draw meetings.
pub const UNPLACED_KM: f64 = 10_007.5;

/// Where the curve ends; those in use beyond it are out unless it is only feared or a slow start.
const CURVE_END: f64 = 0.999;

/// The terms of one cost. Lower is better.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// Distance to the meeting, in kilometres; 0 if its place is not known.
    pub km: f64,
    /// Part of the capacity in use with this meeting, as it is feared to be.
    pub used: f64,
    /// What that adds, in kilometres; 0 if the strategy does not ask for it.
    pub load_km: f64,
    /// What the price adds, in kilometres.
    pub price_km: f64,
    /// What is compared: kilometres for `score` and `nearest`, the part in use for `least-load`.
    pub cost: f64,
}

/// The rules of one choice, worked out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale<'a> {
    rules: &'a Rules,
    curve: Curve,
}

impl<'a> Scale<'a> {
    pub(super) fn new(rules: &'a Rules) -> Self {
        Self { rules, curve: Curve::new(rules.soft, rules.hard) }
    }

    pub(super) fn terms(&self, request: &Request, candidate: &Candidate<'_>) -> Terms {
        let km = distance_km(request.place, candidate.profile.place);
        let used = candidate.load.after(request.reserve);
        let none = Terms { km, used, load_km: 0.0, price_km: 0.0, cost: 0.0 };
        match self.rules.strategy {
            Strategy::Score => {
                let load_km = self.curve.km(used);
                let price_km = candidate.profile.price * self.rules.price_weight_km;
                let cost = km * self.rules.km_weight + load_km + price_km;
                Terms { load_km, price_km, cost, ..none }
            }
            Strategy::Nearest => Terms { cost: km, ..none },
            Strategy::LeastLoad => Terms { cost: used, ..none },
            Strategy::RoundRobin | Strategy::Rendezvous => none,
        }
    }
}

/// Kilometres between the meeting and a backend.
fn distance_km(meeting: Option<Place>, backend: Option<Place>) -> f64 {
    match (meeting, backend) {
        (Some(meeting), Some(backend)) => meeting.roughly_km(backend),
        (Some(_), None) => UNPLACED_KM,
        (None, _) => 0.0,
    }
}

/// `x⁴ / (1 - x)` of the part in use, `x` = 1 at the hard limit, scaled to [`SOFT_LIMIT_KM`] at the
/// soft one: flat when idle, steep near the soft limit, infinite at the hard one.
#[derive(Clone, Copy, Debug)]
struct Curve {
    hard: f64,
    scale: f64,
}

impl Curve {
    fn new(soft: f64, hard: f64) -> Self {
        let hard = hard.max(f64::MIN_POSITIVE);
        Self { hard, scale: SOFT_LIMIT_KM / Self::form((soft / hard).clamp(0.01, CURVE_END)) }
    }

    fn km(&self, used: f64) -> f64 {
        self.scale * Self::form((used / self.hard).clamp(0.0, CURVE_END))
    }

    fn form(x: f64) -> f64 {
        let square = x * x;
        square * square / (1.0 - x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_is_the_one_in_the_table() {
        let curve = Curve::new(0.7, 1.0);
        let table = [
            (0.0, 0.0, 0.0),
            (0.2, 2.5, 0.5),
            (0.5, 156.0, 15.6),
            (0.6, 405.0, 37.1),
            (0.7, 1_000.0, 90.5),
            (0.8, 2_559.0, 255.9),
            (0.9, 8_198.0, 1_184.4),
            (0.95, 20_355.0, 4_928.0),
        ];
        for (used, km, percent) in table {
            let slope = (curve.km(used + 1e-6) - curve.km(used)) * 1e4;
            assert!((curve.km(used) - km).abs() < 1.0, "{used}: {}", curve.km(used));
            assert!((slope - percent).abs() < 1.0, "{used}: {slope} a percent");
        }
        assert!(curve.km(1.0) > 400_000.0 && curve.km(7.0).is_finite());
    }

    #[test]
    fn limits_move_the_curve() {
        let curve = Curve::new(0.5, 0.9);
        assert!((curve.km(0.5) - SOFT_LIMIT_KM).abs() < 1e-6);
        assert!(curve.km(0.9) > 100_000.0);
    }

    #[test]
    fn a_place_nobody_knows_is_far_and_a_meeting_nobody_knows_is_near_to_all() {
        let paris = Place::from_degrees(48.86, 2.35);
        assert_eq!(distance_km(None, paris), 0.0);
        assert_eq!(distance_km(None, None), 0.0);
        assert_eq!(distance_km(paris, None), UNPLACED_KM);
        assert!(distance_km(paris, paris) < 1e-6);
    }
}
