//! The numbers that health follows from, and how many may be out at a time.

use std::num::NonZeroU32;
use std::time::Duration;

use super::Cause;
use super::latency::SlowRules;

/// How evidence adds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthRules {
    /// Errors since the last answer that lose what is there.
    pub eject_after: NonZeroU32,
    /// Answers in a row that end a trial.
    pub readmit_after: NonZeroU32,
    /// Time without an answer that loses what is there; `None`: none does.
    pub give_up: Option<Duration>,
    /// Time out after an ejection: the first, the second, and each further one in a row.
    pub backoffs: [Duration; 3],
    /// Time without an ejection after which those before are forgotten.
    pub forgive: Duration,
    /// Time over which evidence of clients is counted.
    pub window: Duration,
    /// Links that could not be opened within a window that eject; 0: no number does.
    pub dial_failures: u32,
    /// Calls left unanswered within a window that eject; 0: no number does.
    pub unanswered: u32,
    /// Refusals for want of resources within a window that eject; 0: no number does.
    pub refusals: u32,
    /// Deep probes failed in a row that eject.
    pub deep_failures: NonZeroU32,
    /// Whether there are deep probes, so that who is on trial can be asked to pass one.
    pub has_deep: bool,
    /// When answers are slow.
    pub slow: SlowRules,
}

impl HealthRules {
    /// How long a backend is out that was ejected for `cause`, the `count`th time in a row. A restart is
    /// no reason to be out: only the second counts.
    #[must_use]
    pub fn backoff(&self, count: u32, cause: Cause) -> Duration {
        let free = u32::from(cause.is_loss());
        let Some(index) = count.checked_sub(1 + free) else { return Duration::ZERO };
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        self.backoffs[index.min(self.backoffs.len() - 1)]
    }
}

/// Whether one more backend may be kept out that does answer: at least half of its region must take
/// new meetings then. `others_open` of the region's `backends` take them besides it.
///
/// Evidence that a whole region shows alike is about the network, the edge or the load, and taking
/// servers away from those who want more of them makes it worse.
#[must_use]
pub const fn may_keep_out(others_open: usize, backends: usize) -> bool {
    2 * others_open >= backends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_a_region_stays_open() {
        for (backends, out_max) in [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (9, 4)] {
            let mut out = 0;
            while may_keep_out(backends - out - 1, backends) {
                out += 1;
            }
            assert_eq!(out, out_max, "of {backends}");
        }
    }
}
