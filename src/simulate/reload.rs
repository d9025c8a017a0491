//! Edges that take up another config while they run, as `app::parts` does.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::edge::{asker_bounds, limits};
use super::shape::{health, pace};
use super::world::World;
use crate::model::{Draws, Legs};
use crate::policy::charge::Weights;
use crate::policy::choose::{Rules, Strategy};
use crate::policy::promise::PromiseRules;
use crate::proxy::{Edge, PlacementConfig};
use crate::runtime::Timer;
use crate::session::Bounds;
use crate::settings::{PinSettings, PlacementSettings, ProbeSettings, StoreKind, WhenAway};

impl World {
    /// An edge takes up another config. What is checked by the world's own bounds stays.
    pub(super) fn reload(&mut self, number: usize) {
        if !self.edges[number].is_up() {
            return;
        }
        self.tally.reloads += 1;
        self.note(|| format!("   edge {number} takes up another config"));
        let placement = self.other_placement();
        let weights = self.other_weights();
        let bounds = self.other_bounds();
        let probe = ProbeSettings { health: health(&mut self.draws), ..self.shape.probe.clone() };
        let (pace, pins) = (pace(&mut self.draws), self.other_pins());
        let moves_per_second = 0.5 + self.draws.below(20) as f64;
        let (loss_spread, hold) = (self.some_millis(3_000), self.some_millis(4_000));
        let (shape, now) = (&self.shape, self.clock.now());
        let known = &mut self.edges[number];
        known.config += 1;
        known.pins_max = (pins.pins_max, now);
        known.keeper.set_bounds(&pins, placement.history());
        let old = &known.edge;
        old.registry().weigh(weights, now);
        let fleet = old.fleet.clone();
        known.tasks.spawn(async move { fleet.set_probe(probe).await });
        if let Some(asker) = &old.asker {
            asker.set_bounds(asker_bounds(shape, placement.wait));
        }
        old.pacer.set_pace(Some(pace));
        old.placement.config.set(PlacementConfig { number: known.config, settings: placement });
        known.drains.pace.set(moves_per_second);
        known.bounds = bounds;
        let edge = Edge {
            server_id: old.server_id.clone(),
            limits: limits(shape, &bounds),
            clock: old.clock,
            metrics: old.metrics.clone(),
            fleet: old.fleet.clone(),
            blocking: old.blocking.clone(),
            pacer: old.pacer.clone(),
            placement: old.placement.clone(),
            asker: old.asker.clone(),
            hold,
            loss_spread,
            manager: old.manager.clone(),
            closing: old.closing.clone(),
            close_window: old.close_window.clone(),
            moved: old.moved.clone(),
            draws: Mutex::new(Draws::seeded(self.draws.next())),
        };
        known.edge = Arc::new(edge);
    }

    fn other_placement(&mut self) -> PlacementSettings {
        let strategy = [Strategy::Score, Strategy::LeastLoad][self.draws.below(2)];
        let rules = Rules { strategy, ..Rules::default() };
        let default = PlacementSettings::default();
        let promised = Legs(1 + u32::try_from(self.draws.below(40)).expect("below 40"));
        let promises = PromiseRules { default: promised, ..default.promises };
        let wait = Duration::from_secs(3) + self.some_millis(2_000);
        PlacementSettings { rules, promises, wait, ..default }
    }

    /// As many meetings as before, or half of that.
    fn other_pins(&mut self) -> PinSettings {
        let halves = 1 + self.draws.below(2);
        PinSettings {
            store: StoreKind::Disk,
            state_dir: PathBuf::new(),
            when_away: WhenAway::Refuse,
            grace: self.shape.grace,
            pins_max: self.shape.pins_max * halves / 2,
        }
    }

    fn other_weights(&mut self) -> Weights {
        let mut legs = || Legs(1 + u32::try_from(self.draws.below(4)).expect("below 4"));
        Weights { publish: legs(), receive: legs(), ..Weights::default() }
    }

    /// Bounds of the sessions that come from now on.
    fn other_bounds(&mut self) -> Bounds {
        let call_timeout = Duration::from_secs(1 + self.draws.below(40) as u64);
        let calls_max = self.shape.bounds.calls_max + self.draws.below(4);
        Bounds { call_timeout, calls_max, ..self.shape.bounds }
    }

    fn some_millis(&mut self, max: usize) -> Duration {
        Duration::from_millis(self.draws.below(max) as u64)
    }
}
