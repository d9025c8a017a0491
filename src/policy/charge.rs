//! What a meeting costs its backend, by what it consists of.
//!
//! Not here: what it is charged before that is there (`policy::promise`).

use super::tally::Counts;
use crate::model::Legs;
use crate::protocol::media::ElementKind;

/// What each part of a meeting costs, in legs: `[weights]`.
///
/// All but the first two are planning figures, to be measured. One processor bears 90 legs (sizing
/// table of `OpenVidu` 2: 80 to 98); the rest is what is left of 8 processors at their limit, in legs, by
/// testRTC, 2017: 18 recorded people in calls of two make 38 for each recorder, 3 mixed rooms of four
/// 58 for each port. A player and an HTTP endpoint are taken to cost as much as a recorder, a filter
/// as much as a mixer's port, an RTP endpoint two legs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weights {
    /// A WebRTC endpoint that feeds something.
    pub publish: Legs,
    /// A WebRTC endpoint that something feeds.
    pub receive: Legs,
    /// An RTP endpoint.
    pub rtp: Legs,
    /// A player.
    pub player: Legs,
    /// A recorder.
    pub recorder: Legs,
    /// A port of a mixer.
    pub mixer_port: Legs,
    /// A filter.
    pub filter: Legs,
    /// An HTTP endpoint.
    pub http: Legs,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            publish: Legs(1),
            receive: Legs(1),
            rtp: Legs(2),
            player: Legs(40),
            recorder: Legs(40),
            mixer_port: Legs(60),
            filter: Legs(60),
            http: Legs(40),
        }
    }
}

impl Weights {
    /// What so much costs; the largest number of legs if it is more.
    #[must_use]
    pub fn legs(&self, counts: &Counts) -> Legs {
        let element = |(kind, count): (&ElementKind, &u32)| (self.of(*kind), *count);
        let elements = ElementKind::ALL.iter().zip(&counts.elements).map(element);
        let legs = [(self.publish, counts.publishing), (self.receive, counts.receiving)];
        let cost = |(weight, count): (Legs, u32)| u64::from(weight.0) * u64::from(count);
        let sum = elements.chain(legs).map(cost).fold(0, u64::saturating_add);
        Legs(u32::try_from(sum).unwrap_or(u32::MAX))
    }

    /// What an element costs, connected or not.
    const fn of(&self, kind: ElementKind) -> Legs {
        match kind {
            ElementKind::Rtp => self.rtp,
            ElementKind::Player => self.player,
            ElementKind::Recorder => self.recorder,
            ElementKind::MixerPort => self.mixer_port,
            ElementKind::Filter => self.filter,
            ElementKind::Http => self.http,
            // Counted by legs, by ports, or not at all.
            ElementKind::WebRtc | ElementKind::Hub | ElementKind::Other => Legs(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_its_weight() {
        let mut counts = Counts { publishing: 3, receiving: 5, ..Counts::default() };
        counts.elements = [8, 1, 1, 1, 1, 1, 1, 1, 1];
        let weights = Weights::default();
        assert_eq!(weights.legs(&counts), Legs(3 + 5 + 2 + 40 + 40 + 60 + 60 + 40));
        let idle = Counts { publishing: 0, receiving: 0, ..counts };
        assert_eq!(weights.legs(&idle), Legs(242), "a WebRTC endpoint costs by its legs");
        assert_eq!(weights.legs(&Counts::default()), Legs(0));
    }

    #[test]
    fn a_cost_beyond_all_bounds_is_the_largest() {
        let counts = Counts { receiving: u32::MAX, publishing: u32::MAX, ..Counts::default() };
        assert_eq!(Weights::default().legs(&counts), Legs(u32::MAX));
    }
}
