//! `[health]`: what probes and the calls of clients add up to.

use std::num::NonZeroU32;
use std::time::Duration;

use super::declare::{Keys, Section};
use crate::policy::health::SlowRules;

/// How evidence about a backend adds up: `[health]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthSettings {
    /// Time without an answer after which a backend counts as lost; zero: it never does.
    pub give_up: Duration,
    /// Time out after an ejection: the first, the second, and each further one in a row.
    pub backoffs: [Duration; 3],
    /// Time without an ejection after which those before are forgotten.
    pub forgive: Duration,
    /// Time over which evidence of clients is counted.
    pub window: Duration,
    /// Links that could not be opened within a window that eject; 0: no number does.
    pub dial_failures: u32,
    /// Unanswered calls within a window that eject; 0: no number does.
    pub unanswered: u32,
    /// Refusals for want of resources within a window that eject; 0: no number does.
    pub refusals: u32,
    /// Deep probes failed in a row that eject.
    pub deep_failures: NonZeroU32,
    /// When answers are slow.
    pub slow: SlowRules,
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self::example()
    }
}

impl Section for HealthSettings {
    fn example() -> Self {
        Self {
            give_up: Duration::from_secs(60),
            backoffs: [10, 60, 300].map(Duration::from_secs),
            forgive: Duration::from_secs(600),
            window: Duration::from_secs(30),
            dial_failures: 5,
            unanswered: 5,
            refusals: 3,
            deep_failures: const { NonZeroU32::new(2).expect("not zero") },
            slow: SlowRules { percent: 400, floor: Duration::from_millis(200), samples: 10 },
        }
    }

    fn keys(&mut self, keys: &mut impl Keys) {
        keys.integer(
            "give_up_ms",
            &mut self.give_up,
            ("ms", 0..=86_400_000),
            "Time a backend may be silent, neither answering nor refusing, until its meetings count \
             as lost. Until then they stay. 0: for ever.",
        );
        self.backoff_keys(keys);
        self.evidence_keys(keys);
        self.slow_keys(keys);
    }
}

impl HealthSettings {
    fn backoff_keys(&mut self, keys: &mut impl Keys) {
        let [first, second, further] = &mut self.backoffs;
        let range = || ("ms", 0..=86_400_000);
        keys.integer(
            "backoff_ms",
            first,
            range(),
            "Time without new meetings after an ejection. A backend that is lost is readmitted \
             without it the first time, when it answers again.",
        );
        keys.integer("backoff_second_ms", second, range(), "The same after the second in a row.");
        keys.integer("backoff_further_ms", further, range(), "The same after each further one.");
        keys.integer(
            "forgive_ms",
            &mut self.forgive,
            ("ms", 1_000..=86_400_000),
            "Time without an ejection after which those before are forgotten.",
        );
    }

    fn evidence_keys(&mut self, keys: &mut impl Keys) {
        keys.integer(
            "window_ms",
            &mut self.window,
            ("ms", 1_000..=3_600_000),
            "Time over which the following three are counted. Each ejects a backend that answers its \
             probes: it gets no new meetings, and keeps those it has. At least half of a region, the \
             backends with the same label region, stays open all the same.",
        );
        keys.integer(
            "dial_failures",
            &mut self.dial_failures,
            ("links", 0..=100_000),
            "Links of clients that could not be opened. 0: no number ejects.",
        );
        keys.integer(
            "unanswered",
            &mut self.unanswered,
            ("reports", 0..=100_000),
            "Times that calls of a client were not answered within limits.call_timeout_ms. 0: no \
             number ejects.",
        );
        keys.integer(
            "refusals",
            &mut self.refusals,
            ("calls", 0..=100_000),
            "Calls that make something and were answered with 40009, no resources. 0: no number \
             ejects.",
        );
        keys.integer(
            "deep_failures",
            &mut self.deep_failures,
            ("probes", 1..=100),
            "Deep probes failed in a row that eject. One that is answered with 40009 does at once.",
        );
    }

    fn slow_keys(&mut self, keys: &mut impl Keys) {
        keys.integer(
            "slow_percent",
            &mut self.slow.percent,
            ("percent", 0..=10_000),
            "Percent of the usual time, its own, that a backend may take to make a pipeline or an \
             element. Slower is slow; 0: nothing is.",
        );
        keys.integer(
            "slow_floor_ms",
            &mut self.slow.floor,
            ("ms", 0..=60_000),
            "An answer within this time is never slow.",
        );
        keys.integer(
            "slow_samples",
            &mut self.slow.samples,
            ("answers", 1..=100_000),
            "Answers that are looked at together. If most are slow, the backend is ejected.",
        );
    }
}
