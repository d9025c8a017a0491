//! What a seed draws of a world's make.

use std::num::NonZeroU32;
use std::time::Duration;

use super::sources::Namer;
use super::{Bug, Run};
use crate::model::{BackendId, Draws};
use crate::policy::pacing::Pace;
use crate::protocol::loss::OnLoss;
use crate::session::Bounds;
use crate::settings::{HealthSettings, ProbeSettings};

/// What all edges of a world have in common.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) backends: Vec<BackendId>,
    /// Who names each backend.
    pub(super) namers: Vec<Namer>,
    /// How long one stays that its source does not name any more.
    pub(super) name_hold: Duration,
    pub(super) grace: Duration,
    pub(super) pins_max: usize,
    pub(super) bounds: Bounds,
    pub(super) pace: Pace,
    pub(super) dial_timeout: Duration,
    pub(super) probe: ProbeSettings,
    /// How long the links of a client that vanished stay open.
    pub(super) hold: Duration,
    pub(super) questions_per_second: u32,
    /// Meetings that drains let go in a second.
    pub(super) moves_per_second: f64,
    /// Over which time clients are told of a loss.
    pub(super) loss_spread: Duration,
    /// What they see of it when they have lost everything.
    pub(super) on_loss: OnLoss,
    pub(super) bug: Option<Bug>,
}

impl Shape {
    /// What the seed draws of the world's make.
    pub(super) fn draw(run: &Run, draws: &mut Draws) -> Self {
        // As those that are found are called.
        let backend = |number| BackendId::parse(&format!("kms-{number}-8888")).expect("a good id");
        let is_tight = draws.below(4) == 0;
        let three = const { NonZeroU32::new(3).expect("not zero") };
        let two = const { NonZeroU32::new(2).expect("not zero") };
        let backends: Vec<_> = (0..2 + draws.below(4)).map(backend).collect();
        Self {
            namers: backends.iter().map(|_| Namer::draw(draws)).collect(),
            name_hold: Duration::from_millis(draws.below(8_000) as u64),
            backends,
            grace: Duration::from_secs(1 + draws.below(10) as u64),
            pins_max: if is_tight { 6 } else { 10_000 },
            bounds: Bounds {
                depth_max: 128,
                held_max_bytes: if is_tight { 600 } else { 1 << 20 },
                paced_max_bytes: if is_tight { 600 } else { 8 << 20 },
                calls_max: if is_tight { 3 } else { 4_096 },
                pipelines_max: if is_tight { 5 } else { 10_000 },
                subscriptions_max: if is_tight { 5 } else { 10_000 },
                resend_max_bytes: if is_tight { 300 } else { 1 << 18 },
                call_timeout: Duration::from_secs(1 + draws.below(40) as u64),
            },
            pace: pace(draws),
            dial_timeout: Duration::from_secs(3),
            probe: ProbeSettings {
                interval: Duration::from_secs(2),
                jitter_percent: 20,
                timeout: Duration::from_millis(1_500),
                retry: Duration::from_millis(200),
                sample: Duration::from_secs(10),
                eject_after: three,
                readmit_after: two,
                // Played by `probes`, which makes up how they end.
                deep: Duration::from_secs(5),
                health: health(draws),
            },
            hold: match draws.below(3) {
                0 => Duration::ZERO,
                _ => Duration::from_millis(1 + draws.below(4_000) as u64),
            },
            questions_per_second: if is_tight { 2 } else { 1_000 },
            moves_per_second: 0.5 + draws.below(20) as f64,
            loss_spread: match draws.below(2) {
                0 => Duration::ZERO,
                _ => Duration::from_millis(draws.below(3_000) as u64),
            },
            on_loss: if draws.below(3) == 0 { OnLoss::Close } else { OnLoss::Errors },
            bug: run.bug,
        }
    }
}

pub(super) fn pace(draws: &mut Draws) -> Pace {
    Pace {
        interval: Duration::from_millis(10 + draws.below(1_000) as u64),
        burst: 1 + u32::try_from(draws.below(4)).expect("below 4"),
        wait_max: Duration::from_millis(draws.below(5_000) as u64),
        waiting_max: 1 + draws.below(3),
        held_max_bytes: 8 << 20,
    }
}

/// Short times, so that a run sees what comes after them.
pub(super) fn health(draws: &mut Draws) -> HealthSettings {
    let mut seconds = |max: usize| Duration::from_secs(draws.below(max) as u64);
    HealthSettings {
        give_up: seconds(20),
        backoffs: [seconds(4), seconds(8), seconds(12)],
        forgive: Duration::from_secs(5) + seconds(60),
        window: Duration::from_secs(5) + seconds(20),
        dial_failures: 2,
        unanswered: 1,
        refusals: 2,
        ..ProbeSettings::default().health
    }
}
