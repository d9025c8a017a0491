//! `[weights]`: what the parts of a meeting cost.

use super::declare::{Keys, Section};
use crate::policy::charge::Weights;

impl Section for Weights {
    fn example() -> Self {
        Self::default()
    }

    fn keys(&mut self, keys: &mut impl Keys) {
        let legs = || ("legs", 0..=10_000);
        keys.integer(
            "publish_legs",
            &mut self.publish,
            legs(),
            "A WebRTC endpoint that feeds something, whatever number of others. With receive_legs, n \
             people who all publish and all watch make n x n.",
        );
        keys.integer(
            "receive_legs",
            &mut self.receive,
            legs(),
            "A WebRTC endpoint that something feeds.",
        );
        keys.integer(
            "rtp_legs",
            &mut self.rtp,
            legs(),
            "An RtpEndpoint. A planning figure, to be measured.",
        );
        keys.integer(
            "player_legs",
            &mut self.player,
            legs(),
            "A PlayerEndpoint. A planning figure, to be measured.",
        );
        keys.integer(
            "recorder_legs",
            &mut self.recorder,
            legs(),
            "A RecorderEndpoint. A planning figure, to be measured: 9 recorded calls of two on 8 \
             processors that bear 90 legs each.",
        );
        keys.integer(
            "mixer_port_legs",
            &mut self.mixer_port,
            legs(),
            "A HubPort, one participant of a Composite or Dispatcher. A planning figure, to be \
             measured: 3 mixed meetings of four on 8 such processors.",
        );
        keys.integer(
            "filter_legs",
            &mut self.filter,
            legs(),
            "An element whose type ends in Filter. A planning figure, to be measured.",
        );
        keys.integer(
            "http_legs",
            &mut self.http,
            legs(),
            "An HttpPostEndpoint. A planning figure, to be measured.",
        );
    }
}
