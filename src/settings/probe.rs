//! `[probe]`: how the health of backends is found out.

use std::num::NonZeroU32;
use std::time::Duration;

use super::declare::{Keys, Section};
use super::health::HealthSettings;
use crate::policy::health::HealthRules;

/// How backends are probed: `[probe]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeSettings {
    /// Time between two probes of one backend.
    pub interval: Duration,
    /// How far an interval may differ, in percent of it, drawn anew each time.
    pub jitter_percent: u32,
    /// Time a probe may take, handshake included.
    pub timeout: Duration,
    /// Time from a failed probe to the next.
    pub retry: Duration,
    /// Time between two measurements of one backend.
    pub sample: Duration,
    /// Time between two deep probes of one backend; zero: there are none.
    pub deep: Duration,
    /// Probes that end in an error without an answer between them that lose a backend.
    pub eject_after: NonZeroU32,
    /// Probes passed in a row that readmit it.
    pub readmit_after: NonZeroU32,
    /// What these and the calls of clients add up to: `[health]`.
    pub health: HealthSettings,
}

impl ProbeSettings {
    /// The rules of health that follow.
    #[must_use]
    pub fn rules(&self) -> HealthRules {
        let health = &self.health;
        HealthRules {
            eject_after: self.eject_after,
            readmit_after: self.readmit_after,
            give_up: Some(health.give_up).filter(|patience| !patience.is_zero()),
            backoffs: health.backoffs,
            forgive: health.forgive,
            window: health.window,
            dial_failures: health.dial_failures,
            unanswered: health.unanswered,
            refusals: health.refusals,
            deep_failures: health.deep_failures,
            has_deep: !self.deep.is_zero(),
            slow: health.slow,
        }
    }
}

impl Default for ProbeSettings {
    fn default() -> Self {
        Self::example()
    }
}

impl Section for ProbeSettings {
    fn example() -> Self {
        Self {
            interval: Duration::from_secs(2),
            jitter_percent: 20,
            timeout: Duration::from_millis(1_500),
            retry: Duration::from_millis(200),
            sample: Duration::from_secs(10),
            deep: Duration::from_secs(30),
            eject_after: const { NonZeroU32::new(3).expect("not zero") },
            readmit_after: const { NonZeroU32::new(2).expect("not zero") },
            health: HealthSettings::example(),
        }
    }

    fn keys(&mut self, keys: &mut impl Keys) {
        keys.integer(
            "interval_ms",
            &mut self.interval,
            ("ms", 100..=60_000),
            "Time between two probes of one backend.",
        );
        keys.integer(
            "jitter_percent",
            &mut self.jitter_percent,
            ("percent", 0..=50),
            "How far an interval may differ, drawn anew each time, so that probes spread out.",
        );
        keys.integer(
            "timeout_ms",
            &mut self.timeout,
            ("ms", 50..=60_000),
            "Time a probe may take. Slower counts as failed.",
        );
        keys.integer(
            "retry_ms",
            &mut self.retry,
            ("ms", 10..=10_000),
            "Time from a failed probe to the next.",
        );
        keys.integer(
            "sample_ms",
            &mut self.sample,
            ("ms", 100..=3_600_000),
            "Time between two measurements of a backend's processors and memory, after a probe.",
        );
        keys.integer(
            "deep_ms",
            &mut self.deep,
            ("ms", 0..=3_600_000),
            "Time between two deep probes of one backend, which make a pipeline and release it. 0: \
             there are none.",
        );
        keys.integer(
            "eject_after",
            &mut self.eject_after,
            ("probes", 1..=100),
            "Probes that are refused, cut or answered wrongly, with no answer between them, after \
             which the meetings of a backend are lost. One that is not answered in time does not \
             count: see health.give_up_ms.",
        );
        keys.integer(
            "readmit_after",
            &mut self.readmit_after,
            ("probes", 1..=100),
            "Probes passed in a row that readmit it.",
        );
    }
}
