//! Whether a backend answers slower than it used to.
//!
//! A backend is compared with itself only: machines differ, and so does what is asked of them. Each
//! answer is slow or not by a limit that follows from what is usual; a backend is slow when most
//! answers of a window are. One answer that took a second says nothing, a hundred of a fifth do.

use std::time::Duration;

/// Parts of 16 that a window counts for in what is usual.
const WEIGHT: u32 = 1;

/// Windows of a slow backend count for a sixteenth of that: it is not to be its own measure, and one
/// that stays slow for good is at home with it after some hours.
const SLOW_DIVISOR: u32 = 16;

/// Calls whose latency is compared, each kind with its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallClass {
    /// `create` of a pipeline, deep probes among them.
    Pipeline,
    /// `create` of an element.
    Element,
}

impl CallClass {
    /// All, in the order of [`Self::index`].
    pub const ALL: [Self; 2] = [Self::Pipeline, Self::Element];

    /// Its place among [`Self::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Pipeline => 0,
            Self::Element => 1,
        }
    }
}

/// When answers are slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowRules {
    /// Percent of what is usual that an answer may take; 0: none is ever slow.
    pub percent: u32,
    /// An answer within this time is never slow.
    pub floor: Duration,
    /// Answers of one kind that make a window.
    pub samples: u32,
}

/// Answers of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// How many.
    pub count: u32,
    /// How many of them took longer than the limit.
    pub slow: u32,
    /// The time all took together; one that took longer than the limit counts with the limit.
    pub total: Duration,
}

impl Heard {
    /// Adds an answer that took this time, where `limit` is the longest that is not slow.
    pub fn add(&mut self, took: Duration, limit: Option<Duration>) {
        let is_slow = limit.is_some_and(|limit| took > limit);
        self.count = self.count.saturating_add(1);
        self.slow = self.slow.saturating_add(u32::from(is_slow));
        self.total = self.total.saturating_add(took.min(limit.unwrap_or(Duration::MAX)));
    }

    const fn and(self, other: Self) -> Self {
        Self {
            count: self.count.saturating_add(other.count),
            slow: self.slow.saturating_add(other.slow),
            total: self.total.saturating_add(other.total),
        }
    }
}

/// What is usual of one backend and one kind of call.
#[derive(Clone, Debug, Default)]
pub struct Baseline {
    /// Time that an answer takes; `None` before the first window.
    usual: Option<Duration>,
    window: Heard,
}

impl Baseline {
    /// The longest time that is not slow; `None` while nothing is known, or nothing is ever slow.
    #[must_use]
    pub fn limit(&self, rules: &SlowRules) -> Option<Duration> {
        let usual = self.usual.filter(|_| rules.percent > 0)?;
        Some((usual.saturating_mul(rules.percent) / 100).max(rules.floor))
    }

    /// Takes in answers; whether they end a window that was slow.
    pub fn take(&mut self, heard: Heard, rules: &SlowRules) -> bool {
        self.window = self.window.and(heard);
        if self.window.count < rules.samples.max(1) {
            return false;
        }
        let Heard { count, slow, total } = std::mem::take(&mut self.window);
        let (mean, is_slow) = (total / count, slow > count / 2);
        let parts = if is_slow { 16 * SLOW_DIVISOR } else { 16 };
        let follow =
            |usual: Duration| (usual.saturating_mul(parts - WEIGHT) + mean * WEIGHT) / parts;
        self.usual = Some(self.usual.map_or(mean, follow));
        is_slow
    }

    /// Another process is there: what is usual stays, the window begins anew.
    pub fn restart(&mut self) {
        self.window = Heard::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: SlowRules =
        SlowRules { percent: 400, floor: Duration::from_millis(50), samples: 10 };

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// A window of `count` answers, each of which took so long.
    fn hear(baseline: &mut Baseline, count: u32, took: Duration) -> bool {
        let mut heard = Heard::default();
        (0..count).for_each(|_| heard.add(took, baseline.limit(&RULES)));
        baseline.take(heard, &RULES)
    }

    #[test]
    fn a_backend_is_slow_against_itself() {
        let mut baseline = Baseline::default();
        assert_eq!(baseline.limit(&RULES), None);
        assert!(!hear(&mut baseline, 10, ms(20)), "the first window is what is usual");
        assert_eq!(baseline.limit(&RULES), Some(ms(80)));
        assert!(!hear(&mut baseline, 10, ms(79)));
        let mut other = Baseline::default();
        hear(&mut other, 10, ms(1));
        assert_eq!(other.limit(&RULES), Some(ms(50)), "never below the floor");
        assert!(hear(&mut other, 10, ms(79)));
    }

    #[test]
    fn most_answers_of_a_window_must_be_slow() {
        let mut baseline = Baseline::default();
        hear(&mut baseline, 10, ms(1));
        assert!(!hear(&mut baseline, 5, ms(9_000)), "no window yet");
        assert!(!hear(&mut baseline, 5, ms(1)), "half is not most");
        assert!(!hear(&mut baseline, 6, ms(9_000)));
        assert!(hear(&mut baseline, 4, ms(1)));
        hear(&mut baseline, 9, ms(9_000));
        baseline.restart();
        assert!(!hear(&mut baseline, 1, ms(9_000)), "those were of another process");
    }

    #[test]
    fn what_is_slow_is_not_what_is_usual_soon() {
        let mut baseline = Baseline::default();
        hear(&mut baseline, 10, ms(20));
        assert!((0..20).all(|_| hear(&mut baseline, 10, ms(1_000))));
        assert!((0..500).any(|_| !hear(&mut baseline, 10, ms(1_000))), "one day it is");
    }

    #[test]
    fn nothing_is_slow_at_zero_percent() {
        let rules = SlowRules { percent: 0, ..RULES };
        let mut baseline = Baseline::default();
        hear(&mut baseline, 10, ms(1));
        assert_eq!(baseline.limit(&rules), None);
    }
}
