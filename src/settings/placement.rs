//! `[pins]` and `[placement]`: where meetings go and how long they stay.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::Legs;
use crate::policy::choose::{Rules, Strategy, WhenFull};
use crate::policy::history::HistoryBounds;
use crate::policy::load::Outlook;
use crate::policy::promise::PromiseRules;

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

/// Time in which half of a promise goes, unless the file says otherwise.
const RESERVE_HALF_LIFE: Duration = Duration::from_secs(1_800);

/// How a backend is chosen for a new meeting: `[placement]`.
#[derive(Clone, Debug, PartialEq)]
pub struct PlacementSettings {
    /// What a new meeting is charged before anybody is seen in it.
    pub promises: PromiseRules,
    /// How the load of backends is read.
    pub outlook: Outlook,
    /// How backends are compared.
    pub rules: Rules,
    /// Who may wait for room, with [`WhenFull::Queue`].
    pub queue: QueueBounds,
    /// Meetings that are remembered when they are over.
    pub history_max: usize,
    /// Time a frame may wait for a place.
    pub wait: Duration,
    /// Decisions kept for whoever asks why, at most.
    pub decisions_max: usize,
}

/// What bounds the queue of those who wait for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueBounds {
    /// How many may wait at once.
    pub max: usize,
    /// How long one may wait.
    pub wait: Duration,
}

impl Default for PlacementSettings {
    fn default() -> Self {
        let (default, most) = (Legs(4), Legs(400));
        Self {
            promises: PromiseRules { default, most, half_life: RESERVE_HALF_LIFE },
            outlook: Outlook::default(),
            rules: Rules::default(),
            queue: QueueBounds { max: 1_000, wait: Duration::from_secs(10) },
            history_max: HistoryBounds::default().meetings_max,
            wait: Duration::from_secs(10),
            decisions_max: 10_000,
        }
    }
}

impl Section for PlacementSettings {
    fn example() -> Self {
        Self::default()
    }

    fn keys(&mut self, keys: &mut impl Keys) {
        self.promise_keys(keys);
        self.rules_keys(keys);
        self.full_keys(keys);
        self.outlook_keys(keys);
        keys.integer(
            "wait_ms",
            &mut self.wait,
            ("ms", 0..=60_000),
            "Time a frame may wait for its meeting to be placed. Then it is answered with an error. \
             Waiting for room, with when_full = \"queue\", does not count.",
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
    /// How the load of backends is read that are sampled as often as that: a sample is not old before
    /// the next one but two is late.
    #[must_use]
    pub fn outlook_for(&self, sample: Duration) -> Outlook {
        Outlook { fresh: self.outlook.fresh.max(sample * 3), ..self.outlook }
    }

    /// How much is remembered of meetings that are over: by name, and a tenth of that by pattern.
    #[must_use]
    pub fn history(&self) -> HistoryBounds {
        let (meetings_max, patterns_max) = (self.history_max, self.history_max / 10);
        HistoryBounds { meetings_max, patterns_max, ..HistoryBounds::default() }
    }

    fn promise_keys(&mut self, keys: &mut impl Keys) {
        let promises = &mut self.promises;
        keys.integer(
            "reserve_legs",
            &mut promises.default,
            ("legs", 1..=1_000_000),
            "Load that a new meeting is charged at once, before anybody is seen in it, if nothing is \
             known of it: it announces no size, and neither it nor one named alike was here before.",
        );
        keys.integer(
            "reserve_max_legs",
            &mut promises.most,
            ("legs", 1..=1_000_000),
            "Load that a meeting is charged at most in advance, whatever size it announces or had \
             before. Not below reserve_legs.",
        );
        keys.integer(
            "reserve_half_life_ms",
            &mut promises.half_life,
            ("ms", 1_000..=86_400_000),
            "Time in which half of what a meeting is charged in advance goes. It is charged what it \
             costs, or what is left of that if that is more.",
        );
        keys.integer(
            "history_max",
            &mut self.history_max,
            ("meetings", 0..=10_000_000),
            "Meetings whose size is remembered when they are over, for the next of that name, and a \
             tenth as many kinds of names (room-17 is like room-16). The oldest is forgotten. About \
             300 bytes each. 0: nothing is remembered.",
        );
    }

    fn full_keys(&mut self, keys: &mut impl Keys) {
        keys.choice(
            "when_full",
            &mut self.rules.when_full,
            &[
                ("reject", WhenFull::Reject),
                ("queue", WhenFull::Queue),
                ("overflow", WhenFull::Overflow),
            ],
            "A new meeting when every backend it may go to is full: refuse it with error 40009, let \
             it wait for room, or place it on the least loaded of these.",
        );
        keys.integer(
            "queue_max",
            &mut self.queue.max,
            ("calls", 1..=100_000),
            "Calls that may wait for room at once. A further one is refused with error 40009.",
        );
        keys.integer(
            "queue_wait_ms",
            &mut self.queue.wait,
            ("ms", 0..=600_000),
            "Time a call may wait for room. Then it is refused with error 40009, which tells its \
             position and the wait to be expected. Keep it below the time that clients wait for an \
             answer.",
        );
    }

    fn outlook_keys(&mut self, keys: &mut impl Keys) {
        keys.integer(
            "slow_start_ms",
            &mut self.outlook.slow_start,
            ("ms", 0..=3_600_000),
            "Time in which a backend that was newly admitted comes to count with all of its capacity, \
             from a tenth of it on. 0: at once.",
        );
        keys.integer(
            "edges",
            &mut self.outlook.edges,
            ("edges", 1..=1_000),
            "Edges that place meetings on these backends. Each sees only its own promises, and takes \
             the others to have promised as much, on backends that are sampled.",
        );
    }

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
    }
}
