//! What was measured: a distribution of latencies, and what was wrong.

use std::io;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::reply::Wrong;

/// Longest latency that is told apart, in nanoseconds: a minute. Longer ones count as that.
const LATENCY_MAX: u64 = 60_000_000_000;

/// Digits that are right in each latency.
const DIGITS: u8 = 3;

/// What one thread, or all, measured.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    latencies: Histogram<u64>,
    pub(super) faults: Faults,
}

/// What went wrong, counted. Anything but a failed connection makes a run invalid.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Faults {
    /// Messages that answered no waiting call: wrong id, or answered twice.
    pub stray: u64,
    /// Replies whose value is not that of the meeting's backend and the call's object.
    pub misrouted: u64,
    /// Calls that were answered with an error.
    pub refused: u64,
    /// Calls and events that did not come in time.
    pub missing: u64,
    /// Connections that ended under the clients.
    pub broken: u64,
    /// The first of these, in words.
    pub first: Option<String>,
}

impl Tally {
    pub(super) fn new() -> Self {
        let latencies = Histogram::new_with_max(LATENCY_MAX, DIGITS);
        Self { latencies: latencies.expect("the bounds are good"), faults: Faults::default() }
    }

    /// Counts one thing that took so many nanoseconds.
    pub(super) fn record(&mut self, nanos: u64) {
        self.latencies.saturating_record(nanos);
    }

    /// Adds what another thread measured.
    pub(super) fn add(&mut self, other: &Self) {
        self.latencies.add(&other.latencies).expect("all have the same bounds");
        self.faults.add(&other.faults);
    }

    /// How many things were counted.
    pub(super) fn count(&self) -> u64 {
        self.latencies.len()
    }

    /// The distribution; `None` if nothing was counted.
    pub(super) fn latencies(&self) -> Option<&Histogram<u64>> {
        (!self.latencies.is_empty()).then_some(&self.latencies)
    }
}

impl Faults {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn on_wrong(&mut self, wrong: &Wrong) {
        let count = match wrong {
            Wrong::Stray(_) => &mut self.stray,
            Wrong::Misrouted(_) => &mut self.misrouted,
            Wrong::Refused(_) => &mut self.refused,
        };
        *count += 1;
        self.tell(|| wrong.to_string());
    }

    pub(super) fn on_missing(&mut self, count: u64, what: &str) {
        self.missing += count;
        self.tell(|| format!("{count} {what} did not come in time"));
    }

    pub(super) fn on_broken(&mut self, error: &io::Error) {
        self.broken += 1;
        self.tell(|| format!("a connection ended: {error}"));
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.stray += other.stray;
        self.misrouted += other.misrouted;
        self.refused += other.refused;
        self.missing += other.missing;
        self.broken += other.broken;
        if let Some(first) = &other.first {
            self.tell(|| first.clone());
        }
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        self.first.get_or_insert_with(what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up_and_keep_the_first_fault() {
        let (mut all, mut one) = (Tally::new(), Tally::new());
        one.record(1_000);
        one.record(u64::MAX);
        all.record(3_000);
        assert!(all.faults.is_empty());
        one.faults.on_missing(2, "replies");
        all.add(&one);
        all.faults.on_wrong(&Wrong::Stray("x".to_owned()));
        assert_eq!((all.count(), all.faults.missing, all.faults.stray), (3, 2, 1));
        assert_eq!(all.faults.first.as_deref(), Some("2 replies did not come in time"));
        assert!(all.latencies().unwrap().max() >= LATENCY_MAX);
    }
}
