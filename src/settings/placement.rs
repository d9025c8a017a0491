//! `[pins]` and `[placement]`: where meetings go and how long they stay.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::Legs;
use crate::policy::choose::{Rules, Strategy, WhenFull};

use super::declare::{Keys, Kind, Section};
use super::field::Parsed;

/// Where pins are kept and how long: `[pins]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinSettings {
    /// What keeps the pins.
    pub store: StoreKind,
    /// Directory of what outlives the process; one edge alone uses it.
    pub state_dir: PathBuf,
    /// What becomes of a new named meeting while the store cannot write.
    pub when_away: WhenAway,
    /// Time a pin outlives the last socket and pipeline of its meeting.
    pub grace: Duration,
    /// Pins kept at most; beyond it no meeting is placed.
    pub pins_max: usize,
}

/// What keeps the pins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// One file in the state directory: a restart forgets nothing.
    Disk,
    /// The process alone: a restart forgets all pins.
    Memory,
}

/// What becomes of a new named meeting while the store cannot write. Those it knows go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenAway {
    /// It is refused.
    Refuse,
    /// It is pinned all the same; a restart before the store can write again forgets it.
    Serve,
}

impl Section for PinSettings {
    fn example() -> Self {
        Self {
            store: StoreKind::Disk,
            state_dir: PathBuf::from("pinfold-state"),
            when_away: WhenAway::Refuse,
            grace: Duration::from_secs(60),
            pins_max: 2_000_000,
        }
    }

    fn keys(&mut self, keys: &mut impl Keys) {
        keys.choice(
            "store",
            &mut self.store,
            &[("disk", StoreKind::Disk), ("memory", StoreKind::Memory)],
            "Where pins are kept: in a file in state_dir, so that a restart splits no meeting, or in \
             memory, which a restart forgets.",
        );
        keys.value(
            "state_dir",
            &mut Parsed::path(&mut self.state_dir),
            Kind::Text("the path of a directory"),
            "Directory on a local disk of what outlives the process, created if it is not there. \
             Relative to this file. Each edge needs one of its own. Not used with store = \"memory\".",
        );
        keys.choice(
            "when_away",
            &mut self.when_away,
            &[("refuse", WhenAway::Refuse), ("serve", WhenAway::Serve)],
            "A new named meeting while the store cannot write: refuse it with error 40009, or serve \
             it, though a restart may then split it. Meetings that are pinned already always go on.",
        );
        keys.integer(
            "grace_ms",
            &mut self.grace,
            ("ms", 0..=3_600_000),
            "Time a meeting stays on its backend after its last socket closed and its last \
             pipeline went.",
        );
        keys.integer(
            "pins_max",
            &mut self.pins_max,
            ("pins", 1..=100_000_000),
            "Meetings pinned at once. At the bound a new one is refused with error 40009.",
        );
    }
}

/// How a backend is chosen for a new meeting: `[placement]`.
#[derive(Clone, Debug, PartialEq)]
pub struct PlacementSettings {
    /// Load a new meeting is charged before anybody is seen in it.
    pub reserve: Legs,
    /// Load a meeting is charged at most in advance, whatever size it announces.
    pub reserve_max: Legs,
    /// How backends are compared.
    pub rules: Rules,
    /// Time a frame may wait for a place.
    pub wait: Duration,
    /// Decisions kept for whoever asks why, at most.
    pub decisions_max: usize,
}

impl Section for PlacementSettings {
    fn example() -> Self {
        let (reserve, reserve_max) = (Legs(4), Legs(400));
        let (wait, decisions_max) = (Duration::from_secs(10), 10_000);
        Self { reserve, reserve_max, rules: Rules::default(), wait, decisions_max }
    }

    fn keys(&mut self, keys: &mut impl Keys) {
        keys.integer(
            "reserve_legs",
            &mut self.reserve,
            ("legs", 1..=1_000_000),
            "Load that a new meeting is charged at once, before anybody is seen in it.",
        );
        keys.integer(
            "reserve_max_legs",
            &mut self.reserve_max,
            ("legs", 1..=1_000_000),
            "Load that a meeting is charged at most in advance, whatever size it announces. Not \
             below reserve_legs.",
        );
        self.rules_keys(keys);
        keys.integer(
            "wait_ms",
            &mut self.wait,
            ("ms", 0..=60_000),
            "Time a frame may wait for its meeting to be placed. Then it is answered with an error.",
        );
        keys.integer(
            "decisions_max",
            &mut self.decisions_max,
            ("decisions", 0..=1_000_000),
            "Decisions kept for `pinfold why`, with all that they depended on: about 500 bytes each \
             and 40 for each backend. All together remember 1,048,576 backends (42 MB); beyond \
             either bound the oldest go. 0 keeps none.",
        );
    }
}

impl PlacementSettings {
    fn rules_keys(&mut self, keys: &mut impl Keys) {
        let rules = &mut self.rules;
        keys.choice(
            "strategy",
            &mut rules.strategy,
            &[
                ("score", Strategy::Score),
                ("nearest", Strategy::Nearest),
                ("least-load", Strategy::LeastLoad),
                ("round-robin", Strategy::RoundRobin),
                ("rendezvous", Strategy::Rendezvous),
            ],
            "What backends are compared by. \"score\" adds distance, load and price up; the others \
             look at one thing, or none, and are there for comparison.",
        );
        keys.decimal(
            "km_weight",
            &mut rules.km_weight,
            ("km", 0.0..=1_000.0),
            "What a kilometre to a backend costs. With 1, a backend at its soft limit costs as much \
             as an idle one 1,000 km further; 0 if distance is of no importance.",
        );
        keys.decimal(
            "price_weight_km",
            &mut rules.price_weight_km,
            ("km", 0.0..=1_000_000.0),
            "What one unit of a backend's price costs.",
        );
        keys.decimal(
            "band_km",
            &mut rules.band_km,
            ("km", 0.0..=40_000.0),
            "Backends that cost this much more than the cheapest count as equal: two of them are \
             drawn by the meeting's name, and the cheaper of the two is chosen.",
        );
        keys.integer(
            "soft_percent",
            &mut rules.soft,
            ("percent of capacity", 1..=99),
            "Load from which meetings rather go elsewhere. Below hard_percent.",
        );
        keys.integer(
            "hard_percent",
            &mut rules.hard,
            ("percent of capacity", 2..=100),
            "Load beyond which no new meeting is placed.",
        );
        keys.choice(
            "when_full",
            &mut rules.when_full,
            &[("reject", WhenFull::Reject), ("overflow", WhenFull::Overflow)],
            "A new meeting when every backend it may go to is full: refuse it with error 40009, or \
             place it on the least loaded of these.",
        );
    }
}
