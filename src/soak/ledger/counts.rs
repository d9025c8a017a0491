//! Sums of what is settled.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::violation::Kind;

/// Longest time that is measured, in milliseconds: ten minutes. A longer one counts as that.
const MILLIS_MAX: u64 = 600_000;

/// What has happened, in numbers.
#[derive(Debug)]
pub(in crate::soak) struct Counts {
    /// Calls, each counted once however often it was sent.
    pub(in crate::soak) calls: u64,
    /// Calls answered with a result.
    pub(in crate::soak) answered: u64,
    /// Calls refused with an error, by method and code.
    pub(in crate::soak) refused: BTreeMap<(&'static str, i64), u64>,
    /// Calls that their client gave up after their connection was cut.
    pub(in crate::soak) given_up: u64,
    /// Calls without an outcome in time.
    pub(in crate::soak) silent: u64,
    /// Answers that came after a call counted as silent.
    pub(in crate::soak) late: u64,
    /// Times a call was cut off: its connection ended before the answer.
    pub(in crate::soak) cut: u64,
    /// Times a call was sent again on another connection.
    pub(in crate::soak) resent: u64,
    /// Second answers to calls that were sent on two connections.
    pub(in crate::soak) answered_each: u64,
    /// Connections opened.
    pub(in crate::soak) connections: u64,
    /// Sessions taken up again on another connection.
    pub(in crate::soak) resumed: u64,
    /// Sessions refused with 40007.
    pub(in crate::soak) sessions_lost: u64,
    /// Meetings held to their end.
    pub(in crate::soak) meetings: u64,
    /// Pipelines that clients were told of.
    pub(in crate::soak) pipelines: u64,
    /// Pipelines that clients were told are gone, once for each client.
    pub(in crate::soak) losses: u64,
    /// Such pipelines whose backend never had shown them: nothing can be said of their loss.
    pub(in crate::soak) losses_unplaced: u64,
    /// Meetings that a drain has let go, by what clients were told: once for each process.
    pub(in crate::soak) moved: u64,
    /// Milliseconds from a client's loss to its next working pipeline.
    pub(in crate::soak) rebuild_ms: Histogram<u64>,
    violations: BTreeMap<Kind, u64>,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            calls: 0,
            answered: 0,
            refused: BTreeMap::new(),
            given_up: 0,
            silent: 0,
            late: 0,
            cut: 0,
            resent: 0,
            answered_each: 0,
            connections: 0,
            resumed: 0,
            sessions_lost: 0,
            meetings: 0,
            pipelines: 0,
            losses: 0,
            losses_unplaced: 0,
            moved: 0,
            rebuild_ms: millis_histogram(),
            violations: BTreeMap::new(),
        }
    }
}

impl Counts {
    /// Calls refused with an error.
    pub(in crate::soak) fn refused_count(&self) -> u64 {
        self.refused.values().sum()
    }

    /// Calls that have an outcome.
    pub(in crate::soak) fn settled(&self) -> u64 {
        self.answered + self.refused_count() + self.given_up + self.silent
    }

    /// A client that had lost its pipeline has one again, after `time`.
    pub(in crate::soak) fn rebuilt(&mut self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(MILLIS_MAX);
        self.rebuild_ms.saturating_record(millis);
    }

    pub(super) fn violate(&mut self, kind: Kind) {
        *self.violations.entry(kind).or_default() += 1;
    }

    /// How often `kind` was found.
    pub(in crate::soak) fn violations(&self, kind: Kind) -> u64 {
        self.violations.get(&kind).copied().unwrap_or_default()
    }
}

/// A histogram for milliseconds, two digits of them right.
pub(in crate::soak) fn millis_histogram() -> Histogram<u64> {
    Histogram::new_with_max(MILLIS_MAX, 2).expect("the bounds are right")
}
