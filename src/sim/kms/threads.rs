//! The I/O threads: all calls run on them, and one that sleeps or works holds its own.

use std::collections::BTreeSet;

use crate::model::Time;

/// Threads that are held, by the time at which they are free again.
#[derive(Debug, Default)]
pub(super) struct Threads {
    held: BTreeSet<(Time, u64)>,
    held_count: u64,
}

impl Threads {
    /// How many are held.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// Holds one until `until`.
    pub(super) fn hold(&mut self, until: Time) {
        self.held_count += 1;
        self.held.insert((until, self.held_count));
    }

    /// When the next one is free.
    pub(super) fn next_free(&self) -> Option<Time> {
        self.held.first().map(|(at, _)| *at)
    }

    /// When all of them are free.
    pub(super) fn all_free(&self) -> Option<Time> {
        self.held.last().map(|(at, _)| *at)
    }

    /// Frees the one that is free next.
    pub(super) fn free(&mut self) {
        self.held.pop_first();
    }
}
